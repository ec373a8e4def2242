"""The outside's door to the actors; with `pyros.client` the only place that knows ZeroMQ."""

from pyros.actors.gateway.actor import Gateway

__all__ = ["Gateway"]
