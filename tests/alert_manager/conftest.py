"""The fixtures: notices in each stream's form, with values of our own and an expected outcome (.json) beside each."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pyros.actors.alert_manager.notice import Notice
from pyros.actors.alert_manager.streams import interpret
from pyros.actors.alert_manager.voevent import read

NOTICES = Path(__file__).parent / "notices"


@pytest.fixture
def raw() -> Callable[[str], bytes]:
    return lambda name: (NOTICES / f"{name}.xml").read_bytes()


@pytest.fixture
def notice(raw) -> Callable[[str], Notice]:
    return lambda name: interpret(read(raw(name)))
