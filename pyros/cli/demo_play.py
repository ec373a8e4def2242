"""What `pyros demo` does once it is asked: prepare, play until somebody ends it, clear the stage."""

from __future__ import annotations

import fcntl
import secrets
import tempfile
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.live import Live

from pyros.actors.tree import device_names
from pyros.actors.web_process import TOKEN
from pyros.cli.alert_send import BROKER_FILE
from pyros.cli.daemon import LOOK_S, Daemon, Order, boot
from pyros.cli.daemon_faults import port_problem
from pyros.cli.daemon_log import LogTo
from pyros.cli.daemon_state import StateError, claimed
from pyros.cli.demo_line import progress
from pyros.cli.demo_stage import ADMIN, Evening, action, demo_sections, enter_users, evening
from pyros.cli.ending import Ending
from pyros.cli.run import refuse
from pyros.cli.simulation.daemon import CAMERA, end_pool, simulated_settings, start_pool
from pyros.cli.simulation.masters import prepare_masters
from pyros.cli.simulation.requests import routine_requests
from pyros.client import default_endpoint
from pyros.clock import WallClock
from pyros.config import Camera, ConfigError, Settings
from pyros.messages.base import GetState
from pyros.messages.system import WebState
from pyros.store.database import StoreError
from simulators.observatory import Observatory
from simulators.scenario import Scenario, ScenarioError
from simulators.world import Site as SimulatedSite

HOST = "127.0.0.1"
PAGE_WITHIN_S = 15.0
CLOSES_WITHIN_S = 5.0
"""Real seconds: a simulated dome may be left open by who does not want to wait."""


@dataclass(frozen=True)
class Wish:
    """What the command line asked for."""

    speed: float
    port: int
    scenario: Path | None
    only: tuple[str, ...]
    state: Path
    seed: int


def run_demo(
    speed: float, port: int, scenario: Path | None, only: str, state: Path | None, seed: int | None, ending: Ending
) -> int:
    """Run the demonstration that the command line asks for and return the exit status."""
    console = Console(highlight=False)
    problem = port_problem(HOST, port)
    if problem:
        refuse(f"{problem} with --port")
    try:
        script = Scenario.load(scenario) if scenario is not None else None
        with ExitStack() as stack:
            folder = state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pyros-")))
            drawn = seed if seed is not None else (script.seed if script and script.seed is not None else 1)
            names = tuple(part.strip() for part in only.split(",") if part.strip())
            wish = Wish(speed, port, scenario, names, folder.absolute(), drawn)
            stack.enter_context(claimed(folder))
            return _perform(wish, evening(speed, drawn, script), ending, console)
    except (StateError, StoreError, ScenarioError, ConfigError, ValueError, OSError) as error:
        refuse(*str(error).splitlines())


def _perform(wish: Wish, night: Evening, ending: Ending, console: Console) -> int:
    """Prepare, play until somebody ends it, clear the stage; return the exit status."""
    if ending.cause:
        return 0
    pool = start_pool(1)
    try:
        for name in ("catalogue", "masters", "images"):
            (wish.state / name).mkdir(parents=True, exist_ok=True)
        with _gateway_folder(wish.state) as gateway:
            with console.status("taking the afternoon's calibration frames …"):
                _prepare(wish, night)
            return 0 if ending.cause else _play(wish, night, gateway, pool, ending, console)
    finally:
        end_pool(pool)


def _play(wish: Wish, night: Evening, gateway: Path, pool: Executor, ending: Ending, console: Console) -> int:
    clock = WallClock(wish.speed, night.start)
    place = SimulatedSite(night.site.longitude_deg, night.site.latitude_deg, night.site.height_m)
    with (
        Observatory(clock, wish.seed, place, night.begins, catalogue_dir=wish.state / "catalogue") as observatory,
        LogTo(lambda line: console.print(line, markup=False, soft_wrap=True)),
    ):
        events = night.scenario.play(observatory.world, {"vtp": observatory.broker.send})
        actions = [(at, action(event)) for at, event in events]
        settings = _settings(observatory.urls, wish, night, gateway)
        observatory.roof_needs_park = settings.dome.parks_first
        only = _checked_only(wish.only, settings)
        token = _write_token(wish.state)
        daemon = boot(Order(settings, wish.state, only, CLOSES_WITHIN_S), clock, pool)
        for at, act in actions:
            clock.call_at(at, lambda act=act: act(daemon.system))
        broker = settings.alerts.source[0].url
        (gateway / BROKER_FILE).write_text(broker + "\n", encoding="utf-8")
        return _watch(daemon, ending, console, lambda: _welcome(daemon, ending, wish, token, gateway, broker, console))


