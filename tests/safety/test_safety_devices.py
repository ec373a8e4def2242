"""Telescope, camera and filter wheel with every fault of the simulators: noticed, named, borne and over."""

import threading
from datetime import timedelta

import pytest
from scene import ALL, NIGHT, OTHER_TARGET, TARGET, Scene, expose, slew

from pyros.actors.analyzer.frame import FrameError
from pyros.messages.base import Done, Failed, Refused
from pyros.messages.devices import (
    Brake,
    Exposed,
    FilterSet,
    Halt,
    Park,
    PlcState,
    SetFilter,
    ShutterOpened,
    Slewed,
)

ACTORS = tuple(name for name in ALL if name not in {"majordome", "scheduler", "observation_manager"})
LINK_FAULTS = ["mute", "hang", "disconnect", "garbage"]


@pytest.fixture
def scene(tmp_path):
    with Scene(tmp_path, ACTORS).open_dome() as scene:
        scene.permit_for(600.0)
        scene.run(0.5)
        yield scene


def bears(scene):
    """The rest goes on: no gap in the PLC's polls, nobody hung, nobody restarted."""
    assert scene.longest_gap_s(PlcState) <= 2.0
    assert scene.restarts == {}


@pytest.mark.parametrize("kind", LINK_FAULTS)
def test_devices_that_are_silent_when_the_observatory_boots_delay_nobody_and_come_up_later(tmp_path, kind):
    """MO-T7: connected with retry, also to devices that start later."""
    silent = dict.fromkeys(("telescope", "camera:vis", "filter_wheel:vis"), kind)
    with Scene(tmp_path, ACTORS, faults=silent) as scene:
        scene.run(8.0)
        assert scene.supervisor.state().status == "up"
        assert {scene.telescope.link, scene.camera.link, scene.wheel.link} == {"down"}
        assert all(state.problem for state in (scene.telescope, scene.camera, scene.wheel))
        scene.run(85.0)
        assert {scene.telescope.link, scene.camera.link, scene.wheel.link} == {"up"}
        bears(scene)


# -- telescope -------------------------------------------------------------------------------------------------------


def test_a_slew_ends_on_the_target_and_with_the_telescope_tracking(scene):
    reply = scene.ask("telescope", slew())
    assert isinstance(reply, Slewed)
    assert abs(reply.ra_deg - TARGET[0]) < 0.01
    assert scene.telescope.tracking
    bears(scene)


@pytest.mark.parametrize("kind", LINK_FAULTS)
def test_a_mount_that_falls_silent_in_a_slew_is_named_and_is_back_by_itself(scene, kind):
    answers = scene.begin("telescope", slew())
    scene.run(2.0)
    scene.fault("telescope", kind, 30.0)
    scene.run(6.0)
    assert isinstance(answers[0], Failed)
    assert scene.telescope.link == "down"
    assert "telescope" in scene.telescope.problem
    assert scene.telescope.doing == ""
    scene.run(30.0)
    scene.until(lambda: scene.telescope.link == "up", 31.0)
    assert isinstance(scene.ask("telescope", slew(target=OTHER_TARGET)), Slewed)
    assert scene.telescope.problem == ""
    bears(scene)


@pytest.mark.parametrize("kind", LINK_FAULTS)
def test_a_mount_silent_at_rest_is_down_within_a_poll_and_back_within_the_longest_wait(scene, kind):
    scene.fault("telescope", kind, 100.0)
    scene.until(lambda: scene.telescope.link == "down", 35.0)
    assert isinstance(scene.ask("telescope", slew()), Failed)
    scene.run(100.0)
    scene.until(lambda: scene.telescope.link == "up", 35.0)
    bears(scene)


