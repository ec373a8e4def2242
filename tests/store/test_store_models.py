"""Every table takes its rows and refuses what breaks a rule."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import peewee
import pytest
from conftest import AT, ROWS, insert, write
from hypothesis import given
from hypothesis import strategies as st

from pyros.messages.base import Refused
from pyros.messages.store import Change, Committed, GetRows
from pyros.store.history import rows
from pyros.store.models import MAIN_MODELS, TELEMETRY_MODELS, JsonField, UtcDateTimeField
from pyros.store.tables import TABLES

MODELS = [*MAIN_MODELS, *TELEMETRY_MODELS]

# Each CHECK by its name, and values that break it and no other: without the constraint the row would be taken.
BROKEN = {
    "user_role_known": {"role": "god"},
    "user_status_known": {"status": "ODD"},
    "programme_priority_range": {"priority": 101},
    "strategy_version_range": {"version": 0},
    "alert_status_known": {"status": "ODD"},
    "alert_error_deg_range": {"error_deg": -1.0},
    "alert_ra_deg_range": {"ra_deg": 360.0},
    "alert_dec_deg_range": {"dec_deg": 90.5},
    "notice_verdict_known": {"verdict": "ODD", "reason": "x"},
    "notice_content_sha256_length": {"content_sha256": "ab"},
    "notice_error_deg_range": {"error_deg": -8.0},
    "notice_verdict_has_reason": {"verdict": "REJECTED"},
    "notice_ra_deg_range": {"ra_deg": 370.0},
    "notice_dec_deg_range": {"dec_deg": -95.0},
    "notice_position_whole": {"ra_deg": None},
    "request_kind_known": {"kind": "odd"},
    "request_status_known": {"status": "ODD"},
    "request_routine_has_user": {"user_id": None},
    "request_alert_has_alert": {"alert_id": 1},
    "sequence_kind_known": {"kind": "odd"},
    "sequence_status_known": {"status": "ODD"},
    "sequence_priority_range": {"priority": 0},
    "sequence_duration_s_range": {"duration_s": -1.0},
    "sequence_overhead_s_range": {"overhead_s": -1.0},
    "sequence_delta_left_s_range": {"delta_left_s": -1.0},
    "sequence_delta_right_s_range": {"delta_right_s": -1.0},
    "sequence_min_altitude_deg_range": {"min_altitude_deg": 91.0},
    "sequence_moon_separation_deg_range": {"moon_separation_deg": 181.0},
    "sequence_exposed_s_range": {"exposed_s": -1.0},
    "sequence_window_order": {"latest": AT - timedelta(microseconds=1)},
    "sequence_has_target": {"ra_deg": None, "dec_deg": None},
    "sequence_ra_deg_range": {"ra_deg": -0.1},
    "sequence_dec_deg_range": {"dec_deg": 91.0},
    "sequence_position_whole": {"dec_deg": None},
    "album_status_known": {"status": "ODD"},
    "plan_kind_known": {"kind": "odd"},
    "plan_status_known": {"status": "ODD"},
    "plan_exposure_s_range": {"exposure_s": 0.0},
    "plan_dither_arcsec_range": {"dither_arcsec": -1.0},
    "plan_count_range": {"count": 0},
    "plan_done_count_range": {"done_count": 3},
    "night_status_known": {"status": "ODD"},
    "night_date_length": {"date": "22.11."},
    "night_order": {"ends": AT},
    "schedule_status_known": {"status": "ODD"},
    "schedule_order": {"plan_end": AT - timedelta(seconds=1)},
    "schedule_night_length": {"night": "today"},
    "scheduled_sequence_times_whole": {"planned_end": None},
    "scheduled_sequence_placed_or_rejected": {"reject_code": "MOON", "reject_reason": "too near"},
    "scheduled_sequence_reason_given": {
        "planned_start": None,
        "planned_end": None,
        "delta_tl_s": None,
        "delta_tr_s": None,
        "reject_code": "MOON",
    },
    "scheduled_sequence_order": {"planned_end": AT},
    "scheduled_sequence_delta_tl_placed": {"delta_tl_s": None},
    "scheduled_sequence_delta_tr_placed": {"delta_tr_s": None},
    "scheduled_sequence_delta_tl_s_range": {"delta_tl_s": -1.0},
    "scheduled_sequence_delta_tr_s_range": {"delta_tr_s": -1.0},
    "quota_entry_kind_known": {"kind": "gift"},
    "quota_entry_seconds_range": {"seconds": 0.0},
    "quota_entry_settles_reservation": {"kind": "refund"},
    "quota_entry_has_sequence": {"sequence_id": None},
    "image_kind_known": {"kind": "odd"},
    "image_exposure_s_range": {"exposure_s": -1.0},
    "image_number_range": {"number": -1},
    "image_file_named": {"file": ""},
    "image_ra_deg_range": {"ra_deg": 360.0},
    "image_dec_deg_range": {"dec_deg": -91.0},
    "image_position_whole": {"dec_deg": None},
    "detection_verdict_known": {"verdict": "odd"},
    "detection_position_error_arcsec_range": {"position_error_arcsec": -1.0},
    "detection_mag_err_range": {"mag_err": -1.0},
    "detection_snr_range": {"snr": -1.0},
    "detection_ra_deg_range": {"ra_deg": 360.0},
    "detection_dec_deg_range": {"dec_deg": 91.0},
    "device_kind_known": {"kind": "toaster"},
    "filter_slot_range": {"slot": 0},
    "filter_wavelength_nm_range": {"wavelength_nm": 0.0},
    "filter_thickness_mm_range": {"thickness_mm": -1.0},
    "outbox_status_known": {"status": "ODD"},
    "outbox_attempts_range": {"attempts": -1},
    "outbox_sent_has_instant": {"status": "SENT"},
    "log_entry_level_known": {"level": "LOUD"},
    "weather_sample_period_s_range": {"period_s": -1.0},
    "weather_sample_temperature_c_range": {"temperature_c": 300.0},
    "weather_sample_humidity_percent_range": {"humidity_percent": 100.5},
    "weather_sample_wind_m_s_range": {"wind_m_s": -0.1},
    "weather_sample_gust_m_s_range": {"gust_m_s": -0.1},
    "weather_sample_cloud_percent_range": {"cloud_percent": 101.0},
}

# A position that cannot be empty is whole by NOT NULL already.
IMPLIED = {"alert_position_whole", "detection_position_whole"}

# Rows that repeat only these columns of the example row.
UNIQUE = {
    "user.name": {"email": "b@example.org"},
    "user_email_any_case": {"name": "bob", "email": "EVE@EXAMPLE.ORG"},
    "programme.name": {},
    "strategy.name, strategy.version": {"text": "other"},
    "trigger.mission, trigger.identifier": {"alert_id": None},
    "notice.ivorn, notice.content_sha256": {"transport": "kafka"},
    "album.sequence_id, album.camera": {},
    "night.date": {},
    "schedule.status": {"night": "2026-11-22"},
    "scheduled_sequence.schedule_id, scheduled_sequence.sequence_id": {},
    "quota_entry.reservation_id, quota_entry.kind": {"kind": "refund", "reservation_id": 1, "seconds": 1.0},
    "image.file": {"camera": "nir"},
    "device.name": {},
    "filter.device_id, filter.slot": {"name": "g"},
    "filter.device_id, filter.name": {"slot": 2},
    "outbox.dedup_key": {"subject": "again"},
    "setting.key": {"value": 4},
}

MAY_BE_EMPTY = {
    "user": {"validated_by"},
    "programme": {"leader_id"},
    "alert": {"strategy_id"},
    "trigger": {"alert_id", "t0"},
    "notice": {"sent_at", "t0", "ra_deg", "dec_deg", "error_deg", "significance", "decided_at", "alert_id"},
    "request": {"user_id", "programme_id", "alert_id"},
    "sequence": {"ra_deg", "dec_deg", "earliest", "latest", "t_preferred", "started_at", "ended_at"},
    "night": {"begins", "ends"},
    "scheduled_sequence": {"planned_start", "planned_end", "delta_tl_s", "delta_tr_s", "reject_code", "reject_reason"},
    "quota_entry": {"programme_id", "sequence_id", "reservation_id"},
    "image": {"plan_id", "sequence_id", "alert_id", "ra_deg", "dec_deg"},
    "detection": {"alert_id", "position_error_arcsec", "mag", "mag_err"},
    "filter": {"wavelength_nm", "thickness_mm"},
    "outbox": {"next_attempt_at", "sent_at"},
    "audit": {"row_id", "before", "after"},
    "log_entry": {"detail"},
    "weather_sample": {
        "temperature_c",
        "dew_point_c",
        "humidity_percent",
        "pressure_hpa",
        "wind_m_s",
        "gust_m_s",
        "rain",
        "cloud_percent",
        "sky_temperature_c",
        "sky_brightness_mag",
        "seeing_arcsec",
    },
}

REFERENCES = {
    ("programme", "leader_id"), ("alert", "strategy_id"), ("trigger", "alert_id"), ("notice", "alert_id"),
    ("request", "user_id"), ("request", "programme_id"), ("request", "alert_id"), ("sequence", "request_id"),
    ("album", "sequence_id"), ("plan", "album_id"), ("scheduled_sequence", "schedule_id"),
    ("scheduled_sequence", "sequence_id"), ("quota_entry", "user_id"), ("quota_entry", "programme_id"),
    ("quota_entry", "sequence_id"), ("quota_entry", "reservation_id"), ("image", "plan_id"), ("image", "sequence_id"),
    ("image", "alert_id"), ("detection", "image_id"), ("detection", "alert_id"), ("filter", "device_id"),
}  # fmt: skip


def table_of(constraint):
    return max((name for name in ROWS if constraint.startswith((name + "_", name + "."))), key=len)


def raw_insert(store, table, values):
    """Insert past the archivist's own checks, so that the database alone decides; return its complaint."""
    plan = TABLES[table]
    ready = {name: default() if callable(default) else default for name, default in plan.defaults.items()}
    ready = {name: plan.to_db(name, value) for name, value in (ready | values).items()}
    columns = ", ".join(f'"{name}"' for name in ready)
    marks = ", ".join("?" * len(ready))
    try:
        store.database_of(table).execute_sql(
            f'INSERT INTO "{table}" ({columns}) VALUES ({marks})', list(ready.values())
        )
    except peewee.IntegrityError as error:
        return str(error)
    return "taken"


