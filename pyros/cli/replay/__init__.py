"""`pyros replay`: shows a recording of the flight recorder, and feeds it to an actor."""
