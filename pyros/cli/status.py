"""`pyros status`: is it safe, what runs, what comes next, and how everything is; from one snapshot of the daemon."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from pyros.cli.door import connect_option, connected, good
from pyros.messages import State
from pyros.messages.alerts import AlertManagerState, AlertRow, ListenerState
from pyros.messages.codec import BadMessageError, from_builtins
from pyros.messages.courier import CourierState
from pyros.messages.devices import CameraState, FilterWheelState, PlcState, TelescopeState, WeatherState
from pyros.messages.night import MajordomeState, MonitorState, ObservationManagerState, SafetyVerdict
from pyros.messages.system import ArchivistState, GetSnapshot, Snapshot, SupervisorState

if TYPE_CHECKING:
    from rich.table import Table

S = TypeVar("S", bound=State)
STALE_S = 10.0
"""Real seconds after which a verdict is none any more."""
_ENDED = ("CANCELLED", "RETRACTED", "EXPIRED", "DONE")


@dataclass(frozen=True, slots=True)
class Seen:
    """One retained state."""

    actor: str
    age_s: float
    state: State


@click.command()
@connect_option
@click.option("--json", "as_json", is_flag=True, help="The whole snapshot as JSON.")
def status(connect: str, *, as_json: bool) -> None:
    """Say whether it is safe, what runs until when and what comes next, and how devices and actors are."""
    with connected(connect) as client:
        snapshot = good(client.ask("gateway", GetSnapshot()))
    if as_json or not isinstance(snapshot, Snapshot):
        click.echo(msgspec.json.format(msgspec.json.encode(snapshot), indent=1))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    seen = seen_in(snapshot)
    for name, text, style in overview(snapshot, seen):
        console.print(Text.assemble((f"{name:8}", "bold"), (text, style)))
    for table in (_devices(seen), _actors(seen)):
        if table.row_count:
            console.print(table)


def seen_in(snapshot: Snapshot) -> list[Seen]:
    """Return the snapshot's states as messages; one that this version does not know is left out."""
    seen: list[Seen] = []
    for row in snapshot.states:
        try:
            state = from_builtins(row.content)
        except BadMessageError:
            continue
        if isinstance(state, State):
            seen.append(Seen(row.actor, row.age_s, state))
    return seen


def overview(snapshot: Snapshot, seen: list[Seen]) -> Iterator[tuple[str, str, str]]:
    """Yield the lines about the whole observatory: (heading, text, style)."""
    yield "Time", _time(snapshot, last(seen, MonitorState)), ""
    text, style = _safety(snapshot, next((s for s in seen if isinstance(s.state, SafetyVerdict)), None))
    yield "Safety", text, style
    plc = last(seen, PlcState)
    if plc is not None:
        latched = f"; latched: {', '.join(plc.latched)}" if plc.latched else ""
        yield "Dome", f"{plc.dome}, wanted {plc.desired}{latched}", ""
    yield from _course(snapshot, last(seen, MajordomeState), last(seen, ObservationManagerState))
    alerts = last(seen, AlertManagerState)
    for alert in () if alerts is None else alerts.alerts:
        if alert.status not in _ENDED:
            yield "Alert", _alert(snapshot, alert), "bold"
    yield from _news(snapshot, last(seen, CourierState))
    archivist = last(seen, ArchivistState)
    if archivist is not None and archivist.problem:
        yield "Store", archivist.problem, "bold red"


def last(seen: list[Seen], kind: type[S]) -> S | None:
    """Return the state of this kind, or None when nobody has published one."""
    return next((each.state for each in seen if isinstance(each.state, kind)), None)


def _time(snapshot: Snapshot, monitor: MonitorState | None) -> str:
    speed = "" if snapshot.speed == 1.0 else f", {snapshot.speed:g} times as fast as the world's"
    text = f"{snapshot.now:%Y-%m-%d %H:%M:%S} UTC{speed}"
    if monitor is None:
        return text
    ends = f" until {_clock(snapshot, monitor.ends)}" if monitor.phase == "night" and monitor.ends else ""
    return f"{text}; {monitor.phase}{ends} (night of {monitor.night})"


def _safety(snapshot: Snapshot, verdict: Seen | None) -> tuple[str, str]:
    if verdict is None or not isinstance(verdict.state, SafetyVerdict):
        return "UNSAFE: nobody has given a verdict yet", "bold red"
    level, reasons = verdict.state.level, "; ".join(verdict.state.reasons)
    if verdict.age_s > STALE_S * max(1.0, snapshot.speed):
        return f"UNSAFE: the last verdict ({level}) is {_age(verdict.age_s)} old", "bold red"
    text = f"{level}: {reasons}" if reasons else level
    return text, {"SAFE": "bold green", "WARN": "bold yellow"}.get(level, "bold red")


