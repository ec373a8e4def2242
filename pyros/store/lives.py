"""The lives of users, requests, sequences, albums, plans, schedules, alerts and rows of the outbox.

One table per kind: which status may follow which, who makes the step, and what it does to the owner's quota. The
models' CHECKs, the archivist's refusals and `docs/lives.md` come from these tables. A step from `BIRTH` is the
insertion of the row. A status that nothing leaves is an end.
"""

from __future__ import annotations

from typing import Literal

import msgspec

QuotaEffect = Literal["none", "reserve", "release", "settle"]
"""`reserve` the planned seconds; `release` all of them; `settle`: debit what was exposed and refund the rest, once."""

BIRTH = ""


class Step(msgspec.Struct, frozen=True):
    """Who makes a step, and its effect on the quota of the sequence's owner."""

    maker: str
    quota: QuotaEffect = "none"


class TransitionError(ValueError):
    """A status that may not follow the present one."""


Life = dict[tuple[str, str], Step]

_USER: Life = {
    (BIRTH, "PENDING"): Step("user_manager"),
    (BIRTH, "VALIDATED"): Step("user_manager"),
    ("PENDING", "VALIDATED"): Step("user_manager"),
    ("PENDING", "REFUSED"): Step("user_manager"),
    ("REFUSED", "PENDING"): Step("user_manager"),
    ("PENDING", "DEACTIVATED"): Step("user_manager"),
    ("REFUSED", "DEACTIVATED"): Step("user_manager"),
    ("VALIDATED", "DEACTIVATED"): Step("user_manager"),
    ("DEACTIVATED", "VALIDATED"): Step("user_manager"),
}

_REQUEST: Life = {
    (BIRTH, "DRAFT"): Step("routine_manager"),
    (BIRTH, "SUBMITTED"): Step("routine_manager"),
    (BIRTH, "ACCEPTED"): Step("alert_manager"),
    ("DRAFT", "SUBMITTED"): Step("routine_manager"),
    ("SUBMITTED", "DRAFT"): Step("routine_manager"),
    ("SUBMITTED", "ACCEPTED"): Step("routine_manager"),
    ("SUBMITTED", "REJECTED"): Step("routine_manager"),
    ("ACCEPTED", "HELD"): Step("routine_manager"),
    ("HELD", "ACCEPTED"): Step("routine_manager"),
    ("ACCEPTED", "EXECUTED"): Step("routine_manager"),
    ("ACCEPTED", "EXPIRED"): Step("routine_manager"),
    ("HELD", "EXPIRED"): Step("routine_manager"),
    ("DRAFT", "CANCELLED"): Step("routine_manager"),
    ("SUBMITTED", "CANCELLED"): Step("routine_manager"),
    ("ACCEPTED", "CANCELLED"): Step("routine_manager"),
    ("HELD", "CANCELLED"): Step("routine_manager"),
}

_SEQUENCE: Life = {
    (BIRTH, "DRAFT"): Step("routine_manager"),
    (BIRTH, "COMPLETE"): Step("routine_manager"),
    (BIRTH, "OBSERVABLE"): Step("alert_manager"),
    ("DRAFT", "COMPLETE"): Step("routine_manager"),
    ("COMPLETE", "DRAFT"): Step("routine_manager"),
    ("COMPLETE", "OBSERVABLE"): Step("routine_manager"),
    ("OBSERVABLE", "COMPLETE"): Step("routine_manager"),
    ("OBSERVABLE", "PLANNED"): Step("scheduler", "reserve"),
    ("PLANNED", "OBSERVABLE"): Step("scheduler", "release"),
    ("PLANNED", "COMPLETE"): Step("routine_manager", "release"),
    ("PLANNED", "EXECUTING"): Step("observation_manager"),
    ("OBSERVABLE", "EXECUTING"): Step("observation_manager", "reserve"),  # an alert waits for no planning
    ("EXECUTING", "EXECUTED"): Step("observation_manager", "settle"),
    ("EXECUTING", "OBSERVABLE"): Step("observation_manager", "settle"),
    ("EXECUTING", "ABORTED"): Step("observation_manager", "settle"),
    ("EXECUTING", "INTERRUPTED"): Step("observation_manager", "settle"),
    ("INTERRUPTED", "OBSERVABLE"): Step("majordome"),
    ("INTERRUPTED", "CANCELLED"): Step("routine_manager"),
    ("INTERRUPTED", "EXPIRED"): Step("routine_manager"),
    ("COMPLETE", "REJECTED"): Step("routine_manager"),
    ("OBSERVABLE", "REJECTED"): Step("routine_manager"),
    ("PLANNED", "REJECTED"): Step("routine_manager", "release"),
    ("COMPLETE", "UNPLANNABLE"): Step("routine_manager"),
    ("OBSERVABLE", "UNPLANNABLE"): Step("scheduler"),
    ("PLANNED", "UNPLANNABLE"): Step("scheduler", "release"),
    ("DRAFT", "CANCELLED"): Step("routine_manager"),
    ("COMPLETE", "CANCELLED"): Step("routine_manager"),
    ("OBSERVABLE", "CANCELLED"): Step("routine_manager"),
    ("PLANNED", "CANCELLED"): Step("routine_manager", "release"),
    ("EXECUTING", "CANCELLED"): Step("observation_manager", "settle"),
    ("DRAFT", "EXPIRED"): Step("routine_manager"),
    ("COMPLETE", "EXPIRED"): Step("routine_manager"),
    ("OBSERVABLE", "EXPIRED"): Step("routine_manager"),
    ("PLANNED", "EXPIRED"): Step("routine_manager", "release"),
}

