"""The judge's own rules: each fires when what keeps it is gone, and is silent while that is there."""

from __future__ import annotations

import pytest
from chaos_judge import OBEYED_S, causeless, disobeyed
from hill import Hill

CLOSE = 1


@pytest.mark.parametrize(("obeys", "found"), [(True, 0), (False, 1)])
def test_a_dome_that_stays_open_under_an_acknowledged_lockdown_is_told_once(obeys, found):
    hill = Hill()
    orders = [(hill.world.unix_s(), "lockdown eve lightning")]
    if obeys:
        hill.plc.pulse(CLOSE)
    hill.run(OBEYED_S + 60)
    told = disobeyed(hill.observer, orders)
    assert len(told) == found
    assert all(line.endswith("dome open against an order of people") for line in told)


def test_a_dome_that_is_open_again_after_the_release_disobeys_nobody():
    hill = Hill()
    begun_s = hill.world.unix_s()
    hill.plc.pulse(CLOSE)
    hill.run(100)
    hill.plc.pulse(0)
    hill.run(OBEYED_S)
    orders = [(begun_s, "lockdown eve lightning"), (begun_s + 100.0, "release eve")]
    assert disobeyed(hill.observer, orders) == []
    assert len(disobeyed(hill.observer, orders[:1])) == 1


def test_a_dome_that_was_stuck_is_not_said_to_disobey():
    hill = Hill()
    orders = [(hill.world.unix_s(), "stop test")]
    hill.world.faults.start("plc", "stuck", 900.0)
    hill.plc.pulse(CLOSE)
    hill.run(600)
    assert disobeyed(hill.observer, orders) == []


@pytest.mark.parametrize(("killed", "found"), [(True, 0), (False, 1)])
def test_a_process_that_dies_without_any_trouble_before_it_is_told_once(killed, found):
    hill = Hill()
    hill.run(60)
    hill.observer.process_died()
    died_s = hill.world.unix_s()
    hill.run(20)
    hill.observer.process_started()
    spoiled = [(died_s, died_s + 1.0)] if killed else [(died_s + 3600.0, died_s + 3700.0)]
    told = causeless(hill.observer, spoiled)
    assert len(told) == found
    assert all(line.endswith("the process died without a cause") for line in told)
