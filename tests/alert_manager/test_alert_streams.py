import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pyros.actors.alert_manager.notice import position_of
from pyros.actors.alert_manager.streams import interpret
from pyros.actors.alert_manager.verdict import AlertPolicy, judge
from pyros.actors.alert_manager.voevent import read
from pyros.cli.alert import report

NOTICES = Path(__file__).parent / "notices"
T0 = datetime(2026, 11, 22, 5, 12, 30, 120_000, tzinfo=UTC)


@pytest.mark.parametrize("file", sorted(NOTICES.glob("*.xml")), ids=lambda file: file.stem)
def test_every_sample_notice_gives_its_expected_outcome(file):
    """AL-E3, AL-T5, AL-P2."""
    notice = interpret(read(file.read_bytes()))
    outcome = report(notice, judge(notice, AlertPolicy(), notice.sent))
    assert outcome == json.loads(file.with_suffix(".json").read_text("utf-8"))


def test_a_later_swift_segment_is_the_same_trigger(notice):
    first, segment = notice("swift_bat"), notice("swift_bat_segment")
    assert segment.trigger == first.trigger == "1290001"
    assert segment.identity != first.identity


def test_a_trigger_is_never_read_from_the_ivorn(raw):
    renamed = raw("swift_bat").replace(b"BAT_GRB_Pos_1290001-101", b"BAT_GRB_Pos_7-101")
    assert interpret(read(renamed)).trigger == "1290001"


@pytest.mark.parametrize("name", ["swift_xrt", "svom_mxt"])
def test_the_start_of_an_exposure_is_never_taken_for_the_burst(notice, name):
    seen = notice(name)
    assert seen.observed_at is not None
    assert seen.t0 is None or seen.t0 < seen.observed_at
    assert seen.reference is not None


def test_the_zeros_of_a_gbm_alert_are_no_position(notice):
    assert (notice("fermi_gbm_alert").ra_deg, position_of(notice("fermi_gbm_alert"))) == (None, None)


def test_a_real_position_at_ra_zero_is_kept(raw):
    at_zero = raw("swift_bat").replace(b"120.5012", b"0.0").replace(b"22.1034", b"0.0")
    assert position_of(interpret(read(at_zero))).ra_deg == 0


@pytest.mark.parametrize("name", ["svom_grm", "fermi_gbm_flt_tgf", "swift_bat_lost_lock", "fermi_gbm_alert"])
def test_positions_that_nobody_should_point_at_are_not_trusted(notice, name):
    assert not notice(name).position_trusted
    assert position_of(notice(name)) is None


def test_radii_keep_their_meaning_and_gbm_its_systematic_error(notice):
    gbm, bat, mxt = (position_of(notice(name)) for name in ("fermi_gbm_flt", "swift_bat", "svom_mxt"))
    assert gbm.r90_deg == pytest.approx(1.4216 * (6.2**2 + 3.7**2) ** 0.5, rel=1e-3)
    assert (bat.r90_deg, mxt.r90_deg) == (0.05, 0.011)


@pytest.mark.parametrize(
    ("index", "means"),
    [(b"4", "GRB"), (b"8", "solar flare"), (b"19", "terrestrial"), (b"-3", "class -3"), (b"99", "99")],
)
def test_gbms_class_follows_its_most_likely_index(raw, index, means):
    changed = raw("fermi_gbm_flt").replace(
        b'"Most_Likely_Index" value="4"', b'"Most_Likely_Index" value="' + index + b'"'
    )
    assert means in interpret(read(changed)).classification


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("swift_bat", b'role="observation"', b'role="test"'),
        ("swift_bat", b'"Test_Submission" value="false"', b'"Test_Submission" value="true"'),
        ("icecube_gold", b'"InternalTest" value="false"', b'"InternalTest" value="true"'),
        ("lvk_retraction", b'role="test"', b'role="observation"'),
    ],
)
def test_every_way_of_writing_a_test_is_seen(raw, name, old, new):
    assert interpret(read(raw(name).replace(old, new))).test


def test_a_burst_taken_back_by_its_mission_is_a_retraction(raw):
    taken_back = raw("swift_bat").replace(b'"Def_NOT_a_GRB" value="false"', b'"Def_NOT_a_GRB" value="true"')
    assert interpret(read(taken_back)).retraction
    cited = raw("svom_mxt").replace(b'cite="followup"', b'cite="retraction"')
    assert interpret(read(cited)).kind == "retraction"


@pytest.mark.parametrize("trigger", [b"", b"12a", b"-1", b"99999999999999999999999"])
def test_a_broken_trigger_number_breaks_nothing(raw, trigger):
    read_anyway = interpret(
        read(raw("swift_bat").replace(b'"TrigID" value="1290001"', b'"TrigID" value="' + trigger + b'"'))
    )
    assert read_anyway.problems or read_anyway.trigger.isdecimal()


def test_a_stream_is_known_in_either_spelling_and_an_unknown_packet_is_stored_only(raw):
    assert interpret(read(raw("swift_bat").replace(b"/SWIFT#", b"/Swift#"))).mission == "Swift"
    other = interpret(read(raw("swift_bat").replace(b'"Packet_Type" value="61"', b'"Packet_Type" value="999"')))
    assert (other.kind, other.acted_upon, other.position_trusted) == ("other", False, False)
