"""What `pyros install-service` asks the machine: who the service's user is, what it may read, where its lines end."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyros
from pyros.cli.service_units import Installation, has_to_be_there
from pyros.config import Settings
from pyros.hardware.urls import parse_device_url

READ, WRITE, ENTER = 4, 2, 1


class Account(NamedTuple):
    """A user of this machine, by numbers."""

    name: str
    uid: int
    gid: int
    groups: frozenset[int]


def account_of(user: str) -> Account | None:
    """Return the user of that name, or None."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return None
    return Account(user, found.pw_uid, found.pw_gid, frozenset(os.getgrouplist(user, found.pw_gid)))


def this_command() -> tuple[str, ...]:
    """Return how the `pyros` that runs now is called from anywhere: its script, or else its interpreter."""
    script = Path(sys.executable).with_name("pyros")  # not resolved: a virtual environment's python is a link
    return (str(script),) if os.access(script, os.X_OK) else (sys.executable, "-m", "pyros")


def described(settings: Settings, config: Path, state: Path, user: str) -> Installation:
    """Return this machine's installation; `settings` are those of `config`.

    Raises
    ------
    ValueError
        If a device's URL is wrong.
    """
    lines = tuple(dict.fromkeys(_serial_lines(settings)))
    folder = settings.gateway.folder
    return Installation(
        command=this_command(),
        config=config,
        state=state,
        user=user,
        serial_lines=lines,
        serial_groups=tuple(dict.fromkeys(_groups_of(lines))),
        gateway=None if folder is None or folder.is_relative_to(state) else folder,
        reads=(Path(pyros.__file__).parent, Path(sys.base_prefix), *_files_of(settings)),
        stops_within_s=stops_within_s(settings),
    )


def stops_within_s(settings: Settings) -> int:
    """Return how long an ordered end may take: the daemon's own deadlines, its last resort, and a roof's parking."""
    from pyros.cli.daemon import CLOSES_WITHIN_S, STOPS_WITHIN_S

    last_resort_s = 65.0  # make safe tries PLC and mount five times each; the workers are given 6 s
    parking_s = settings.dome.park_within_s if settings.dome.parks_first else 0.0
    return round(CLOSES_WITHIN_S + STOPS_WITHIN_S + last_resort_s + parking_s)


def _serial_lines(settings: Settings) -> Iterator[str]:
    devices = settings.devices
    for url in (devices.telescope.url, *(wheel.url for wheel in devices.filter_wheel.values())):
        if path := parse_device_url(url).path:
            yield os.path.realpath(path)


def _groups_of(lines: Iterable[str]) -> Iterator[str]:
    """Yield the groups that may open serial lines: of those that are there, and Debian's or Arch's for the others."""
    for line in lines:
        try:
            status = os.stat(line)  # noqa: PTH116 - a device's path, not ours to walk
            if status.st_gid and status.st_mode & stat.S_IRGRP:
                yield grp.getgrgid(status.st_gid).gr_name
        except (OSError, KeyError):
            yield from [name for name in ("dialout", "uucp") if _has_group(name)][:1]


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _files_of(settings: Settings) -> Iterator[Path]:
    for path in (settings.analyzer.masters, settings.analyzer.catalogue, settings.alerts.strategies):
        if path is not None:
            yield path


def run_as(command: list[str], user: str, groups: Iterable[str], home: Path, within_s: float) -> tuple[int, str]:
    """Run a command as another user, which only root can, else as oneself; return its status and what it said.

    Raises
    ------
    OSError, subprocess.SubprocessError
        If it cannot be started, or takes longer.
    """
    who = account_of(user)
    other = who if who is not None and os.geteuid() == 0 and who.uid != 0 else None
    numbers = {grp.getgrnam(name).gr_gid for name in groups if _has_group(name)}
    if other is not None:
        os.chown(home, other.uid, other.gid)
    done = subprocess.run(  # noqa: S603 - our own command
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=within_s,
        check=False,
        cwd="/",
        env={"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8"},
        user=None if other is None else other.uid,
        group=None if other is None else other.gid,
        extra_groups=None if other is None else sorted(other.groups | numbers),
    )
    return done.returncode, done.stdout


# -- what cannot work ------------------------------------------------------------------------------------------------


def faults_of(installation: Installation, who: Account) -> list[str]:
    """Return a line for each file that the service's user may not read, and each folder that it may not write."""
    faults = [_unwritable(folder, who) for folder in has_to_be_there(installation)]
    read = (Path(installation.command[0]), installation.config, *installation.reads)
    faults += [_unreadable(path, who) for path in read if os.path.lexists(path)]
    return [fault for fault in faults if fault]


def _unwritable(folder: Path, who: Account) -> str:
    wanted = f"as root: install -d -o {who.name} -m 0750 {folder}"
    if not os.path.isdir(folder):  # noqa: PTH112 - may lie in a closed folder
        return f"{folder} is not there, and systemd makes only what is below /var/lib or /run; {wanted}"
    part = blocked_by(folder, who, READ | WRITE | ENTER)
    return f"{folder}: user {who.name} may not write there, because of {_mode(part)}; {wanted}" if part else ""


def _unreadable(path: Path, who: Account) -> str:
    part = blocked_by(path, who, READ | ENTER if os.access(path, os.X_OK) else READ)
    if part is None:
        return ""
    return (
        f"{path}: user {who.name} may not read it, because of {_mode(part)}; change that mode, move it, "
        "or name another user with --user"
    )


def _mode(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        return f"{path} ({error.strerror})"
    return f"{path} (mode {stat.S_IMODE(status.st_mode):04o}, user {status.st_uid}, group {status.st_gid})"


def blocked_by(path: Path, who: Account, need: int) -> Path | None:
    """Return the part of a path, links followed, whose mode keeps a user from it; None if nothing does.

    A part with an access control list is trusted: only the kernel knows what that comes to.
    """
    for place in dict.fromkeys((path, path.resolve())):
        for part in (*reversed(place.parents), place):
            try:
                if not permits(part.stat(), who, need if part == place else ENTER) and not _has_acl(part):
                    return part
            except OSError:
                return part
    return None


def permits(status: os.stat_result, who: Account, need: int) -> bool:
    """Tell whether a file's mode gives a user all of the bits `need`: 4 read, 2 write, 1 execute or enter."""
    if who.uid == 0:
        return True
    shift = 6 if status.st_uid == who.uid else 3 if status.st_gid in who.groups else 0
    return status.st_mode >> shift & need == need


def _has_acl(path: Path) -> bool:
    if not hasattr(os, "getxattr"):  # not Linux
        return False
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except OSError:
        return False
