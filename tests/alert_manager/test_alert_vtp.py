import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.actors.alert_manager import vtp
from pyros.actors.alert_manager.voevent import MAX_BYTES, NoticeError

NOW = datetime(2026, 11, 22, 5, 12, 30, tzinfo=UTC)
US, THEM = "ivo://pyros.local/alerts", "ivo://broker.example/vtp"


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.lists(st.integers(1, 50), min_size=1))
def test_frames_come_out_as_they_went_in_however_the_network_cuts_them(sent, cuts):
    stream, decoder, got = b"".join(map(vtp.frame, sent)), vtp.Decoder(), []
    while stream:
        size = cuts[len(stream) % len(cuts)]
        got += decoder.feed(stream[:size])
        stream = stream[size:]
    assert got == sent
    assert decoder.pending == 0


@pytest.mark.parametrize("length", [0, MAX_BYTES + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_frame_too_long_is_refused_from_its_header_alone(length):
    decoder = vtp.Decoder()
    assert list(decoder.feed(struct.pack("!I", length)[:3])) == []
    with pytest.raises(vtp.FrameError, match=f"{length} bytes announced"):
        list(decoder.feed(struct.pack("!I", length)[3:]))


def test_frames_before_a_bad_header_are_not_lost():
    got = []
    with pytest.raises(vtp.FrameError):
        got.extend(vtp.Decoder().feed(b""))
        for frame in vtp.Decoder().feed(vtp.frame(b"<a/>") + b"\xff" * 4):
            got.append(frame)  # noqa: PERF402 - the first is kept although the second raises
    assert got == [b"<a/>"]


def test_what_arrives_while_nobody_looks_is_kept():
    decoder = vtp.Decoder()
    decoder.feed(vtp.frame(b"<a/>")[:5])
    assert list(decoder.feed(vtp.frame(b"<a/>")[5:])) == [b"<a/>"]


def test_every_answer_says_what_it_is_whose_and_to_what(raw):
    """AL-T3."""
    asked = vtp.read_transport(vtp.iamalive(THEM, NOW))
    assert (asked.role, asked.origin, asked.timestamp) == ("iamalive", THEM, "2026-11-22T05:12:30Z")
    echo = vtp.read_transport(vtp.iamalive_reply(asked, US, NOW))
    assert (echo.role, echo.origin, echo.response) == ("iamalive", THEM, US)
    event = "ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1290001-101"
    stored = vtp.read_transport(vtp.ack(event, US, NOW))
    assert (stored.role, stored.origin, stored.response) == ("ack", event, US)
    refused = vtp.read_transport(vtp.nak(event, US, NOW, "a <DOCTYPE>\n & more\x00"))
    assert (refused.role, refused.result) == ("nak", "a <DOCTYPE> & more")
    hello = vtp.read_transport(vtp.authenticate(THEM, NOW))
    reply = vtp.authenticate_reply(hello, US, NOW, ("//Param[@name='SC_Lat']",))
    assert b"xpath-filter" in reply
    assert vtp.read_transport(reply).role == "authenticate"
    assert vtp.kind_of(raw("swift_bat")) == "voevent"


@pytest.mark.parametrize("bad", [b"<a/>", b'<Transport role="x"/>', b"", b"<", b"<!DOCTYPE a><a/>", b"\xff\xff"])
def test_a_frame_that_is_neither_event_nor_transport_is_refused(bad):
    with pytest.raises(NoticeError):
        vtp.kind_of(bad)


def test_a_voevent_is_no_transport_message_and_nothing_empty_is_sent(raw):
    with pytest.raises(NoticeError, match="VOEvent where"):
        vtp.read_transport(raw("swift_bat"))
    with pytest.raises(vtp.FrameError):
        vtp.frame(b"")
