"""What `pyros night` and `pyros demo` have in common: a simulated observatory and the daemon that runs it."""
