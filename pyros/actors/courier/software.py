"""What runs here: the versions of PyROS, Python and the libraries it stands on, and how each device is spoken to."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from typing import Any

import pyros
from pyros.config import Settings

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def software(settings: Settings) -> dict[str, Any]:
    """Return the versions, and each device's protocol (the scheme of its address, which itself may be a secret)."""
    return {
        "pyros": pyros.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "libraries": libraries(),
        "devices": devices(settings),
    }


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that PyROS requires, in the order of their names."""
    try:
        required = metadata.requires("pyros") or []
    except metadata.PackageNotFoundError:  # run from its source, not installed
        return {}
    names = sorted({found[0] for line in required if "extra ==" not in line and (found := _NAME.match(line))})
    return {name: version for name in names if (version := _version(name))}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def devices(settings: Settings) -> dict[str, str]:
    """Return the protocol of each device, by its actor's name."""
    urls = {"plc": settings.devices.plc.url, "telescope": settings.devices.telescope.url}
    urls |= {f"camera:{name}": camera.url for name, camera in settings.devices.camera.items()}
    urls |= {f"filter_wheel:{name}": wheel.url for name, wheel in settings.devices.filter_wheel.items()}
    return {name: url.partition("://")[0] for name, url in urls.items()}
