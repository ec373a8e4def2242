"""The state of the observatory, what runs now, and who may interrupt whom."""
