"""The recorder at work on the virtual clock: what begins a recording, how often, and what it holds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from flight_stage import CLOSING, OPEN, START, START_US, Listening, beat, plc
from scene import LOOP, Scene

from pyros.actors.kernel import Supervisor
from pyros.cli.recorder import recorder_for
from pyros.flight import read_recording
from pyros.flight.recorder import NAME
from pyros.messages.base import GetState
from pyros.messages.devices import CloseDome
from pyros.messages.system import ActorFailed, ActorRestarted, FlightRecorded, LibrarianState, Shutdown, SupervisorState

FAILED = ActorFailed(actor="monitor", epoch=1, cause="RuntimeError: x", message="Poll")
RESTARTED = ActorRestarted(actor="monitor", epoch=2, cause="Poll: RuntimeError: x", away_s=0.0)
SAFE = SupervisorState(status="making safe", since=START, children=[])


@pytest.mark.parametrize(
    ("messages", "slug"),
    [
        ((OPEN, CLOSING, plc("closing")), "dome-closing-rain-contact"),
        ((FAILED, RESTARTED), "monitor-failed-on-poll-runtimeerror-x"),
        ((RESTARTED,), "monitor-restarted-poll-runtimeerror-x"),
        ((SAFE,), "supervisor-is-making-safe"),
    ],
)
def test_each_kind_of_trouble_makes_one_recording_and_says_so(tmp_path, messages, slug):
    stage = Listening(tmp_path)
    stage.say(*messages)
    stage.run(4.9)
    assert not stage.folder.exists(), "the aftermath is waited for"
    stage.run(300.0)
    assert [file.name for file in stage.files] == [f"20261122T030005Z-{slug}.msgpack"]
    assert [(one.file, one.cause) for one in stage.announced] == [
        (f"flight/{stage.files[0].name}", "; ".join(stage.recordings()[0].header.causes))
    ]


def test_a_recording_holds_what_was_before_and_what_came_after(tmp_path):
    stage = Listening(tmp_path)
    stage.recorder.deliver(beat(1))
    stage.run(100.0)
    stage.say(OPEN, CLOSING)
    stage.run(3.0)
    stage.recorder.deliver(beat(2, 103.0))
    stage.run(60.0)
    (recording,) = stage.recordings()
    assert [row.tag for row in recording.records] == ["Beat", "DomeMoved", "DomeMoved", "Beat"]
    assert [row.t_us - START_US for row in recording.records] == [0, 100e6, 100e6, 103e6]


def test_only_the_last_ten_minutes_are_recorded_and_what_stood_before_them(tmp_path):
    stage = Listening(tmp_path)
    stage.say(plc("open"), LibrarianState(queries=1))
    stage.run(300.0)
    stage.say(LibrarianState(queries=2), sender="librarian")
    stage.run(500.0)
    stage.say(CLOSING)
    stage.run(10.0)
    (recording,) = stage.recordings()
    assert [row.tag for row in recording.standing] == ["PlcState", "LibrarianState"]
    assert [row.tag for row in recording.records] == ["LibrarianState", "DomeMoved"]


def test_the_same_trouble_is_one_recording_and_more_of_it_another_a_minute_later(tmp_path):
    stage = Listening(tmp_path)
    for _ in range(20):
        stage.say(FAILED, RESTARTED)
        stage.run(10.0)
    stage.run(100.0)
    times = [recording.header.at for recording in stage.recordings()]
    assert len(times) == 5
    assert all((later - earlier).total_seconds() >= 60.0 for earlier, later in pairwise(times))
    told = [cause for recording in stage.recordings() for cause in recording.header.causes]
    assert len(told) == 40, "every occasion is named once"


def test_what_is_due_is_written_at_the_end(tmp_path):
    stage = Listening(tmp_path)
    stage.recorder.note("the daemon ended with status 1")
    stage.recorder.close()
    assert [recording.header.causes for recording in stage.recordings()] == [["the daemon ended with status 1"]]
    stage.run(100.0)
    assert len(stage.files) == 1


def test_a_disk_that_takes_nothing_is_a_line_in_the_log_and_the_recording_comes_later(tmp_path, caplog):
    stage = Listening(tmp_path)
    stage.folder.write_text("a file where the folder should be")
    caplog.set_level("WARNING", "pyros")
    stage.say(FAILED)
    stage.run(150.0)
    assert len([line for line in caplog.messages if line.startswith("flight recorder: ")]) == 1
    stage.folder.unlink()
    stage.run(100.0)
    assert [recording.header.causes for recording in stage.recordings()] == [
        ["monitor failed on Poll: RuntimeError: x"]
    ]


def test_fifty_recordings_stay_and_older_ones_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr("pyros.flight.shelf.MOST_FILES", 50)
    stage = Listening(tmp_path)
    for _ in range(53):
        stage.say(FAILED)
        stage.run(70.0)
    assert len(stage.files) == 50
    assert len(stage.announced) == 53
    assert stage.files[-1].name in stage.announced[-1].file


def test_a_start_on_the_virtual_clock_makes_no_thread_and_no_spool(tmp_path):
    stage = Listening(tmp_path)
    stage.say(FAILED)
    stage.run(10.0)
    assert [path.name for path in stage.folder.iterdir()] == [stage.files[0].name]


# -- a real observatory ----------------------------------------------------------------------------------------------


@pytest.fixture
def scene(tmp_path):
    """The safety chain, with a recorder."""
    with Scene(tmp_path, LOOP) as scene:
        recorder = recorder_for(scene.environment, scene.clock)
        scene.system.events.tap(recorder.hear)
        recorder.attach(scene.system)
        scene.recorder = recorder
        yield scene


def recordings(scene):
    return [read_recording(file) for file in sorted((scene.folder / "flight").glob("*"))]


def causes(scene):
    return [recording.header.causes for recording in recordings(scene)]


def test_rain_closes_the_dome_and_the_recording_shows_the_whole_chain(scene):
    scene.open_up()
    scene.world.set_weather(rain=True)
    scene.run(70.0)
    ((cause,),) = causes(scene)
    assert cause.startswith("dome closing")
    assert "rain" in cause
    (recording,) = recordings(scene)
    wet = next(row.t_us for row in recording.records if row.tag == "PlcState" and row.body["rain"])
    unsafe = [row for row in recording.records if row.t_us >= wet and row.tag == "SafetyVerdict"]
    assert {(row.kind, row.to) for row in unsafe} >= {("published", ""), ("delivered", "majordome")}
    assert recording.header.site == "San Pedro Mártir"
    assert recording.header.settings["mode"] == "simulation"
    assert scene.events(FlightRecorded)[0].cause == cause
    assert scene.system.events.latest(LibrarianState, NAME) is None


def test_a_crash_is_recorded_with_the_message_that_it_died_on(scene):
    scene.crash("monitor")
    scene.run(10.0)
    ((first, second),) = causes(scene)
    assert first.startswith("monitor failed on Crash")
    assert second.startswith("monitor restarted")
    (recording,) = recordings(scene)
    assert [(row.sender, row.to) for row in recording.records if row.tag == "Crash"] == [("outside", "monitor")]


def test_an_ordered_stop_that_closes_the_dome_is_recorded_as_one(scene):
    scene.open_up()
    scene.tell("supervisor", Shutdown(cause="SIGTERM"))
    scene.until(scene.supervisor.finished.is_set, 200.0)
    scene.recorder.close()
    ((cause,),) = causes(scene)
    assert cause.startswith("dome closing: ordered stop: ")


def test_a_supervisor_that_breaks_is_recorded_before_the_process_ends(scene, monkeypatch):
    def broken(self, message):
        raise RuntimeError("the supervisor is broken")

    monkeypatch.setattr(Supervisor, "on_get_state", broken)
    scene.tell("supervisor", GetState())
    scene.run(1.0)
    assert scene.supervisor.finished.is_set()
    scene.recorder.close()
    (told,) = causes(scene)
    assert any("the supervisor is broken" in cause for cause in told)


def test_a_dome_that_is_closed_by_hand_is_recorded_with_who_said_so(scene):
    scene.open_up()
    scene.tell("plc", CloseDome(cause="eve has seen a cloud"))
    scene.run(10.0)
    ((cause,),) = causes(scene)
    assert cause == "dome closing: eve has seen a cloud"


def test_a_recorder_changes_nothing_in_what_is_delivered(tmp_path):
    def course(folder, *, recorded):
        folder.mkdir()
        with Scene(folder, LOOP, start=True) as scene:
            if recorded:
                recorder = recorder_for(scene.environment, scene.clock)
                scene.system.events.tap(recorder.hear)
                recorder.attach(scene.system)
            scene.open_up()
            scene.world.set_weather(rain=True)
            scene.run(100.0)
            return [(row.t_us, row.sender, row.to, type(row.message).__name__, row.id) for row in scene.delivered]

    assert course(tmp_path / "with", recorded=True) == course(tmp_path / "without", recorded=False)
