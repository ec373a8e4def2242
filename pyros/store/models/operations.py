"""Tables of the observatory itself: devices, filters, outbox, audit, log and small durable facts."""

from __future__ import annotations

from typing import ClassVar

from peewee import AutoField, BooleanField, CharField, Check, FloatField, ForeignKeyField, IntegerField, TextField

from pyros.store.lives import statuses
from pyros.store.models.columns import JsonField, Row, UtcDateTimeField, one_of, within

DEVICE_KINDS = ("telescope", "camera", "filter_wheel", "focuser", "plc", "weather")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Device(Row):
    """One device of the observatory."""

    id = AutoField(help_text="row number")
    name = CharField(unique=True, help_text="name of its actor, such as camera:vis")
    kind = CharField(help_text="telescope, camera, filter_wheel, focuser, plc or weather")
    url = CharField(default="", help_text="where it is reached")
    blocking = BooleanField(default=True, help_text="whether observing pauses while it is down")
    enabled = BooleanField(default=True, help_text="whether it is used")
    facts = JsonField(default=dict, help_text="model, serial number, firmware, as the device told")

    class Meta:
        """What no row may break."""

        constraints: ClassVar = [one_of("device", "kind", DEVICE_KINDS)]


class Filter(Row):
    """One filter in a wheel."""

    id = AutoField(help_text="row number")
    device = ForeignKeyField(Device, index=False, on_delete="RESTRICT", help_text="the wheel that carries it")
    name = CharField(help_text="name of the filter, as in plans")
    slot = IntegerField(help_text="position in the wheel, from 1")
    wavelength_nm = FloatField(null=True, help_text="central wavelength, nanometres")
    thickness_mm = FloatField(null=True, help_text="equivalent thickness, millimetres, for the focus")
    focus_offset_um = FloatField(default=0.0, help_text="change of focus that it needs, micrometres")

    class Meta:
        """What no row may break."""

        indexes: ClassVar = [(("device", "slot"), True), (("device", "name"), True)]
        constraints: ClassVar = [
            within("filter", "slot", "slot >= 1"),
            within("filter", "wavelength_nm", "wavelength_nm > 0"),
            within("filter", "thickness_mm", "thickness_mm >= 0"),
        ]


class Outbox(Row):
    """Something to be sent outside; written in the commit of what it tells, sent once, in order."""

    life = "outbox"
    id = AutoField(help_text="row number, the order of sending")
    destination = CharField(help_text="name of the destination, as in the configuration")
    subject = CharField(help_text="what it is about")
    dedup_key = CharField(unique=True, help_text="names the fact told; a second row with it is refused")
    payload = JsonField(help_text="what is sent: schema, id, topic, subject, at, site, content")
    status = CharField(help_text="life of the row, see docs/lives.md; FAILED: the destination refused it")
    attempts = IntegerField(default=0, help_text="number of tries so far")
    created_at = UtcDateTimeField(help_text="instant at which it was written")
    next_attempt_at = UtcDateTimeField(null=True, help_text="when it is tried again, as of the last failure")
    sent_at = UtcDateTimeField(null=True, help_text="instant at which the far end had it")
    last_error = TextField(default="", help_text="why the last try failed")

    class Meta:
        """What no row may break."""

        indexes: ClassVar = [(("status", "destination", "id"), False)]
        constraints: ClassVar = [
            one_of("outbox", "status", statuses("outbox")),
            within("outbox", "attempts", "attempts >= 0"),
            Check("(status = 'SENT') = (sent_at IS NOT NULL)", "outbox_sent_has_instant"),
        ]


class Audit(Row):
    """Who ordered or changed what."""

    id = AutoField(help_text="row number")
    at = UtcDateTimeField(index=True, help_text="instant of the act")
    who = CharField(index=True, help_text="name of the user or actor")
    action = CharField(help_text="what was done, such as edit, login or close-dome")
    subject = CharField(default="", help_text="table or actor concerned")
    row_id = IntegerField(null=True, help_text="row number concerned, if any")
    before = JsonField(null=True, help_text="the changed columns before")
    after = JsonField(null=True, help_text="the changed columns after")
    cause = TextField(default="", help_text="why, or the message that caused it")


class LogEntry(Row):
    """One line of the log that people read."""

    id = AutoField(help_text="row number")
    at = UtcDateTimeField(index=True, help_text="instant of the line")
    level = CharField(help_text="DEBUG, INFO, WARNING, ERROR or CRITICAL")
    actor = CharField(index=True, help_text="who wrote it")
    text = TextField(help_text="the line")
    detail = JsonField(null=True, help_text="more: alert, sequence, traceback …")

    class Meta:
        """What no row may break."""

        indexes: ClassVar = [(("level", "id"), False)]
        constraints: ClassVar = [one_of("log_entry", "level", LOG_LEVELS)]


class Setting(Row):
    """A small durable fact: a lockdown, the last PLC address, the boot number."""

    key = CharField(primary_key=True, help_text="name of the fact")
    value = JsonField(help_text="the fact")
    changed_at = UtcDateTimeField(help_text="instant of the last change")
    changed_by = CharField(help_text="name of the user or actor who changed it")
