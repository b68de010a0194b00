"""Push services to test against, on 127.0.0.1 over TLS: real requests, checked as theirs check."""
