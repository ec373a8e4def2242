"""Messages of the courier: news that wait to be sent outside, and what becomes of them."""

from __future__ import annotations

from datetime import datetime

from pyros.messages.base import Count, Event, Name, Part, State, Text


class NewsStored(Event):
    """New rows of the outbox are in the store for good."""

    rows: Count


class NewsRefused(Event):
    """A destination will not take a piece of news; it is not sent again."""

    destination: Name
    id: Name
    subject: Text
    reason: Text


class DestinationRow(Part):
    """How one destination fares. Part of `CourierState`."""

    name: Name
    waiting: Count
    oldest_at: datetime | None
    """When the oldest row that waits was written."""
    sent: Count
    """Since the courier was started, as `refused`."""
    refused: Count
    last_error: Text = ""
    """Why the row that is first does not get through; empty when nothing hinders it."""
    next_try_at: datetime | None = None


class CourierState(State):
    """What waits to be sent outside, by destination."""

    destinations: list[DestinationRow]
