"""What the units of systemd say: pure functions from an installation to the text of each file.

`systemd/` in the repository holds what these give for the defaults of `Installation`. `docs/service.md` says what the
units are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HEADER = (
    "# Written by `pyros install-service`, which will write it again: changes belong in a drop-in (systemctl edit)."
)
SERVICE, VERIFY, TIMER, ALARM = (
    "pyros.service",
    "pyros-verify-closed.service",
    "pyros-verify-closed.timer",
    "pyros-alarm@.service",
)
_USB_LINES = ("ttyUSB", "ttyACM")
_MODULES = {"ttyUSB": "usbserial", "ttyACM": "cdc_acm"}
_LINE = re.compile(r"/dev/(tty[A-Za-z]+)\d+")
_UNSPEAKABLE = re.compile(r"[\s\"'%$\\;\x00-\x1f\x7f]")


class UnitError(ValueError):
    """A path that a unit cannot name; one line says which and why."""


@dataclass(frozen=True)
class Installation:
    """What of the units depends on the machine."""

    command: tuple[str, ...] = ("/opt/pyros/bin/pyros",)
    """How `pyros` is called, by absolute paths."""
    config: Path = Path("/etc/pyros/observatory.toml")
    state: Path = Path("/var/lib/pyros")
    user: str = "pyros"
    serial_lines: tuple[str, ...] = ("/dev/ttyUSB0", "/dev/ttyUSB1")
    """As the kernel names them."""
    serial_groups: tuple[str, ...] = ("dialout",)
    """Who may open them."""
    gateway: Path | None = None
    """The gateway's folder, if it is not in the state directory."""
    reads: tuple[Path, ...] = ()
    """What else the daemon reads: the installation itself, masters, catalogues."""
    stops_within_s: int = 240
    """How long parking, closing and stopping every actor may take."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Everything that the service has to see."""
        gateway = () if self.gateway is None else (self.gateway,)
        return (Path(self.command[0]), self.config, self.state, *gateway, *self.reads)


def units(installation: Installation) -> dict[str, str]:
    """Return the text of each unit by its file's name.

    Raises
    ------
    UnitError
        If a path holds a character that has a meaning in units.
    """
    _refuse_unspeakable(installation)
    return {
        SERVICE: _service(installation),
        VERIFY: _verify(installation),
        TIMER: _TIMER,
        ALARM: _alarm(),
    }


def _refuse_unspeakable(installation: Installation) -> None:
    for text in (*installation.command, *map(str, installation.paths), installation.user):
        if found := _UNSPEAKABLE.search(text):
            raise UnitError(
                f"{text!r} holds {found.group()!r}, which has a meaning of its own in systemd's units; "
                "spaces, quotes, %, $, ; and \\ are not allowed in paths that the service uses"
            )