def test_a_mount_that_refuses_keeps_its_link_and_its_refusal_is_named(scene):
    scene.fault("telescope", "refuse", 20.0)
    reply = scene.ask("telescope", slew())
    assert isinstance(reply, Failed)
    assert "refused" in reply.reason
    scene.run(3.0)
    assert (scene.telescope.link, "refused" in scene.telescope.problem) == ("up", True)
    scene.run(20.0)
    assert isinstance(scene.ask("telescope", slew()), Slewed)
    assert scene.telescope.problem == ""


@pytest.mark.parametrize("kind", ["lie", "stuck"])
def test_a_mount_that_says_yes_and_does_not_move_is_found_out(scene, kind):
    scene.fault("telescope", kind, 250.0)
    reply = scene.ask("telescope", slew(), 260.0)
    assert isinstance(reply, Failed)
    assert ("from the target" if kind == "lie" else "no end of the motion") in reply.reason
    assert scene.telescope.problem
    scene.world.faults.end("telescope")
    scene.run(2.0)
    assert isinstance(scene.ask("telescope", slew()), Slewed)
    bears(scene)


def test_a_mount_that_gets_stuck_and_free_again_in_time_arrives(scene):
    answers = scene.begin("telescope", slew())
    scene.run(2.0)
    scene.fault("telescope", "stuck", 20.0)
    scene.until(lambda: bool(answers), 120.0)
    assert isinstance(answers[0], Slewed)


def test_a_halt_and_the_brake_end_a_slew_within_a_second_and_the_state_shows_it(scene):
    """MJ-T7: motion is aborted."""
    answers = scene.begin("telescope", slew())
    scene.run(3.0)
    assert scene.slewing
    scene.tell("telescope", Halt(cause="test"))
    scene.begin("telescope.brake", Brake(cause="test"))
    scene.run(1.0)
    assert not scene.slewing
    assert isinstance(answers[0], Refused)
    assert "aborted: test" in answers[0].reason
    assert (scene.telescope.slewing, scene.telescope.doing, scene.telescope.problem) == (False, "", "")
    assert isinstance(scene.ask("telescope", slew()), Slewed)


def test_the_brake_reaches_a_mount_whose_answers_hang(scene):
    scene.begin("telescope", slew())
    scene.run(2.0)
    scene.fault("telescope", "hang", 10.0)
    scene.run(1.0)
    stopped = threading.Event()
    scene.mount.stop = lambda stop=scene.mount.stop: (stop(), stopped.set())
    assert scene.ask("telescope.brake", Brake(cause="test")) == Done()
    assert stopped.wait(5.0), "written to a connection of its own, where no answer tells when it has come"
    assert not scene.slewing


def test_parking_ends_a_slew_and_is_done_when_the_mount_says_that_it_is_parked(scene):
    answers = scene.begin("telescope", slew())
    scene.run(3.0)
    assert scene.ask("telescope", Park(cause="test")) == Done()
    assert isinstance(answers[0], Refused)
    assert scene.parked
    assert scene.telescope.parked
    assert scene.ask("telescope", Park(cause="again")) == Done()


def test_a_parking_is_neither_begun_twice_nor_ended_by_a_halt(scene):
    scene.ask("telescope", slew())
    first = scene.begin("telescope", Park(cause="first"))
    scene.run(1.0)
    second = scene.begin("telescope", Park(cause="second"))
    scene.tell("telescope", Halt(cause="the sequence's"))
    scene.until(lambda: bool(first), 60.0)
    assert (first, second) == ([Done()], [Done()])
    assert scene.parked


def test_a_parking_that_the_brake_stops_is_noticed_within_seconds(scene):
    scene.ask("telescope", slew())
    answers = scene.begin("telescope", Park(cause="test"))
    scene.run(2.0)
    scene.begin("telescope.brake", Brake(cause="test"))
    assert scene.until(lambda: bool(answers), 10.0) <= 4.0
    assert "stands and is not parked" in answers[0].reason


