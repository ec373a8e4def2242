"""News for the outside as rows of the outbox: pure. Whoever records a fact adds its news to the same commit."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pyros.config import Settings
from pyros.messages.store import Insert

SCHEMA = 1
"""Version of the payload's form."""
Topic = Literal["start", "night", "alert", "candidate"]


def news(settings: Settings, topic: Topic, subject: str, content: Mapping[str, Any], now: datetime) -> list[Insert]:
    """Return the outbox rows that tell a fact to every destination that wants the topic.

    Parameters
    ----------
    subject : str
        Names the fact, and no other one ever, such as "night 2026-11-22 begun": a second entry is refused.
    content : mapping
        What JSON knows, and instants; `{"$ref": index}` for the id of an earlier write of the same commit.
    """
    site = settings.site.name
    return [
        _row(destination.name, site, topic, subject, content, now)
        for destination in settings.courier.destination
        if topic in destination.topics
    ]


def _row(destination: str, site: str, topic: Topic, subject: str, content: Mapping[str, Any], now: datetime) -> Insert:
    key = f"{destination}: {subject}"
    payload = {
        "schema": SCHEMA,
        "id": identifier(site, key, now),
        "topic": topic,
        "subject": subject,
        "at": now,
        "site": site,
        "content": dict(content),
    }
    values = {
        "destination": destination,
        "subject": subject,
        "dedup_key": key,
        "payload": payload,
        "status": "PENDING",
        "created_at": now,
    }
    return Insert(table="outbox", values=values)


def identifier(site: str, key: str, at: datetime) -> str:
    """Return a row's id: the same for the same row, and another for every other one, of other stores and sites too."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"pyros {site} {key} {at.isoformat()}"))
