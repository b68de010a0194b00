"""Records and doors: every record of the trial, the phone's API, the coordinator's admin."""
