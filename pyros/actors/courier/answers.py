"""What a destination's answer to a post means for the row that was posted: pure."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal

OF_THE_MOMENT = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
"""Refusals that say nothing about the row: 408, 425, 429."""
LONGEST_REASON = 300


@dataclass(frozen=True)
class Verdict:
    """What becomes of a row, and why."""

    status: Literal["SENT", "FAILED", "PENDING"]
    """PENDING: it is to be posted again."""
    reason: str = ""


def of_status(status: int, phrase: str) -> Verdict:
    """Judge an HTTP status: taken, refused for good, or not now."""
    words = f"HTTP {status} {phrase}".strip()[:LONGEST_REASON]
    if 200 <= status < 300:
        return Verdict("SENT")
    if 400 <= status < 500 and status not in OF_THE_MOMENT:
        return Verdict("FAILED", words)
    return Verdict("PENDING", words)


def of_error(error: BaseException) -> Verdict:
    """Judge a post without an answer: it may have arrived or not, so it is sent again."""
    if isinstance(error, TimeoutError):
        return Verdict("PENDING", "no answer in time")
    if isinstance(error, ssl.SSLError):
        return Verdict("PENDING", f"no secure connection: {error}"[:LONGEST_REASON])
    if isinstance(error, http.client.HTTPException):
        return Verdict("PENDING", f"no HTTP answer: {type(error).__name__}: {error}"[:LONGEST_REASON])
    if isinstance(error, OSError):
        return Verdict("PENDING", f"no connection: {error.strerror or error}"[:LONGEST_REASON])
    return Verdict("PENDING", f"it cannot be posted: {type(error).__name__}: {error}"[:LONGEST_REASON])


def outcome(verdict: Verdict, attempts: int, now: datetime, next_at: datetime | None) -> dict[str, Any]:
    """Return the columns of the outbox that a verdict after so many attempts writes."""
    common = {"attempts": attempts, "last_error": verdict.reason, "next_attempt_at": next_at}
    if verdict.status == "PENDING":
        return common
    return common | {"status": verdict.status, "sent_at": now if verdict.status == "SENT" else None}
