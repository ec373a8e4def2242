r"""The simulated filter wheel: Optec IFW, and `python -m simulators.wheel`.

The wire (19200 8N1): commands end `\n\r`, so do replies. `WSMODE`->`!`, `WHOME`->`A`, `WIDENT`->`A`, `WFILTR`->`2`,
`WREAD`->names of 8 characters each, `WLOADA*NAMES`->`!`, `WGOTO3`->`*`, `WEXITS`->`END`; errors `ER=n`: 4 the wheel is
stuck, 5 no such position; `WVAAAA`->firmware. Moving takes 2 s for each step by the shorter way round.

When does `WGOTOn` answer? The real wheel is deaf while it turns and sends `*` when it has arrived, and that is what
is done here on the wall and scaled clocks: `*` comes after the motion, other commands meanwhile wait for it. On the
virtual clock nothing may block, so `*` comes at once, and `WFILTR` gives the old position until the motion is over. A
driver that serves both sends `WGOTOn`, goes on with its life, looks for `*` at each poll (its absence only means
"still turning", up to 10 s), and after `*` asks `WFILTR` at each poll until it gives the wanted position or time is up.
"""

from __future__ import annotations

import math
import re
import sys
import threading

from simulators.faults import SLOWNESS
from simulators.serve import Link
from simulators.world import World

STEP_S = 2.0
NAME_LENGTH = 8
DEFAULT_NAMES = ("g", "r", "i", "z", "CLEAR")
_GOTO = re.compile(rb"WGOTO(\d+)")
_END = re.compile(rb"[\r\n]+")
STUCK = b"ER=4"
NO_SUCH_POSITION = b"ER=5"


class SimulatedWheel:
    """A wheel with 5, 6, 8 or 9 positions. Times are seconds of UTC since 1970; positions count from 1."""

    def __init__(self, world: World, name: str = "filter_wheel:vis", names: tuple[str, ...] = DEFAULT_NAMES) -> None:
        if len(names) not in {5, 6, 8, 9}:
            raise ValueError(f"{name} has {len(names)} filters; an IFW wheel has 5, 6, 8 or 9 positions")
        self.world = world
        self.name = name
        self.names = list(names)
        self.lock = threading.RLock()
        self._start, self._goal = 1, 1
        self._start_s, self._arrival_s = 0.0, 0.0
        self._jammed = False
        world.faults.listen(name, self._fault_changed)

    def position(self) -> int:
        """Return the position last reached."""
        return self._goal if self.world.unix_s() >= self._arrival_s and not self._jammed else self._start

    def moving_s(self) -> float:
        """Seconds until the motion is over; 0 if it stands."""
        return max(0.0, self._arrival_s - self.world.unix_s())

    def go_to(self, position: int) -> bool:
        """Turn to a position; False if the wheel is stuck."""
        fault = self.world.faults.active(self.name)
        if fault == "stuck":
            return False
        if fault == "lie":
            return True
        with self.lock:
            start = self.position()
            steps = abs(position - start)
            steps = min(steps, len(self.names) - steps)
            self._start, self._goal, self._jammed = start, position, False
            self._start_s = self.world.unix_s()
            self._arrival_s = self._start_s + steps * STEP_S * (SLOWNESS if fault == "slow" else 1.0)
        return True

    def home(self) -> bool:
        """Turn to position 1; False if the wheel is stuck."""
        return self.go_to(1)

    def _fault_changed(self) -> None:
        """Stop a wheel that gets stuck while it turns at the last position that it passed."""
        with self.lock:
            if self.world.faults.active(self.name) != "stuck" or self.moving_s() <= 0.0:
                return
            total = self._arrival_s - self._start_s
            way = self._goal - self._start
            count = len(self.names)
            way = (way + count // 2) % count - count // 2
            passed = math.trunc(way * (self.world.unix_s() - self._start_s) / total)
            self._start = (self._start + passed - 1) % count + 1
            self._arrival_s, self._jammed = self.world.unix_s(), True


class IfwSession:
    """One client's talk with the wheel."""

    ending = b"\n\r"

    def __init__(self, wheel: SimulatedWheel, link: Link) -> None:
        self._wheel = wheel
        self._link = link
        self._deaf = False
        self._waiting: list[bytes] = []

    def split(self, pending: bytes) -> tuple[list[bytes], bytes]:
        """Cut lines off, ended by any run of carriage returns and line feeds."""
        *lines, rest = _END.split(pending)
        return [line.strip().upper() for line in lines if line.strip()], rest

    def expects_answer(self, request: bytes) -> bool:
        """Everything is answered."""
        del request
        return True

    def refuse(self, request: bytes) -> bytes:
        """Refuse to move or to be renamed."""
        if request.startswith((b"WGOTO", b"WHOME", b"WLOAD")):
            return STUCK + self.ending
        return self.answer(request)

    def answer(self, request: bytes) -> bytes:
        """Answer a line, or nothing yet if the wheel turns (on clocks where waiting is possible)."""
        if self._deaf:
            self._waiting.append(request)
            return b""
        reply = self._reply(request)
        still_s = self._wheel.moving_s()
        if (
            reply in {b"*", b"A"}
            and request[:5] in {b"WGOTO", b"WHOME"}
            and still_s
            and not self._wheel.world.clock.virtual
        ):
            self._deaf = True
            self._wheel.world.clock.call_later(still_s, lambda: self._arrived(reply))
            return b""
        return reply + self.ending

    def _arrived(self, reply: bytes) -> None:
        self._deaf = False
        stuck = self._wheel.world.faults.active(self._wheel.name) == "stuck"
        self._link.send((STUCK if stuck else reply) + self.ending)
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            self._link.send(self.answer(request))

    def _reply(self, request: bytes) -> bytes:
        wheel = self._wheel
        goto = _GOTO.fullmatch(request)
        if goto:
            position = int(goto[1])
            if not 1 <= position <= len(wheel.names):
                return NO_SUCH_POSITION
            return b"*" if wheel.go_to(position) else STUCK
        if request.startswith(b"WLOAD"):
            return self._load(request)
        if request == b"WHOME":
            return b"A" if wheel.home() else STUCK
        return {
            b"WSMODE": b"!",
            b"WIDENT": b"A",
            b"WFILTR": str(wheel.position()).encode(),
            b"WREAD": "".join(f"{name:<{NAME_LENGTH}.{NAME_LENGTH}}" for name in wheel.names).encode(),
            b"WVAAAA": b"V2.04",
            b"WEXITS": b"END",
        }.get(request, b"ER=0")

    def _load(self, request: bytes) -> bytes:
        _, _, text = request.rpartition(b"*")
        length = NAME_LENGTH * len(self._wheel.names)
        if not text.isascii() or len(text) > length:
            return b"ER=0"
        padded = text.decode().ljust(length)
        self._wheel.names[:] = [padded[at : at + NAME_LENGTH].strip() for at in range(0, length, NAME_LENGTH)]
        return b"!"


if __name__ == "__main__":
    from simulators.serve_alone import wheel_main

    sys.exit(wheel_main(sys.argv[1:]))
