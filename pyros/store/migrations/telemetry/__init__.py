"""Numbered steps; see `pyros.store.migrations`."""
