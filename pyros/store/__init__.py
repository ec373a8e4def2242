"""Everything that lasts: the models, the one writing path, and the repositories that read."""