@pytest.mark.parametrize("kind", [*LINK_FAULTS, "lie"])
def test_a_parking_that_fails_is_answered_and_can_be_asked_again(scene, kind):
    scene.ask("telescope", slew())
    scene.fault("telescope", kind, 20.0)
    assert isinstance(scene.ask("telescope", Park(cause="test")), Failed)
    assert scene.telescope.problem
    scene.run(30.0)
    assert scene.ask("telescope", Park(cause="test")) == Done()
    bears(scene)


def test_with_the_local_key_set_the_mount_is_not_moved_at_all(scene):
    scene.ask("telescope", slew())
    scene.switch("local_key", True)
    scene.run(1.5)
    assert "local key" in scene.ask("telescope", Park(cause="test")).reason
    assert isinstance(scene.ask("telescope", slew(target=OTHER_TARGET)), Refused)
    assert not scene.slewing


def test_no_slew_is_commanded_when_the_verdict_is_stale(scene):
    """MJ-T3: stale: no slew command issued."""
    scene.silence("monitor")
    scene.run(3.5)
    reply = scene.ask("telescope", slew())
    assert isinstance(reply, Refused)
    assert "verdict is" in reply.reason
    assert scene.mount.slews == []


# -- camera ----------------------------------------------------------------------------------------------------------


def test_a_camera_that_lies_only_while_it_is_started_has_no_frame_recorded(scene):
    scene.fault("camera:vis", "lie", 4.0)
    reply = scene.ask("camera:vis", expose(30.0))
    assert isinstance(reply, Failed)
    assert "done at once" in reply.reason
    assert list(scene.environment.images.rglob("*.fits")) == []
    bears(scene)


def test_a_disk_that_takes_no_frame_fails_the_exposure_and_not_the_camera(scene, monkeypatch):
    def full(path, *_):
        raise FrameError(f"{path} cannot be written: No space left on device")

    monkeypatch.setattr("pyros.actors.devices.camera.write_frame", full)
    reply = scene.ask("camera:vis", expose(5.0))
    assert isinstance(reply, Failed)
    assert "No space left on device" in reply.reason
    assert str(scene.folder) not in reply.reason
    bears(scene)
    monkeypatch.undo()
    assert isinstance(scene.ask("camera:vis", expose(5.0)), Exposed)


def test_an_exposure_ends_as_a_file_on_disk(scene):
    reply = scene.ask("camera:vis", expose())
    assert isinstance(reply, Exposed)
    assert (scene.folder / "images" / reply.file).stat().st_size > 0
    assert scene.observatory.observer.violations == []
    bears(scene)


@pytest.mark.parametrize("kind", LINK_FAULTS)
@pytest.mark.parametrize("after_s", [0.0, 2.0, 11.0])
def test_a_camera_that_falls_silent_is_named_and_back_by_itself_in_every_phase(scene, kind, after_s):
    answers = []
    if after_s:
        answers = scene.begin("camera:vis", expose())
        scene.run(after_s)
    scene.fault("camera:vis", kind, 30.0)
    if not after_s:
        answers = scene.begin("camera:vis", expose())
    scene.run(20.0)
    assert isinstance(answers[0], Failed)
    assert scene.camera.link == "down"
    assert "camera:vis" in scene.camera.problem
    assert scene.camera.until is None
    scene.run(10.0)
    scene.until(lambda: scene.camera.link == "up", 31.0)
    assert isinstance(scene.ask("camera:vis", expose()), Exposed)
    assert scene.camera.problem == ""
    bears(scene)


def test_a_camera_that_refuses_is_named(scene):
    scene.fault("camera:vis", "refuse", 20.0)
    assert isinstance(scene.ask("camera:vis", expose()), Failed)
    assert "refuses" in scene.camera.problem
    scene.run(40.0)
    assert isinstance(scene.ask("camera:vis", expose()), Exposed)


def test_a_camera_that_never_gives_its_image_is_stopped_so_that_it_can_be_used_again(scene):
    scene.fault("camera:vis", "stuck", 60.0)
    reply = scene.ask("camera:vis", expose(5.0), 100.0)
    assert "no image" in reply.reason
    scene.run(60.0)
    assert isinstance(scene.ask("camera:vis", expose(5.0)), Exposed)


