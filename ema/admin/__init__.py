"""The operators' screens, one file per screen family."""
