"""Notices of our own writing: valid VOEvents with what the real streams carry; and notices moved in time."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import voeventparse
from hypothesis import given
from hypothesis import strategies as st

from simulators.notices import FORMS, render, trigger_id_for
from simulators.scenario_notice import moved_to, trigger_time

T0 = datetime(2026, 11, 23, 5, 17, 31, 250000, tzinfo=UTC)
SENT = T0 + timedelta(seconds=40)


def event(form, **changes):
    told = {"ra_deg": 120.5, "dec_deg": 22.1, "error_deg": 0.05, "trigger_id": trigger_id_for(form, T0), **changes}
    return voeventparse.loads(render(form, T0, SENT, **told))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_a_valid_voevent_of_its_packet_type(form):
    voevent = event(form)
    assert voeventparse.valid_as_v2_0(voevent)
    params = voeventparse.get_toplevel_params(voevent)
    assert params["Packet_Type"]["value"] == str(FORMS[form].packet_type)
    assert voevent.attrib["role"] == "observation"


@given(st.sampled_from([form for form in FORMS if FORMS[form].located]), st.floats(0, 359.999), st.floats(-90, 90))
def test_the_position_comes_back_as_it_was_given(form, ra_deg, dec_deg):
    position = voeventparse.get_event_position(event(form, ra_deg=ra_deg, dec_deg=dec_deg))
    assert position.ra == pytest.approx(ra_deg, abs=1e-4)
    assert position.dec == pytest.approx(dec_deg, abs=1e-4)
    assert position.err == pytest.approx(0.05)


def test_svom_names_its_burst_and_grm_gives_no_position():
    grm = event("svom_grm")
    group = voeventparse.get_grouped_params(grm)["Svom_Identifiers"]
    assert group["Burst_Id"]["value"] == "sb26112301"
    assert group["Alert_Seq_T0"]["value"] == "2026-11-23T05:17:31.250Z"
    assert grm.attrib["ivorn"] == "ivo://org.svom/fsc#sb26112301_grm-trigger"
    assert grm.find(".//Position2D") is None


def test_a_retraction_cites_what_it_retracts():
    cited = [(one.attrib["cite"], one.text) for one in event("svom_retraction").Citations.EventIVORN]
    assert ("retraction", "ivo://org.svom/fsc#sb26112301_eclairs-wakeup") in cited


def test_swift_and_fermi_carry_the_flags_that_decide():
    solution = voeventparse.get_grouped_params(event("swift_bat"))["Solution_Status"]
    assert (solution["GRB_Identified"]["value"], solution["StarTrack_Lost_Lock"]["value"]) == ("true", "false")
    flight = voeventparse.get_toplevel_params(event("fermi_gbm_flt"))
    assert (flight["Most_Likely_Index"]["value"], flight["TrigID"]["value"]) == ("4", "817103856")
    assert "Long_short" in voeventparse.get_grouped_params(event("fermi_gbm_fin"))["Trigger_ID"]


def test_an_unknown_form_and_a_position_outside_the_sky_are_refused():
    with pytest.raises(ValueError, match=r"form 'batse' is unknown; use one of svom_grm"):
        render("batse", T0, SENT, 1, 1, 1, "1")
    with pytest.raises(ValueError, match="outside the sky"):
        render("swift_bat", T0, SENT, 360.0, 1, 1, "1")


@pytest.mark.parametrize("form", FORMS)
def test_a_notice_moved_in_time_has_the_wanted_t0_and_the_same_identity(form):
    new = T0 + timedelta(days=400, seconds=3.5)
    before = event(form)
    moved = voeventparse.loads(moved_to(render(form, T0, SENT, 120.5, 22.1, 0.05, trigger_id_for(form, T0)), new))
    assert moved.attrib["ivorn"] == before.attrib["ivorn"]
    exposed_later = timedelta(seconds=90 if form == "svom_mxt" else 0)  # XRT does not tell T0: its exposure is moved
    assert voeventparse.get_event_time_as_utc(moved) == new + exposed_later
    told_later = datetime.fromisoformat(str(moved.Who.Date)).replace(tzinfo=UTC) - new
    assert told_later.total_seconds() == pytest.approx(-50 if form == "swift_xrt" else 40, abs=1)


def test_json_is_moved_too_and_what_has_no_time_stays_as_it_is():
    new = T0 + timedelta(hours=1)
    assert moved_to(b'{"trigger_time": "2025-01-01T00:00:00.00Z", "id": "a"}', new) == (
        b'{"trigger_time": "2026-11-23T06:17:31.25Z", "id": "a"}'
    )
    assert moved_to(b"\xff<broken", new) == b"\xff<broken"


@pytest.mark.skipif("PYROS_NOTICES" not in os.environ, reason="PYROS_NOTICES does not name a folder of real notices")
def test_real_notices_can_be_moved_in_time():
    moved = 0
    for path in sorted(Path(os.environ["PYROS_NOTICES"]).rglob("*.xml")):
        text = path.read_bytes()
        old = trigger_time(text.decode("utf-8", "surrogateescape"))
        if old is not None:
            result = trigger_time(moved_to(text, T0).decode("utf-8", "surrogateescape"))
            assert abs(result - T0) < timedelta(seconds=1), path
            moved += 1
    assert moved > 0
