"""observatory.toml, read once into one frozen, validated settings object.

Every fault of a file is named at once: its place, its value, the rule, and for a misspelt key the nearest one there is.
Secrets never stand here; they come from files that this file names.
"""

from __future__ import annotations

import difflib
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=360)]
Altitude = Annotated[float, Field(ge=-90, le=90)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
DeviceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,19}$")]


class ConfigError(ValueError):
    """The configuration cannot be used; every line of the text names one fault."""


def _url_of(kind: str, *forms: str) -> AfterValidator:
    """Return the check that a URL is of one of the forms, each as an example; details are the driver's to check."""
    schemes = tuple(form.partition("://")[0] for form in forms)

    def check(url: str) -> str:
        if url.partition("://")[0] not in schemes or not _is_place(url):
            raise ValueError(f"that is no address of {kind}; it is written {' or '.join(forms)}")
        return url

    return AfterValidator(check)


def _is_place(url: str) -> bool:
    """Tell whether a URL names a serial line, or a host and a port (which Modbus need not)."""
    try:
        parts = urlsplit(url)
        if parts.scheme.endswith("+serial"):
            return not parts.netloc and len(parts.path) > 1
        return bool(parts.hostname) and (bool(parts.port) or (parts.port is None and parts.scheme == "modbus"))
    except ValueError:
        return False


