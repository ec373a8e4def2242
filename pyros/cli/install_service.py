"""`pyros install-service`: writes systemd's units for this machine. It starts nothing and runs no systemctl."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from pyros.cli.run import refuse
from pyros.cli.service_units import HEADER, SERVICE, TIMER, Installation, UnitError, units
from pyros.config import ConfigError, Settings, load

CHECKS_WITHIN_S = 120.0
PREFIX = Path("/etc/systemd/system")
DEFAULT = Installation()
_PATH = click.Path(path_type=Path)


@click.command("install-service")
@click.option("--config", type=_PATH, default=DEFAULT.config, show_default=True, metavar="FILE")
@click.option("--state", type=_PATH, default=DEFAULT.state, show_default=True, metavar="DIR")
@click.option("--user", default=DEFAULT.user, show_default=True, metavar="NAME", help="Whom the service runs as.")
@click.option("--prefix", type=_PATH, default=PREFIX, show_default=True, metavar="DIR", help="Where units are kept.")
@click.option("--dry-run", is_flag=True, help="Print the units; write nothing.")
def install_service(config: Path, state: Path, user: str, prefix: Path, dry_run: bool) -> None:
    """Write the units that run this installation at boot, and close the dome whenever it ends."""
    config, state, prefix = (Path(os.path.abspath(path)) for path in (config, state, prefix))  # noqa: PTH100 - links stay
    files, installation = _planned(config, state, user)
    if not dry_run and (faults := _faults_of(prefix, files)):
        refuse(*faults)

    def say(line: str) -> None:
        click.echo(line, err=dry_run)

    _check(installation, say)
    if dry_run:
        for name, text in files.items():
            click.echo(f"# {prefix / name}\n{text}")
        return
    for name, text in files.items():
        for line in _put(prefix / name, text):
            say(line)
    _say_next(say)


# -- what is to be written -------------------------------------------------------------------------------------------


def _planned(config: Path, state: Path, user: str) -> tuple[dict[str, str], Installation]:
    """Return the units, or refuse with every reason why the service could not work."""
    from pyros.cli.service_machine import account_of, described, faults_of

    settings, faults = _settings_of(config)
    who = account_of(user)
    if who is None:
        faults.append(
            f"there is no user {user!r}; name another with --user, or as root: "
            f"useradd --system --home-dir {state} --shell /usr/sbin/nologin {user}"
        )
    if settings is None or who is None or faults:
        refuse(*faults)
    installation = described(settings, config, state, user)
    try:
        files = units(installation)
    except UnitError as error:
        refuse(str(error))
    if faults := faults_of(installation, who):
        refuse(*faults)
    return files, installation


def _settings_of(config: Path) -> tuple[Settings | None, list[str]]:
    from pyros.cli.daemon_faults import url_faults

    try:
        settings = load(config)
    except ConfigError as error:
        return None, str(error).splitlines()
    return settings, [f"{config}: {fault}" for fault in url_faults(settings)]


def _faults_of(prefix: Path, files: dict[str, str]) -> list[str]:
    """Return why the units cannot be written there; a unit that somebody else wrote is not overwritten."""
    if not prefix.is_dir():
        return [f"{prefix} is no folder; name the one where systemd looks for units with --prefix"]
    if not os.access(prefix, os.W_OK | os.X_OK):
        return [f"{prefix} cannot be written; run this as root, or see the units with --dry-run"]
    strangers = [prefix / name for name in files if (prefix / name).exists() and not _is_ours(prefix / name)]
    return [f"{path} was not written by this command; move it away first" for path in strangers]


def _is_ours(path: Path) -> bool:
    return path.read_text(encoding="utf-8", errors="replace").startswith(HEADER)


# -- the configuration, as the service will find it ------------------------------------------------------------------


def _check(of: Installation, say: Callable[[str], None]) -> None:
    """Run `pyros check` as the service's user; it only warns, for the daemon waits for what does not answer."""
    from pyros.cli.service_machine import run_as

    with tempfile.TemporaryDirectory(prefix="pyros-check-") as scratch:
        # A state directory that is not there yet is systemd's to make: made here it would be root's.
        state = of.state if os.path.exists(of.state) else Path(scratch)  # noqa: PTH110 - may lie in a closed folder
        arguments = [*of.command, "check", "--config", str(of.config), "--state", str(state)]
        try:
            status, words = run_as(arguments, of.user, of.serial_groups, Path(scratch), CHECKS_WITHIN_S)
        except (OSError, subprocess.SubprocessError) as error:
            status, words = 1, f"the configuration could not be checked: {error}"
    for line in words.splitlines():
        say(f"  {line}")
    if status:
        say("warning: the service starts all the same, and waits for what is missing")


# -- writing ---------------------------------------------------------------------------------------------------------


def _put(path: Path, text: str) -> list[str]:
    """Write a unit, whole or not at all, if it is not there as it should be; return what was done."""
    before = path.read_text(encoding="utf-8") if path.exists() else None
    if before == text:
        return [f"unchanged  {path}"]
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(0o644)
        new.replace(path)
    except OSError as error:
        refuse(f"{path} cannot be written: {error.strerror}")
    if before is None:
        return [f"written    {path}"]
    lines = list(difflib.unified_diff(before.splitlines(), text.splitlines(), lineterm="", n=0))[2:]
    return [f"changed    {path}", *(f"             {line}" for line in lines if not line.startswith("@@"))]


def _say_next(say: Callable[[str], None]) -> None:
    if sys.platform != "linux" or not Path("/run/systemd/system").is_dir():
        say("warning: systemd does not run here; the units are for a machine where it does")
    say("next, as root:")
    say("  systemctl daemon-reload")
    say(f"  systemctl enable --now {SERVICE} {TIMER}")
    say("how it is: systemctl status pyros; journalctl -u pyros -f")
