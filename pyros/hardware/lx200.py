"""The mount over LX200: 10micron's dialect where it is spoken, the classic Meade one otherwise.

The dialect is found at `connect()` by ``:GVP#``. 10micron reports everything at once (``:Ginfo#``) and knows whether it
is parked; a classic mount is asked for each value, and its park state is known only as far as this driver ordered it.

LX200 coordinates are equatorial of date; those of PyROS are ICRS. The conversion is given to the driver as two
functions, so that there is one place for it. Replies are latin-1 (the degree sign is 0xDF), and a refused slew is read
to its ``#``, else every later reply would be one late.

Sources: Meade Telescope Serial Command Protocol (2010.10); 10micron Mount Command Protocol 2.x.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from pyros.clock import Clock
from pyros.hardware.errors import DeviceFault, LinkTimeout, RefusedByDevice
from pyros.hardware.interfaces import Lease, MountReading
from pyros.hardware.link import Link, Reply
from pyros.hardware.sexagesimal import format_dec, format_ra, is_low_precision, parse_sexagesimal

Conversion: TypeAlias = Callable[[float, float, datetime], tuple[float, float]]
"""``(ra_deg, dec_deg, when) -> (ra_deg, dec_deg)``, between ICRS and equatorial of date."""

_ACK = b"\x06"
_MOVING = {2: "slewing to park", 3: "unparking", 4: "slewing home", 6: "slewing"}
_TRACKING = (0, 9, 10)
_PARKED = 5
_PROBLEMS = {
    8: "motors inhibited by low temperature",
    9: "tracking outside its limits",
    11: "waits for a confirmation at its keypad",
    98: "unknown status",
    99: "error",
}
_STATUSES = range(100)


class Lx200Mount:
    """A mount that speaks LX200; see `pyros.hardware.interfaces.Mount`.

    Parameters
    ----------
    link : Link
        The link to the mount, not yet connected.
    clock : Clock
        Dates readings and conversions.
    lease : Lease
        Checked before every write, except `brake` and `park`.
    to_apparent, to_icrs : Conversion
        ICRS to equatorial of date, and back.
    """

    def __init__(self, link: Link, clock: Clock, lease: Lease, *, to_apparent: Conversion, to_icrs: Conversion) -> None:
        self._link = link
        self._clock = clock
        self._lease = lease
        self._to_apparent = to_apparent
        self._to_icrs = to_icrs
        self._set_up_generation = 0
        self._park_ordered = False
        self.product = ""
        """What the mount calls itself; empty for those that do not say."""
        self.rich = False
        """Whether it speaks 10micron's dialect."""

    # -- the link ----------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """See `Device.connected`."""
        return self._link.connected

    def connect(self) -> None:
        """See `Device.connect`: finds the dialect and switches to high precision."""
        self._lease.check()
        self._link.connect()
        self._set_up()

    def disconnect(self) -> None:
        """See `Device.disconnect`."""
        self._link.disconnect()

    def _set_up(self) -> None:
        """Find the dialect and choose high precision; again after each new connection, for mounts forget."""
        self.product = self._identify()
        self.rich = "10micron" in self.product.lower()
        if self.rich:
            self._link.transact(b":U2#", reply="none")
        elif is_low_precision(self._text(b":GR#")):
            self._link.transact(b":U#", reply="none")  # a toggle without a reply: look what it did
            if is_low_precision(self._text(b":GR#")):
                raise DeviceFault(self._link.device, ":U#", "expected high precision (HH:MM:SS), still get HH:MM.M")
        self._set_up_generation = self._link.generation

    def _identify(self) -> str:
        """Ask for the product's name. The oldest mounts do not know the question; one lost reply proves nothing."""
        if self._set_up_generation:
            return self.product and self._text(b":GVP#")
        for _ in range(2):
            try:
                return self._text(b":GVP#")
            except LinkTimeout:
                continue
        return ""

    def _ask(self, request: bytes, reply: Reply, unless_braked_since: int | None = None) -> bytes:
        self._lease.check()
        return self._tell(request, reply, unless_braked_since)

    def _command(self, request: bytes) -> None:
        """Send a command that has no reply, and ask for something that has: so a mount that is gone is noticed."""
        self._tell(request, "none")
        self._text(b":GR#")

    def _tell(self, request: bytes, reply: Reply, unless_braked_since: int | None = None) -> bytes:
        """Do a transaction without asking the lease; on a new connection, set the mount up before the next one."""
        if self._link.heal() != self._set_up_generation:
            self._set_up()
        return self._link.transact(request, reply=reply, unless_braked_since=unless_braked_since)

    def _text(self, request: bytes) -> str:
        return self._link.transact(request, reply=b"#")[:-1].decode("latin-1")

    def _angle(self, request: bytes) -> float:
        """Ask for a sexagesimal value, in its own unit."""
        reply = self._ask(request, b"#")
        try:
            return parse_sexagesimal(reply[:-1].decode("latin-1"))
        except ValueError:
            raise self._link.garbled(request, reply, "a sexagesimal number") from None

    # -- motion ------------------------------------------------------------------------------------------------------

    def slew_to_coordinates_async(self, ra_deg: float, dec_deg: float) -> None:
        """See `Mount.slew_to_coordinates_async`. A brake that comes meanwhile keeps the slew from starting."""
        if not (0 <= ra_deg < 360 and -90 <= dec_deg <= 90):
            raise ValueError(
                f"slew to RA {ra_deg} Dec {dec_deg}: RA must be in [0, 360) and Dec in [-90, 90], in degrees of ICRS"
            )
        brakes = self._link.brakes
        of_date_ra_deg, of_date_dec_deg = self._to_apparent(ra_deg, dec_deg, self._clock.now())
        self._set_target(b":Sr", format_ra(of_date_ra_deg, 2 if self.rich else 0))
        self._set_target(b":Sd", format_dec(of_date_dec_deg, 1 if self.rich else 0))
        verdict = self._ask(b":MS#", _is_slew_verdict, brakes)
        if verdict != b"0":
            reason = verdict[1:-1].decode("latin-1").strip() or f"code {verdict[:1].decode('latin-1')}"
            raise RefusedByDevice(self._link.device, ":MS#", f"slew refused: {reason}")
        self._park_ordered = False

    def _set_target(self, command: bytes, value: str) -> None:
        request = command + value.encode("ascii") + b"#"
        verdict = self._ask(request, "one byte")
        if verdict == b"0":
            raise RefusedByDevice(self._link.device, request.decode("ascii"), "target refused as invalid")
        if verdict != b"1":
            raise self._link.garbled(request, verdict, "0 or 1")

    def set_tracking(self, on: bool) -> None:
        """See `Mount.set_tracking`."""
        self._lease.check()
        self._command(b":AP#" if on else b":AL#")

    def park(self) -> None:
        """See `Mount.park`."""
        self._command(b":KA#" if self.rich else b":hP#")
        self._park_ordered = True

    def unpark(self) -> None:
        """See `Mount.unpark`. A classic mount has no such command: it is only told to track."""
        self._lease.check()
        self._command(b":PO#" if self.rich else b":AP#")
        self._park_ordered = False

    def brake(self) -> None:
        """See `Mount.brake`: ``:Q#``, which has no reply."""
        self._link.brake(b":Q#")

    # -- state -------------------------------------------------------------------------------------------------------

    @property
    def slewing(self) -> bool:
        """See `Mount.slewing`."""
        return self.state().slewing if self.rich else self._classic_slewing()

    @property
    def tracking(self) -> bool | None:
        """See `Mount.tracking`."""
        return self.state().tracking

    @property
    def at_park(self) -> bool | None:
        """See `Mount.at_park`."""
        return self.state().at_park

    def state(self) -> MountReading:
        """See `Mount.state`. One transaction with a 10micron mount, six with a classic one."""
        return self._rich_state() if self.rich else self._classic_state()

    def _rich_state(self) -> MountReading:
        reply = self._ask(b":Ginfo#", b"#")
        read_at = self._clock.now()
        try:
            ra_h, dec_deg, side, azimuth_deg, altitude_deg, status = _parse_ginfo(reply[:-1].decode("latin-1"))
        except ValueError as error:
            raise self._link.garbled(
                b":Ginfo#", reply, f"RA,Dec,side,azimuth,altitude,JD,status,slew ({error})"
            ) from None
        icrs_ra_deg, icrs_dec_deg = self._to_icrs(ra_h * 15 % 360, dec_deg, read_at)
        return MountReading(
            read_at=read_at,
            ra_deg=icrs_ra_deg,
            dec_deg=icrs_dec_deg,
            altitude_deg=altitude_deg,
            azimuth_deg=azimuth_deg,
            pier_side=side,
            slewing=status in _MOVING,
            tracking=status in _TRACKING,
            at_park=status == _PARKED,
            problem=_PROBLEMS.get(status),
        )

    def _classic_state(self) -> MountReading:
        ra_deg, dec_deg = self._angle(b":GR#") * 15 % 360, self._angle(b":GD#")
        altitude_deg, azimuth_deg = self._angle(b":GA#"), self._angle(b":GZ#")
        slewing, mode = self._classic_slewing(), self._ask(_ACK, "one byte")
        if mode not in b"APLG":
            raise self._link.garbled(_ACK, mode, "one of A, P, L, G")
        if abs(dec_deg) > 90:
            raise DeviceFault(self._link.device, ":GD#", f"expected a declination in [-90, 90], got {dec_deg}")
        read_at = self._clock.now()
        icrs_ra_deg, icrs_dec_deg = self._to_icrs(ra_deg, dec_deg, read_at)
        return MountReading(
            read_at=read_at,
            ra_deg=icrs_ra_deg,
            dec_deg=icrs_dec_deg,
            altitude_deg=altitude_deg,
            azimuth_deg=azimuth_deg,
            pier_side=None,
            slewing=slewing,
            tracking=mode != b"L" and not slewing,
            at_park=not slewing if self._park_ordered else None,
            problem=None,
        )

    def _classic_slewing(self) -> bool:
        """Ask for the distance bars: some while it slews, none when it is there."""
        return self._ask(b":D#", b"#") != b"#"


def _is_slew_verdict(received: bytes) -> bool:
    """Tell whether the reply to ``:MS#`` is complete: ``0``, or a digit and a text that ends in ``#``."""
    return received == b"0" or (received[:1] not in {b"", b"0"} and received.endswith(b"#"))


def _parse_ginfo(text: str) -> tuple[float, float, str | None, float, float, int]:
    """Return hours, degrees of declination, side, azimuth, altitude, status; raises `ValueError`.

    The last field says something about slews that differs between implementations; the status says it better.
    """
    fields = [field.strip() for field in text.split(",")]
    if len(fields) != 8:
        raise ValueError(f"{len(fields)} fields instead of 8")
    ra_h, dec_deg, azimuth_deg, altitude_deg = (float(fields[index]) for index in (0, 1, 3, 4))
    status = int(fields[6])
    in_range = 0 <= ra_h <= 24 and abs(dec_deg) <= 90 and 0 <= azimuth_deg <= 360 and abs(altitude_deg) <= 90
    if not in_range or status not in _STATUSES or not fields[7].isdigit():
        raise ValueError("a value out of its range")
    side = {"E": "east", "W": "west"}.get(fields[2].upper()[:1])
    return ra_h, dec_deg, side, azimuth_deg, altitude_deg, status
