"""Readings of a PLC for the tests of pure functions."""

from datetime import UTC, datetime

import pytest

from pyros.hardware.interfaces import PlcReading

GOOD = dict.fromkeys(PlcReading.__struct_fields__) | {
    "read_at": datetime(2026, 11, 22, 5, tzinfo=UTC), "life_age_s": 0.0, "problems": (), "latch_reasons": (),
    "closed_switch": False, "open_switch": True, "opening": False, "closing": False, "local_key": False,
    "emergency_stop": False, "latch_set": False,
}  # fmt: skip


@pytest.fixture
def reading():
    """Make a reading of an open dome, with what is named changed."""
    return lambda **changes: PlcReading(**GOOD | changes)
