"""Pictures of the main pages for the documentation: `python -m screenshots`."""
