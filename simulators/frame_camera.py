"""What the simulated CCD camera does: exposures and readout as a function of the clock."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from pyros.clock import Clock, Timer
from simulators.alpaca_server_http import AlpacaError
from simulators.faults import SLOWNESS
from simulators.frame import Exposure, FrameRenderer
from simulators.frame_cooler import Cooler
from simulators.frame_detector import Frame, Window
from simulators.frame_scene import Sample, World, sample, sun_altitude_deg

READOUT_S = 3.0
EXPOSURE_MAX_S = 3600.0
GAINS = {"low": 1.5, "high": 0.75}
"""Electrons per ADU of each gain."""
IDLE, EXPOSING, READING = 0, 2, 3
"""ASCOM CameraStates."""
SAMPLES = 5
"""How often the world is looked at during an exposure, evenly spread."""
BRIGHT_SKY_SUN_DEG = -9.0
"""With the Sun above this a light frame is a sky flat."""


@dataclass
class _Taken:
    """The exposure in progress, or the last one."""

    number: int
    start: datetime
    end: datetime
    readout_s: float
    kind: str
    window: Window
    lamp: bool
    ccd_temperature_c: float
    electrons_per_adu: float
    due: list[datetime]
    samples: list[Sample] = field(default_factory=list[Sample])
    timers: list[Timer] = field(default_factory=list[Timer])
    reported: bool = False
    frame: Frame | None = None

    @property
    def ready(self) -> datetime:
        return self.end + timedelta(seconds=self.readout_s)

    @property
    def duration_s(self) -> float:
        return (self.end - self.start).total_seconds()


class CameraModel:
    """What a camera does. Any thread may call; every call first brings the camera up to the clock.

    Parameters
    ----------
    world : World
        What there is to see; its fault for `camera:<name>` acts here (lie, stuck, slow) and in the server.
    name : str
        Without "camera:".
    renderer : FrameRenderer
    clock : Clock
    catalogue_dir : Path, optional
        Where the stars of every tile that was ever rendered are written for the analyzer.
    """

    def __init__(
        self, world: World, name: str, renderer: FrameRenderer, clock: Clock, catalogue_dir: Path | None = None
    ) -> None:
        self.device = f"camera:{name}"
        self.pixels = renderer.plate.pixels
        self.connected = False
        self.lamp_on = False
        self.window = Window(0, 0, self.pixels, self.pixels)
        self.gain = 0
        self._world, self._renderer, self._clock = world, renderer, clock
        self._catalogue_dir = catalogue_dir
        self._written: dict[tuple[int, int], Path] = {}
        self._lock = threading.RLock()
        self._count = 0
        self._taken: _Taken | None = None
        self.cooler = Cooler(clock, lambda: self.fault() == "lie")

    def start_exposure(self, duration_s: float, *, light: bool) -> None:
        """Open the shutter (if `light`) for some seconds; a new exposure discards the last image."""
        with self._lock:
            if not 0.0 <= duration_s <= EXPOSURE_MAX_S:
                raise AlpacaError(
                    AlpacaError.INVALID_VALUE, f"Duration is {duration_s} s; it must be 0 to {EXPOSURE_MAX_S:g} s"
                )
            if self.state() != IDLE:
                raise AlpacaError(
                    AlpacaError.INVALID_OPERATION, "the camera is exposing or reading out; abort it first"
                )
            check_window(self.window, self.pixels)
            self._count += 1
            self._taken = self._begin(duration_s, light=light)
            self._arm(self._taken)

    def stop_exposure(self) -> None:
        """Close the shutter now and read out what there is."""
        with self._lock:
            taken = self._current()
            now = self._clock.now()
            if taken is None or self.state() != EXPOSING or now >= taken.end:
                return
            _disarm(taken)
            taken.end = now
            if taken.kind in {"light", "flat"} and not taken.samples:
                taken.samples.append(sample(self._world, now))
            taken.due.clear()
            self._advance()

    def abort_exposure(self) -> None:
        """Close the shutter now and forget the exposure: idle at once."""
        with self._lock:
            taken = self._current()
            if taken is None or self.state() == IDLE:
                return
            _disarm(taken)
            taken.end = min(taken.end, self._clock.now())
            self._report(taken)
            self._taken = None

    def state(self) -> int:
        """Return the ASCOM camera state: 0 idle, 2 exposing, 3 reading out."""
        with self._lock:
            taken, now = self._current(), self._clock.now()
            if taken is None:
                return IDLE
            if now < taken.end or (taken.frame is None and self.fault() == "stuck"):
                return EXPOSING
            return READING if now < taken.ready else IDLE

    def image_ready(self) -> bool:
        """Return whether an image can be fetched; a lying camera says so as soon as it was started."""
        with self._lock:
            return self._taken is not None and (self.fault() == "lie" or self.state() == IDLE)

    def image(self) -> Frame:
        """Return `image[y, x]`, uint16; rendered when first asked for, after its stars stand in the catalogue."""
        with self._lock:
            if self._taken is None or not self.image_ready():
                raise AlpacaError(AlpacaError.INVALID_OPERATION, "there is no image; wait for ImageReady")
            taken = self._taken
            if self.fault() == "lie":
                return self._renderer.render(
                    Exposure(number=taken.number, start=taken.start, duration_s=0.0, window=taken.window)
                )
            if taken.frame is None:
                taken.frame = self._render(taken)
            return taken.frame

    def last_exposure(self) -> tuple[datetime, float]:
        """Return start and duration in seconds of the last exposure that ended."""
        with self._lock:
            taken = self._current()
            if taken is None or self._clock.now() < taken.end:
                raise AlpacaError(AlpacaError.INVALID_OPERATION, "no exposure has ended yet")
            return taken.start, taken.duration_s

    def percent_completed(self) -> int:
        """Return how much of the exposure and its readout is over, 0 to 100."""
        with self._lock:
            taken = self._current()
            if taken is None:
                return 0
            whole_s = (taken.ready - taken.start).total_seconds()
            return min(100, int(100.0 * (self._clock.now() - taken.start).total_seconds() / whole_s))

    @property
    def electrons_per_adu(self) -> float:
        """Electrons per ADU at the chosen gain."""
        return list(GAINS.values())[self.gain]

    def fault(self) -> str | None:
        """Return the kind of fault injected into this camera now."""
        return self._world.faults.active(self.device)

    def _begin(self, duration_s: float, *, light: bool) -> _Taken:
        start, fault = self._clock.now(), self.fault()
        light = light and fault != "lie"
        fractions = [(k + 0.5) / SAMPLES for k in range(SAMPLES)] if light else []
        return _Taken(
            number=self._count,
            start=start,
            end=start + timedelta(seconds=duration_s),
            readout_s=READOUT_S * (SLOWNESS if fault == "slow" else 1.0),
            kind=self._kind(start, duration_s, light=light),
            window=self.window,
            lamp=self.lamp_on,
            ccd_temperature_c=self.cooler.temperature_c(),
            electrons_per_adu=self.electrons_per_adu,
            due=[start + timedelta(seconds=fraction * duration_s) for fraction in fractions],
        )

    def _kind(self, start: datetime, duration_s: float, *, light: bool) -> str:
        if not light:
            return "dark" if duration_s > 0.0 else "bias"
        bright = self.lamp_on or sun_altitude_deg(self._world, start) > BRIGHT_SKY_SUN_DEG
        return "flat" if bright else "light"

    def _arm(self, taken: _Taken) -> None:
        """Set timers, so that the world is looked at when it is so, not when someone asks."""
        taken.timers = [self._clock.call_at(t, self._tick) for t in [*taken.due, taken.end]]

    def _tick(self) -> None:
        with self._lock:
            self._advance()

    def _current(self) -> _Taken | None:
        self._advance()
        return self._taken

    def _advance(self) -> None:
        """Do what has come due: sample the world, report the end. Timers may be late on a wall clock, so ask too."""
        taken, now = self._taken, self._clock.now()
        if taken is None:
            return
        while taken.due and taken.due[0] <= now:
            taken.samples.append(sample(self._world, taken.due.pop(0)))
        if now >= taken.end:
            self._report(taken)

    def _report(self, taken: _Taken) -> None:
        if not taken.reported:
            taken.reported = True
            self._world.on_exposure(self.device, taken.start, taken.end, taken.kind)

    def _render(self, taken: _Taken) -> Frame:
        exposure = Exposure(
            number=taken.number,
            start=taken.start,
            duration_s=taken.duration_s,
            window=taken.window,
            samples=tuple(taken.samples),
            lamp=taken.lamp,
            readout_s=taken.readout_s,
            ccd_temperature_c=taken.ccd_temperature_c,
            electrons_per_adu=taken.electrons_per_adu,
        )
        if self._catalogue_dir is not None:
            for i, j in self._renderer.tiles(exposure):
                if (i, j) not in self._written:
                    self._written[i, j] = self._renderer.sky.write_tile(self._catalogue_dir, i, j)
        return self._renderer.render(exposure, self._world.transients)


def check_window(window: Window, pixels: int) -> None:
    """Refuse a sub-frame that does not lie on the chip."""
    for axis, start, size, bins in (
        ("X", window.start_x, window.num_x, window.bin_x),
        ("Y", window.start_y, window.num_y, window.bin_y),
    ):
        if start < 0 or size < 1 or (start + size) * bins > pixels:
            raise AlpacaError(
                AlpacaError.INVALID_VALUE,
                f"Start{axis}={start} Num{axis}={size} Bin{axis}={bins} does not fit on {pixels} pixels",
            )


def _disarm(taken: _Taken) -> None:
    for timer in taken.timers:
        timer.cancel()
