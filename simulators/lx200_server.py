"""The mount's language: LX200 as Meade defined it (telescope protocol 2010.10) with the 10micron mounts' additions.

Coordinates on the wire are of date. `:Gg#` gives the longitude west-positive, `:GG#` the hours to add to local time to
get UTC. Angles are sent with a degree sign (0xDF) in the classic precision. `:GR#` changes between `HH:MM:SS` and
`HH:MM.T` with `:U#`, to the ultra-precise form of the 10micron with `:U2#`; every client has its own precision.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from simulators.mount import SimulatedMount
from simulators.physics_frames import UNIX_EPOCH_JD
from simulators.physics_timeline import from_unix_s
from simulators.serve import Link

_DEGREE = b"\xdf"
_SILENT = frozenset(
    {
        b"Q",
        b"U",
        b"U0",
        b"U1",
        b"U2",
        b"KA",
        b"PO",
        b"hP",
        b"AP",
        b"AL",
        b"RT0",
        b"RT1",
        b"RT2",
        b"RT9",
        b"TQ",
        b"TS",
        b"TL",
    }
)
_SILENT_HEADS = (b"Q", b"M", b"R")
_NUMBER = re.compile(rb"\d+(?:\.\d+)?")


def sexagesimal(value: float, digits: int, width: int = 2, separator: str = ":", last_digits: int = 0) -> str:
    """Format an unsigned value as D:M(:S), rounded at its last place; `digits` is 1 for minutes, 2 for seconds."""
    scale = 10**last_digits
    units = round(value * 60**digits * scale)
    parts: list[int] = []
    for _ in range(digits):
        base = 60 * scale if not parts else 60
        units, part = divmod(units, base)
        parts.append(part)
    last = f"{parts[0] / scale:0{3 + last_digits if last_digits else 2}.{last_digits}f}"
    middle = [f"{part:02d}" for part in reversed(parts[1:])]
    return separator.join([f"{units:0{width}d}", *middle, last])


def parse_angle(text: bytes, limit: float) -> float | None:
    """Read [sign]D(:M(:S)) with any separators; None if it is malformed or its size exceeds `limit`."""
    sign = -1.0 if text.startswith(b"-") else 1.0
    numbers = [float(part) for part in _NUMBER.findall(text)]
    if not 1 <= len(numbers) <= 3 or any(part >= 60.0 for part in numbers[1:]):
        return None
    size = sum(part / 60.0**place for place, part in enumerate(numbers))
    return sign * size if size <= limit else None


class Lx200Session:
    """One client's talk with the mount."""

    ending = b"#"

    def __init__(self, mount: SimulatedMount, link: Link) -> None:
        del link
        self._mount = mount
        self._precision = 1  # 0: minutes with a tenth, 1: seconds, 2: 10micron ultra
        self._target: list[float | None] = [None, None]
        self._slews = 0
        self._utc_offset_h = 0.0
        self._questions: dict[bytes, Callable[[], str]] = {
            b"Ginfo": self._info,
            b"Gstat": lambda: str(self._state()),
            b"GR": lambda: self._ra(self._position()[0]),
            b"GD": lambda: self._dec(self._position()[1]),
            b"Gr": lambda: self._ra(self._target[0] or 0.0),
            b"Gd": lambda: self._dec(self._target[1] or 0.0),
            b"GS": lambda: self._hours(self._mount.world.frames.sidereal_deg(self._now_s()) / 15.0),
            b"GA": lambda: self._dec(self._mount.altaz(self._now_s())[0]),
            b"GZ": lambda: self._angle(self._mount.altaz(self._now_s())[1], 3),
            b"Gt": lambda: self._signed(self._mount.world.site.latitude_deg, 2),
            b"Gg": lambda: self._signed(-_east_180(self._mount.world.site.longitude_deg), 3),
            b"GG": lambda: f"{-self._utc_offset_h:+05.1f}",
            b"GL": lambda: self._local().strftime("%H:%M:%S"),
            b"Ga": lambda: self._local().strftime("%I:%M:%S"),
            b"GC": lambda: self._local().strftime("%m/%d/%y"),
            b"Gc": lambda: "24",
            b"GM": lambda: "PyROS",
            b"GT": lambda: "60.1",
            b"GTRK": lambda: "1" if self._mount.tracking(self._now_s()) else "0",
            b"GVP": lambda: "10micron GM2000HPS simulator",
            b"GVN": lambda: "2.16.1",
            b"GVD": lambda: "Nov 22 2026",
            b"GVT": lambda: "12:00:00",
            b"GVZ": lambda: "Q-TYPE2012",
            b"GRTMP": lambda: f"{self._mount.world.weather(self._now_s())['temperature_c']:+06.1f}",
            b"GRPRS": lambda: f"{self._mount.world.weather(self._now_s())['pressure_hpa']:06.1f}",
            b"GJD": lambda: f"{UNIX_EPOCH_JD + self._now_s() / 86400.0:.8f}",
            b"pS": lambda: "East" if self._mount.east_of_pier(self._now_s()) else "West",
            b"modelcnt": lambda: "001",
            b"getalst": lambda: "10",
            b"Guaf": lambda: "0",
            b"D": lambda: "\x7f" if self._mount.slewing(self._now_s()) else "",
        }
        self._acts: dict[bytes, Callable[[], bytes]] = {
            b"MS": self._slew,
            b"CM": self._sync,
            b"CMR": self._sync,
            b"Q": lambda: self._do(self._mount.stop),
            b"KA": lambda: self._do(self._mount.park),
            b"hP": lambda: self._do(self._mount.park),
            b"PO": lambda: self._do(self._mount.unpark),
            b"AP": lambda: self._do(lambda: self._mount.set_tracking(True)),
            b"RT2": lambda: self._do(lambda: self._mount.set_tracking(True)),
            b"AL": lambda: self._do(lambda: self._mount.set_tracking(False)),
            b"RT9": lambda: self._do(lambda: self._mount.set_tracking(False)),
            b"U": lambda: self._set_precision(0 if self._precision else 1),
            b"U0": lambda: self._set_precision(0),
            b"U1": lambda: self._set_precision(1),
            b"U2": lambda: self._set_precision(2),
        }

    # -- the wire ----------------------------------------------------------------------------------------------------

    def split(self, pending: bytes) -> tuple[list[bytes], bytes]:
        """Cut `:...#` commands and single ACK bytes off; anything else between commands is dropped, as mounts do."""
        requests: list[bytes] = []
        while pending:
            if pending[:1] == b"\x06":
                requests.append(b"\x06")
                pending = pending[1:]
            elif pending[:1] != b":":
                pending = pending[1:]
            elif b"#" in pending:
                command, _, pending = pending[1:].partition(b"#")
                requests.append(command.strip())
            else:
                break
        return requests, pending

    def expects_answer(self, request: bytes) -> bool:
        """All but motion stops, parking, precision and rates are answered."""
        return not (request in _SILENT or (request[:1] in _SILENT_HEADS and request != b"MS"))

    def refuse(self, request: bytes) -> bytes:
        """Refuse slews, targets and syncs; other commands go unheeded."""
        if request == b"MS":
            return b"2Slew refused#"
        if request[:2] in {b"Sr", b"Sd"}:
            return b"0"
        if request in self._acts and request not in {b"U", b"U0", b"U1", b"U2"}:
            return b"E2#" if self.expects_answer(request) else b""
        return self.answer(request)

    def answer(self, request: bytes) -> bytes:
        """Answer a command as the mount does; one that it does not know gets no answer."""
        if request == b"\x06":
            return b"P"
        if request in self._questions:
            return self._questions[request]().encode("latin-1") + b"#"
        if request in self._acts:
            return self._acts[request]()
        return self._set(request[:2], request[2:].strip()) if request[:1] == b"S" else b""

    # -- questions ---------------------------------------------------------------------------------------------------

    def _now_s(self) -> float:
        return self._mount.world.unix_s()

    def _position(self) -> tuple[float, float]:
        return self._mount.reported(self._now_s())

    def _local(self) -> datetime:
        return from_unix_s(self._now_s()) + timedelta(hours=self._utc_offset_h)

    def _state(self) -> int:
        """Return the 10micron's Gstat: 0 tracks, 1 stopped, 2 parks, 5 parked, 6 slews, 7 stands."""
        now_s = self._now_s()
        if self._mount.parking(now_s):
            return 2
        if self._mount.parked(now_s):
            return 5
        if self._mount.slewing(now_s):
            return 6
        return 0 if self._mount.tracking(now_s) else 7

    def _info(self) -> str:
        now_s = self._now_s()
        ra, dec = self._position()
        alt, az = self._mount.altaz(now_s)
        side = "E" if self._mount.east_of_pier(now_s) else "W"
        julian = UNIX_EPOCH_JD + now_s / 86400.0
        return f"{ra / 15:.5f},{dec:+.5f},{side},{az:.5f},{alt:.5f},{julian:.8f},{self._state()},{self._slews}"

    def _hours(self, hours: float) -> str:
        if self._precision == 0:
            whole, tenths = divmod(round(hours * 600) % 14400, 600)
            return f"{whole:02d}:{tenths // 10:02d}.{tenths % 10}"
        digits = 2 if self._precision == 2 else 0
        return sexagesimal(round(hours * 3600, digits) / 3600 % 24, 2, last_digits=digits)

    def _ra(self, ra_deg: float) -> str:
        return self._hours(ra_deg / 15.0)

    def _dec(self, dec_deg: float) -> str:
        return self._signed(dec_deg, 2)

    def _signed(self, degrees: float, width: int) -> str:
        return ("-" if degrees < 0 else "+") + self._angle(abs(degrees), width)

    def _angle(self, degrees: float, width: int) -> str:
        if self._precision == 2:
            return sexagesimal(degrees, 2, width, last_digits=1)
        whole, _, rest = sexagesimal(degrees, 2 if self._precision else 1, width).partition(":")
        return f"{whole}\xdf{rest}"

    # -- commands ----------------------------------------------------------------------------------------------------

    def _do(self, act: Callable[[], None]) -> bytes:
        act()
        return b""

    def _set_precision(self, precision: int) -> bytes:
        self._precision = precision
        return b""

    def _slew(self) -> bytes:
        self._take_target()
        answer = self._mount.slew().value
        self._slews += answer == "0"
        return answer.encode()

    def _sync(self) -> bytes:
        self._take_target()
        return b"Coordinates     matched.        #" if self._mount.sync() else b"E1#"

    def _take_target(self) -> None:
        ra, dec = self._target
        if ra is not None and dec is not None:
            self._mount.target = (ra, dec)

    def _set(self, what: bytes, text: bytes) -> bytes:
        """Answer `:S...#`: 1 if taken, 0 if malformed or out of range. Site and time are the world's, only checked."""
        limits = {
            b"Sr": 24.0,
            b"Sd": 90.0,
            b"St": 90.0,
            b"Sg": 360.0,
            b"SG": 14.0,
            b"SL": 24.0,
            b"Sa": 90.0,
            b"Sz": 360.0,
        }
        if what == b"SC":
            return b"1Updating Planetary Data#                        #"
        value = parse_angle(text, limits[what]) if what in limits else None
        if value is None or (what == b"Sr" and (value < 0 or value >= 24.0)):
            return b"0"
        if what == b"Sr":
            self._target[0] = value * 15.0
        elif what == b"Sd":
            self._target[1] = value
        elif what == b"SG":
            self._utc_offset_h = -value
        return b"1"


def _east_180(longitude_deg: float) -> float:
    return longitude_deg - 360.0 if longitude_deg > 180.0 else longitude_deg
