"""Tables of the way of an alert: strategies, alerts, triggers and the notices they came from."""

from __future__ import annotations

from typing import ClassVar

from peewee import (
    AutoField,
    BlobField,
    BooleanField,
    CharField,
    Check,
    FloatField,
    ForeignKeyField,
    IntegerField,
    TextField,
)

from pyros.store.lives import statuses
from pyros.store.models.columns import JsonField, Row, UtcDateTimeField, one_of, position, within

VERDICTS = ("PENDING", "ACCEPTED", "REJECTED", "QUARANTINED")


class Strategy(Row):
    """One version of an observation strategy; versions are added, never changed."""

    id = AutoField(help_text="row number")
    name = CharField(help_text="name of the strategy")
    version = IntegerField(help_text="number of the version, from 1")
    text = TextField(help_text="the strategy's file, TOML")
    active = BooleanField(default=True, help_text="whether new alerts use it")
    created_at = UtcDateTimeField(help_text="instant of the version")
    created_by = CharField(default="", help_text="name of its author")

    class Meta:
        """What no row may break."""

        indexes: ClassVar = [(("name", "version"), True)]
        constraints: ClassVar = [within("strategy", "version", "version >= 1")]


class Alert(Row):
    """One burst that the telescope shall look at, whatever the number of satellites that saw it."""

    life = "alert"
    id = AutoField(help_text="row number")
    name = CharField(help_text="name of the burst, for people")
    status = CharField(index=True, help_text="life of the alert, see docs/lives.md")
    reason = TextField(default="", help_text="why the alert has its status")
    night = CharField(index=True, help_text="local date at the preceding noon, YYYY-MM-DD")
    t0 = UtcDateTimeField(help_text="instant of the burst")
    ra_deg = FloatField(help_text="best ICRS right ascension, degrees")
    dec_deg = FloatField(help_text="best ICRS declination, degrees")
    error_deg = FloatField(help_text="radius of the position's 90 % error circle, degrees")
    strategy = ForeignKeyField(Strategy, null=True, on_delete="RESTRICT", help_text="the strategy's version it keeps")
    times = JsonField(
        default=dict,
        help_text="instants: t0, sent, received, stored, decided, slew_commanded, settled, first_shutter, first_result",
    )
    created_at = UtcDateTimeField(help_text="instant at which the alert was opened")

    class Meta:
        """What no row may break."""

        constraints: ClassVar = [
            one_of("alert", "status", statuses("alert")),
            within("alert", "error_deg", "error_deg BETWEEN 0 AND 180"),
            *position("alert"),
        ]


class Trigger(Row):
    """A mission's own number for a burst; several may belong to one alert."""

    id = AutoField(help_text="row number")
    mission = CharField(help_text="the mission or instrument that numbers")
    identifier = CharField(help_text="the mission's number, normalised")
    alert = ForeignKeyField(Alert, null=True, on_delete="RESTRICT", help_text="the alert it belongs to, if any")
    t0 = UtcDateTimeField(null=True, help_text="the mission's own instant of the burst")
    created_at = UtcDateTimeField(help_text="instant of its first notice's arrival")

    class Meta:
        """What no row may break."""

        indexes: ClassVar = [(("mission", "identifier"), True)]


class Notice(Row):
    """One notice as it came, and what was made of it. It is stored before it is acknowledged and before it is read."""

    id = AutoField(help_text="row number")
    ivorn = CharField(max_length=1000, help_text="the notice's own identifier")
    content_sha256 = CharField(max_length=64, help_text="digest of the raw bytes, 64 hexadecimal digits")
    raw_bytes = BlobField(column_name="raw", help_text="the bytes as they came")
    transport = CharField(help_text="the source they came by")
    stream = CharField(default="", index=True, help_text="the kind of notice stream, as told by the notice")
    received_at = UtcDateTimeField(index=True, help_text="instant of the arrival")
    sent_at = UtcDateTimeField(null=True, help_text="instant at which its author wrote it")
    kind = CharField(default="", help_text="what it says: initial, update, retraction, test …")
    mission = CharField(default="", help_text="the mission that numbers the trigger")
    identifier = CharField(default="", help_text="the mission's number of the trigger, normalised")
    trigger_name = CharField(default="", help_text="the trigger's name, for people")
    t0 = UtcDateTimeField(null=True, help_text="instant of the burst, as told")
    ra_deg = FloatField(null=True, help_text="ICRS right ascension as told, degrees")
    dec_deg = FloatField(null=True, help_text="ICRS declination as told, degrees")
    error_deg = FloatField(null=True, help_text="radius of the error circle as told, degrees")
    error_meaning = CharField(default="", help_text="what the radius means: confidence, statistical only …")
    significance = FloatField(null=True, help_text="the stream's own measure of significance")
    retraction = BooleanField(default=False, help_text="whether it takes an earlier notice back")
    test = BooleanField(default=False, help_text="whether it is a test")
    verdict = CharField(default="PENDING", help_text="PENDING, ACCEPTED, REJECTED or QUARANTINED (unreadable)")
    reason = TextField(default="", help_text="why the verdict")
    decided_at = UtcDateTimeField(null=True, help_text="instant of the verdict")
    alert = ForeignKeyField(Alert, null=True, on_delete="RESTRICT", help_text="the alert it belongs to, if any")

    class Meta:
        """What no row may break."""

        indexes: ClassVar = [(("ivorn", "content_sha256"), True), (("mission", "identifier"), False)]
        constraints: ClassVar = [
            one_of("notice", "verdict", VERDICTS),
            Check("LENGTH(content_sha256) = 64", "notice_content_sha256_length"),
            within("notice", "error_deg", "error_deg BETWEEN 0 AND 180"),
            Check("verdict = 'PENDING' OR reason <> ''", "notice_verdict_has_reason"),
            *position("notice"),
        ]
