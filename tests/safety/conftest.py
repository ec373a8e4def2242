"""Readings of a PLC for the tests of pure functions, and the scene of those that need a whole chain."""

from datetime import UTC, datetime

import pytest
from scene import Scene

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


@pytest.fixture
def scene(tmp_path):
    """An observatory that observes, an hour into the night."""
    with Scene(tmp_path) as scene:
        scene.open_up()
        yield scene
