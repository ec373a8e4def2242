"""A store of one's own, and one valid row of every table to start from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pyros.messages.store import Commit, Committed, Insert
from pyros.store.commit import apply
from pyros.store.database import open_reader, open_store
from pyros.store.migrations import migrate

AT = datetime(2026, 11, 22, 3, 4, 5, 678901, tzinfo=UTC)

ROWS = {
    "user": {
        "name": "eve",
        "email": "Eve@example.org",
        "role": "observer",
        "status": "VALIDATED",
        "password_hash": "$argon2$",
        "created_at": AT,
    },
    "programme": {"name": "afterglows", "leader_id": 1},
    "strategy": {"name": "fast", "version": 1, "text": "", "created_at": AT},
    "alert": {
        "name": "GRB 261122A",
        "status": "ACTIVE",
        "night": "2026-11-21",
        "t0": AT,
        "ra_deg": 1.0,
        "dec_deg": 2.0,
        "error_deg": 0.1,
        "strategy_id": 1,
        "created_at": AT,
    },
    "trigger": {"mission": "swift", "identifier": "1234", "alert_id": 1, "created_at": AT},
    "notice": {
        "ivorn": "ivo://a/b#c",
        "content_sha256": "0" * 64,
        "raw": b"<\x00>",
        "transport": "vtp",
        "received_at": AT,
        "mission": "swift",
        "identifier": "1234",
        "ra_deg": 1.0,
        "dec_deg": 2.0,
        "error_deg": 0.1,
        "alert_id": 1,
    },
    "request": {
        "name": "r",
        "kind": "routine",
        "status": "ACCEPTED",
        "user_id": 1,
        "programme_id": 1,
        "created_at": AT,
    },
    "sequence": {
        "request_id": 1,
        "name": "s",
        "kind": "routine",
        "status": "OBSERVABLE",
        "target_name": "M31",
        "ra_deg": 10.0,
        "dec_deg": 41.0,
        "priority": 50,
        "duration_s": 60.0,
        "earliest": AT,
        "latest": AT + timedelta(hours=1),
        "min_altitude_deg": 25.0,
        "created_at": AT,
    },
    "album": {"sequence_id": 1, "camera": "vis", "status": "WAITING"},
    "plan": {"album_id": 1, "kind": "light", "filter": "r", "exposure_s": 30.0, "count": 2, "status": "WAITING"},
    "night": {"date": "2026-11-21", "begins": AT, "ends": AT + timedelta(hours=9), "status": "BEGUN"},
    "schedule": {
        "status": "CURRENT",
        "trigger": "night start",
        "first_of_night": True,
        "night": "2026-11-21",
        "plan_start": AT,
        "plan_end": AT + timedelta(hours=9),
        "created_at": AT,
    },
    "scheduled_sequence": {
        "schedule_id": 1,
        "sequence_id": 1,
        "planned_start": AT,
        "planned_end": AT + timedelta(minutes=1),
        "delta_tl_s": 0.0,
        "delta_tr_s": 5.0,
    },
    "quota_entry": {"user_id": 1, "programme_id": 1, "sequence_id": 1, "kind": "reserve", "seconds": 60.0, "at": AT},
    "image": {
        "file": "a/1.fits",
        "plan_id": 1,
        "sequence_id": 1,
        "alert_id": 1,
        "camera": "vis",
        "kind": "light",
        "start": AT,
        "exposure_s": 30.0,
        "ra_deg": 10.0,
        "dec_deg": 41.0,
        "datasum": "123",
    },
    "detection": {
        "image_id": 1,
        "alert_id": 1,
        "ra_deg": 10.0,
        "dec_deg": 41.0,
        "position_error_arcsec": 0.3,
        "mag": 18.0,
        "mag_err": 0.1,
        "snr": 10.0,
    },
    "device": {"name": "filter_wheel:vis", "kind": "filter_wheel"},
    "filter": {"device_id": 1, "name": "r", "slot": 1, "wavelength_nm": 620.0, "thickness_mm": 5.0},
    "outbox": {
        "destination": "IC",
        "subject": "planning",
        "dedup_key": "planning 1",
        "status": "PENDING",
        "payload": {"id": 1},
        "created_at": AT,
    },
    "audit": {"at": AT, "who": "eve", "action": "edit"},
    "log_entry": {"at": AT, "level": "INFO", "actor": "monitor", "text": "hello"},
    "setting": {"key": "boot", "value": 3, "changed_at": AT, "changed_by": "supervisor"},
    "device_sample": {"device": "telescope", "at": AT, "values": {"ra_deg": 1.5}},
    "weather_sample": {
        "station": "mast",
        "at": AT,
        "temperature_c": 5.0,
        "humidity_percent": 40.0,
        "wind_m_s": 3.0,
        "gust_m_s": 5.0,
        "cloud_percent": 0.0,
    },
}


def write(store, *writes):
    """Apply one commit and return its answer."""
    return apply(store, [Commit(writes=list(writes), reason="test")])[0]


def insert(store, table, **changes):
    """Insert the table's example row with changes and return the answer."""
    return write(store, Insert(table=table, values=ROWS[table] | changes))


@pytest.fixture
def store(tmp_path):
    """An empty store with its tables."""
    with open_store(tmp_path / "store", "off") as opened:
        migrate(opened)
        yield opened


@pytest.fixture
def full(store):
    """A store with one row in every table."""
    for table in ROWS:
        assert isinstance(insert(store, table), Committed), table
    return store


@pytest.fixture
def reader(store):
    """Read-only connections to the store."""
    with open_reader(store.folder) as opened:
        yield opened
