"""`pyros replay`: a recorded night in words, as JSON, and fed to a fresh actor."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner
from flight_stage import HEADER, START, START_US, beat, patient
from hypothesis import given
from hypothesis import strategies as st
from scene import ALL, Scene

from pyros.actors.monitor import actor as monitor_module
from pyros.cli import pyros
from pyros.cli.recorder import recorder_for
from pyros.cli.replay.comparison import NOW, SAME, THEN, Said, compare, said_in
from pyros.cli.replay.feed import FeedError, feed
from pyros.cli.replay.words import instant_near
from pyros.cli.typed import WordsError
from pyros.config import Settings, parse
from pyros.flight import Recording, read_recording
from pyros.flight.record import packed, recorded, row_of
from pyros.flight.recording import opening, write_file
from pyros.messages.system import Crash


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A recorded scene: the dome opens, a sequence is observed, rain closes it."""
    folder = tmp_path_factory.mktemp("played")
    with Scene(folder, ALL, start=True) as scene:
        recorder = recorder_for(scene.environment, scene.clock)
        scene.system.events.tap(recorder.hear)
        recorder.attach(scene.system)
        scene.run(30.0)
        scene.sequence()
        scene.open_up()
        scene.run(40.0)
        scene.world.set_weather(rain=True)
        scene.run(30.0)
        recorder.close()
    (file,) = sorted((folder / "flight").glob("*"))
    return folder, file


@pytest.fixture(scope="module")
def recording(played):
    return read_recording(played[1])


@pytest.fixture(scope="module")
def settings(recording):
    return parse(recording.header.settings, "recording")


def run(*arguments):
    return CliRunner().invoke(pyros, ["replay", *map(str, arguments)])


