# ruff: noqa: N999 - the number orders the steps
"""People, strategies, alerts, triggers and notices.

Frozen copies of the models as they were; `pyros.store.models` may go on, this file may not.
"""

from __future__ import annotations

from typing import Any, ClassVar

from peewee import (
    AutoField,
    BlobField,
    BooleanField,
    CharField,
    Check,
    FloatField,
    ForeignKeyField,
    IntegerField,
    Model,
    SchemaManager,
    TextField,
    fn,
)


class _Frozen(Model):
    Meta: ClassVar[Any] = type("Meta", (), {"legacy_table_names": False})


class _User(_Frozen):
    id = AutoField()
    name = CharField(unique=True)
    email = CharField()
    role = CharField()
    status = CharField()
    status_reason = TextField()
    validated_by = CharField(null=True)
    password_hash = TextField()
    session_epoch = IntegerField()
    created_at = TextField()

    class Meta:
        table_name = "user"
        constraints: ClassVar = [
            Check("role IN ('admin', 'operator', 'observer', 'commission')", "user_role_known"),
            Check("status IN ('PENDING', 'VALIDATED', 'REFUSED', 'DEACTIVATED')", "user_status_known"),
        ]


class _Programme(_Frozen):
    id = AutoField()
    name = CharField(unique=True)
    title = TextField()
    leader = ForeignKeyField(_User, column_name="leader_id", on_delete="RESTRICT", null=True)
    priority = IntegerField()
    active = BooleanField()

    class Meta:
        table_name = "programme"
        constraints: ClassVar = [
            Check("priority BETWEEN 1 AND 100", "programme_priority_range"),
        ]


class _Strategy(_Frozen):
    id = AutoField()
    name = CharField()
    version = IntegerField()
    text = TextField()
    active = BooleanField()
    created_at = TextField()
    created_by = CharField()

    class Meta:
        table_name = "strategy"
        indexes: ClassVar = [(("name", "version"), True)]
        constraints: ClassVar = [
            Check("version >= 1", "strategy_version_range"),
        ]


class _Alert(_Frozen):
    id = AutoField()
    name = CharField()
    status = CharField(index=True)
    reason = TextField()
    night = CharField(index=True)
    t0 = TextField()
    ra_deg = FloatField()
    dec_deg = FloatField()
    error_deg = FloatField()
    strategy = ForeignKeyField(_Strategy, column_name="strategy_id", on_delete="RESTRICT", null=True)
    times = TextField()
    created_at = TextField()

    class Meta:
        table_name = "alert"
        constraints: ClassVar = [
            Check("status IN ('ACTIVE', 'HELD', 'DONE', 'EXPIRED', 'CANCELLED', 'RETRACTED')", "alert_status_known"),
            Check("error_deg BETWEEN 0 AND 180", "alert_error_deg_range"),
            Check("ra_deg >= 0 AND ra_deg < 360", "alert_ra_deg_range"),
            Check("dec_deg BETWEEN -90 AND 90", "alert_dec_deg_range"),
            Check("(ra_deg IS NULL) = (dec_deg IS NULL)", "alert_position_whole"),
        ]


class _Trigger(_Frozen):
    id = AutoField()
    mission = CharField()
    identifier = CharField()
    alert = ForeignKeyField(_Alert, column_name="alert_id", on_delete="RESTRICT", null=True)
    t0 = TextField(null=True)
    created_at = TextField()

    class Meta:
        table_name = "trigger"
        indexes: ClassVar = [(("mission", "identifier"), True)]


class _Notice(_Frozen):
    id = AutoField()
    ivorn = CharField(max_length=1000)
    content_sha256 = CharField(max_length=64)
    raw_bytes = BlobField(column_name="raw")
    transport = CharField()
    stream = CharField(index=True)
    received_at = TextField(index=True)
    sent_at = TextField(null=True)
    kind = CharField()
    mission = CharField()
    identifier = CharField()
    trigger_name = CharField()
    t0 = TextField(null=True)
    ra_deg = FloatField(null=True)
    dec_deg = FloatField(null=True)
    error_deg = FloatField(null=True)
    error_meaning = CharField()
    significance = FloatField(null=True)
    retraction = BooleanField()
    test = BooleanField()
    verdict = CharField()
    reason = TextField()
    decided_at = TextField(null=True)
    alert = ForeignKeyField(_Alert, column_name="alert_id", on_delete="RESTRICT", null=True)

    class Meta:
        table_name = "notice"
        indexes: ClassVar = [(("ivorn", "content_sha256"), True), (("mission", "identifier"), False)]
        constraints: ClassVar = [
            Check("verdict IN ('PENDING', 'ACCEPTED', 'REJECTED', 'QUARANTINED')", "notice_verdict_known"),
            Check("LENGTH(content_sha256) = 64", "notice_content_sha256_length"),
            Check("error_deg BETWEEN 0 AND 180", "notice_error_deg_range"),
            Check("verdict = 'PENDING' OR reason <> ''", "notice_verdict_has_reason"),
            Check("ra_deg >= 0 AND ra_deg < 360", "notice_ra_deg_range"),
            Check("dec_deg BETWEEN -90 AND 90", "notice_dec_deg_range"),
            Check("(ra_deg IS NULL) = (dec_deg IS NULL)", "notice_position_whole"),
        ]


_User.add_index(_User.index(fn.LOWER(_User.email), unique=True, name="user_email_any_case"))


def up(_migrator: Any, db: Any) -> None:
    """Make the tables."""
    for model in (_User, _Programme, _Strategy, _Alert, _Trigger, _Notice):
        SchemaManager(model, database=db).create_all(safe=False)


def down(_migrator: Any, db: Any) -> None:
    """Drop the tables, and with them what they hold."""
    for model in (_Notice, _Trigger, _Alert, _Strategy, _Programme, _User):
        SchemaManager(model, database=db).drop_table()
