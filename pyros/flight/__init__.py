"""The flight recorder: the last ten minutes of messages and states, kept for whoever has to find out what happened.

Knows messages and the clock; actors hand it what they do through the kernel's journal and taps.
"""

from pyros.flight.record import Publication, Recorded
from pyros.flight.recorder import FlightRecorder, flight_recorder
from pyros.flight.recording import FlightError, Header, Recording, read_recording

__all__ = [
    "FlightError",
    "FlightRecorder",
    "Header",
    "Publication",
    "Recorded",
    "Recording",
    "flight_recorder",
    "read_recording",
]
