"""The filter wheel over Optec's IFW protocol: 19200 baud 8N1, requests and replies end in LF CR.

A real wheel answers ``WGOTOn`` with ``*`` when it is there, seconds later, and is deaf until then. So the driver writes
the request, returns, and looks at each poll whether the reply has come; nothing else is sent meanwhile. A simulated
wheel on the virtual clock answers at once. Either way the wheel has arrived when ``WFILTR`` says so.

Source: Optec IFW Technical Manual, section 5.2 (revision 4, 2007).
"""

from __future__ import annotations

from typing import NamedTuple

from pyros.clock import Clock
from pyros.hardware.errors import DeviceFault, RefusedByDevice
from pyros.hardware.interfaces import FilterWheelReading, Lease
from pyros.hardware.link import Link

_END = b"\n\r"
_NAME_LENGTH = 8
_WHEEL_SIZES = (5, 6, 7, 8, 9)
MOVE_TIMEOUT_S = 10.0
HOME_TIMEOUT_S = 40.0
_FAULTS = {
    "ER=1": "too many steps to find position 1",
    "ER=2": "the position pulses do not match the wheel",
    "ER=3": "the wheel's identity was not found",
    "ER=4": "the wheel is stuck in one position",
    "ER=5": "no such position on this wheel",
    "ER=6": "the wheel slips",
}


class _Move(NamedTuple):
    command: str
    goal: int
    started_s: float
    limit_s: float
    awaits_reply: bool


class IfwWheel:
    """A filter wheel; see `pyros.hardware.interfaces.FilterWheel`.

    Parameters
    ----------
    link : Link
        The link to the wheel, not yet connected.
    clock : Clock
        Dates readings and bounds moves.
    lease : Lease
        Checked before every write.
    """

    def __init__(self, link: Link, clock: Clock, lease: Lease) -> None:
        self._link = link
        self._clock = clock
        self._lease = lease
        self._set_up_generation = 0
        self._names: tuple[str, ...] = ()
        self._move: _Move | None = None
        self.identity = ""
        """The letter of the wheel in the housing, A to K."""

    @property
    def connected(self) -> bool:
        """See `Device.connected`."""
        return self._link.connected

    def connect(self) -> None:
        """See `Device.connect`: takes the wheel's serial mode, its letter and its filters' names."""
        self._lease.check()
        self._move = None
        self._link.connect()
        self._set_up()

    def disconnect(self) -> None:
        """See `Device.disconnect`."""
        self._link.disconnect()

    def _set_up(self) -> None:
        if (hello := self._transact("WSMODE")) != "!":
            raise self._link.garbled(b"WSMODE", hello.encode("latin-1"), "!")
        self.identity = self._transact("WIDENT")
        self._names = self._read_names()
        self._set_up_generation = self._link.generation

    def _read_names(self) -> tuple[str, ...]:
        text = self._transact("WREAD", strip=False)
        if len(text) not in [_NAME_LENGTH * size for size in _WHEEL_SIZES]:
            raise self._link.garbled(b"WREAD", text.encode("latin-1"), "8 characters for each of 5 to 9 filters")
        return tuple(text[at : at + _NAME_LENGTH].strip() for at in range(0, len(text), _NAME_LENGTH))

    # -- what the interface names ------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """See `FilterWheel.names`."""
        return self._names

    @property
    def moving(self) -> bool:
        """See `FilterWheel.moving`; raises `DeviceFault` when the wheel says that the move has failed."""
        return self._move is not None and self.position is None

    @property
    def position(self) -> int | None:
        """See `FilterWheel.position`; raises as `moving` does."""
        move = self._move
        if move is None:
            return self._read_position()
        if move.awaits_reply and not self._reply_has_come(move):
            return None
        position = self._read_position()
        if position != move.goal:
            self._give_up_late(move, f"the wheel stands at {position}, not at {move.goal}")
            return None
        self._move = None
        return position

    def state(self) -> FilterWheelReading:
        """See `FilterWheel.state`."""
        position = self.position
        return FilterWheelReading(read_at=self._clock.now(), position=position, moving=position is None)

    def set_position(self, position: int) -> None:
        """See `FilterWheel.set_position`."""
        if not 1 <= position <= len(self._names):
            raise ValueError(f"{self._link.device}: position is {position}; it must be from 1 to {len(self._names)}")
        self._start(f"WGOTO{position}", position, MOVE_TIMEOUT_S)

    def home(self) -> None:
        """Start to look for position 1, which real wheels need after power-up; `moving` tells when it is done."""
        self._start("WHOME", 1, HOME_TIMEOUT_S)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _start(self, command: str, goal: int, limit_s: float) -> None:
        if self.moving:
            raise RefusedByDevice(self._link.device, command, "the wheel is moving; wait until it is there")
        self._lease.check()
        self._heal()
        started_s = self._clock.monotonic_s()
        if self._clock.virtual:
            self._judge(command, self._transact(command))
        else:
            self._link.transact(command.encode("ascii") + _END, reply="none")
        self._move = _Move(command, goal, started_s, limit_s, awaits_reply=not self._clock.virtual)

    def _reply_has_come(self, move: _Move) -> bool:
        """Look for the reply to a move; an error in it, or a lost link, ends the waiting for it."""
        self._lease.check()
        self._move = None
        reply = self._link.listen(move.command.encode("ascii") + _END, reply=_END, timeout_s=0.0)
        if reply is None:
            self._give_up_late(move, "the wheel has not answered")
            self._move = move
            return False
        self._judge(move.command, reply.removesuffix(_END).decode("latin-1").strip())
        self._move = move._replace(awaits_reply=False)
        return True

    def _give_up_late(self, move: _Move, what: str) -> None:
        if self._clock.monotonic_s() - move.started_s > move.limit_s:
            self._move = None
            raise DeviceFault(self._link.device, move.command, f"{what} within {move.limit_s:g} s")

    def _judge(self, command: str, text: str) -> None:
        if text.startswith("ER="):
            self._raise_fault(command, text)
        if command.startswith("WGOTO") and text != "*":
            raise self._link.garbled(command.encode("ascii"), text.encode("latin-1"), "* or ER=n")

    def _read_position(self) -> int:
        text = self._ask("WFILTR")
        if not (text.isdigit() and 1 <= int(text) <= len(self._names)):
            raise self._link.garbled(b"WFILTR", text.encode("latin-1"), f"a position from 1 to {len(self._names)}")
        return int(text)

    def _ask(self, command: str) -> str:
        self._lease.check()
        self._heal()
        return self._transact(command)

    def _heal(self) -> None:
        """Take serial mode again on a new connection: the wheel may have lost its power."""
        if self._link.heal() != self._set_up_generation:
            self._set_up()

    def _transact(self, command: str, *, strip: bool = True) -> str:
        reply = self._link.transact(command.encode("ascii") + _END, reply=_END)
        text = reply.removesuffix(_END).decode("latin-1")
        if text.startswith("ER="):
            self._raise_fault(command, text.strip())
        return text.strip() if strip else text

    def _raise_fault(self, command: str, code: str) -> None:
        meaning = f"{code}: {_FAULTS.get(code, 'an error the manual does not list')}"
        if code == "ER=5":
            raise RefusedByDevice(self._link.device, command, meaning)
        raise DeviceFault(self._link.device, command, meaning)