@pytest.mark.parametrize("name", BROKEN)
def test_the_database_itself_refuses_a_row_that_breaks_a_check(full, name):
    """PA-P2, SC-E1, SC-E2, SC-T6."""
    table = table_of(name)
    other = {"schedule": {"status": "DRAFT"}, "night": {"date": "2026-11-22"}}.get(table, {})
    assert raw_insert(full, table, ROWS[table] | other | BROKEN[name]) == f"CHECK constraint failed: {name}"


def test_every_check_of_the_schema_has_a_row_that_breaks_it(store):
    """PA-P2: a check that is deleted, or added without a row here, fails this test."""
    databases = (store.main, store.telemetry)
    schema = " ".join(sql for db in databases for (sql,) in db.execute_sql("SELECT sql FROM sqlite_master") if sql)
    assert set(re.findall(r'CONSTRAINT "(\w+)" CHECK', schema)) == BROKEN.keys() | IMPLIED


@pytest.mark.parametrize("columns", UNIQUE)
def test_the_database_itself_refuses_a_second_row_with_the_same_unique_columns(full, columns):
    """PA-P2, US-P1a."""
    table = table_of(columns)
    values = ROWS[table] | UNIQUE[columns]
    if table == "quota_entry":
        assert raw_insert(full, table, values) == "taken"
    complaint = raw_insert(full, table, values)
    assert complaint in {f"UNIQUE constraint failed: {columns}", f"UNIQUE constraint failed: index '{columns}'"}


