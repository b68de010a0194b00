"""Replay real EMA data as a study, through the phones' API.

reading    from a file to people with prompts: what was asked, what is wrong
file       the CSV file, its columns, the rows asked for
times      stamps with and without zones
entries    what each row says
people     people with numbered, dated prompts, and the scales of their ratings
findings   what is wrong, and what is done about it
study      makes the study and uploads the answers
"""
