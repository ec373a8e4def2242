import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.actors.alert_manager.streams import interpret
from pyros.actors.alert_manager.voevent import MAX_BYTES, NoticeError, parse_xml, read, shift

NOTICES = Path(__file__).parent / "notices"

BAT = (NOTICES / "swift_bat.xml").read_bytes()
BOMB = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><l>&b;</l>'


def problem(raw: bytes) -> str:
    return "; ".join(read(raw).problems)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"", "empty"),
        (b"  \n ", "empty"),
        (b'{"id": 1}', "JSON"),
        (b"hello", "not well-formed"),
        (BAT[:900], "not well-formed"),
        (BAT.replace(b"VO-GCN", b"\xe9"), "not well-formed"),
        (BOMB, "DOCTYPE"),
        (BOMB.decode().replace('"1.0"?', '"1.0" encoding="UTF-16"?').encode("utf-16"), "DOCTYPE"),
        (BAT.replace(b"<voe", b'<!DOCTYPE l SYSTEM "file:///etc/hostname"><voe', 1), "DOCTYPE"),
        (BAT + b" " * MAX_BYTES, "at most"),
        (b"<html/>", "not VOEvent"),
        (b"<VOEvent/>", "version None"),
        (BAT.replace(b'version="2.0"', b'version="1.1"'), "only 2.0"),
        (BAT.replace(b"ivorn=", b"ivory="), "ivorn of 0 characters"),
        (b"<a>" * 5000 + b"</a>" * 5000, "not well-formed"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(bad, says):
    with pytest.raises(NoticeError, match=says) as refused:
        read(bad)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"120.5012", b"NaN", "RA is 'NaN'"),
        (b"120.5012", b"370", "RA is '370'"),
        (b"22.1034", b"-95", "Dec is '-95'"),
        (b"0.050000", b"-1", "error radius is '-1'"),
        (b"0.050000", b"inf", "error radius is 'inf'"),
        (b"<Name1>RA", b"<Name1>Dec", "not RA and Dec"),
        (b'Position2D unit="deg"', b'Position2D unit="rad"', "only degrees"),
        (b"2026-11-22T05:12:30.12<", b"2026-13-22T05:12:30.12<", "month must be"),
        (b"2026-11-22T05:12:30.12<", b"0001-01-01T00:00:00+12:00<", "time not usable"),
        (b'id="UTC-FK5-GEO">', b'id="GPS-FK5-GEO">', "time not usable"),
        (b"<Date>2026-11-22T05:12:55", b"<Date>yesterday", "sending time 'yesterday'"),
        (b'role="observation"', b'role="joke"', "role 'joke'"),
        (b"nasa.gsfc.gcn/SWIFT#BAT", b"nasa.gsfc.gcn/../../etc#../tmp", "ivorn"),
    ],
)
def test_a_value_out_of_range_is_a_named_problem_and_not_used(old, new, says):
    assert old in BAT
    assert says in problem(BAT.replace(old, new))


def test_a_missing_role_is_an_observation_and_a_missing_place_is_named():
    assert read(BAT.replace(b'role="observation"', b"")).role == "observation"
    start, end = BAT.index(b"<WhereWhen>"), BAT.index(b"</WhereWhen>") + len(b"</WhereWhen>")
    assert "no position" in problem(BAT[:start] + BAT[end:])
    assert "no time" in problem(BAT[:start] + BAT[end:])


def test_params_are_told_apart_by_their_group_and_the_first_of_equal_names_counts():
    event = read(
        BAT.replace(b'<Param name="Segment_Num"', b'<Param name="TrigID" value="7"/><Param name="Segment_Num"')
    )
    assert event.params["TrigID"] == "1290001"
    assert event.params["Solution_Status/Near_Bright_Star"] == "false"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damage_to_a_notice_gives_anything_but_a_refusal_or_problems(data):
    raw = bytearray(BAT)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 40))] = data.draw(
            st.binary(max_size=8) | st.sampled_from([b"<", b'"/>', b"9e999", b"-1", b"&a;", b"<Param/>", b"\x00"])
        )
    with contextlib.suppress(NoticeError):
        assert interpret(read(bytes(raw))).ivorn


@given(st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)), st.integers(0, 10**6))
def test_a_notice_moved_in_time_keeps_all_but_its_times(moment, delay_s):
    t0 = moment.replace(tzinfo=UTC, microsecond=0)
    sent = t0 + timedelta(seconds=delay_s)
    before, after = read(BAT), read(shift(BAT, t0, sent))
    assert (after.isotime, after.sent) == (t0, sent)
    assert (after.ivorn, after.ra_deg, after.error_deg) == (before.ivorn, before.ra_deg, before.error_deg)


def test_a_moved_exposure_keeps_its_distance_from_the_burst(raw, notice):
    mxt = notice("svom_mxt")
    t0 = datetime(2027, 1, 1, tzinfo=UTC)
    moved = interpret(read(shift(raw("svom_mxt"), t0, t0 + timedelta(seconds=60), anchor=mxt.t0)))
    assert moved.t0 == t0
    assert moved.observed_at - moved.t0 == mxt.observed_at - mxt.t0


def test_gcns_day_counts_move_with_the_burst():
    t0 = datetime(2026, 11, 23, 0, 0, 1, tzinfo=UTC)
    params = read(shift(BAT, t0, t0)).params
    assert (params["Burst_TJD"], params["Burst_SOD"]) == ("21367", "1.00")


def test_a_notice_without_a_time_cannot_be_moved():
    with pytest.raises(NoticeError, match="ISOTime"):
        shift(BAT.replace(b"T05:12:30.12<", b"T25:12:30<"), datetime.now(UTC), datetime.now(UTC))


def test_plain_xml_of_other_kinds_is_parsed_without_following_anything():
    assert parse_xml(b"<a><b/></a>").tag == "a"
