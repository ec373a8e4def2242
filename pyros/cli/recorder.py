"""The flight recorder of a daemon: where its files go, and what their header says of this installation."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from pyros.actors.environment import Environment
from pyros.clock import Clock
from pyros.flight import FlightRecorder, Header, flight_recorder
from pyros.flight.redaction import without_addresses

FOLDER = "flight"
LIBRARIES = ("pyros", "pykka", "msgspec", "msgpack", "pyzmq", "peewee", "astropy", "numpy")


def recorder_for(environment: Environment, clock: Clock) -> FlightRecorder:
    """Return a recorder that writes to the state folder's `flight`; its `hear` is a tap, and `attach` starts it."""
    header = Header(
        at=clock.now(),
        boot=environment.boot,
        site=environment.site.name,
        versions=versions(),
        settings=without_addresses(environment.settings.model_dump(mode="json")),
    )
    return flight_recorder(clock, environment.state_folder / FOLDER, header)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that matter for what actors do."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.release()}"}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a copy of the source
            found[name] = "unknown"
    return found
