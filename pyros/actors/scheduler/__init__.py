"""What is observed when, and why the rest is not: the pure planning core, and the actor that calls it."""