MountUrl = Annotated[str, _url_of("a mount", "lx200+tcp://host:port", "lx200+serial:///dev/ttyUSB0?baud=9600")]
PlcUrl = Annotated[str, _url_of("a PLC", "modbus://host:502?unit=1")]
CameraUrl = Annotated[str, _url_of("a camera", "alpaca://host:port/camera/0")]
WheelUrl = Annotated[str, _url_of("a filter wheel", "ifw+tcp://host:port", "ifw+serial:///dev/ttyUSB1?baud=19200")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Site(_Section):
    """Where the observatory stands. The default is San Pedro Mártir."""

    name: str = "San Pedro Mártir"
    longitude_deg: Longitude = -115.4637
    latitude_deg: Latitude = 31.0442
    height_m: Annotated[float, Field(ge=-500, le=9000)] = 2830.0
    horizon_deg: Annotated[float, Field(ge=0, le=60)] = 20.0


class Night(_Section):
    """When it is night: Sun altitudes, airless."""

    sun_altitude_max_deg: Annotated[float, Field(ge=-18, le=-6)] = -12.0
    open_sun_altitude_deg: Annotated[float, Field(ge=-18, le=0)] = -4.0
    pointing_before_s: Annotated[float, Field(ge=0, le=600)] = 120.0


class Rule(_Section):
    """One weather quantity: unsafe above `limit`, good again below `clear`."""

    limit: float
    clear: float
    warn: float | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Rule:
        if self.clear > self.limit:
            raise ValueError(f"clear ({self.clear}) is above limit ({self.limit}); it must not be")
        return self


class Safety(_Section):
    """What is safe, how fresh it has to be, and how long it has to stay good before the dome opens again."""

    wind_m_s: Rule = Rule(limit=15.0, clear=12.0, warn=12.0)
    gust_m_s: Rule = Rule(limit=20.0, clear=16.0, warn=16.0)
    humidity_percent: Rule = Rule(limit=90.0, clear=85.0, warn=85.0)
    dew_point_spread_min_c: NotNegative = 2.0
    temperature_min_c: float = -20.0
    stale_s: Annotated[float, Field(ge=3, le=300)] = 30.0
    verdict_max_age_s: Annotated[float, Field(ge=1, le=30)] = 3.0
    hold_off_s: Annotated[float, Field(ge=0, le=7200)] = 600.0
    rain_hold_off_s: Annotated[float, Field(ge=0, le=7200)] = 900.0
    deadman_s: Annotated[int, Field(ge=5, le=120)] = 30
    deadman_reset: Literal["operator"] | Annotated[float, Field(ge=60, le=7200)] = "operator"
    ups_min_percent: Annotated[float, Field(ge=0, le=100)] = 50.0
    moon_distance_min_deg: Annotated[float, Field(ge=0, le=90)] = 5.0
    sun_distance_min_deg: Annotated[float, Field(ge=0, le=90)] = 45.0


class Dome(_Section):
    """How the dome closes. A roof that would touch the tube is closed only over a parked telescope."""

    kind: Literal["clamshell", "roll_off"] = "clamshell"
    close_requires_park: bool | None = None
    """Unset: as the kind demands, which is yes for a roll-off roof and no for a clamshell."""
    park_within_s: Annotated[float, Field(ge=10, le=600)] = 90.0
    """How long closing waits for the park switch before it alarms."""

    @property
    def parks_first(self) -> bool:
        """Whether the telescope has to be parked before the dome may move."""
        return self.kind == "roll_off" if self.close_requires_park is None else self.close_requires_park


class Store(_Section):
    """Where the database lives, relative to the state directory."""

    synchronous: Literal["full", "off"] = "full"


class Telescope(_Section):
    """The mount."""

    url: MountUrl
    blocking: bool = True


class Plc(_Section):
    """The dome's controller."""

    url: PlcUrl
    poll_s: Annotated[float, Field(ge=0.2, le=10)] = 1.0
    blocking: bool = True


class Camera(_Section):
    """One camera."""

    url: CameraUrl
    blocking: bool = True
    filter_wheel: DeviceName | None = None
    pixels: Annotated[int, Field(ge=64, le=16384)] = 2048
    field_arcmin: Annotated[float, Field(gt=0, le=600)] = 26.0
    readout_s: NotNegative = 3.0
    gain_e_per_adu: Positive = 1.0
    read_noise_e: NotNegative = 8.0
    cooler_c: Annotated[float, Field(ge=-120, le=30)] | None = None


class FilterWheel(_Section):
    """One filter wheel; `filters` in the order of its positions, as PyROS names them."""

    url: WheelUrl
    filters: Annotated[list[str], Field(min_length=1, max_length=9)] = ["g", "r", "i", "z", "clear"]
    blocking: bool = False


class Weather(_Section):
    """One weather station. `plc://` takes the PLC's own sensors."""

    url: Literal["plc://"] = "plc://"


class Devices(_Section):
    """Every device; telescope and plc are needed, the rest is as the site has it."""

    telescope: Telescope
    plc: Plc
    camera: dict[DeviceName, Camera] = {}
    filter_wheel: dict[DeviceName, FilterWheel] = {}
    weather: dict[DeviceName, Weather] = {"mast": Weather()}

    @model_validator(mode="after")
    def _wheels_exist(self) -> Devices:
        for name, camera in self.camera.items():
            if camera.filter_wheel is not None and camera.filter_wheel not in self.filter_wheel:
                raise ValueError(
                    f"camera.{name}.filter_wheel is {camera.filter_wheel!r}, but there is no such filter_wheel"
                )
        return self


class AlertSource(_Section):
    """Where notices come from."""

    kind: Literal["vtp"]
    url: Annotated[str, Field(pattern=r"^vtp://[^:/]+:\d+$")]
    name: DeviceName = "vtp"


class Alerts(_Section):
    """Which notices become alerts."""

    source: list[AlertSource] = []
    strategies: Path | None = None
    max_error_deg: Annotated[float, Field(gt=0, le=180)] = 1.0
    max_age_s: Annotated[float, Field(gt=0, le=7 * 86400)] = 6 * 3600.0
    local_ivorn: str = "ivo://pyros.local/observatory"


class Gateway(_Section):
    """The door for the command line and the web: a folder for two sockets, by default below the state directory."""

    folder: Path | None = None


class Web(_Section):
    """The status page."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080


class Scheduler(_Section):
    """How plannings are made."""

    overhead_s: Annotated[float, Field(ge=0, le=600)] = 20.0
    replan_after_s: Annotated[float, Field(ge=0, le=3600)] = 60.0


class Analyzer(_Section):
    """Where the masters and the star catalogue are."""

    masters: Path | None = None
    catalogue: Path | None = None
    workers: Annotated[int, Field(ge=1, le=16)] = 1
    modelled_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    """How long an alert's analysis takes on the virtual clock."""
    modelled_routine_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    """The same for routine images, which have time; while it lasts the night goes on beside the analysis."""


class Destination(_Section):
    """Who is told what happens here: each row of the outbox is posted to `url` as JSON, in order, until it is taken."""

    name: DeviceName
    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+(/\S*)?$")]
    topics: list[Literal["start", "night", "alert", "candidate"]] = ["start", "night", "alert", "candidate"]


class Courier(_Section):
    """Where news goes."""

    destination: list[Destination] = []


class Simulation(_Section):
    """The clock of a simulated observatory, shared by its simulators and its daemon; only with mode "simulation"."""

    speed: Annotated[float, Field(ge=1, le=60)] = 1.0
    start: datetime | None = None
    """What the clock shows at the real instant `since`; unset: the machine's own time."""
    since: datetime | None = None

    @model_validator(mode="after")
    def _anchored(self) -> Simulation:
        if (self.start is None) != (self.since is None):
            raise ValueError("start and since belong together: the clock shows `start` at the real instant `since`")
        if any(t is not None and t.tzinfo is None for t in (self.start, self.since)):
            raise ValueError("start and since need a time zone, as in 2026-11-22T01:30:00Z")
        if self.speed != 1.0 and self.start is None:
            raise ValueError(f"speed {self.speed:g} needs start and since, so that everyone's clock shows the same")
        return self


_PATHS = (("alerts", "strategies"), ("gateway", "folder"), ("analyzer", "masters"), ("analyzer", "catalogue"))


class Settings(_Section):
    """The whole of observatory.toml."""

    site: Site = Site()
    night: Night = Night()
    safety: Safety = Safety()
    dome: Dome = Dome()
    store: Store = Store()
    devices: Devices
    alerts: Alerts = Alerts()
    gateway: Gateway = Gateway()
    web: Web = Web()
    scheduler: Scheduler = Scheduler()
    analyzer: Analyzer = Analyzer()
    courier: Courier = Courier()
    simulation: Simulation = Simulation()
    mode: Literal["simulation", "robotic"] = "robotic"
    seed: int = 0

    @model_validator(mode="after")
    def _time_is_real(self) -> Settings:
        if self.mode == "robotic" and self.simulation != Simulation():
            raise ValueError('[simulation] sets the clock, which only mode = "simulation" may')
        return self


def load(path: Path) -> Settings:
    """Read a configuration file.

    Raises
    ------
    ConfigError
        If it cannot be read or used; the text has one line per fault.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: byte {error.start} cannot be read") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    return parse(_with_paths_from(tables, path.absolute().parent), str(path))


def _with_paths_from(tables: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the tables with relative paths counted from the configuration's own folder."""
    placed = dict(tables)
    for section, key in _PATHS:
        table = placed.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str):
            placed[section] = {**table, key: str(folder / table[key])}
    return placed


def parse(tables: dict[str, Any], origin: str) -> Settings:
    """Validate parsed TOML; `origin` stands at the head of each fault's line."""
    try:
        return Settings.model_validate(tables)
    except ValidationError as error:
        lines = [_line(origin, fault) for fault in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _line(origin: str, fault: Any) -> str:
    place = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        return f"{origin}: {'.'.join(place)} is not a key{_nearest(place)}"
    if fault["type"] == "missing":
        return f"{origin}: {'.'.join(place)} is missing"
    value = "" if isinstance(fault["input"], dict | list) else f" is {_short(fault['input'])}"
    return f"{origin}: {'.'.join(place) or 'file'}{value}: {fault['msg'].removeprefix('Value error, ')}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}…"


def _nearest(place: list[str]) -> str:
    """Suggest the key of the same section whose name is nearest to a misspelt one."""
    section: Any = Settings
    for part in place[:-1]:
        field = getattr(section, "model_fields", {}).get(part)
        if field is None:
            continue
        annotation = field.annotation
        section = getattr(annotation, "__args__", (annotation,))[-1]
    known = list(getattr(section, "model_fields", {}))
    near = difflib.get_close_matches(place[-1], known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