def test_every_unique_index_has_a_row_that_breaks_it(store):
    """PA-P2."""
    count = sum(
        1
        for model in MODELS
        for index in store.database_of(model._meta.table_name).get_indexes(model._meta.table_name)
        if index.unique
    )
    assert count == len(UNIQUE)


@pytest.mark.parametrize("table", ROWS)
def test_only_the_columns_meant_to_be_may_be_empty(full, table):
    """PA-P2."""
    plan = TABLES[table]
    required = plan.columns.keys() - {plan.key} - MAY_BE_EMPTY.get(table, set())
    for column in sorted(required):
        assert raw_insert(full, table, ROWS[table] | {column: None}) == f"NOT NULL constraint failed: {table}.{column}"
    described = full.database_of(table).get_columns(table)
    assert {column.name for column in described if column.null} == MAY_BE_EMPTY.get(table, set())


def test_every_reference_is_enforced_and_indexed(full):
    """PA-P1: foreign keys are enforced."""
    found = {(t, key.column) for t in ROWS for key in full.database_of(t).get_foreign_keys(t)}
    assert found == REFERENCES
    for table, column in sorted(REFERENCES):
        leading = {index.columns[0] for index in full.main.get_indexes(table)}
        assert column in leading, f"{table}.{column} has no index"
        answer = write(full, Change(table=table, key=1, values={column: 999}))
        other = TABLES[table].columns[column].refers_to
        assert isinstance(answer, Refused)
        text = (
            "quota_entry_settles_reservation"
            if column == "reservation_id"
            else f"{column} is 999, and {other} has no such row"
        )
        assert text in answer.reason or "request_alert_has_alert" in answer.reason


