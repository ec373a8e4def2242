"""A PLC's register map: which register means what. Read from TOML, checked at load, then applied in microseconds.

The driver's own part of a poll must be small, for a simulated night polls 36,000 times; so a loaded map is flat tuples.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

_Address = Annotated[int, Meta(ge=0, le=65535)]
_Name = Annotated[str, Meta(min_length=1, max_length=60)]
_LONGEST_READ = 125
STATUS = (
    "closed_switch",
    "open_switch",
    "opening",
    "closing",
    "latch_set",
    "local_key",
    "emergency_stop",
    "mains_ok",
    "rain_contact",
    "deadman_expired",
    "motion_fault",
    "remote_enabled",
)
MAY_HAVE = ("park_switch",)
"""Bits of the status word that not every dome has: the switch at the mount's park position, wired to the PLC."""
WORDS = ("status", "latch_reasons", "validity")
COMMANDS = {
    "open": "coil",
    "close": "coil",
    "stop": "coil",
    "reset_latch": "coil",
    "heartbeat": "holding",
    "deadman_s": "holding",
}
MEASUREMENTS = (
    "life_counter",
    "rain",
    "wind_ms",
    "gust_ms",
    "humidity_percent",
    "temperature_c",
    "pressure_hpa",
    "sky_minus_ambient_c",
    "dew_point_c",
    "sensor_age_s",
    "ups_percent",
    "dome_position",
)


class Bits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A register of named bits, lowest first."""

    address: _Address
    names: Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=16)]


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A register with a number: ``value = register x scale``, valid within `range`."""

    address: _Address
    type: Literal["uint16", "int16"]
    scale: Annotated[float, Meta(gt=0)]
    unit: str
    range: tuple[float, float]
    needs: tuple[_Name, ...] = ()
    """Bits of the validity word without which the value does not count."""


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something to write: a coil to pulse or a holding register."""

    table: Literal["coil", "holding"]
    address: _Address
    range: tuple[int, int] = (0, 1)


class _MapFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: _Name
    table: Literal["input", "holding"]
    bits: dict[str, Bits]
    measurement: dict[str, Measurement]
    command: dict[str, Command]


class _Number(NamedTuple):
    name: str
    at: int
    signed: bool
    divisor: float
    low: int
    high: int
    needs: int
    unit: str


class Decoded(NamedTuple):
    """What a block of registers says; `None` is unknown, with a reason in `problems`."""

    status: dict[str, bool | None]
    latch_reasons: tuple[str, ...] | None
    numbers: dict[str, float | None]
    problems: tuple[str, ...]


class RegisterMap:
    """A checked map.

    Attributes
    ----------
    name : str
    table : {"input", "holding"}
        Where the polled registers are.
    first, count : int
        The one block that a poll reads.
    commands : dict of str to Command
    """

    def __init__(self, source: str, text: str) -> None:
        content = _parse(source, text)
        addresses = [entry.address for entry in (*content.bits.values(), *content.measurement.values())]
        self.name = content.name
        self.table = content.table
        self.first = min(addresses)
        self.count = max(addresses) + 1 - self.first
        if self.count > _LONGEST_READ:
            raise ValueError(f"{source}: the polled registers span {self.count}; one Modbus read takes {_LONGEST_READ}")
        self.commands = content.command
        words = content.bits
        self._status_names = words["status"].names
        self._latch_names = words["latch_reasons"].names
        self._validity_names = words["validity"].names
        self._status_at, self._latch_at, self._validity_at = (words[word].address - self.first for word in WORDS)
        self._numbers = [
            _compile(source, name, measurement, self.first, self._validity_names)
            for name, measurement in content.measurement.items()
        ]

    def decode(self, registers: Sequence[int]) -> Decoded:
        """Return what `registers` mean; values out of range, sensors not valid and contradictions become `None`."""
        problems: list[str] = []
        validity = registers[self._validity_at]
        numbers: dict[str, float | None] = {}
        for name, at, signed, divisor, low, high, needs, unit in self._numbers:
            raw = registers[at]
            if signed and raw >= 0x8000:
                raw -= 0x10000
            if needs & ~validity:
                numbers[name] = None
                problems.append(f"{name}: the sensor reports itself invalid")
            elif low <= raw <= high:
                numbers[name] = raw / divisor
            else:
                numbers[name] = None
                problems.append(
                    f"{name}: {raw / divisor:g} {unit} is outside its range {low / divisor:g} to {high / divisor:g}"
                )
        status = self._decode_status(registers[self._status_at], problems)
        reasons = self._decode_reasons(registers[self._latch_at], problems)
        return Decoded(status, reasons, numbers, tuple(problems))

    def _decode_status(self, word: int, problems: list[str]) -> dict[str, bool | None]:
        names = self._status_names
        if word >> len(names):
            problems.append(f"status: 0x{word:04x} has bits set that mean nothing")
            return dict.fromkeys(names)
        status: dict[str, bool | None] = {name: bool(word >> bit & 1) for bit, name in enumerate(names)}
        if status["closed_switch"] and status["open_switch"]:
            problems.append("limit switches: closed and open at once")
            status["closed_switch"] = status["open_switch"] = None
        if status["opening"] and status["closing"]:
            problems.append("motors: opening and closing at once")
            status["opening"] = status["closing"] = None
        return status

    def _decode_reasons(self, word: int, problems: list[str]) -> tuple[str, ...] | None:
        if word >> len(self._latch_names):
            problems.append(f"latch_reasons: 0x{word:04x} has bits set that mean nothing")
            return None
        return tuple(name for bit, name in enumerate(self._latch_names) if word >> bit & 1)


def load_register_map(path: Path | None = None) -> RegisterMap:
    """Return the map in the TOML file `path`, or PyROS's own; raises `ValueError` with one line on what is wrong."""
    if path is None:
        return RegisterMap(
            "pyros.toml", resources.files("pyros.hardware").joinpath("maps/pyros.toml").read_text("utf-8")
        )
    try:
        return RegisterMap(str(path), path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"register map {path} cannot be read: {error.strerror}") from None


