"""The faults of simulated devices, in one place: which device suffers from what, from when until when.

- `mute`: requests are swallowed, nothing is done and nothing is answered
- `hang`: requests are carried out, but never answered
- `refuse`: every command is answered by the protocol's own refusal
- `disconnect`: the link is closed at each request
- `garbage`: answers are seeded noise of the right length and ending
- `slow`: motions that begin meanwhile take several times as long
- `lie`: commands are answered with success and not carried out
- `stuck`: the mechanism stands still wherever it is; commands are accepted
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from pyros.clock import Clock, Timer

KINDS = ("mute", "hang", "refuse", "disconnect", "garbage", "slow", "lie", "stuck")
SILENT = frozenset({"mute", "hang"})
SLOWNESS = 4.0
"""How many times as long a motion takes that begins during `slow`."""


class Faults:
    """Which device suffers from what now. `power` is the fault of every device at once."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self._clock = clock
        self._seed = seed
        self._active: dict[str, str] = {}
        self._ends: dict[str, Timer] = {}
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._garbled = 0
        self._begun_s: dict[str, float] = {}
        self._past: list[tuple[str, float, float]] = []
        self._lock = threading.Lock()

    def start(self, device: str, kind: str, for_s: float | None = None) -> None:
        """Begin a fault that ends by itself after `for_s` seconds (never, if None); it replaces the one before.

        Raises
        ------
        ValueError
            If the kind is unknown.
        """
        if kind not in KINDS:
            raise ValueError(f"fault {kind!r} of {device} is unknown; use one of {', '.join(KINDS)}")
        self.end(device)
        self._active[device] = kind
        self._begun_s[device] = self._clock.micros() / 1e6
        if for_s is not None:
            self._ends[device] = self._clock.call_later(for_s, lambda: self.end(device))
        self._tell(device)

    def end(self, device: str) -> None:
        """End the fault of a device, if it has one."""
        timer = self._ends.pop(device, None)
        if timer is not None:
            timer.cancel()
        if self._active.pop(device, None) is not None:
            self._past.append((device, self._begun_s.pop(device), self._clock.micros() / 1e6))
            self._tell(device)

    def active(self, device: str) -> str | None:
        """Return the kind of fault a device suffers from now."""
        return self._active.get(device) or self._active.get("power")

    def suffered(self, device: str, since_s: float, until_s: float) -> bool:
        """Tell whether the device suffered from anything at some time between two instants (seconds since 1970)."""
        present = [(name, begun_s, float("inf")) for name, begun_s in self._begun_s.items()]
        spans = [(begun, end) for name, begun, end in (*self._past, *present) if name in {device, "power"}]
        return any(begun_s <= until_s and end_s >= since_s for begun_s, end_s in spans)

    def listen(self, device: str, callback: Callable[[], None]) -> None:
        """Call `callback()` at once whenever the device's fault begins or ends."""
        self._listeners.setdefault(device, []).append(callback)

    def garble(self, answer: bytes, ending: bytes) -> bytes:
        """Return noise as long as `answer`, with its ending kept, so that a reader does not wait for more."""
        with self._lock:
            self._garbled += 1
            noise = random.Random(self._seed * 1_000_003 + self._garbled)
        kept = ending if ending and answer.endswith(ending) else b""
        forbidden = frozenset(ending)
        usable = bytes(byte for byte in range(33, 256) if byte not in forbidden)
        return bytes(noise.choice(usable) for _ in range(len(answer) - len(kept))) + kept

    def _tell(self, device: str) -> None:
        told = [device] if device != "power" else list(self._listeners)
        for name in told:
            for callback in self._listeners.get(name, []):
                callback()