def device_kinds(serial_lines: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds of serial lines as the kernel lists them, in order, each once.

    A line is allowed by its kind, for a USB adapter that is plugged in again may get another number. A path that names
    no kind (a link of udev's to an adapter that is not there now) is taken for either kind of USB line; a
    pseudo-terminal needs no permission.
    """
    kinds: dict[str, None] = {}
    for line in serial_lines:
        if line.startswith("/dev/pts/"):
            continue
        named = _LINE.fullmatch(line)
        kinds |= dict.fromkeys((named.group(1),) if named else _USB_LINES)
    return tuple(kinds)


# -- the units -------------------------------------------------------------------------------------------------------


def _service(of: Installation) -> str:
    modules = [f"modprobe@{_MODULES[kind]}.service" for kind in device_kinds(of.serial_lines) if kind in _MODULES]
    early = " ".join(["network-online.target", "time-sync.target", *modules])
    call, state = " ".join(of.command), of.state
    return f"""{HEADER}

[Unit]
Description=PyROS robotic observatory
Wants={early}
After={early}
# An observatory is never given up: no limit to the number of starts.
StartLimitIntervalSec=0
# Where systemd does not start it again: a stop that ended badly.
OnFailure=pyros-alarm@%n.service

[Service]
Type=notify
NotifyAccess=main
ExecStart={call} run --config {of.config} --state {state}
# After every end, also a crash's and a watchdog's: the PLC is told to close, by the last address that was good.
ExecStopPost={call} close-dome --state {state} --wait 0
# READY=1 comes when every actor was started; three that hang are given up within this time.
TimeoutStartSec=180
WatchdogSec=30
# SIGABRT writes the stacks of all threads to the journal; who does not die of it is killed.
Environment=PYTHONFAULTHANDLER=1
TimeoutAbortSec=15
LimitCORE=0
Restart=always
RestartSec=5
# Only the daemon is asked to stop; it parks, closes, and ends its own processes.
KillMode=mixed
TimeoutStopSec={of.stops_within_s}
MemoryMax=80%
# An image's analysis that takes too much memory is killed alone.
OOMPolicy=continue
OOMScoreAdjust=-500

User={of.user}
Environment=HOME={state}
{_storage(of)}
{_devices(of)}
{_shelter(of)}

[Install]
WantedBy=multi-user.target
"""


def _verify(of: Installation) -> str:
    return f"""{HEADER}

[Unit]
Description=Is the dome closed by day? Asks the PLC, without the PyROS daemon
Wants=network-online.target
After=network-online.target
OnFailure=pyros-alarm@%n.service

[Service]
Type=oneshot
ExecStart={" ".join(of.command)} verify-closed --state {of.state}
TimeoutStartSec=120

User={of.user}
Environment=HOME={of.state}
PrivateDevices=yes
{_shelter(of)}
"""


_TIMER = f"""{HEADER}

[Unit]
Description=Asks twice an hour whether the dome is closed by day

[Timer]
# While the Sun is down the command is content; so any sunrise is covered, whatever the site and the season.
OnCalendar=*:05/30
AccuracySec=1min

[Install]
WantedBy=timers.target
"""


def _alarm() -> str:
    return f"""{HEADER}

[Unit]
Description=Alarm: %i has failed

[Service]
Type=oneshot
# journald shows what is emerg on every terminal. To be called as well, add an ExecStart= in a drop-in.
ExecStart=/bin/echo "%i has failed: THE DOME MAY BE OPEN; go and look (systemctl status %i)"
StandardOutput=journal
SyslogLevel=emerg
SyslogIdentifier=pyros-alarm

DynamicUser=yes
PrivateNetwork=yes
PrivateDevices=yes
ProtectHome=yes
{_SHELTER}
"""


# -- parts -----------------------------------------------------------------------------------------------------------


def _storage(of: Installation) -> str:
    """Return where the daemon may write: below /var/lib and /run systemd makes the place, elsewhere it has to be."""
    lines: list[str] = []
    for folder, root, setting in _written(of):
        made = _is_below(folder, root)
        lines += (
            [f"{setting}={folder.relative_to(root)}", f"{setting}Mode=0750"] if made else [f"ReadWritePaths={folder}"]
        )
    return "\n".join([*lines, "UMask=0027"])


def has_to_be_there(of: Installation) -> tuple[Path, ...]:
    """Return the folders that the daemon writes to and systemd does not make."""
    return tuple(folder for folder, root, _ in _written(of) if not _is_below(folder, root))


def _written(of: Installation) -> list[tuple[Path, str, str]]:
    """Return each folder that the daemon writes to, where systemd would make it, and by which setting."""
    gateway = [] if of.gateway is None else [(of.gateway, "/run", "RuntimeDirectory")]
    return [(of.state, "/var/lib", "StateDirectory"), *gateway]


def _devices(of: Installation) -> str:
    kinds = device_kinds(of.serial_lines)
    if not kinds:
        return "PrivateDevices=yes"
    rules = [f"DeviceAllow=char-{kind} rw" for kind in kinds]
    groups = [f"SupplementaryGroups={' '.join(of.serial_groups)}"] if of.serial_groups else []
    return "\n".join(["DevicePolicy=closed", *rules, *groups])


def _shelter(of: Installation) -> str:
    """Return what keeps a process that was taken over from doing harm; nothing here is needed for a night's work."""
    at_home = any(_is_below(path, home) for path in of.paths for home in ("/home", "/root", "/run/user"))
    in_tmp = any(_is_below(path, tmp) for path in of.paths for tmp in ("/tmp", "/var/tmp"))  # noqa: S108 - only compared
    return f"""ProtectHome={"read-only" if at_home else "yes"}
PrivateTmp={"no" if in_tmp else "yes"}
{_SHELTER}"""


def _is_below(path: Path, root: str) -> bool:
    return path != Path(root) and path.is_relative_to(root)


_SHELTER = """NoNewPrivileges=yes
ProtectSystem=strict
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RemoveIPC=yes
LockPersonality=yes
CapabilityBoundingSet=
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# ZeroMQ sets the ordinary scheduling of its threads, and aborts the process if it may not; numpy asks for near memory.
SystemCallFilter=sched_setscheduler mbind
# Any other call that is not allowed fails; it does not end the night.
SystemCallErrorNumber=EPERM"""