def _course(
    snapshot: Snapshot, majordome: MajordomeState | None, manager: ObservationManagerState | None
) -> Iterator[tuple[str, str, str]]:
    if majordome is None:
        return
    locked = f"; locked down by {majordome.locked_by}" if majordome.locked_by else ""
    yield "Mode", f"{majordome.mode}: {majordome.why}{locked} (since {_clock(snapshot, majordome.since)})", ""
    if majordome.sequence_id is not None:
        until = f" until {_clock(snapshot, majordome.until)}" if majordome.until else ""
        step = f", {manager.step} {manager.frame}/{manager.frames}" if manager is not None and manager.step else ""
        yield "Now", f"{majordome.sequence or majordome.sequence_id}{until}{step}", ""
    if majordome.next_sequence_id is not None:
        at = f" at {_clock(snapshot, majordome.next_start)}" if majordome.next_start else ""
        yield "Next", f"{majordome.next_sequence or majordome.next_sequence_id}{at}", ""


def _alert(snapshot: Snapshot, alert: AlertRow) -> str:
    age = _age((snapshot.now - alert.t0).total_seconds())
    found = f", {alert.candidates} candidates" if alert.candidates else ""
    return f"{alert.name} {alert.status}, {age} after the burst, error {alert.error_deg * 60:.2f}′{found}"


def _news(snapshot: Snapshot, courier: CourierState | None) -> Iterator[tuple[str, str, str]]:
    """Yield what waits for a destination that does not take it, and what one has refused."""
    for row in () if courier is None else courier.destinations:
        if row.last_error and row.oldest_at is not None:
            age = _age((snapshot.now - row.oldest_at).total_seconds())
            yield "News", f"{row.waiting} wait for {row.name}, the oldest for {age}: {row.last_error}", "yellow"
        if row.refused:
            yield "News", f"{row.name} has refused {row.refused}; see the log", "yellow"


def _devices(seen: list[Seen]) -> Table:
    table = _table("Device", "Link", "State", "Age")
    for each in seen:
        described = _device(each.state)
        if described is not None:
            link, text = described
            table.add_row(each.actor, link, text, _age(each.age_s), style=None if link == "up" else "red")
    return table


def _device(state: State) -> tuple[str, str] | None:
    """Return a device's link and what it does; None for what is no device."""
    match state:
        case TelescopeState():
            where = "" if state.altitude_deg is None else f" at altitude {state.altitude_deg:.1f}°"
            marks = (("slewing", state.slewing), ("tracking", state.tracking), ("parked", state.parked))
            unknown = "still" if state.tracking is False else "unknown"
            doing = next((name for name, holds in marks if holds), unknown)
            return state.link, f"{doing}{where}{_problem(state.problem)}"
        case CameraState():
            cold = "" if state.ccd_temperature_c is None else f", {state.ccd_temperature_c:.1f} °C"
            return state.link, f"{state.doing}{cold}{_problem(state.problem)}"
        case FilterWheelState():
            return state.link, f"{'turning' if state.moving else state.filter or 'unknown'}{_problem(state.problem)}"
        case PlcState():
            return state.link, f"dome {state.dome}{_problem(state.problem)}"
        case WeatherState():
            wind = "?" if state.wind_m_s is None else f"{state.wind_m_s:.1f}"
            rain = {True: "rain", False: "no rain", None: "rain unknown"}[state.rain]
            return "up", f"{rain}, wind {wind} m/s"
        case ListenerState():
            return "up" if state.connected else "down", f"{state.frames} frames{_problem(state.problem)}"
        case _:
            return None


def _actors(seen: list[Seen]) -> Table:
    table = _table("Actor", "Status", "Restarts", "Last fault")
    tree = last(seen, SupervisorState)
    for child in () if tree is None else tree.children:
        fault = " ".join(child.last_fault.split())[:80]
        table.add_row(
            child.actor, child.status, str(child.restarts), fault, style=None if child.status == "up" else "red"
        )
    return table


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _problem(text: str) -> str:
    return f" ({text})" if text else ""


def _clock(snapshot: Snapshot, when: datetime) -> str:
    same_day = when.date() == snapshot.now.date()
    return f"{when:%H:%M:%S}" if same_day else f"{when:%Y-%m-%d %H:%M:%S}"


def _age(seconds: float) -> str:
    if abs(seconds) < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if abs(seconds) < 7200 else f"{seconds / 3600:.1f} h"
