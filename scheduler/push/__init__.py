"""Push services, one module each. They need the extra `push`."""