def good(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


# -- in words --------------------------------------------------------------------------------------------------------


def test_the_recording_is_shown_with_its_header_and_a_line_for_each_record(played, recording):
    lines = good(played[1]).output.splitlines()
    head = {line[:10].strip(): line[11:] for line in lines[:9]}
    assert head["cause"].startswith("dome closing")
    assert "rain" in head["cause"]
    assert head["start"] == "number 1 at San Pedro Mártir"
    assert "pyros 0.1.0" in head["versions"]
    assert head["from"] < head["to"]
    assert f"{len(recording.records)} records" in head["to"]
    shown = [line for line in lines if line.startswith("2026-")]
    assert len(shown) == len(recording.records) + len(recording.standing)
    assert any("plc → monitor" in line and "PlcState link=up dome=open" in line for line in shown)


def test_records_are_chosen_by_actor_by_type_and_by_time(played, recording):
    rain = next(row for row in recording.records if row.tag == "PlcState" and row.body["rain"])
    at = START.fromtimestamp(rain.t_us / 1e6, START.tzinfo)
    since, until = f"{at - timedelta(seconds=2):%H:%M:%S}", f"{at + timedelta(seconds=2):%Y-%m-%dT%H:%M:%SZ}"
    result = good(played[1], "--json", "--actor", "monitor", "--type", "SafetyVerdict", "--from", since, "--to", until)
    header, *rows = map(json.loads, result.output.splitlines())
    assert header["boot"] == 1
    assert {row["body"]["level"] for row in rows} == {"SAFE", "UNSAFE"}
    assert {row["sender"] for row in rows} == {"monitor"}
    assert 3 <= len([row for row in rows if row["kind"] == "published"]) <= 5


def test_as_json_every_record_is_there_in_full(played, recording):
    header, *rows = map(json.loads, good(played[1], "--json").output.splitlines())
    assert header["causes"] == recording.header.causes
    assert [row["body"] for row in rows] == [row.body for row in [*recording.standing, *recording.records]]


@pytest.mark.parametrize(
    ("arguments", "word", "status"),
    [
        (["/nowhere/x.msgpack"], "/nowhere/x.msgpack cannot be read", 1),
        ([__file__], "is no recording of the flight recorder", 1),
        (["FILE", "--type", "SafetyVerdct"], "did you mean SafetyVerdict", 2),
        (["FILE", "--from", "soon"], "'soon' is no instant; write 05:31:07", 2),
        (["FILE", "--different"], "go with --feed", 2),
        (["FILE", "--feed", "nobody"], "there is no actor nobody; those that can be fed are", 1),
        (["FILE", "--feed", "telescope"], "owns a device, the store or a way outside", 1),
        (["FILE", "--feed", "camera:vis.brake"], "owns a device, the store or a way outside", 1),
        (["FILE", "--feed", "supervisor"], "owns a device, the store or a way outside", 1),
        (["FILE", "--feed", "monitor", "--config", __file__], "is not TOML", 1),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(played, arguments, word, status):
    result = run(*(str(played[1]) if one == "FILE" else one for one in arguments))
    assert result.exit_code == status, result.output
    assert word in result.output
    assert len([line for line in result.output.splitlines() if word in line]) == 1
    assert "Traceback" not in result.output


def test_a_recording_that_the_crash_has_cut_is_shown_up_to_there(played, tmp_path):
    whole = played[1].read_bytes()
    cut = tmp_path / "cut.msgpack"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    result = good(cut)
    assert "a record is incomplete at byte" in result.output
    assert 100 < result.output.count("\n2026-") < good(played[1]).output.count("\n2026-")


def test_a_message_that_this_version_does_not_know_is_shown_as_it_is(tmp_path):
    row = row_of(beat(1))
    row[-1] = {"type": "Teleport", "to": "Mars"}
    file = tmp_path / "x.msgpack"
    import msgpack

    write_file(file, [opening(HEADER, []), msgpack.packb(row), packed([beat(2)])])
    lines = good(file).output.splitlines()
    assert lines[-2].endswith('Teleport {"type": "Teleport", "to": "Mars"}')
    assert lines[-1].endswith("count=2")


@pytest.mark.parametrize(
    ("text", "near", "instant"),
    [
        ("03:00:05", START, START + timedelta(seconds=5)),
        ("23:59", START, START - timedelta(hours=3, minutes=1)),
        ("00:10", START + timedelta(hours=20), START + timedelta(hours=21, minutes=10)),
        ("2026-11-22T03:00:00Z", START, START),
        ("2026-11-22 03:00", START, START),
        ("2026-11-22T05:00+02:00", START, START),
    ],
)
def test_a_time_of_day_is_the_one_nearest_to_the_recording(text, near, instant):
    assert instant_near(text, near) == instant


@pytest.mark.parametrize("text", ["", "25:00", "yesterday", "2026-13-01"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(WordsError, match="is no instant"):
        instant_near(text, START)


# -- fed to an actor -------------------------------------------------------------------------------------------------


def differences(recording, actor, settings, state=None):
    outcome = feed(recording, actor, settings, state)
    return outcome, [line for line in compare(said_in(recording.records, actor), outcome.said) if line.mark != SAME]


def levels(said):
    return [(one.t_us, one.body["level"]) for one in said if one.key == ("", "SafetyVerdict")]


def test_the_monitor_gives_the_same_verdicts_at_the_same_instants(recording, settings):
    outcome, _ = differences(recording, "monitor", settings)
    then = levels(said_in(recording.records, "monitor"))
    assert levels(outcome.said) == then
    assert {level for _, level in then} == {"SAFE", "UNSAFE"}
    assert outcome.breaks == []


def test_with_the_store_of_that_night_the_monitor_says_nothing_else(played, recording, settings):
    _, different = differences(recording, "monitor", settings, played[0])
    assert different == []


@pytest.mark.parametrize(("actor", "tags"), [("majordome", {"MajordomeState"}), ("weather:mast", set())])
def test_the_other_links_of_the_chain_do_what_they_did(recording, settings, actor, tags):
    outcome, different = differences(recording, actor, settings)
    assert outcome.fed > 10
    assert len(outcome.said) > 10
    assert {line.said.key[1] for line in different} <= tags, "only what an incarnation says of its own start"


def test_a_question_is_answered_with_the_reply_that_came_then(recording, settings):
    """Majordome asked for a planning and for the dome: both answers come from the recording."""
    outcome, _ = differences(recording, "majordome", settings)
    asked = [said.key for said in outcome.said if said.to in {"scheduler", "plc"}]
    assert ("scheduler", "MakeSchedule") in asked
    assert ("plc", "OpenDome") in asked
    assert "plc OpenDome" not in outcome.unanswered
    assert "scheduler MakeSchedule" not in outcome.unanswered


def test_an_actor_that_judges_otherwise_now_is_shown_to(recording, settings, monkeypatch):
    """The point of it all: a change of the rules is tried on what has happened."""
    real = monitor_module.judge

    def careless(*arguments):
        verdict, memory = real(*arguments)
        return type(verdict)(level="SAFE", reasons=[], at=verdict.at), memory

    monkeypatch.setattr(monitor_module, "judge", careless)
    _, different = differences(recording, "monitor", settings)
    now = [line for line in different if line.mark == NOW and line.said.key[1] == "SafetyVerdict"]
    then = [line for line in different if line.mark == THEN and line.said.key[1] == "SafetyVerdict"]
    assert {line.said.body["level"] for line in now} == {"SAFE"}
    assert {line.said.body["level"] for line in then} == {"UNSAFE"}


def test_settings_of_ones_own_are_tried_on_what_has_happened(recording, settings):
    calm = parse({**recording.header.settings, "safety": {"wind_m_s": {"limit": 1.0, "clear": 0.5}}}, "mine")
    outcome, _ = differences(recording, "monitor", calm)
    assert {level for _, level in levels(outcome.said)} == {"UNSAFE"}


def test_feeding_twice_gives_the_same(recording, settings):
    first, second = (feed(recording, "majordome", settings) for _ in range(2))
    assert first.said == second.said


def test_a_message_that_an_actor_dies_on_kills_it_again_and_the_next_incarnation_goes_on(recording, settings):
    rows = recording.records
    place = len(rows) // 2
    crash = rows[place]._replace(
        kind="delivered", sender="outside", to="monitor", id="1-x", cause="1-x", body={"type": "Crash", "how": "raise"}
    )
    poisoned = Recording(recording.header, recording.standing, [*rows[:place], crash, *rows[place:]])
    outcome = feed(poisoned, "monitor", settings)
    ((t_us, failure, trace),) = outcome.breaks
    assert t_us == crash.t_us
    assert failure.message == Crash.__name__
    assert "was told to break" in trace
    assert [at for at, _ in levels(outcome.said) if at > t_us], "there is another incarnation"


def test_a_handler_that_never_returns_is_named(recording, settings):
    rows = recording.records
    hang = rows[5]._replace(
        kind="delivered", sender="outside", to="monitor", id="1-x", cause="1-x", body={"type": "Crash", "how": "hang"}
    )
    outcome = feed(Recording(recording.header, [], [*rows[:5], hang, *rows[5:]]), "monitor", settings)
    assert outcome.busy_with == "Crash"


def test_the_store_that_is_copied_is_left_as_it_is(played, recording, settings):
    before = {name: (played[0] / name).read_bytes() for name in ("pyros.db", "telemetry.db")}
    feed(recording, "routine_manager", settings, played[0])
    assert {name: (played[0] / name).read_bytes() for name in before} == before


def test_a_state_folder_without_a_store_is_refused(recording, settings, tmp_path):
    with pytest.raises(FeedError, match="there is no store"):
        feed(recording, "monitor", settings, tmp_path)


def test_a_recording_without_records_feeds_nobody(settings):
    with pytest.raises(FeedError, match="no records"):
        feed(Recording(HEADER, [], []), "monitor", settings)


def test_the_command_prints_what_is_said_now_and_counts(played):
    result = good(played[1], "--feed", "monitor", "--state", played[0], "--type", "SafetyVerdict")
    lines = [line for line in result.output.splitlines() if "SafetyVerdict" in line]
    assert all(line.startswith("  2026-") for line in lines)
    assert f"{len(lines)} as recorded, 0 only now, 0 only then" in result.output
    only = good(played[1], "--feed", "monitor", "--state", played[0], "--different")
    assert "2026-" not in only.output
    as_json = good(played[1], "--feed", "monitor", "--state", played[0], "--json").output.splitlines()
    assert {json.loads(line)["said"] for line in as_json if line.startswith("{")} == {"same"}


def test_the_settings_of_a_recording_are_whole(settings):
    assert isinstance(settings, Settings)
    assert settings.safety.rain_hold_off_s == 20.0


# -- the comparison --------------------------------------------------------------------------------------------------

things = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from(["", "plc"]), st.sampled_from(["A", "B"]), st.integers(0, 2)),
    max_size=20,
).map(lambda rows: [Said(t * 500_000, to, {"type": tag, "n": n}) for t, to, tag, n in sorted(rows)])


@patient
@given(things)
def test_an_actor_that_says_the_same_differs_nowhere(said):
    assert [line.mark for line in compare(said, said)] == [SAME] * len(said)


@patient
@given(things, things)
def test_everything_said_now_and_then_is_in_the_comparison_once(then, now):
    lines = compare(then, now)
    assert sorted((line.said for line in lines if line.mark in {SAME, NOW}), key=str) == sorted(now, key=str)
    assert len([line for line in lines if line.mark in {SAME, THEN}]) == len(then)
    assert [line.said.t_us for line in lines] == sorted(line.said.t_us for line in lines)


@pytest.mark.parametrize(
    ("one", "other", "marks"),
    [
        ({"at": "2026-11-22T03:00:00Z"}, {"at": "2026-11-22T03:00:01.5Z"}, [SAME]),
        ({"at": "2026-11-22T03:00:00Z"}, {"at": "2026-11-22T03:00:03Z"}, [THEN, NOW]),
        ({"x": 1.0}, {"x": 1.0 + 1e-9}, [SAME]),
        ({"x": 1.0}, {"x": 1.01}, [THEN, NOW]),
        ({"x": True}, {"x": False}, [THEN, NOW]),
        ({"x": [1, 2]}, {"x": [1]}, [THEN, NOW]),
        ({"x": "a"}, {"y": "a"}, [THEN, NOW]),
        ({"type": "Beat", "count": 1}, {"type": "Beat", "count": 900}, [SAME]),
        ({"type": "Other", "count": 1}, {"type": "Other", "count": 900}, [THEN, NOW]),
    ],
)
def test_instants_and_what_is_counted_from_a_start_may_differ_and_nothing_else(one, other, marks):
    lines = compare([Said(0, "", one)], [Said(0, "", other)])
    assert [line.mark for line in lines] == marks


def test_what_an_actor_says_is_what_it_sends_answers_and_publishes_each_once():
    def row(kind, sender, to, identifier, tag):
        return recorded([START_US, kind, sender, to, identifier, "c", {"type": tag}])

    rows = [
        row("published", "plc", "", "", "PlcState"),
        row("delivered", "plc", "monitor", "1-1", "PlcState"),
        row("delivered", "plc", "plc", "1-2", "Poll"),
        row("delivered", "plc", "majordome", "", "Done"),
        row("delivered", "plc", "monitor", "", "PlcState"),
        row("delivered", "plc", "majordome", "1-3", "CloseDome"),
        row("published", "plc", "", "", "ActorStarted"),
        row("published", "monitor", "", "", "SafetyVerdict"),
    ]
    assert [said.key for said in said_in(rows, "plc")] == [
        ("", "PlcState"),
        ("majordome", "Done"),
        ("monitor", "PlcState"),
        ("majordome", "CloseDome"),
    ]


def test_states_of_before_the_recording_are_there_for_who_looks(settings):
    """Weather retained before the first record keeps the verdict from saying that there is none."""
    at = START - timedelta(seconds=5)
    wet = {"type": "WeatherState", "station": "mast", "rain": True, "sampled_at": at.isoformat()}
    nothing = ("wind_m_s", "gust_m_s", "humidity_percent", "temperature_c", "dew_point_c", "pressure_hpa")
    wet |= dict.fromkeys((*nothing, "sky_minus_ambient_c"))
    before = recorded([START_US - 5_000_000, "published", "weather:mast", "", "", "", wet])
    reading = {"type": "PlcState", "link": "up", "dome": "open", "read_at": START.isoformat()}
    now = recorded([START_US, "published", "plc", "", "", "", reading])
    given_to = recorded([START_US, "delivered", "plc", "monitor", "1-1", "1-0", reading])

    def reasons(standing):
        outcome = feed(Recording(HEADER, standing, [now, given_to]), "monitor", settings)
        return next(said.body["reasons"] for said in outcome.said if said.key == ("", "SafetyVerdict"))

    assert any("rain" in reason for reason in reasons([before]))
    assert reasons([before]) != reasons([])
