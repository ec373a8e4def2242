"""From the URL of a device in the configuration to its driver. Nothing is sent before the driver's `connect()`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pyros.clock import Clock
from pyros.hardware.alpaca import AlpacaCamera
from pyros.hardware.ifw import IfwWheel
from pyros.hardware.interfaces import Camera, FilterWheel, Lease, Mount, Plc
from pyros.hardware.link import Journal, Link
from pyros.hardware.lx200 import Conversion, Lx200Mount
from pyros.hardware.modbus import ModbusPlc
from pyros.hardware.ports import Port, SerialPort, TcpPort
from pyros.hardware.register_map import load_register_map

BAUD_RATES = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
ALLOWED = (
    "lx200+tcp://host:port",
    "lx200+serial:///dev/ttyUSB0?baud=9600",
    "ifw+tcp://host:port",
    "ifw+serial:///dev/ttyUSB1?baud=19200",
    "modbus://host:502?unit=1",
    "alpaca://host:port/camera/0",
)
_OPTIONS = {"lx200+serial": "baud", "ifw+serial": "baud", "modbus": "unit"}
_DEFAULT_BAUD = {"lx200": 9600, "ifw": 19200}


class DeviceUrl(NamedTuple):
    """A checked device URL. `number` is the baud rate, the Modbus unit or the Alpaca device number."""

    protocol: str
    host: str
    port: int
    path: str
    number: int


def parse_device_url(url: str) -> DeviceUrl:
    """Return the parts of a device's URL.

    Raises
    ------
    ValueError
        With one line that names the URL, what is wrong with it, and what is allowed.
    """

    def wrong(what: str) -> ValueError:
        return ValueError(f"device URL {url!r}: {what}; allowed are {', '.join(ALLOWED)}")

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise wrong(str(error)) from None
    if parts.scheme not in {allowed.split("://")[0] for allowed in ALLOWED}:
        raise wrong(f"unknown protocol {parts.scheme!r}")
    known = _OPTIONS.get(parts.scheme)
    if unknown := [name for name in options if name != known]:
        raise wrong(f"unknown option {unknown[0]!r}")
    if parts.fragment or parts.username is not None:
        raise wrong("user names and fragments have no meaning here")
    if parts.scheme.endswith("+serial"):
        return _serial_url(parts.scheme, parts.netloc, parts.path, options, wrong)
    if port is None and parts.scheme == "modbus":
        port = 502
    if not host or not port:
        raise wrong("host and port (1 to 65535) are missing")
    if parts.scheme == "alpaca":
        return DeviceUrl("alpaca", host, port, "camera", _camera_number(parts.path, wrong))
    if parts.path not in {"", "/"}:
        raise wrong(f"the path {parts.path!r} has no meaning here")
    unit = _number(options.get("unit", "1"), "unit", range(1, 248), wrong)
    return DeviceUrl(parts.scheme, host, port, "", unit)


def open_mount(
    url: str,
    clock: Clock,
    lease: Lease,
    *,
    device: str,
    to_apparent: Conversion,
    to_icrs: Conversion,
    journal: Journal | None = None,
) -> Mount:
    """Return the driver of a mount; see `open_device`."""
    parts = _of_kind(url, "a mount", ("lx200+tcp", "lx200+serial"))
    link = Link(_port(parts), clock, device, journal)
    return Lx200Mount(link, clock, lease, to_apparent=to_apparent, to_icrs=to_icrs)


def open_filter_wheel(
    url: str, clock: Clock, lease: Lease, *, device: str, journal: Journal | None = None
) -> FilterWheel:
    """Return the driver of a filter wheel; see `open_device`."""
    parts = _of_kind(url, "a filter wheel", ("ifw+tcp", "ifw+serial"))
    return IfwWheel(Link(_port(parts), clock, device, journal), clock, lease)


def open_plc(
    url: str,
    clock: Clock,
    lease: Lease,
    *,
    device: str,
    journal: Journal | None = None,
    register_map: Path | None = None,
) -> Plc:
    """Return the driver of a PLC; see `open_device`."""
    parts = _of_kind(url, "a PLC", ("modbus",))
    registers = load_register_map(register_map)
    return ModbusPlc(
        parts.host, parts.port, parts.number, clock, lease, register_map=registers, device=device, journal=journal
    )


def open_camera(url: str, clock: Clock, lease: Lease, *, device: str, journal: Journal | None = None) -> Camera:
    """Return the driver of a camera; see `open_device`."""
    parts = _of_kind(url, "a camera", ("alpaca",))
    return AlpacaCamera(parts.host, parts.port, parts.number, clock, lease, device=device, journal=journal)


def open_device(
    url: str,
    clock: Clock,
    lease: Lease,
    *,
    device: str,
    journal: Journal | None = None,
    to_apparent: Conversion | None = None,
    to_icrs: Conversion | None = None,
    register_map: Path | None = None,
) -> Mount | FilterWheel | Plc | Camera:
    """Return the driver for a device of whatever kind, not yet connected.

    Parameters
    ----------
    url : str
        One of the forms in `ALLOWED`.
    clock : Clock
    lease : Lease
        The right to write, checked before every write that does not make safer.
    device : str
        The device's name in errors and in the journal, e.g. ``"telescope"`` or ``"camera:vis"``.
    journal : Journal, optional
        Sees every transaction.
    to_apparent, to_icrs : Conversion
        Needed for mounts: between ICRS and equatorial of date.
    register_map : Path, optional
        For a PLC: its map, if not PyROS's own.

    Raises
    ------
    ValueError
        If the URL or the map is wrong; one line says what.
    """
    kind = parse_device_url(url).protocol.partition("+")[0]
    if kind == "modbus":
        return open_plc(url, clock, lease, device=device, journal=journal, register_map=register_map)
    if kind == "alpaca":
        return open_camera(url, clock, lease, device=device, journal=journal)
    if kind == "ifw":
        return open_filter_wheel(url, clock, lease, device=device, journal=journal)
    if to_apparent is None or to_icrs is None:
        raise ValueError(f"device URL {url!r}: a mount needs to_apparent and to_icrs")
    return open_mount(url, clock, lease, device=device, journal=journal, to_apparent=to_apparent, to_icrs=to_icrs)


def _of_kind(url: str, kind: str, protocols: tuple[str, ...]) -> DeviceUrl:
    parts = parse_device_url(url)
    if parts.protocol not in protocols:
        raise ValueError(f"device URL {url!r} is no URL of {kind}; the protocol must be {' or '.join(protocols)}")
    return parts


def _port(parts: DeviceUrl) -> Port:
    return SerialPort(parts.path, parts.number) if parts.path else TcpPort(parts.host, parts.port)


def _serial_url(
    scheme: str, netloc: str, path: str, options: dict[str, str], wrong: Callable[[str], ValueError]
) -> DeviceUrl:
    if netloc or len(path) < 2:
        raise wrong("a serial line is three slashes and a path, as in ///dev/ttyUSB0")
    baud = options.get("baud", str(_DEFAULT_BAUD[scheme.split("+", maxsplit=1)[0]]))
    return DeviceUrl(scheme, "", 0, path, _number(baud, "baud", BAUD_RATES, wrong))


def _camera_number(path: str, wrong: Callable[[str], ValueError]) -> int:
    kind, _, number = path.removeprefix("/").partition("/")
    if kind != "camera":
        raise wrong(f"the device kind {kind!r} is not camera")
    return _number(number, "device number", range(1000), wrong)


def _number(text: str, name: str, among: range | tuple[int, ...], wrong: Callable[[str], ValueError]) -> int:
    if not (text.isascii() and text.isdigit() and int(text) in among):
        allowed = f"{among[0]} to {among[-1]}" if isinstance(among, range) else f"one of {', '.join(map(str, among))}"
        raise wrong(f"{name} is {text!r}, must be {allowed}")
    return int(text)
