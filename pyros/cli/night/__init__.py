"""A whole night on the virtual clock: the simulated observatory, every actor, and the report."""
