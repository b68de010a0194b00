"""Snapshots: a study's tables as files, frozen, hashed and documented."""