NEW_VALUES = {
    "user": {"name": "bob"},
    "trigger": {"identifier": "5678"},
    "album": {"camera": "nir"},
    "night": {"status": "ENDED"},
    "scheduled_sequence": {"delta_tl_s": 1.0},
    "image": {"preview": "a/1.jpg"},
    "detection": {"verdict": "artefact"},
    "device": {"url": "alpaca://host/camera/0"},
    "outbox": {"last_error": "no route"},
    "audit": {"who": "bob"},
    "log_entry": {"detail": {"alert": 1}},
    "setting": {"value": {"by": "eve"}},
    "device_sample": {"values": {}},
    "weather_sample": {"rain": True},
    "programme": {"title": "GRB"},
    "strategy": {"active": False},
    "schedule": {"trigger": "alert"},
    "filter": {"focus_offset_um": -3.0},
}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_each_model_is_created_read_updated_and_deleted(store, model):
    """PA-P2."""
    table = TABLES[model._meta.table_name]
    for name in ROWS:  # what the row refers to
        assert isinstance(insert(store, name), Committed)
        if name == table.name:
            break
    database = store.database_of(table.name)

    def stored():
        (row,) = model.select().bind(database).dicts()
        return {field.column_name: row[field.name] for field in model._meta.sorted_fields}

    assert stored().items() >= ROWS[table.name].items()
    changes = NEW_VALUES.get(table.name, {"reason": "changed"})
    model.update({table.columns[name].field: value for name, value in changes.items()}).bind(database).execute(database)
    assert stored().items() >= changes.items()
    assert model.delete().bind(database).execute(database) == 1
    assert not list(model.select().bind(database))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_column_says_what_it_is(model):
    """SC-N2."""
    assert [field.name for field in model._meta.sorted_fields if not field.help_text] == []


def test_a_user_with_requests_cannot_be_deleted(full):
    """US-P1b: history keeps its references."""
    with pytest.raises(peewee.IntegrityError):
        full.main.execute_sql('DELETE FROM "user"')


@given(st.datetimes(timezones=st.timezones()))
def test_an_instant_comes_back_to_the_microsecond_in_utc(instant):
    """SC-E2: times exact to 1 ms."""
    field = UtcDateTimeField()
    try:
        text = field.db_value(instant)
    except OverflowError:  # within a day of the calendar's ends
        return
    assert len(text) == 27
    assert text.endswith("Z")
    assert field.python_value(text) == instant.astimezone(UTC)
    assert field.db_value(text) == text


@given(
    st.lists(st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(timezone(timedelta(hours=5)))), min_size=2)
)
def test_the_order_of_stored_instants_is_the_order_of_time(instants):
    field = UtcDateTimeField()
    assert [field.db_value(one) for one in sorted(instants)] == sorted(field.db_value(one) for one in instants)


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), "2026-01-01T00:00:00", "soon", "2026-01-01"])
def test_an_instant_without_time_zone_is_refused(full, value):
    answer = insert(full, "log_entry", at=value)
    assert isinstance(answer, Refused)
    assert "log_entry.at is" in answer.reason


def test_a_sequence_keeps_its_fields_over_the_round_trip(full, reader):
    """SC-E2."""
    (row,) = rows(reader, GetRows(table="sequence")).rows
    assert {name: row[name] for name in ROWS["sequence"]} == ROWS["sequence"]


def test_json_is_stored_the_same_whatever_the_order_of_its_keys():
    field = JsonField()
    assert field.db_value({"b": 1, "a": {"d": AT, "c": None}}) == field.db_value({"a": {"c": None, "d": AT}, "b": 1})
