"""PyROS runs a robotic telescope alone, built to catch gamma-ray bursts."""

__version__ = "0.1.0"
