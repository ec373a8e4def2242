"""The quota ledger: what each step of a sequence's life writes, and what is left.

A sequence's seconds are reserved when it is planned. At its end the reservation is settled once: what was exposed is
debited, the rest refunded. `release` is the settlement of a sequence that exposed nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from peewee import SQL, fn

from pyros.messages.store import Insert
from pyros.store.database import Reader
from pyros.store.history import dicts, tuples
from pyros.store.models import QuotaEntry
from pyros.store.models.planning import QUOTA_KINDS
from pyros.store.tables import TABLES


class QuotaBalance(msgspec.Struct, frozen=True):
    """Somebody's observing time in seconds; `available_s` = granted - expired - reserved - spent."""

    granted_s: float = 0.0
    expired_s: float = 0.0
    reserved_s: float = 0.0
    """Reserved and neither spent nor refunded yet."""
    spent_s: float = 0.0

    @property
    def available_s(self) -> float:
        """Seconds that may still be reserved."""
        return self.granted_s - self.expired_s - self.reserved_s - self.spent_s


class Reservation(msgspec.Struct, frozen=True):
    """An open reserve line of the ledger."""

    id: int
    user_id: int
    programme_id: int | None
    sequence_id: int
    seconds: float


def balance(reader: Reader, user_id: int, programme_id: int | None = None) -> QuotaBalance:
    """Return a user's balance, over all programmes or for one."""
    query = QuotaEntry.select(QuotaEntry.kind, QuotaEntry.seconds).where(QuotaEntry.user == user_id)
    if programme_id is not None:
        query = query.where(QuotaEntry.programme == programme_id)
    return balance_of([(kind, seconds) for kind, seconds in tuples(query.bind(reader.main))])


def balance_of(entries: list[tuple[str, float]]) -> QuotaBalance:
    """Return the balance of ledger lines given as (kind, seconds)."""
    total: dict[str, float] = dict.fromkeys(QUOTA_KINDS, 0.0)
    for kind, seconds in entries:
        total[kind] += seconds
    return QuotaBalance(
        granted_s=total["grant"],
        expired_s=total["expiry"],
        reserved_s=total["reserve"] - total["debit"] - total["refund"],
        spent_s=total["debit"],
    )


def open_reservations(reader: Reader, sequence_id: int) -> list[Reservation]:
    """Return the reservations of a sequence that are not settled yet: none or one."""
    return held_by(reader, [sequence_id])[sequence_id]


def held_by(reader: Reader, sequence_ids: Iterable[int]) -> dict[int, list[Reservation]]:
    """Return the open reservations of each of these sequences, in one query."""
    held: dict[int, list[Reservation]] = {sequence_id: [] for sequence_id in sequence_ids}
    later: Any = QuotaEntry.alias()
    settled = later.select(SQL("1")).where(later.reservation == QuotaEntry.id)
    query = QuotaEntry.select().where(
        QuotaEntry.sequence.in_(list(held)), QuotaEntry.kind == "reserve", ~fn.EXISTS(settled)
    )
    wanted = Reservation.__struct_fields__
    for row in dicts(query.order_by(QuotaEntry.id).bind(reader.main), TABLES["quota_entry"].public):
        held[row["sequence_id"]].append(Reservation(**{name: row[name] for name in wanted}))
    return held


def reserve(
    user_id: int, sequence_id: int, seconds: float, at: datetime, programme_id: int | None = None
) -> list[Insert]:
    """Return the write that reserves a sequence's seconds; goes into the commit that makes it PLANNED."""
    owner = {"user_id": user_id, "programme_id": programme_id, "sequence_id": sequence_id}
    return _entries(owner, at, reserve=seconds)


def settle(reservation: Reservation, exposed_s: float, at: datetime) -> list[Insert]:
    """Return the writes that settle a reservation: a debit of what was exposed, a refund of the rest.

    Goes into the commit of the step that says `settle` in the sequence's life. An exposure beyond the reservation is
    the observatory's: nobody pays more than was planned. A second settlement is refused by the store.
    """
    spent_s = min(max(exposed_s, 0.0), reservation.seconds)
    owner = {
        "user_id": reservation.user_id,
        "programme_id": reservation.programme_id,
        "sequence_id": reservation.sequence_id,
        "reservation_id": reservation.id,
    }
    return _entries(owner, at, debit=spent_s, refund=reservation.seconds - spent_s)


def release(reservation: Reservation, at: datetime) -> list[Insert]:
    """Return the write that gives all reserved seconds back."""
    return settle(reservation, 0.0, at)


def _entries(owner: dict[str, int | None], at: datetime, **seconds_by_kind: float) -> list[Insert]:
    return [
        Insert(table="quota_entry", values={**owner, "kind": kind, "seconds": float(seconds), "at": at})
        for kind, seconds in seconds_by_kind.items()
        if seconds > 0
    ]