def test_a_halt_and_the_brake_end_an_exposure_at_once_and_the_next_begins_at_once(scene):
    """MJ-T7: exposures are aborted; MJ-T2: by the instrument's own abort."""
    answers = scene.begin("camera:vis", expose(100.0))
    scene.run(5.0)
    scene.tell("camera:vis", Halt(cause="test"))
    assert scene.ask("camera:vis.brake", Brake(cause="test")) == Done()
    assert "aborted: test" in answers[0].reason
    assert isinstance(scene.ask("camera:vis", expose(5.0)), Exposed)
    ends = [one for one in scene.observatory.observer.exposures if (one.end - one.start).total_seconds() > 6]
    assert ends == [], "the long exposure ended when it was braked"


def test_a_restarted_camera_actor_ends_the_exposure_that_nobody_waits_for(scene):
    scene.begin("camera:vis", expose(300.0))
    scene.run(5.0)
    scene.crash("camera:vis")
    scene.run(2.0)
    assert scene.camera.doing == "idle"
    assert isinstance(scene.ask("camera:vis", expose(5.0)), Exposed)


def test_no_shutter_opens_without_a_permit_and_darks_need_one_too(scene):
    assert "no permit for sequence 7" in scene.ask("camera:vis", expose(sequence_id=7)).reason
    assert "no permit for sequence 7" in scene.ask("camera:vis", expose(frame="dark", sequence_id=7)).reason
    assert isinstance(scene.ask("camera:vis", expose(5.0, frame="dark")), Exposed)


def test_before_the_night_the_camera_waits_and_its_first_shutter_opens_when_it_begins(tmp_path):
    """SC-T8: pointing 120 s before the night, the first shutter not before its start."""
    with Scene(tmp_path, ACTORS, at=NIGHT.begins - timedelta(seconds=230)).open_dome() as scene:
        scene.permit_for(300.0)
        scene.run(0.5)
        left_s = (NIGHT.begins - scene.clock.now()).total_seconds()
        assert left_s > 125
        assert "the night begins" in scene.ask("telescope", slew()).reason
        scene.run(left_s - 121.5)
        assert "the night begins" in scene.ask("telescope", slew()).reason
        scene.run(2.0)
        assert isinstance(scene.ask("telescope", slew()), Slewed)
        reply = scene.ask("camera:vis", expose(), 200.0)
        assert isinstance(reply, Exposed)
        assert scene.events(ShutterOpened)[0].start >= NIGHT.begins
        assert reply.start - NIGHT.begins < timedelta(seconds=1)
        assert scene.observatory.observer.violations == []


# -- filter wheel ----------------------------------------------------------------------------------------------------


def test_a_filter_is_in_the_beam_when_the_wheel_says_so(scene):
    assert scene.ask("filter_wheel:vis", SetFilter(filter="z")) == FilterSet(filter="z")
    assert scene.wheel.filter == "z"
    assert "no filter 'u'" in scene.ask("filter_wheel:vis", SetFilter(filter="u")).reason


@pytest.mark.parametrize("kind", [*LINK_FAULTS, "refuse", "stuck", "lie"])
def test_a_wheel_that_fails_is_named_and_turns_again_when_the_fault_is_over(scene, kind):
    scene.ask("filter_wheel:vis", SetFilter(filter="g"))
    scene.fault("filter_wheel:vis", kind, 40.0)
    assert isinstance(scene.ask("filter_wheel:vis", SetFilter(filter="i")), Failed)
    assert scene.wheel.problem
    assert scene.wheel.link == ("down" if kind in LINK_FAULTS else "up")
    scene.run(75.0)
    assert scene.wheel.link == "up"
    assert scene.ask("filter_wheel:vis", SetFilter(filter="i")) == FilterSet(filter="i")
    assert scene.wheel.problem == ""
    bears(scene)
