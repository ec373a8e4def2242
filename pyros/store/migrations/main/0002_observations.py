# ruff: noqa: N999 - the number orders the steps
"""Requests with their sequences, nights, schedules, quota and images.

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


class _User(_Frozen):
    id = AutoField()

    class Meta:
        table_name = "user"


class _Programme(_Frozen):
    id = AutoField()

    class Meta:
        table_name = "programme"


class _Alert(_Frozen):
    id = AutoField()

    class Meta:
        table_name = "alert"


class _Request(_Frozen):
    id = AutoField()
    name = CharField()
    kind = CharField()
    status = CharField(index=True)
    reason = TextField()
    user = ForeignKeyField(_User, column_name="user_id", on_delete="RESTRICT", null=True)
    programme = ForeignKeyField(_Programme, column_name="programme_id", on_delete="RESTRICT", null=True)
    alert = ForeignKeyField(_Alert, column_name="alert_id", on_delete="RESTRICT", null=True)
    created_at = TextField()

    class Meta:
        table_name = "request"
        constraints: ClassVar = [
            Check("kind IN ('routine', 'alert', 'calibration')", "request_kind_known"),
            Check(
                "status IN ('DRAFT', 'SUBMITTED', 'ACCEPTED', 'REJECTED', 'HELD', 'EXECUTED', 'EXPIRED', 'CANCELLED')",
                "request_status_known",
            ),
            Check("kind <> 'routine' OR user_id IS NOT NULL", "request_routine_has_user"),
            Check("(kind = 'alert') = (alert_id IS NOT NULL)", "request_alert_has_alert"),
        ]


class _Sequence(_Frozen):
    id = AutoField()
    request = ForeignKeyField(_Request, column_name="request_id", on_delete="RESTRICT")
    name = CharField()
    kind = CharField()
    status = CharField(index=True)
    reason = TextField()
    target_name = CharField()
    ra_deg = FloatField(null=True)
    dec_deg = FloatField(null=True)
    priority = IntegerField()
    duration_s = FloatField()
    overhead_s = FloatField()
    earliest = TextField(null=True)
    latest = TextField(null=True)
    t_preferred = TextField(null=True)
    delta_left_s = FloatField()
    delta_right_s = FloatField()
    min_altitude_deg = FloatField()
    moon_separation_deg = FloatField()
    started_at = TextField(null=True)
    ended_at = TextField(null=True)
    exposed_s = FloatField()
    created_at = TextField()

    class Meta:
        table_name = "sequence"
        constraints: ClassVar = [
            Check("kind IN ('routine', 'alert', 'calibration')", "sequence_kind_known"),
            Check(
                "status IN ('DRAFT', 'COMPLETE', 'OBSERVABLE', 'PLANNED', 'EXECUTING', 'EXECUTED', 'ABORTED', "
                "'INTERRUPTED', 'CANCELLED', 'EXPIRED', 'REJECTED', 'UNPLANNABLE')",
                "sequence_status_known",
            ),
            Check("priority BETWEEN 1 AND 100", "sequence_priority_range"),
            Check("duration_s > 0", "sequence_duration_s_range"),
            Check("overhead_s >= 0", "sequence_overhead_s_range"),
            Check("delta_left_s >= 0", "sequence_delta_left_s_range"),
            Check("delta_right_s >= 0", "sequence_delta_right_s_range"),
            Check("min_altitude_deg BETWEEN 0 AND 90", "sequence_min_altitude_deg_range"),
            Check("moon_separation_deg BETWEEN 0 AND 180", "sequence_moon_separation_deg_range"),
            Check("exposed_s >= 0", "sequence_exposed_s_range"),
            Check("latest >= earliest", "sequence_window_order"),
            Check("kind = 'calibration' OR ra_deg IS NOT NULL", "sequence_has_target"),
            Check("ra_deg >= 0 AND ra_deg < 360", "sequence_ra_deg_range"),
            Check("dec_deg BETWEEN -90 AND 90", "sequence_dec_deg_range"),
            Check("(ra_deg IS NULL) = (dec_deg IS NULL)", "sequence_position_whole"),
        ]


class _Album(_Frozen):
    id = AutoField()
    sequence = ForeignKeyField(_Sequence, column_name="sequence_id", on_delete="RESTRICT")
    camera = CharField()
    status = CharField()
    reason = TextField()

    class Meta:
        table_name = "album"
        indexes: ClassVar = [(("sequence", "camera"), True)]
        constraints: ClassVar = [
            Check(
                "status IN ('WAITING', 'EXECUTING', 'EXECUTED', 'ABORTED', 'FAILED', 'CANCELLED')",
                "album_status_known",
            ),
        ]


class _Plan(_Frozen):
    id = AutoField()
    album = ForeignKeyField(_Album, column_name="album_id", on_delete="RESTRICT")
    kind = CharField()
    filter_name = CharField(column_name="filter")
    exposure_s = FloatField()
    count = IntegerField()
    done_count = IntegerField()
    dither_arcsec = FloatField()
    status = CharField()
    reason = TextField()

    class Meta:
        table_name = "plan"
        constraints: ClassVar = [
            Check("kind IN ('light', 'dark', 'bias', 'flat')", "plan_kind_known"),
            Check(
                "status IN ('WAITING', 'EXECUTING', 'EXECUTED', 'ABORTED', 'FAILED', 'CANCELLED')",
                "plan_status_known",
            ),
            Check("exposure_s > 0 OR (kind = 'bias' AND exposure_s = 0)", "plan_exposure_s_range"),
            Check("dither_arcsec >= 0", "plan_dither_arcsec_range"),
            Check("count BETWEEN 1 AND 1000", "plan_count_range"),
            Check("done_count BETWEEN 0 AND count", "plan_done_count_range"),
        ]


class _Night(_Frozen):
    id = AutoField()
    date = CharField(unique=True)
    begins = TextField(null=True)
    ends = TextField(null=True)
    status = CharField()

    class Meta:
        table_name = "night"
        constraints: ClassVar = [
            Check("status IN ('COMING', 'BEGUN', 'ENDED')", "night_status_known"),
            Check("LENGTH(date) = 10", "night_date_length"),
            Check("ends > begins", "night_order"),
        ]


class _Schedule(_Frozen):
    id = AutoField()
    status = CharField()
    trigger = CharField()
    first_of_night = BooleanField()
    night = CharField(index=True)
    plan_start = TextField()
    plan_end = TextField()
    created_at = TextField()

    class Meta:
        table_name = "schedule"
        constraints: ClassVar = [
            Check("status IN ('DRAFT', 'CURRENT', 'SUPERSEDED', 'END_OF_NIGHT')", "schedule_status_known"),
            Check("plan_end >= plan_start", "schedule_order"),
            Check("LENGTH(night) = 10", "schedule_night_length"),
        ]


class _ScheduledSequence(_Frozen):
    id = AutoField()
    schedule = ForeignKeyField(_Schedule, column_name="schedule_id", on_delete="RESTRICT", index=False)
    sequence = ForeignKeyField(_Sequence, column_name="sequence_id", on_delete="RESTRICT")
    planned_start = TextField(null=True)
    planned_end = TextField(null=True)
    delta_tl_s = FloatField(null=True)
    delta_tr_s = FloatField(null=True)
    reject_code = CharField(null=True)
    reject_reason = TextField(null=True)

    class Meta:
        table_name = "scheduled_sequence"
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
            Check("delta_tl_s >= 0", "scheduled_sequence_delta_tl_s_range"),
            Check("delta_tr_s >= 0", "scheduled_sequence_delta_tr_s_range"),
        ]


class _QuotaEntry(_Frozen):
    id = AutoField()
    user = ForeignKeyField(_User, column_name="user_id", on_delete="RESTRICT")
    programme = ForeignKeyField(_Programme, column_name="programme_id", on_delete="RESTRICT", null=True)
    sequence = ForeignKeyField(_Sequence, column_name="sequence_id", on_delete="RESTRICT", null=True)
    kind = CharField()
    seconds = FloatField()
    reservation = ForeignKeyField("self", column_name="reservation_id", on_delete="RESTRICT", index=False, null=True)
    at = TextField()
    reason = TextField()

    class Meta:
        table_name = "quota_entry"
        indexes: ClassVar = [(("reservation", "kind"), True)]
        constraints: ClassVar = [
            Check("kind IN ('grant', 'reserve', 'debit', 'refund', 'expiry')", "quota_entry_kind_known"),
            Check("seconds > 0", "quota_entry_seconds_range"),
            Check("(kind IN ('debit', 'refund')) = (reservation_id IS NOT NULL)", "quota_entry_settles_reservation"),
            Check("kind NOT IN ('reserve', 'debit', 'refund') OR sequence_id IS NOT NULL", "quota_entry_has_sequence"),
        ]


class _Image(_Frozen):
    id = AutoField()
    file = CharField(max_length=1000, unique=True)
    preview = CharField(max_length=1000)
    plan = ForeignKeyField(_Plan, column_name="plan_id", on_delete="RESTRICT", null=True)
    sequence = ForeignKeyField(_Sequence, column_name="sequence_id", on_delete="RESTRICT", null=True)
    alert = ForeignKeyField(_Alert, column_name="alert_id", on_delete="RESTRICT", null=True)
    camera = CharField()
    filter_name = CharField(column_name="filter")
    kind = CharField()
    number = IntegerField()
    start = TextField(index=True)
    exposure_s = FloatField()
    partial = BooleanField()
    ra_deg = FloatField(null=True)
    dec_deg = FloatField(null=True)
    datasum = CharField()
    quality = TextField()

    class Meta:
        table_name = "image"
        constraints: ClassVar = [
            Check("kind IN ('light', 'dark', 'bias', 'flat')", "image_kind_known"),
            Check("exposure_s >= 0", "image_exposure_s_range"),
            Check("number >= 0", "image_number_range"),
            Check("file <> ''", "image_file_named"),
            Check("ra_deg >= 0 AND ra_deg < 360", "image_ra_deg_range"),
            Check("dec_deg BETWEEN -90 AND 90", "image_dec_deg_range"),
            Check("(ra_deg IS NULL) = (dec_deg IS NULL)", "image_position_whole"),
        ]


class _Detection(_Frozen):
    id = AutoField()
    image = ForeignKeyField(_Image, column_name="image_id", on_delete="RESTRICT")
    alert = ForeignKeyField(_Alert, column_name="alert_id", on_delete="RESTRICT", null=True)
    ra_deg = FloatField()
    dec_deg = FloatField()
    position_error_arcsec = FloatField(null=True)
    mag = FloatField(null=True)
    mag_err = FloatField(null=True)
    snr = FloatField()
    verdict = CharField()
    reason = TextField()

    class Meta:
        table_name = "detection"
        constraints: ClassVar = [
            Check("verdict IN ('candidate', 'confirmed', 'known', 'moving', 'artefact')", "detection_verdict_known"),
            Check("position_error_arcsec >= 0", "detection_position_error_arcsec_range"),
            Check("mag_err >= 0", "detection_mag_err_range"),
            Check("snr >= 0", "detection_snr_range"),
            Check("ra_deg >= 0 AND ra_deg < 360", "detection_ra_deg_range"),
            Check("dec_deg BETWEEN -90 AND 90", "detection_dec_deg_range"),
            Check("(ra_deg IS NULL) = (dec_deg IS NULL)", "detection_position_whole"),
        ]


_Schedule.add_index(
    _Schedule.index(_Schedule.status, unique=True, where=_Schedule.status == "CURRENT", name="schedule_one_current")
)


def up(_migrator: Any, db: Any) -> None:
    """Make the tables."""
    for model in (
        _Request,
        _Sequence,
        _Album,
        _Plan,
        _Night,
        _Schedule,
        _ScheduledSequence,
        _QuotaEntry,
        _Image,
        _Detection,
    ):
        SchemaManager(model, database=db).create_all(safe=False)


def down(_migrator: Any, db: Any) -> None:
    """Drop the tables, and with them what they hold."""
    for model in (
        _Detection,
        _Image,
        _QuotaEntry,
        _ScheduledSequence,
        _Schedule,
        _Night,
        _Plan,
        _Album,
        _Sequence,
        _Request,
    ):
        SchemaManager(model, database=db).drop_table()
