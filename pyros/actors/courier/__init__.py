"""What leaves the observatory: the outbox's rows, and who delivers them."""
