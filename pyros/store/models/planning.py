"""Tables of the planning: nights, schedules, each sequence's place in them, and the quota ledger."""

from __future__ import annotations

from typing import ClassVar

from peewee import AutoField, BooleanField, CharField, Check, FloatField, ForeignKeyField, TextField

from pyros.store.lives import statuses
from pyros.store.models.columns import Row, UtcDateTimeField, one_of, within
from pyros.store.models.observations import Sequence
from pyros.store.models.people import Programme, User

NIGHT_STATUSES = ("COMING", "BEGUN", "ENDED")
QUOTA_KINDS = ("grant", "reserve", "debit", "refund", "expiry")


class Night(Row):
    """One night of the observatory."""

    id = AutoField(help_text="row number")
    date = CharField(unique=True, help_text="local date at the preceding noon, YYYY-MM-DD")
    begins = UtcDateTimeField(null=True, help_text="instant at which the Sun sinks below the limit; none: it does not")
    ends = UtcDateTimeField(null=True, help_text="instant at which the Sun rises above the limit; none: it does not")
    status = CharField(help_text="COMING, BEGUN or ENDED")

    class Meta:
        """What no row may break."""

        constraints: ClassVar = [
            one_of("night", "status", NIGHT_STATUSES),
            Check("LENGTH(date) = 10", "night_date_length"),
            Check("ends > begins", "night_order"),
        ]


class Schedule(Row):
    """One planning; each scheduling makes a new one and the old ones are kept."""

    life = "schedule"
    id = AutoField(help_text="row number")
    status = CharField(help_text="life of the planning, see docs/lives.md; one at most is CURRENT")
    trigger = CharField(help_text="what made a new planning necessary")
    first_of_night = BooleanField(help_text="whether it is the night's first, made before the night began")
    night = CharField(index=True, help_text="local date at the preceding noon, YYYY-MM-DD")
    plan_start = UtcDateTimeField(help_text="nothing is placed before this instant")
    plan_end = UtcDateTimeField(help_text="nothing is placed after this instant")
    created_at = UtcDateTimeField(help_text="instant at which it was made")

    class Meta:
        """What no row may break."""

        constraints: ClassVar = [
            one_of("schedule", "status", statuses("schedule")),
            Check("plan_end >= plan_start", "schedule_order"),
            Check("LENGTH(night) = 10", "schedule_night_length"),
        ]


Schedule.add_index(
    Schedule.index(Schedule.status, unique=True, where=Schedule.status == "CURRENT", name="schedule_one_current")
)


class ScheduledSequence(Row):
    """A sequence's place in a planning, or the reason why it has none."""

    id = AutoField(help_text="row number")
    schedule = ForeignKeyField(Schedule, index=False, on_delete="RESTRICT", help_text="the planning")
    sequence = ForeignKeyField(Sequence, on_delete="RESTRICT", help_text="the sequence")
    planned_start = UtcDateTimeField(null=True, help_text="planned instant of the first shutter (tsp)")
    planned_end = UtcDateTimeField(null=True, help_text="planned instant of the last shutter's closing (tep)")
    delta_tl_s = FloatField(null=True, help_text="how much earlier it could start in this planning, seconds")
    delta_tr_s = FloatField(null=True, help_text="how much later it could start in this planning, seconds")
    reject_code = CharField(null=True, help_text="short name of the reason; none if it has a place")
    reject_reason = TextField(null=True, help_text="the reason in words; none if it has a place")

    class Meta:
        """What no row may break."""

        indexes: ClassVar = [(("schedule", "sequence"), True)]
        constraints: ClassVar = [
            Check("(planned_start IS NULL) = (planned_end IS NULL)", "scheduled_sequence_times_whole"),
            Check("(planned_start IS NULL) = (reject_code IS NOT NULL)", "scheduled_sequence_placed_or_rejected"),
            Check(
                "(reject_code IS NULL) = (reject_reason IS NULL) AND reject_code <> '' AND reject_reason <> ''",
                "scheduled_sequence_reason_given",
            ),
            Check("planned_end > planned_start", "scheduled_sequence_order"),
            Check("(delta_tl_s IS NULL) = (planned_start IS NULL)", "scheduled_sequence_delta_tl_placed"),
            Check("(delta_tr_s IS NULL) = (planned_start IS NULL)", "scheduled_sequence_delta_tr_placed"),
            within("scheduled_sequence", "delta_tl_s", "delta_tl_s >= 0"),
            within("scheduled_sequence", "delta_tr_s", "delta_tr_s >= 0"),
        ]


class QuotaEntry(Row):
    """One line of the ledger of observing time; lines are added, never changed.

    The balance is grants + refunds - reserves - expiries. A debit says how much of a reservation was used; it and the
    refund of the rest belong to that reservation and exist at most once for it (see `pyros.store.quota`).
    """

    id = AutoField(help_text="row number")
    user = ForeignKeyField(User, on_delete="RESTRICT", help_text="whose time it is")
    programme = ForeignKeyField(Programme, null=True, on_delete="RESTRICT", help_text="for which programme, if any")
    sequence = ForeignKeyField(Sequence, null=True, on_delete="RESTRICT", help_text="for which sequence, if any")
    kind = CharField(help_text="grant, reserve, debit, refund or expiry")
    seconds = FloatField(help_text="amount in seconds, above 0; the kind gives its sign")
    reservation = ForeignKeyField(
        "self", null=True, index=False, on_delete="RESTRICT", help_text="the reserve line that it settles"
    )
    at = UtcDateTimeField(help_text="instant of the entry")
    reason = TextField(default="", help_text="why, for the history page")

    class Meta:
        """What no row may break."""

        indexes: ClassVar = [(("reservation", "kind"), True)]
        constraints: ClassVar = [
            one_of("quota_entry", "kind", QUOTA_KINDS),
            within("quota_entry", "seconds", "seconds > 0"),
            Check("(kind IN ('debit', 'refund')) = (reservation_id IS NOT NULL)", "quota_entry_settles_reservation"),
            Check("kind NOT IN ('reserve', 'debit', 'refund') OR sequence_id IS NOT NULL", "quota_entry_has_sequence"),
        ]
