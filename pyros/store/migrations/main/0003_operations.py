# ruff: noqa: N999 - the number orders the steps
"""Devices, filters, outbox, audit, log and settings.

Frozen copies of the models as they were; `pyros.store.models` may go on, this file may not.
"""

from __future__ import annotations

from typing import Any, ClassVar

from peewee import (
    AutoField,
    BooleanField,
    CharField,
    Check,
    FloatField,
    ForeignKeyField,
    IntegerField,
    Model,
    SchemaManager,
    TextField,
)


class _Frozen(Model):
    Meta: ClassVar[Any] = type("Meta", (), {"legacy_table_names": False})


class _Device(_Frozen):
    id = AutoField()
    name = CharField(unique=True)
    kind = CharField()
    url = CharField()
    blocking = BooleanField()
    enabled = BooleanField()
    facts = TextField()

    class Meta:
        table_name = "device"
        constraints: ClassVar = [
            Check("kind IN ('telescope', 'camera', 'filter_wheel', 'focuser', 'plc', 'weather')", "device_kind_known"),
        ]


class _Filter(_Frozen):
    id = AutoField()
    device = ForeignKeyField(_Device, column_name="device_id", on_delete="RESTRICT", index=False)
    name = CharField()
    slot = IntegerField()
    wavelength_nm = FloatField(null=True)
    thickness_mm = FloatField(null=True)
    focus_offset_um = FloatField()

    class Meta:
        table_name = "filter"
        indexes: ClassVar = [(("device", "slot"), True), (("device", "name"), True)]
        constraints: ClassVar = [
            Check("slot >= 1", "filter_slot_range"),
            Check("wavelength_nm > 0", "filter_wavelength_nm_range"),
            Check("thickness_mm >= 0", "filter_thickness_mm_range"),
        ]


class _Outbox(_Frozen):
    id = AutoField()
    destination = CharField()
    subject = CharField()
    dedup_key = CharField(unique=True)
    payload = TextField()
    status = CharField()
    attempts = IntegerField()
    created_at = TextField()
    next_attempt_at = TextField(null=True)
    sent_at = TextField(null=True)
    last_error = TextField()

    class Meta:
        table_name = "outbox"
        indexes: ClassVar = [(("status", "destination", "id"), False)]
        constraints: ClassVar = [
            Check("status IN ('PENDING', 'SENT', 'FAILED')", "outbox_status_known"),
            Check("attempts >= 0", "outbox_attempts_range"),
            Check("(status = 'SENT') = (sent_at IS NOT NULL)", "outbox_sent_has_instant"),
        ]


class _Audit(_Frozen):
    id = AutoField()
    at = TextField(index=True)
    who = CharField(index=True)
    action = CharField()
    subject = CharField()
    row_id = IntegerField(null=True)
    before = TextField(null=True)
    after = TextField(null=True)
    cause = TextField()

    class Meta:
        table_name = "audit"


class _LogEntry(_Frozen):
    id = AutoField()
    at = TextField(index=True)
    level = CharField()
    actor = CharField(index=True)
    text = TextField()
    detail = TextField(null=True)

    class Meta:
        table_name = "log_entry"
        indexes: ClassVar = [(("level", "id"), False)]
        constraints: ClassVar = [
            Check("level IN ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')", "log_entry_level_known"),
        ]


class _Setting(_Frozen):
    key = CharField(primary_key=True)
    value = TextField()
    changed_at = TextField()
    changed_by = CharField()

    class Meta:
        table_name = "setting"


def up(_migrator: Any, db: Any) -> None:
    """Make the tables."""
    for model in (_Device, _Filter, _Outbox, _Audit, _LogEntry, _Setting):
        SchemaManager(model, database=db).create_all(safe=False)


def down(_migrator: Any, db: Any) -> None:
    """Drop the tables, and with them what they hold."""
    for model in (_Setting, _LogEntry, _Audit, _Outbox, _Filter, _Device):
        SchemaManager(model, database=db).drop_table()
