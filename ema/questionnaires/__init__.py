"""Questionnaires: check, draft, publish, carry to and from files.

checks      what is wrong with a document, with its place (pure)
answers     what in a person's answers contradicts the questionnaire (pure)
drafts      copying, importing and publishing versions
files       documents as JSON text, read strictly
fhir_*      documents as FHIR R4 Questionnaire resources, and back (pure)
default     the questionnaire to start from
"""
