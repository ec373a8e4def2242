"""The camera's Alpaca face: ASCOM ICameraV3, property by property, on top of `CameraModel`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from simulators.alpaca_server_http import AlpacaError, BadRequestError
from simulators.frame_camera import EXPOSURE_MAX_S, GAINS, CameraModel
from simulators.frame_detector import SATURATION_ADU

BIN_MAX = 4
CHIP_MICRONS = 27_648.0
"""Side of the chip: 2048 pixels of 13.5 microns."""
INTERFACE_VERSION = 3
ALWAYS = frozenset({
    "connected", "description", "driverinfo", "driverversion", "interfaceversion", "name", "supportedactions",
})  # fmt: skip
ABSENT = frozenset({
    "bayeroffsetx", "bayeroffsety", "commandblind", "commandbool", "commandstring", "connect", "connecting",
    "devicestate", "disconnect", "fastreadout", "gainmax", "gainmin",
    "heatsinktemperature", "ispulseguiding", "offset", "offsetmax", "offsetmin", "offsets", "pulseguide",
    "subexposureduration",
})  # fmt: skip
"""What this camera lacks: ASCOM asks for error 0x400 then."""


class Put(NamedTuple):
    """How a PUT is carried out: its parameters, named as ASCOM writes them, and their types."""

    parameters: Mapping[str, Callable[[str], Any]]
    carry_out: Callable[..., Any]


class CameraDevice:
    """See `AlpacaDevice`: `get` and `put` raise AlpacaError, or BadRequestError for what is no method of a camera."""

    device_type = "camera"
    number = 0

    def __init__(self, model: CameraModel, name: str) -> None:
        self.name = f"PyROS simulated camera {name}"
        self.unique_id = str(uuid5(NAMESPACE_URL, f"pyros-simulator/camera/{name}"))
        self._model = model
        self._constants = _constants(model, self.name)
        self._readings = _readings(model)
        self._puts = self._commands()

    def fault(self) -> str | None:
        """Return the kind of fault injected now."""
        return self._model.fault()

    def get(self, method: str) -> Any:
        """Return a property's value."""
        self._require(method, method in self._constants or method in self._readings)
        if method in self._constants:
            return self._constants[method]
        return self._readings[method]()

    def put(self, method: str, form: Mapping[str, str]) -> Any:
        """Set a property or call a method."""
        self._require(method, method in self._puts)
        put = self._puts[method]
        return put.carry_out(*(_read(form, name, kind) for name, kind in put.parameters.items()))

    def _require(self, method: str, known: bool) -> None:
        if not known and method not in ABSENT:
            raise BadRequestError(f"{method!r} is not a method of an ASCOM camera (ICameraV3, lower case)")
        if method not in ALWAYS and not self._model.connected:
            raise AlpacaError(AlpacaError.NOT_CONNECTED, f"{self.name} is not connected; set Connected first")
        if not known:
            raise AlpacaError(AlpacaError.NOT_IMPLEMENTED, f"{self.name} has no {method}")

    def _commands(self) -> dict[str, Put]:
        model = self._model
        windows = {
            f"{field}{axis}".lower(): Put({f"{field}{axis}": int}, self._window_setter(f"{field}_{axis}".lower()))
            for field in ("Start", "Num", "Bin")
            for axis in ("X", "Y")
        }
        return windows | {
            "connected": Put({"Connected": _boolean}, self._connect),
            "startexposure": Put({"Duration": float, "Light": _boolean}, self._start),
            "stopexposure": Put({}, model.stop_exposure),
            "abortexposure": Put({}, model.abort_exposure),
            "cooleron": Put({"CoolerOn": _boolean}, model.cooler.switch),
            "setccdtemperature": Put({"SetCCDTemperature": float}, model.cooler.aim),
            "gain": Put({"Gain": int}, self._set_gain),
            "readoutmode": Put({"ReadoutMode": int}, _only_normal_readout),
            "action": Put({"Action": str, "Parameters": str}, self._action),
        }

    def _connect(self, connected: bool) -> None:
        self._model.connected = connected

    def _start(self, duration_s: float, light: bool) -> None:
        self._model.start_exposure(duration_s, light=light)

    def _window_setter(self, field: str) -> Callable[[int], None]:
        low, high = (1, BIN_MAX) if field.startswith("bin") else (0, self._model.pixels)

        def change(value: int) -> None:
            if not low <= value <= high:
                raise AlpacaError(AlpacaError.INVALID_VALUE, f"{field} is {value}; it must be {low} to {high}")
            self._model.window = self._model.window._replace(**{field: value})

        return change

    def _set_gain(self, gain: int) -> None:
        if not 0 <= gain < len(GAINS):
            raise AlpacaError(AlpacaError.INVALID_VALUE, f"Gain is {gain}; it must be 0 to {len(GAINS) - 1}, see Gains")
        self._model.gain = gain

    def _action(self, action: str, parameters: str) -> str:
        if action.lower() != "lamp":
            raise AlpacaError(AlpacaError.ACTION_NOT_IMPLEMENTED, f"action {action!r} is unknown; there is only lamp")
        wish = _first(parameters).lower()
        if wish not in {"on", "off"}:
            raise AlpacaError(AlpacaError.INVALID_VALUE, f"lamp parameter is {parameters[:40]!r}; it must be on or off")
        if self._model.fault() != "lie":
            self._model.lamp_on = wish == "on"
        return wish


