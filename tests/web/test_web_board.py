"""What the page says of what the daemon said: pure functions, and the memory behind them."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import web_stage as stage
from hypothesis import given
from hypothesis import strategies as st

from pyros.clock import VirtualClock
from pyros.messages.alerts import AlertManagerState, Analysed
from pyros.messages.devices import PlcState
from pyros.messages.night import ImageTaken, MajordomeState, MonitorState, SafetyVerdict, SchedulerState
from pyros.messages.night import NightStarted as Event
from pyros.messages.system import ActorFailed, Snapshot
from pyros.web import cards, panels, wording
from pyros.web.board import Memory
from pyros.web.stream import QUEUE, RELOAD, Hub, event_text
from pyros.web.timeline import night_timeline


def remembered(gateway, clock=None):
    memory = Memory(clock or VirtualClock(stage.NOW))
    memory.load(gateway._snapshot(), 0)
    return memory


def board_of(**states):
    gateway = stage.ScriptedGateway({actor: [state] for actor, state in states.items()})
    return remembered(gateway).board()


def test_the_daemons_clock_runs_on_at_its_own_speed():
    clock = VirtualClock(stage.NOW)
    memory = remembered(stage.ScriptedGateway(now=stage.at(1000), speed=60.0), clock)
    clock.run(until=stage.at(2))
    assert memory.board().now == stage.at(1120)


def test_ten_seconds_of_silence_make_the_daemon_away_and_one_word_brings_it_back():
    clock = VirtualClock(stage.NOW)
    assert Memory(clock).board().away
    memory = remembered(stage.ScriptedGateway(), clock)
    clock.run(until=stage.at(9))
    assert not memory.board().away
    clock.run(until=stage.at(11))
    assert memory.board().away
    memory.take(101, "plc", stage.plc())
    assert not memory.board().away


def test_a_missed_event_is_noticed():
    memory = remembered(stage.ScriptedGateway())
    assert not memory.take(101, "plc", stage.plc())
    assert memory.take(103, "plc", stage.plc())
    assert not memory.take(104, "plc", stage.plc())


def test_a_state_heard_while_the_snapshot_was_on_its_way_is_not_overwritten_by_it():
    gateway = stage.ScriptedGateway({"plc": [stage.plc(dome="open")]})
    memory = remembered(gateway)
    old = gateway._snapshot()
    memory.take(101, "plc", stage.plc(dome="closing"))
    memory.load(old, 100)
    assert memory.board().one(PlcState).state.dome == "closing"


def test_after_a_restart_of_the_daemon_nothing_of_the_old_one_stays():
    memory = remembered(stage.ScriptedGateway({"plc": [stage.plc()]}))
    memory.take(900, "monitor", SafetyVerdict(level="SAFE", reasons=[], at=stage.NOW))
    memory.load(Snapshot(now=stage.NOW, speed=1.0, sequence=3, states=[]), 900)
    assert memory.board().states == ()
    assert memory.last_sequence == 3


@pytest.mark.parametrize("speed", [float("inf"), float("nan"), 0.0, -1.0])
def test_a_clock_speed_that_makes_no_sense_counts_as_one(speed):
    assert remembered(stage.ScriptedGateway(speed=speed)).board().speed == 1.0


def test_a_state_that_cannot_be_read_is_named_and_the_others_are_shown():
    snapshot = stage.ScriptedGateway({"plc": [stage.plc()]})._snapshot()
    snapshot.states[0].content["dome"] = "sideways"
    good = stage.ScriptedGateway({"weather:mast": [stage.weather()]})._snapshot().states
    memory = Memory(VirtualClock(stage.NOW))
    memory.load(Snapshot(now=stage.NOW, speed=1.0, sequence=1, states=[*snapshot.states, *good]), 0)
    board = memory.board()
    assert "dome" in board.unreadable[0]
    assert len(board.states) == 1


def test_the_last_image_is_the_newest_and_an_analysis_renews_its_preview():
    memory = remembered(stage.ScriptedGateway())
    taken = {"camera": "vis", "filter": "r", "sequence_id": 1, "plan_id": 1, "alert_id": None, "datasum": "0"}
    memory.take(101, "om", ImageTaken(image_id=5, file="a", start=stage.NOW, exposure_s=1.0, **taken))
    found = {"alert_id": None, "candidates": [], "problems": []}
    nothing = {"limiting_mag": None, "zero_point": None, "fwhm_arcsec": None}
    memory.take(102, "analyzer", Analysed(image_id=5, **found, **nothing))
    assert (memory.board().image.image_id, memory.board().image.version) == (5, 1)


def test_no_verdict_is_not_a_safe_one():
    judged = panels.verdict(board_of())
    assert judged.level == "NO VERDICT"
    assert "unsafe" in judged.why


def test_only_alerts_that_are_not_over_are_in_progress_with_milestones_in_order():
    """AL-T1."""
    rows = [stage.alert_row(alert_id=n, status=s) for n, s in enumerate(["ACTIVE", "HELD", "RETRACTED", "DONE"])]
    board = board_of(alert_manager=AlertManagerState(notices=9, accepted=4, alerts=rows))
    shown = panels.alerts_in_progress(board)
    assert [panel.row.status for panel in shown] == ["ACTIVE", "HELD"]
    assert [time.label for time in shown[0].times] == ["t0", "received", "decided", "slewing", "first image"]
    assert [round(time.after_s, 1) for time in shown[0].times] == [0.0, 14.0, 14.3, 14.8, 52.0]


def test_a_device_is_stale_after_its_own_time_but_never_before_five_real_seconds():
    """MO-T2."""
    assert cards.stale_after_s(PlcState, 1.0) == 10.0
    assert cards.stale_after_s(PlcState, 60.0) == 300.0


def test_a_device_that_only_the_monitor_knows_has_a_card_that_says_so():
    """MO-T2."""
    board = remembered(stage.ScriptedGateway(stage.observatory())).board()
    by_name = {card.name: card for card in cards.device_cards(board)}
    assert by_name["camera:nir"].problem == "no answer in 1 s"
    assert by_name["telescope"].doing == "tracking"
    assert not by_name["telescope"].abnormal


def test_a_broken_link_an_unknown_rain_contact_and_a_pressed_stop_are_abnormal():
    down = cards.device_cards(board_of(plc=PlcState(link="down", emergency_stop=True)))[0]
    assert down.doing == "no link"
    assert {value.label for value in down.values if value.abnormal} == {"Rain contact", "Emergency stop"}


def test_without_a_weather_station_the_plcs_own_readings_are_shown_with_the_sensors_age():
    station = cards.weather_stations(board_of(plc=stage.plc(sensor_age_s=30.0)))[0]
    assert station.at == stage.at(-31)


@given(
    opens=st.floats(-10, 10),
    length_h=st.floats(0.1, 24),
    starts=st.lists(st.tuples(st.floats(-600, 600), st.floats(0.1, 300)), max_size=12),
    width=st.sampled_from([360.0, 1200.0]),
)
def test_everything_on_the_timeline_is_inside_the_drawing(opens, length_h, starts, width):
    begins = stage.at(opens * 3600)
    ends = begins + timedelta(hours=length_h)
    times = {"begins": begins, "ends": ends, "opens": None, "sunrise": None}
    monitor = MonitorState(phase="night", night="2026-11-22", level="SAFE", reasons=[], devices=[], **times)
    plan = SchedulerState(placed=[stage.placed(n, f"target {n}", a, m) for n, (a, m) in enumerate(starts)])
    drawing = night_timeline(board_of(monitor=monitor, scheduler=plan), width)
    assert all(block.x >= 0 and block.x + block.width <= width + 2 for block in drawing.blocks)
    assert all(len(block.label) * 7.4 <= block.width for block in drawing.blocks)
    gaps = [b.x - a.x for a, b in zip(drawing.hours, drawing.hours[1:], strict=False)]
    assert all(gap >= 27 for gap in gaps)
    assert all(hour.x <= width for hour in drawing.hours)


def test_the_running_sequence_is_marked_on_the_timeline():
    board = remembered(stage.ScriptedGateway(stage.observatory())).board()
    assert [block.title.split(",")[0] for block in night_timeline(board, 1200.0).blocks if block.running] == [
        "GRB 261123A"
    ]


def test_without_night_times_and_plan_there_is_no_timeline():
    assert night_timeline(board_of(majordome=MajordomeState(mode="closed", why="day", since=stage.NOW)), 360.0) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s ago"),
        (59.9, "59 s ago"),
        (185, "3 min 05 s ago"),
        (3000, "50 min ago"),
        (-240, "in 4 min 00 s"),
        (7800, "2 h 10 min ago"),
        (400_000, "4 d ago"),
    ],
)
def test_an_age_reads_as_a_person_would_say_it(seconds, text):
    assert wording.ago_text(stage.NOW, stage.at(seconds)) == text


def test_positions_are_written_in_sexagesimal_with_a_sign():
    assert wording.right_ascension(359.9999) == "00h 00m 00s"
    assert wording.declination(-0.5) == "−00° 30′ 00″"
    assert wording.error_radius(0.05) == "3.0′"


def test_every_event_has_one_line_of_bounded_length():
    failed = ActorFailed(actor="courier", epoch=1, cause="x" * 5000 + "\n", message="Send")
    line = wording.describe(failed)
    assert len(line) == 240
    assert "\n" not in line
    assert wording.is_grave(failed)


def test_a_tab_that_does_not_keep_up_loses_the_oldest_and_is_told_to_reload():
    hub = Hub(VirtualClock(stage.NOW), limit=2)
    subscription = hub.join()
    subscription._turn.rest = lambda: None
    for number in range(QUEUE):
        hub.publish(event_text("Clock", {"n": number}))
    assert len(subscription.take()) == QUEUE
    for number in range(QUEUE + 1):
        hub.publish(event_text("Clock", {"n": number}))
    assert subscription.take() == [RELOAD]


def test_there_are_never_more_streams_than_the_server_has_threads_for():
    hub = Hub(VirtualClock(stage.NOW), limit=2)
    first, second, third = hub.join(), hub.join(), hub.join()
    assert third is None
    hub.leave(first)
    hub.leave(first)
    assert hub.join() is not None
    hub.close()
    assert second.closed
    assert hub.join() is None


@given(st.text())
def test_no_text_breaks_out_of_its_server_sent_event(text):
    chunk = event_text("Clock", {"why": text})
    assert chunk.count("\n") == 3
    assert json.loads(chunk.split("data: ", 1)[1]) == {"why": text}


def test_the_log_keeps_the_last_ten_events_newest_first():
    memory = remembered(stage.ScriptedGateway())
    for number in range(15):
        memory.take(101 + number, "monitor", Event(night=f"night {number}", ends=stage.NOW))
    assert [line.text.split()[2] for line in memory.board().log] == [str(n) for n in range(14, 4, -1)]
