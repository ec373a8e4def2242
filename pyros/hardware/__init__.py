"""Devices: their interfaces (`interfaces`), their errors (`errors`), and the drivers behind URLs (`urls`)."""
