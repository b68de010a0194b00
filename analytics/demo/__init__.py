"""The demo: a simulated trial through the real servers.

study    the study, its people and their simulated lives
phones   their phones, which enrol and upload over HTTP
steps    waiting for the periodic tasks, and judging what came out
"""