def _constants(model: CameraModel, name: str) -> dict[str, Any]:
    pixel_microns = CHIP_MICRONS / model.pixels
    return {
        "name": name,
        "description": f"{model.pixels} x {model.pixels} pixels of a simulated sky, north up, east left",
        "driverinfo": "PyROS simulators",
        "driverversion": "1.0",
        "interfaceversion": INTERFACE_VERSION,
        "supportedactions": ["lamp"],
        "cameraxsize": model.pixels,
        "cameraysize": model.pixels,
        "canabortexposure": True,
        "canasymmetricbin": True,
        "canfastreadout": False,
        "cangetcoolerpower": True,
        "canpulseguide": False,
        "cansetccdtemperature": True,
        "canstopexposure": True,
        "exposuremax": EXPOSURE_MAX_S,
        "exposuremin": 0.0,
        "exposureresolution": 0.001,
        "gains": list(GAINS),
        "hasshutter": True,
        "maxadu": SATURATION_ADU,
        "maxbinx": BIN_MAX,
        "maxbiny": BIN_MAX,
        "pixelsizex": pixel_microns,
        "pixelsizey": pixel_microns,
        "readoutmode": 0,
        "readoutmodes": ["normal"],
        "sensorname": "simulated CCD",
        "sensortype": 0,
    }


def _readings(model: CameraModel) -> dict[str, Callable[[], Any]]:
    fields = [f"{field}_{axis}" for field in ("start", "num", "bin") for axis in "xy"]
    windows = {field.replace("_", ""): _window_reader(model, field) for field in fields}
    return windows | {
        "connected": lambda: model.connected,
        "camerastate": model.state,
        "imageready": model.image_ready,
        "imagearray": model.image,
        "imagearrayvariant": model.image,
        "percentcompleted": model.percent_completed,
        "lastexposurestarttime": lambda: _fits_time(model),
        "lastexposureduration": lambda: model.last_exposure()[1],
        "ccdtemperature": model.cooler.temperature_c,
        "cooleron": lambda: model.cooler.on,
        "coolerpower": model.cooler.power_percent,
        "setccdtemperature": lambda: model.cooler.set_temperature_c,
        "gain": lambda: model.gain,
        "electronsperadu": lambda: model.electrons_per_adu,
        "fullwellcapacity": lambda: model.electrons_per_adu * SATURATION_ADU,
    }


def _window_reader(model: CameraModel, field: str) -> Callable[[], int]:
    return lambda: getattr(model.window, field)


def _fits_time(model: CameraModel) -> str:
    return model.last_exposure()[0].replace(tzinfo=None).isoformat(timespec="milliseconds")


def _only_normal_readout(mode: int) -> None:
    if mode != 0:
        raise AlpacaError(AlpacaError.INVALID_VALUE, f"ReadoutMode is {mode}; there is only 0, normal")


def _read(form: Mapping[str, str], name: str, kind: Callable[[str], Any]) -> Any:
    if name not in form and name == "Parameters":  # clients leave out an empty list
        return ""
    if name not in form:
        raise BadRequestError(f"parameter {name} is missing (names in a form are case-sensitive)")
    try:
        return kind(form[name])
    except ValueError:
        raise BadRequestError(f"parameter {name} is {form[name][:40]!r}, which cannot be read") from None


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(text)
    return text.lower() == "true"


def _first(parameters: str) -> str:
    """Return the first of an action's parameters, sent as a JSON list or as a bare word."""
    try:
        listed = json.loads(parameters)
    except ValueError:
        return parameters
    return str(listed[0]) if isinstance(listed, list) and listed else str(listed)