def _parse(source: str, text: str) -> _MapFile:
    try:
        content = msgspec.convert(tomllib.loads(text), _MapFile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"register map {source}: {error}") from None
    _require(source, "bits", WORDS, content.bits)
    _require(source, "measurement", MEASUREMENTS, content.measurement)
    _require(source, "command", COMMANDS, content.command)
    _require(source, "bits.status.names", STATUS, dict.fromkeys(content.bits["status"].names), MAY_HAVE)
    for name, table in COMMANDS.items():
        if content.command[name].table != table:
            raise ValueError(f"register map {source}: command.{name}.table must be {table!r}")
    return content


def _require(
    source: str,
    section: str,
    wanted: Sequence[str] | dict[str, str],
    found: dict[str, Any],
    may_have: Sequence[str] = (),
) -> None:
    if missing := [name for name in wanted if name not in found]:
        raise ValueError(f"register map {source}: [{section}] lacks {', '.join(missing)}")
    if unknown := [name for name in found if name not in wanted and name not in may_have]:
        raise ValueError(f"register map {source}: [{section}] has unknown {', '.join(unknown)}")


def _compile(source: str, name: str, measurement: Measurement, first: int, validity: tuple[str, ...]) -> _Number:
    if unknown := [bit for bit in measurement.needs if bit not in validity]:
        raise ValueError(f"register map {source}: measurement.{name} needs {unknown[0]}, which is no validity bit")
    divisor = 1 / measurement.scale
    if abs(divisor - round(divisor)) < 1e-6:
        divisor = round(divisor)  # 123 / 10 is 12.3, while 123 * 0.1 is not quite
    low, high = (round(limit * divisor) for limit in measurement.range)
    if low >= high:
        raise ValueError(f"register map {source}: measurement.{name} has the empty range {measurement.range}")
    needs = sum(1 << validity.index(bit) for bit in measurement.needs)
    signed = measurement.type == "int16"
    return _Number(name, measurement.address - first, signed, divisor, low, high, needs, measurement.unit)
