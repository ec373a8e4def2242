from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.actors.alert_manager.strategy import choose, defaults, dump, parse, request_for, why_not
from pyros.actors.alert_manager.streams import interpret
from pyros.actors.alert_manager.tables import TableError
from pyros.actors.alert_manager.voevent import read

BAT = interpret(read((Path(__file__).parent / "notices" / "swift_bat.xml").read_bytes()))
T0 = datetime(2026, 11, 22, 5, 12, 30, 120_000, tzinfo=UTC)
SMALL, WIDE = defaults()
ONE = """
name = "test"
version = 3
missions = ["Swift"]
max_error_deg = 1
valid_hours = 1
target = "{mission} {trigger}"
exposures = [{until_s = 300, exposure_s = 10}, {until_s = 3000, exposure_s = 60}]
albums = [{camera = "vis", filters = ["r", "g"]}]
"""


def frames(request):
    return [(plan.filter, plan.exposure_s, plan.count) for plan in request.albums[0].plans]


def test_the_shipped_strategies_take_small_circles_and_leave_wide_ones(notice):
    """AL-T7."""
    for name in ("swift_bat", "swift_xrt", "svom_eclairs", "svom_mxt"):
        assert choose([SMALL, WIDE], notice(name)) is SMALL, name
    for name in ("fermi_gbm_flt", "fermi_gbm_fin", "svom_grm", "svom_retraction", "unknown_stream"):
        assert choose([SMALL, WIDE], notice(name)) is None, name


def test_a_wide_circle_is_pointed_at_when_the_field_is_wide_enough(notice):
    fin = notice("fermi_gbm_fin")
    assert choose([SMALL, WIDE], fin, field_of_view_deg=15) is WIDE
    assert "90 % radius 6.6° above 5°" in why_not(WIDE, fin, field_of_view_deg=10)


def test_exposures_lengthen_with_the_time_since_the_burst(notice):
    early, late = (request_for(SMALL, notice("swift_bat"), T0 + timedelta(seconds=s)) for s in (30, 5000))
    lengths = [plan.exposure_s for plan in early.albums[0].plans]
    assert lengths[0] == 10
    assert lengths == sorted(lengths)
    assert {plan.exposure_s for plan in late.albums[0].plans} == {120}


def test_nothing_of_a_request_is_fixed_in_the_code(notice):
    """AL-N1, AL-T6, AL-T7: one event and three strategies give three trees."""
    one, seen = parse(ONE)[0], notice("swift_bat")
    other = msgspec.structs.replace(one, target="{trigger} GRB", priority=40, may_interrupt=False, albums=SMALL.albums)
    trees = [request_for(strategy, seen, T0 + timedelta(seconds=30)) for strategy in (SMALL, one, other)]
    assert [tree.target_name for tree in trees] == ["1290001 GRB", "Swift 1290001", "1290001 GRB"]
    assert [tree.priority for tree in trees] == [100, 100, 40]
    assert [[album.camera for album in tree.albums] for tree in trees] == [["vis", "nir"], ["vis"], ["vis", "nir"]]
    assert (trees[1].strategy, trees[1].version) == ("test", 3)
    assert (trees[1].ra_deg, trees[1].dec_deg, trees[1].latest) == (120.5012, 22.1034, T0 + timedelta(hours=1))
    assert frames(trees[1])[0][:2] == ("r", 10)
    assert {name for name, *_ in frames(trees[1])} == {"r", "g"}


def test_a_camera_that_is_not_fitted_gets_no_album(notice):
    assert [album.camera for album in request_for(SMALL, notice("swift_bat"), T0, cameras=["vis"]).albums] == ["vis"]
    assert request_for(SMALL, notice("swift_bat"), T0, cameras=[]) is None


def test_an_alert_keeps_the_burst_time_of_the_trigger_and_the_better_position(notice):
    xrt = notice("swift_xrt")
    request = request_for(SMALL, notice("swift_bat"), T0, t0=T0 - timedelta(seconds=5), position=None)
    assert request.latest == T0 - timedelta(seconds=5) + timedelta(hours=12)
    assert request_for(SMALL, xrt, T0 + timedelta(seconds=100)).latest == xrt.observed_at + timedelta(hours=12)


@pytest.mark.parametrize("hours", [12.001, 100])
def test_a_burst_too_old_is_not_observed(notice, hours):
    assert request_for(SMALL, notice("swift_bat"), T0 + timedelta(hours=hours)) is None


@given(st.floats(0, 43_200), st.integers(1, 20), st.floats(60, 7200))
def test_a_request_never_outlasts_its_strategy(age_s, repeats, max_duration_s):
    strategy = msgspec.structs.replace(
        SMALL,
        max_duration_s=max_duration_s,
        albums=tuple(msgspec.structs.replace(album, repeats=repeats) for album in SMALL.albums),
    )
    request = request_for(strategy, BAT, BAT.t0 + timedelta(seconds=age_s))
    if request is None:
        return
    assert request.duration_s <= max_duration_s + strategy.start_delay_s + 1e-6
    assert request.earliest + timedelta(seconds=request.duration_s) <= request.latest + timedelta(seconds=1e-3)
    for album in request.albums:
        assert album.plans
        assert all(plan.count >= 1 for plan in album.plans)


def test_every_strategy_survives_the_way_through_the_store():
    """AL-P5."""
    for strategy in (*defaults(), *parse(ONE)):
        assert parse(dump(strategy)) == [strategy]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("version = 3", "version = 0", "version is 0"),
        ('name = "test"', 'name = "a b"', "name is 'a b'"),
        ('missions = ["Swift"]', "missions = []", "missions is"),
        ("max_error_deg = 1", "max_error_deg = -1", "max_error_deg is -1"),
        ("valid_hours = 1", "", "valid_hours is missing"),
        ("valid_hours = 1", "valid_hour = 1", "did you mean valid_hours"),
        ("until_s = 300", "until_s = 9000", "until_s must rise"),
        ("exposure_s = 60", "exposure_s = 0", r"exposures\[2\].exposure_s is 0"),
        ('camera = "vis"', "camera = 5", r"albums\[1\].camera is 5"),
        ('filters = ["r", "g"]', "filters = []", "filters is"),
        ("{trigger}", "{trigger.__class__}", "{trigger.__class__} is none of"),
        ("version = 3", "version = ", "not TOML"),
        ("version = 3", "version = 3\nversion = 4", "not TOML"),
    ],
)
def test_a_wrong_strategy_is_refused_with_the_field_named(old, new, says):
    """AL-E8, AL-X3."""
    assert old in ONE
    with pytest.raises(TableError, match=says):
        parse(ONE.replace(old, new, 1))


def test_all_faults_of_a_strategy_file_are_named_at_once():
    twice = "[[strategy]]\n" + ONE + "\n[[strategy]]\n" + ONE.replace("version = 3", "version = 0\npriority = 101")
    with pytest.raises(TableError) as refused:
        parse(twice)
    assert len(refused.value.faults) == 2
    with pytest.raises(TableError, match="stands there twice"):
        parse("[[strategy]]\n" + ONE + "\n[[strategy]]\n" + ONE)
