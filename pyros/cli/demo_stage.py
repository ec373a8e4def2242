"""What `pyros demo` puts on its stage: when the night begins, its settings, its burst, its users."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from pyros.actors.kernel import System
from pyros.actors.user_manager import HASHER
from pyros.cli.daemon_log import EventLog, Line
from pyros.cli.operators import operator_message
from pyros.cli.simulation.default_scenario import default_scenario
from pyros.cli.simulation.requests import USER, programme, routine_requests
from pyros.messages.base import Command, Failed, Refused
from pyros.messages.people import Account, AddUser
from pyros.messages.system import Crash
from pyros.sky.night import night_of
from pyros.sky.site import Site
from simulators.scenario import Scenario

ON = date(2026, 11, 22)
ADMIN = "admin"
REAL_SAFETY_S = 5.0
"""Safety times are at least so long for whoever watches, however fast the clock runs."""
CREW_S = 10.0


@dataclass(frozen=True)
class Evening:
    """The night that is played: its scenario, its dark time, and when the curtain rises."""

    scenario: Scenario
    site: Site
    begins: datetime
    ends: datetime
    start: datetime


def evening(speed: float, seed: int, scenario: Scenario | None) -> Evening:
    """Place the demonstration in the night of `ON`.

    The start is up to ten minutes before the dark time (the Sun at -10°), less on a slow clock so that nobody waits;
    the first burst comes about half a real minute after the start.

    Raises
    ------
    ValueError
        If the scenario's place has no dark time that night.
    """
    overrides: Mapping[str, Mapping[str, Any]] = {} if scenario is None else scenario.overrides
    place = {key: value for key, value in overrides.get("site", {}).items() if key in Site.__dataclass_fields__}
    site = Site(**place)
    limit_deg = float(overrides.get("night", {}).get("sun_altitude_max_deg", -12.0))
    night = night_of(site, ON, limit_deg)
    if night.begins is None or night.ends is None:
        raise ValueError(
            f"there is no dark time at {site.name} in the night of {ON}: the Sun stays above {limit_deg:g}°"
        )
    if scenario is None:
        after = timedelta(seconds=max(60.0, 20.0 * speed))
        scenario = Scenario.parse(default_scenario(seed, site, night.begins, night.ends, after))
    before = timedelta(seconds=min(600.0, max(120.0, 15.0 * speed)))
    return Evening(scenario, site, night.begins, night.ends, (night.begins - before).replace(microsecond=0))


def demo_sections(speed: float, port: int, gateway: Path) -> dict[str, dict[str, Any]]:
    """Return the settings that a demonstration has otherwise than an observatory; a scenario may override them."""
    real_s = REAL_SAFETY_S * speed
    return {
        "safety": {"hold_off_s": real_s, "stale_s": max(30.0, real_s), "deadman_s": int(min(120, max(30, real_s)))},
        "store": {"synchronous": "off"},
        "web": {"port": port},
        "gateway": {"folder": str(gateway)},
    }


def enter_users(system: System, seed: int, log: EventLog, *, requests: bool) -> str:
    """Bring in the people: an administrator, and an astronomer with requests; return the administrator's password.

    It is '' when the account existed before, as in a state directory that is used again.
    """
    password = secrets.token_urlsafe(9)
    account = AddUser(name=ADMIN, email="admin@example.org", role="admin", password_hash=HASHER.hash(password))
    made = isinstance(_say(system, log, "user_manager", account), Account)
    if made and requests:
        observer = AddUser(name=USER, email="astronomer@example.org", role="observer", password_hash="!")  # noqa: S106 - no login
        for actor, message in (("user_manager", observer), ("routine_manager", programme())):
            _say(system, log, actor, message)
        for request in routine_requests(seed):
            _say(system, log, "routine_manager", request)
    return password if made else ""


def _say(system: System, log: EventLog, actor: str, message: Command) -> object:
    reply = system.ask(actor, message, CREW_S * system.clock.speed)
    if isinstance(reply, Refused | Failed):
        log.say("demo", Line(f"{actor} did not take {type(message).__name__}: {reply.reason}"))
    return reply


def action(event: dict[str, Any]) -> Callable[[System], None]:
    """Return what an event of the scenario does that is not the simulated world's business.

    Raises
    ------
    ValueError
        If it cannot be played.
    """
    if event["kind"] == "operator":
        actor, message = operator_message(event["command"])
        return lambda system: system.tell(actor, message, user="operator")
    if event["kind"] == "actor" and event["fault"] in {"raise", "exit"}:
        return lambda system: system.tell(event["actor"], Crash(how=event["fault"]))
    what = event.get("fault") or ", ".join(key for key in event if key != "kind")
    raise ValueError(f"scenario: {event['kind']} {what} cannot be played in a demonstration")
