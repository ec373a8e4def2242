"""The boot story: every actor of an observatory, in the order in which they are started.

An actor may ask only actors that stand before it here; telling goes anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyros.actors.alert_manager.actor import AlertManager
from pyros.actors.alert_manager.listener import VtpListener
from pyros.actors.analyzer.actor import Analyzer
from pyros.actors.archivist import Archivist
from pyros.actors.courier.actor import Courier
from pyros.actors.devices.brake import BrakeActor, BrakeLine
from pyros.actors.devices.camera import Camera
from pyros.actors.devices.filter_wheel import FilterWheel
from pyros.actors.devices.plc import PlcActor
from pyros.actors.devices.telescope import Telescope
from pyros.actors.devices.weather import PlcWeather
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, ChildSpec, Context
from pyros.actors.librarian import Librarian
from pyros.actors.majordome.actor import Majordome
from pyros.actors.monitor.actor import Monitor
from pyros.actors.observation_manager import ObservationManager
from pyros.actors.routine_manager import RoutineManager
from pyros.actors.scheduler.actor import Scheduler
from pyros.actors.user_manager import UserManager
from pyros.config import Settings


def specs(environment: Environment, *, gateway: bool = True, only: tuple[str, ...] = ()) -> list[ChildSpec]:
    """Return the child specs of an observatory.

    Parameters
    ----------
    gateway
        Whether the outside gets in: the gateway, and the page if the settings want one.
    only
        Names of devices (`telescope`) or of their kinds (`camera`): the others are left out. None named: all are there.
    """
    return [
        *_foundation(environment),
        *_devices(environment, only),
        *_observing(environment),
        *(_doors(environment) if gateway else ()),
    ]


def device_names(settings: Settings) -> list[str]:
    """Return the names of the actors of every device, in the order of their start."""
    devices = settings.devices
    return [
        "plc",
        "telescope",
        *(f"camera:{name}" for name in devices.camera),
        *(f"filter_wheel:{name}" for name in devices.filter_wheel),
    ]


def _spec(
    name: str, actor: Callable[..., Actor], environment: Environment, *more: object, **rules: object
) -> ChildSpec:
    def make(context: Context) -> Actor:
        return actor(context, environment, *more)

    return ChildSpec(name, make, **rules)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def _foundation(environment: Environment) -> Iterator[ChildSpec]:
    yield _spec("archivist", Archivist, environment, critical=True)
    yield _spec("librarian", Librarian, environment)
    yield _spec("user_manager", UserManager, environment)


def _devices(environment: Environment, only: tuple[str, ...]) -> Iterator[ChildSpec]:
    devices = environment.settings.devices

    def wanted(name: str) -> bool:
        return not only or name in only or name.partition(":")[0] in only

    if wanted("plc"):
        yield _spec("plc", PlcActor, environment, critical=True)
        for station in devices.weather:
            yield _spec(f"weather:{station}", PlcWeather, environment, needs=("plc",))
    if wanted("telescope"):
        yield from _with_brake("telescope", Telescope, environment)
    for name, camera in devices.camera.items():
        if wanted(f"camera:{name}"):
            yield from _with_brake(f"camera:{name}", Camera, environment, camera)
    for name, wheel in devices.filter_wheel.items():
        if wanted(f"filter_wheel:{name}"):
            yield from _with_brake(f"filter_wheel:{name}", FilterWheel, environment, wheel)


def _with_brake(name: str, actor: Callable[..., Actor], environment: Environment, *more: object) -> Iterator[ChildSpec]:
    line = BrakeLine()
    yield ChildSpec(f"{name}.brake", lambda context: BrakeActor(context, line))
    yield _spec(name, actor, environment, line, *more)


def _observing(environment: Environment) -> Iterator[ChildSpec]:
    yield _spec("analyzer", Analyzer, environment)
    yield _spec("courier", Courier, environment)
    yield _spec("monitor", Monitor, environment, critical=True)
    yield _spec("scheduler", Scheduler, environment)
    yield _spec("observation_manager", ObservationManager, environment)
    yield _spec("majordome", Majordome, environment, critical=True)
    yield _spec("routine_manager", RoutineManager, environment)
    yield _spec("alert_manager", AlertManager, environment)
    for source in environment.settings.alerts.source:
        yield _spec(f"listener:{source.name}", VtpListener, environment, source)


def _doors(environment: Environment) -> Iterator[ChildSpec]:
    from pyros.actors.gateway import Gateway
    from pyros.actors.web_process import WebProcess

    yield _spec("gateway", Gateway, environment)
    if environment.settings.web.enabled:
        yield _spec("web", WebProcess, environment)
