"""Every message of PyROS, typed, and the codec. Imports nothing of PyROS."""

from pyros.messages import alerts, base, courier, devices, night, people, store, system
from pyros.messages.base import (
    REGISTRY,
    Command,
    Done,
    Event,
    Expired,
    Failed,
    GetState,
    Message,
    Query,
    Refused,
    Reply,
    State,
)

__all__ = [
    "REGISTRY",
    "Command",
    "Done",
    "Event",
    "Expired",
    "Failed",
    "GetState",
    "Message",
    "Query",
    "Refused",
    "Reply",
    "State",
    "alerts",
    "base",
    "courier",
    "devices",
    "night",
    "people",
    "store",
    "system",
]
