"""How a shutdown goes: the dome first, then the children in reverse. Used by the supervisor, in its thread."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from pyros.actors.kernel.actor import Actor
from pyros.actors.kernel.child import Child
from pyros.actors.kernel.children import Children
from pyros.actors.kernel.procedure import Until, Wait
from pyros.actors.kernel.watch import Hang, stuck_in
from pyros.messages.devices import CloseDome, Park, PlcState
from pyros.messages.night import StopObserving
from pyros.messages.system import ActorFailed, ActorStopped

PLC, MAJORDOME, TELESCOPE = "plc", "majordome", "telescope"
FRESH_S = 10.0
LEAST_STOP_S = 0.25
"""Seconds that each child has for its end, however many have taken their whole time before it."""


class DomeClosing:
    """Has the dome closed in the supervisor's (`actor`'s) name, through majordome or without it."""

    def __init__(self, actor: Actor, children: Children, within_s: float) -> None:
        self._actor = actor
        self._children = children
        self._within_s = within_s

    def close(self, cause: str) -> Generator[Wait, Any, bool]:
        """Order it and wait for the closed switch; tell whether that was seen. Without a plc there is nothing to do."""
        if PLC not in self._children:
            return True
        majordome = self._children.get(MAJORDOME)
        if majordome is not None and majordome.status == "up":
            self.came_up(MAJORDOME, cause)
        else:
            self.went_down(MAJORDOME, cause)
        if not self._sees_closed() and self._hears_plc():
            yield Until(PlcState, lambda state: state.dome == "closed", self._within_s)
        return self._sees_closed()

    def came_up(self, name: str, cause: str) -> None:
        """Order it from a child that has (just) started, if it is one that can do it."""
        if name == PLC:
            self._actor.tell(PLC, CloseDome(cause=cause))
        elif name == MAJORDOME:
            self._actor.tell(MAJORDOME, StopObserving(cause=cause))

    def went_down(self, name: str, cause: str) -> None:
        """Order it directly if it is majordome that will not do it (any more)."""
        if name != MAJORDOME or PLC not in self._children:
            return
        if TELESCOPE in self._children:
            self._actor.tell(TELESCOPE, Park(cause=cause))
        self._actor.tell(PLC, CloseDome(cause=cause))

    def _sees_closed(self) -> bool:
        latest = self._actor.latest(PlcState)
        fresh_s = self._actor.clock.at_least_real(FRESH_S, 5.0)
        return latest is not None and latest[0].dome == "closed" and latest[1] <= fresh_s

    def _hears_plc(self) -> bool:
        plc, latest = self._children.get(PLC), self._actor.latest(PlcState)
        return plc is not None and plc.status == "up" and latest is not None and latest[0].link == "up"


def wait_s(stop_within_s: float, left_s: float, others: int, least_s: float) -> float:
    """Return how long one child is waited for when `left_s` are left for it and so many others.

    So long that `least_s` are left for each of the others, the archivist among them; if there is too little even for
    that, they share alike.
    """
    return max(0.0, min(stop_within_s, max(left_s - others * least_s, left_s / (others + 1))))


def stop_child(
    child: Child, within_s: float, order: Callable[[Child, float], None], leave_behind: Callable[[Child, Hang], None]
) -> Generator[Wait, Any, None]:
    """Stop one child: `order` tells it to, and one that has not ended `within_s` seconds later is left behind."""
    if child.status in {"up", "starting"} and not child.ending:
        order(child, within_s)
    if child.ending:
        name, epoch = child.name, child.epoch
        ended = yield Until((ActorStopped, ActorFailed), lambda end: end.actor == name and end.epoch == epoch, within_s)
        if ended is None:
            leave_behind(child, Hang(stuck_in(child), f"it has not stopped within {within_s:.3g} s"))
    child.ending, child.status = False, "stopped"
    child.revoke()