def _prepare(wish: Wish, night: Evening) -> None:
    """Make the masters that the night's frames are calibrated with, unless they are there or there is no camera."""
    watched = not wish.only or any(name.partition(":")[0] == "camera" for name in wish.only)
    if not watched or any((wish.state / "masters").glob("*.fits")):
        return
    camera = Camera.model_validate({"url": "alpaca://127.0.0.1:1/camera/0", **CAMERA})  # only its detector counts here
    filters = sorted({request.filter for request in routine_requests(wish.seed)} | {"g", "r", "i"})
    prepare_masters(wish.state / "masters", "vis", camera, night.start - timedelta(hours=3), wish.seed, filters)


def _settings(urls: dict[str, str], wish: Wish, night: Evening, gateway: Path) -> Settings:
    sections = demo_sections(wish.speed, wish.port, gateway)
    return simulated_settings(urls, night.scenario.overrides, wish.state, seed=wish.seed, **sections)


def _checked_only(only: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    there = device_names(settings)
    known = {*there, *(name.partition(":")[0] for name in there)}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise ValueError(f"--only names {', '.join(unknown)}, which is no device here; there are {', '.join(there)}")
    return only


def _write_token(state: Path) -> str:
    token = secrets.token_urlsafe(18)
    file = state / TOKEN
    file.touch(mode=0o600)
    file.write_text(f"{ADMIN} {token}\n", encoding="utf-8")
    return token


@contextmanager
def _gateway_folder(state: Path) -> Generator[Path]:
    """Give the folder in which clients look first, if no daemon has its sockets there; else one of our own."""
    usual = Path(default_endpoint().removeprefix("ipc://"))
    folder = usual if _is_free(usual) else state / "gateway"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        yield folder
    finally:
        (folder / BROKER_FILE).unlink(missing_ok=True)


def _is_free(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _watch(daemon: Daemon, ending: Ending, console: Console, welcome: Callable[[], None]) -> int:
    """Show what goes on until a signal comes or the supervisor gives up; then stop; return the exit status."""
    welcome()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while not daemon.ended and not ending.cause:
            if console.is_terminal:
                live.update(progress(daemon.system), refresh=True)
            ending.rest(daemon.clock, LOOK_S)
    ordered = bool(ending.cause)
    status = daemon.stop(ending)
    return 0 if ordered and daemon.ended else status


def _welcome(
    daemon: Daemon, ending: Ending, wish: Wish, token: str, gateway: Path, broker: str, console: Console
) -> None:
    """Wait for the page, bring in the users, and tell the person where everything is."""
    page = _page(daemon, ending)
    password = enter_users(daemon.system, wish.seed, daemon.log, requests=not wish.only) if page else ""
    if not page:
        return
    account = f" (or as {ADMIN} with the password {password})" if password else ""
    usual = str(gateway) == default_endpoint()
    reach = "pyros status, send, ask, tail" + ("" if usual else f" --connect {gateway}")
    for line in (
        f"The page:       {page}login?token={token}",
        f"                this link logs you in once{account}",
        f"The actors:     {reach}",
        f"The gateway:    {gateway}",
        f"The notices:    pyros alert send FILE --now --to {broker}",
        f"What lasts:     {wish.state}",
        _what_differs(daemon, wish),
    ):
        console.print(line, markup=False, soft_wrap=True)


def _page(daemon: Daemon, ending: Ending) -> str:
    """Return the page's address once there is one; '' if that takes too long or somebody ends it."""
    due_s = daemon.clock.monotonic_s() + PAGE_WITHIN_S * daemon.clock.speed
    while not ending.cause and not daemon.ended and daemon.clock.monotonic_s() < due_s:
        state = daemon.system.ask("web", GetState(), daemon.clock.speed)
        if isinstance(state, WebState) and state.page:
            return state.page
        ending.rest(daemon.clock, LOOK_S / 5)
    return ""


def _what_differs(daemon: Daemon, wish: Wish) -> str:
    hold_off_s = daemon.order.settings.safety.hold_off_s
    return (
        f"Unlike an observatory: its clock runs {wish.speed:g} times as fast, after anything bad the dome stays closed "
        f"for {hold_off_s:g} s of its time instead of 600, and the store does not wait for the disk. Ctrl-C ends it."
    )
