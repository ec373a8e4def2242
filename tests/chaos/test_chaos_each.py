"""One short night in which each actor is killed once, and then telescope, PLC and camera are dead for a while."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
from chaos_judge import judged
from chaos_nights import NoAnalysis
from chaos_scenario import ChaosNight

from pyros.cli.night.runner import Order, run_night
from pyros.messages.alerts import AlertManagerState, NoticeJudged
from pyros.messages.base import GetState
from pyros.messages.night import ImageTaken, MonitorState, SequenceEnded
from pyros.messages.store import GetRows, Rows
from pyros.messages.system import ActorRestarted
from pyros.sky.night import night_of
from pyros.sky.site import Site

ON = date(2026, 6, 8)
SITE = Site("somewhere", 10.0, 53.0, 100.0)
ACTORS = (
    "archivist", "librarian", "user_manager", "plc", "weather:mast", "telescope.brake", "telescope", "camera:vis.brake",
    "camera:vis", "filter_wheel:vis.brake", "filter_wheel:vis", "analyzer", "monitor", "scheduler",
    "observation_manager", "majordome", "routine_manager", "alert_manager", "listener:vtp", "courier",
)  # fmt: skip
DEVICES = ("telescope", "plc", "camera:vis")
FIRST, EVERY = timedelta(minutes=8), timedelta(minutes=3)
WINDOW = timedelta(minutes=6)
"""Long enough for the gap that a planning may leave before a target rises."""
DEAD, DEAD_FOR_S = timedelta(minutes=80), 1200.0
HEAD = f"""
[override.site]
name = "{SITE.name}"
longitude_deg = {SITE.longitude_deg}
latitude_deg = {SITE.latitude_deg}
height_m = {SITE.height_m}
"""


def scenario(begins):
    """Return the text: crashes one by one, then three dead devices, and a burst meanwhile."""
    lines = [HEAD]
    for place, actor in enumerate(ACTORS):
        at = begins + FIRST + EVERY * place
        lines.append(f'[[event]]\nat = "{at.isoformat()}"\nkind = "actor"\nactor = "{actor}"\nfault = "raise"\n')
    dead = begins + DEAD
    for device in DEVICES:
        lines.append(
            f'[[event]]\nat = "{dead.isoformat()}"\nkind = "device"\ndevice = "{device}"\nfault = "mute"\n'
            f"for_s = {DEAD_FOR_S}\n"
        )
        lines.append(f'[[event]]\nat = "{dead.isoformat()}"\nkind = "actor"\nactor = "{device}"\nfault = "raise"\n')
    lines.append(
        f'[[event]]\nat = "{(dead + timedelta(minutes=5)).isoformat()}"\nkind = "grb"\nra_deg = 250.0\ndec_deg = 50.0\n'
        'mag_at_60s = 14.0\nalpha = 1.1\nnotices = [{form = "swift_bat", delay_s = 40, error_deg = 0.05}]\n'
    )
    return "\n".join(lines)


class EachKilled:
    """The night, played once for all tests of this file."""

    def __init__(self, folder: Path):
        sky = night_of(SITE, ON)
        self.begins, self.ends = sky.begins, sky.ends
        text = scenario(self.begins)
        (folder / "scenario.toml").write_text(text)
        self.answers = {}
        order = Order(
            ON, 5, folder / "night", folder / "scenario.toml",
            requests=40, pixels=64, calibrated=False, operator_resets_after_s=240.0, attend=self._ask_later,
        )  # fmt: skip
        self.record = run_night(order, pool=NoAnalysis())
        drawn = ChaosNight(5, ON, SITE, text, len(ACTORS))
        self.result = judged(drawn, self.record, self.observatory, folder / "night")

    def _ask_later(self, observatory, system):
        """Ask who must answer while telescope, PLC and camera are dead; the librarian is what the page asks."""
        self.observatory = observatory
        for actor, message in (
            ("monitor", GetState()),
            ("alert_manager", GetState()),
            ("librarian", GetRows(table="notice", limit=10)),
        ):
            put = lambda reply, actor=actor: self.answers.__setitem__(actor, reply)
            ask = lambda actor=actor, message=message, put=put: system.question(actor, message, 5.0, put)
            observatory.world.clock.call_at(self.begins + DEAD + timedelta(minutes=12), ask)

    def said(self, kind, since=timedelta(), until=timedelta(days=1)):
        begin, end = self.begins + since, self.begins + until
        return [one.message for one in self.record.said if isinstance(one.message, kind) and begin <= one.at < end]

    def exposing_s(self, since):
        """Seconds for which the camera exposed in the minutes after an instant, by the observer."""
        begin, end = self.begins + since, self.begins + since + WINDOW
        spans = [(max(a, begin), min(b, end)) for a, b in self.record.exposures]
        return sum((b - a).total_seconds() for a, b in spans if b > a)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return EachKilled(tmp_path_factory.mktemp("each"))


@pytest.mark.night
@pytest.mark.timeout(200)
def test_each_actor_is_killed_once_in_a_night_and_science_goes_on(night):
    """WK-1."""
    killed = night.said(ActorRestarted, until=DEAD)
    assert sorted(one.actor for one in killed) == sorted(ACTORS)
    assert all(one.away_s < 1.0 for one in killed)
    exposing_s = {actor: round(night.exposing_s(FIRST + EVERY * n)) for n, actor in enumerate(ACTORS)}
    print(f"seconds of exposure in the {WINDOW} after each crash: {exposing_s}")
    assert all(seconds > 60 for seconds in exposing_s.values())
    assert len(night.said(ImageTaken, FIRST, DEAD)) >= len(ACTORS)
    assert sum(one.outcome == "EXECUTED" for one in night.said(SequenceEnded, until=DEAD)) >= 5
    dome = [change for change in night.record.dome if night.begins < change["t"] < night.begins + DEAD]
    assert dome == []


@pytest.mark.night
@pytest.mark.timeout(200)
def test_alerts_monitoring_and_the_page_s_questions_are_answered_while_telescope_plc_and_camera_are_dead(night):
    """WK-3: the page itself is shown in test_cli_run_daemon; here is whom it asks."""
    assert isinstance(night.answers["monitor"], MonitorState)
    down = {device.device for device in night.answers["monitor"].devices if device.link == "down"}
    assert set(DEVICES) <= down
    assert night.answers["monitor"].level == "UNSAFE"
    assert isinstance(night.answers["alert_manager"], AlertManagerState)
    (alert,) = night.answers["alert_manager"].alerts
    assert alert.status not in {"DONE", "RETRACTED"}
    assert isinstance(night.answers["librarian"], Rows)
    assert len(night.answers["librarian"].rows) == 1
    meanwhile = DEAD, DEAD + timedelta(seconds=DEAD_FOR_S)
    assert len(night.said(NoticeJudged, *meanwhile)) == 1
    assert [one.role for one in night.observatory.broker.answers] == ["ack"]


@pytest.mark.night
@pytest.mark.timeout(200)
def test_no_judge_finds_a_rule_broken_in_the_night_in_which_everybody_was_killed(night):
    assert night.result.violations == []
    assert night.result.deaths == 0


def test_the_long_run_says_what_it_can_do():
    command = [sys.executable, "-m", "tests.chaos.chaos_nights", "--help"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 0
    assert "--nights" in done.stdout
