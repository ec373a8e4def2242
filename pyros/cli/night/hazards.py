"""What a scenario does to the observatory's own machine: its actors, its process, its disk, its clock, its centres."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pyros.actors.kernel import Actor, ChildSpec, Context
from pyros.actors.kernel.lease import Lease
from pyros.cli.night.disk import Disk
from pyros.cli.night.people import Operator
from pyros.cli.night.process import Machine
from pyros.cli.night.service import Service
from pyros.messages.system import Crash

SwitchCentre = Callable[[bool], None]
Act = Callable[[Service], None]
SUPERVISOR = "supervisor"


class HazardError(ValueError):
    """An event of a scenario that cannot be played; one line."""


class Hazards:
    """Plays a scenario's events that are not the simulated world's.

    Parameters
    ----------
    actors
        Names of the actors of the night.
    centres
        By its name in lower case, how a centre that takes news is switched on and off.
    operator
        Who gives people's orders.
    """

    def __init__(
        self, machine: Machine, actors: Sequence[str], centres: Mapping[str, SwitchCentre], operator: Operator
    ) -> None:
        self.disk = Disk()
        self._machine = machine
        self._operator = operator
        self._actors = (*actors, SUPERVISOR)
        self._centres = centres
        self._dies_until_s: dict[str, float] = {}
        """Actors whose starts fail, and until when; once only where that is the past."""

    def prepared(self, specs: Sequence[ChildSpec], leases: list[Lease]) -> list[ChildSpec]:
        """Return the specs of actors whose start may fail, and whose leases are entered into `leases`."""
        return [replace(spec, make=self._prepare(spec, leases)) for spec in specs]

    def _prepare(self, spec: ChildSpec, leases: list[Lease]) -> Callable[[Context], Actor]:
        def make(context: Context) -> Actor:
            leases[:] = [lease for lease in leases if lease.valid] + [context.lease]
            actor = spec.make(context)
            if self._dies(spec.name):
                actor.on_start = _die
            return actor

        return make

    def _dies(self, actor: str) -> bool:
        until_s = self._dies_until_s.get(actor)
        if until_s is None:
            return False
        if self._machine.clock.monotonic_s() >= until_s:
            del self._dies_until_s[actor]
            return until_s == 0.0
        return True

    def act(self, event: Mapping[str, Any]) -> Act:
        """Return what an event does.

        Raises
        ------
        HazardError, ValueError
            If it cannot be played.
        """
        match event["kind"]:
            case "actor":
                return self._strike(event)
            case "process":
                return lambda service: service.kill("killed by the scenario")
            case "operator":
                return self._operator.order(event["command"])
            case _:
                return self._environment(event)

    def _strike(self, event: Mapping[str, Any]) -> Act:
        actor, how = event["actor"], event["fault"]
        if actor not in self._actors:
            raise HazardError(f"scenario: there is no actor {actor!r}; there are {', '.join(self._actors)}")
        if how != "die_in_start":
            return lambda service: service.send(actor, Crash(how=how))
        if actor == SUPERVISOR:
            raise HazardError("scenario: the supervisor is started by the service; it cannot die_in_start")
        for_s = event.get("for_s")

        def strike(service: Service) -> None:
            self._dies_until_s[actor] = 0.0 if for_s is None else self._machine.clock.monotonic_s() + for_s
            service.send(actor, Crash())

        return strike

    def _environment(self, event: Mapping[str, Any]) -> Act:
        steps: list[Callable[[], None]] = []
        if "clock_jump_s" in event:
            steps.append(lambda: self._machine.step_utc(event["clock_jump_s"]))
        if "disk_full" in event:
            steps.append(lambda: self._for_a_while(self._fill_disk, event["disk_full"], event))
        if "centre" in event:
            name = str(event["centre"]).lower()
            if name not in self._centres:
                raise HazardError(f"scenario: centre {event['centre']} takes no news here; there are IC and FSC")
            steps.append(lambda: self._for_a_while(self._centres[name], event["up"], event))

        def act(_: Service) -> None:
            for step in steps:
                step()

        return act

    def _for_a_while(self, switch: Callable[[bool], None], value: bool, event: Mapping[str, Any]) -> None:
        switch(value)
        if "for_s" in event:
            self._machine.clock.call_later(event["for_s"], lambda: switch(not value))

    def _fill_disk(self, full: bool) -> None:
        self.disk.full = full


def _die() -> None:
    raise RuntimeError("the start fails, as the scenario wants it")