_ALBUM: Life = {
    (BIRTH, "WAITING"): Step("routine_manager, alert_manager"),
    ("WAITING", "EXECUTING"): Step("observation_manager"),
    ("EXECUTING", "EXECUTED"): Step("observation_manager"),
    ("EXECUTING", "ABORTED"): Step("observation_manager"),
    ("EXECUTING", "FAILED"): Step("observation_manager"),
    ("EXECUTING", "WAITING"): Step("observation_manager"),
    ("ABORTED", "WAITING"): Step("observation_manager"),
    ("FAILED", "WAITING"): Step("observation_manager"),
    ("WAITING", "CANCELLED"): Step("routine_manager"),
}

_SCHEDULE: Life = {
    (BIRTH, "DRAFT"): Step("scheduler"),
    (BIRTH, "CURRENT"): Step("scheduler"),
    ("DRAFT", "CURRENT"): Step("scheduler"),
    ("DRAFT", "SUPERSEDED"): Step("scheduler"),
    ("CURRENT", "SUPERSEDED"): Step("scheduler"),
    ("CURRENT", "END_OF_NIGHT"): Step("scheduler"),
}

_ALERT: Life = {
    (BIRTH, "ACTIVE"): Step("alert_manager"),
    (BIRTH, "HELD"): Step("alert_manager"),
    ("ACTIVE", "HELD"): Step("alert_manager"),
    ("HELD", "ACTIVE"): Step("alert_manager"),
    ("ACTIVE", "DONE"): Step("alert_manager"),
    ("DONE", "ACTIVE"): Step("alert_manager"),
    ("ACTIVE", "EXPIRED"): Step("alert_manager"),
    ("HELD", "EXPIRED"): Step("alert_manager"),
    ("ACTIVE", "CANCELLED"): Step("alert_manager"),
    ("HELD", "CANCELLED"): Step("alert_manager"),
    ("ACTIVE", "RETRACTED"): Step("alert_manager"),
    ("HELD", "RETRACTED"): Step("alert_manager"),
    ("DONE", "RETRACTED"): Step("alert_manager"),
    ("EXPIRED", "RETRACTED"): Step("alert_manager"),
}

_OUTBOX: Life = {
    (BIRTH, "PENDING"): Step("courier, monitor, alert_manager, analyzer"),
    ("PENDING", "SENT"): Step("courier"),
    ("PENDING", "FAILED"): Step("courier"),
}

LIVES: dict[str, Life] = {
    "user": _USER,
    "request": _REQUEST,
    "sequence": _SEQUENCE,
    "album": _ALBUM,
    "plan": dict(_ALBUM),
    "schedule": _SCHEDULE,
    "alert": _ALERT,
    "outbox": _OUTBOX,
}
"""Every life by its kind, which is the table's name."""


def statuses(kind: str) -> list[str]:
    """Return every status of a kind, in the order in which its table first leads to them."""
    return list(dict.fromkeys(after for _, after in LIVES[kind]))


def followers(kind: str, status: str) -> list[str]:
    """Return what may follow a status; nothing if it is an end."""
    return [after for before, after in LIVES[kind] if before == status]


def check_transition(kind: str, old: str, new: str) -> Step | None:
    """Return the step from `old` to `new`, or None if both are the same (nothing happens).

    Raises
    ------
    TransitionError
        One line that names the step and what may follow instead.
    """
    step = LIVES[kind].get((old, new))
    if step is not None or (old == new != BIRTH):
        return step
    allowed = ", ".join(followers(kind, old)) or "nothing, it is an end"
    if old == BIRTH:
        raise TransitionError(f"a new {kind} cannot be {new}; it begins as one of: {allowed}")
    raise TransitionError(f"a {kind} that is {old} cannot become {new}; from {old} follows: {allowed}")


def document() -> str:
    """Return the tables as Markdown: the body of `docs/lives.md`."""
    lines = [
        "# Lives",
        "",
        "Which status may follow which, who makes the step, and what it does to the quota of the sequence's owner:",
        "*reserve* the planned seconds, *release* all of them, or *settle*: debit what was exposed and refund the",
        "rest, once. A step from — is the insertion of the row; a status that nothing leaves is an end. The archivist",
        "refuses every other step. This page is written from `pyros/store/lives.py`, and a test compares the two.",
    ]
    for kind, life in LIVES.items():
        lines += ["", f"## {kind.capitalize()}", "", "| from | to | made by | quota |", "| --- | --- | --- | --- |"]
        lines += [f"| {old or '—'} | {new} | {step.maker} | {step.quota} |" for (old, new), step in life.items()]
    return "\n".join(lines) + "\n"
