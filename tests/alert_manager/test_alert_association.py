from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.actors.alert_manager.association import (
    AssociationRules,
    KnownAlert,
    associate,
    better_position,
    known_alert,
    moved_deg,
)
from pyros.actors.alert_manager.notice import NINETY, ONE_SIGMA, Notice, Position, position_of

T0 = datetime(2026, 11, 22, 5, 12, 30, tzinfo=UTC)


def swift(lag_s=0.0, away_deg=0.0, error_deg=0.05, trigger="1"):
    return Notice(
        ivorn=f"ivo://nasa.gsfc.gcn/SWIFT#{trigger}", stream="nasa.gsfc.gcn/SWIFT", role="observation", kind="initial",
        mission="Swift", instrument="BAT", trigger=trigger, t0=T0 + timedelta(seconds=lag_s), ra_deg=120.0,
        dec_deg=20.0 + away_deg, error_deg=error_deg, error_meaning=NINETY, position_trusted=True,
    )  # fmt: skip


def gbm(error_deg=4.0, trigger="800000000", **changes):
    changes = {"mission": "Fermi", "error_meaning": ONE_SIGMA, "systematic_deg": 3.7, **changes}
    return msgspec.structs.replace(swift(error_deg=error_deg, trigger=trigger), **changes)


def one(*notices):
    return [known_alert(7, notices)]


@pytest.mark.parametrize(
    ("lag_s", "away_deg", "rule"),
    [
        (9, 59, 2), (9, 61, 5), (0, 90, 5), (-9, 30, 2),
        (11, 16, 3), (11, 17, 5), (179, 16, 3), (-179, 16, 3),
        (181, 16, 4), (7199, 16, 4), (7201, 16, 5), (7199, 17, 5),
    ],
)  # fmt: skip
def test_a_burst_seen_by_two_satellites_is_one_alert_within_these_limits(lag_s, away_deg, rule):
    """AL-T9: three sigma of 4° and 3.7° are 16.3°."""
    found = associate(swift(lag_s, away_deg), one(gbm()))
    assert (found.rule, found.alert_id) == (rule, None if rule == 5 else 7)
    assert found.explanation


def test_thresholds_come_from_the_rules():
    assert associate(swift(0, 90), one(gbm()), AssociationRules(incompatible_deg=100)).rule == 2
    assert associate(swift(300, 1), one(gbm()), AssociationRules(far_s=200)).rule == 5


def test_hours_apart_only_bursts_with_small_circles_are_joined():
    assert associate(swift(3600, 1), one(gbm(error_deg=5.5))).rule == 5
    assert associate(swift(3600, 1), one(gbm()), burst=False).rule == 5
    assert associate(swift(3600, 1), [known_alert(7, [gbm()], burst=False)]).rule == 5


def test_two_precise_positions_are_joined_over_a_day():
    assert associate(swift(80_000, 0.1, trigger="2"), one(swift())).rule == 4
    assert associate(swift(90_000, 0.1, trigger="2"), one(swift())).rule == 5
    assert associate(swift(80_000, 0.5, trigger="2"), one(swift())).rule == 5


def test_the_same_trigger_is_the_same_burst_wherever_and_whenever_it_is_said_to_be():
    assert associate(swift(1e6, 60), one(swift())).rule == 1


def test_the_same_number_of_another_mission_is_another_trigger():
    assert associate(gbm(trigger="1", t0=T0 + timedelta(days=2)), one(swift(trigger="1"))).rule == 5


def test_positions_that_are_not_trusted_neither_join_nor_part():
    unlocated = gbm(position_trusted=False, dec_deg=-60.0)
    assert associate(unlocated, one(swift())).rule == 2
    assert associate(gbm(position_trusted=False, t0=T0 + timedelta(seconds=60)), one(swift())).rule == 5


def test_a_citation_joins_when_the_number_does_not():
    citing = gbm(citations=(swift().ivorn,), t0=T0 + timedelta(days=1))
    assert associate(citing, one(swift())).rule == 1


def test_a_retraction_ends_its_own_trigger_only():
    """AL-T8."""
    assert associate(gbm(retraction=True), one(swift())).alert_id is None
    assert associate(msgspec.structs.replace(swift(), retraction=True), one(swift())).alert_id == 7


def test_an_exposure_without_a_burst_time_joins_by_number_only():
    xrt = msgspec.structs.replace(swift(), t0=None)
    assert associate(xrt, one(swift())).alert_id == 7
    assert associate(msgspec.structs.replace(xrt, trigger="2"), one(swift())).alert_id is None


def test_of_two_alerts_that_match_the_stronger_rule_counts_then_the_nearer_time():
    alerts = [
        known_alert(1, [gbm(t0=T0 - timedelta(seconds=3000))]),
        known_alert(2, [gbm(t0=T0 + timedelta(seconds=90))]),
    ]
    assert associate(swift(), alerts).alert_id == associate(swift(), alerts[::-1]).alert_id == 2


def test_the_samples_of_one_burst_make_one_alert(notice):
    """AL-T9: five notices of three satellites."""
    seen = [notice("fermi_gbm_flt")]
    for name in ("swift_bat", "svom_grm", "svom_eclairs", "swift_xrt", "fermi_gbm_fin", "svom_mxt", "svom_retraction"):
        assert associate(notice(name), [known_alert(7, seen)]).alert_id == 7, name
        seen.append(notice(name))
    whole = known_alert(7, seen)
    assert whole.triggers == (("Fermi", "817017154"), ("Swift", "1290001"), ("SVOM", "sb26112201"))
    assert whole.position == position_of(notice("swift_xrt"))
    for name in ("swift_bat_catalogue", "svom_catalogue", "swift_bat_lost_lock"):
        assert associate(notice(name), [whole]).alert_id is None, name


circles = st.builds(
    Position,
    ra_deg=st.floats(0, 359.9), dec_deg=st.floats(-90, 90), error_deg=st.floats(0.001, 40),
    error_meaning=st.sampled_from([NINETY, ONE_SIGMA]), systematic_deg=st.sampled_from([0.0, 3.7]),
)  # fmt: skip


@given(circles, circles)
def test_a_position_is_replaced_only_by_a_better_one(old, new):
    """AL-T8."""
    assert better_position(None, new)
    assert not better_position(old, None)
    assert not (better_position(old, new) and better_position(new, old))
    assert not better_position(old, old)
    assert moved_deg(old, new) == pytest.approx(moved_deg(new, old), abs=1e-9)
    assert 0 <= moved_deg(old, new) <= 180


@given(st.floats(-8000, 8000), st.floats(-60, 60), st.floats(0.01, 10))
def test_association_does_not_depend_on_who_was_first(lag_s, away_deg, error_deg):
    here, there = swift(lag_s, away_deg), gbm(error_deg=error_deg)
    assert associate(here, one(there)).rule == associate(there, one(here)).rule


def test_an_alert_without_anything_known_matches_nothing():
    assert associate(swift(), [KnownAlert(alert_id=1, triggers=())]).alert_id is None
