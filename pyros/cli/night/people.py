"""The people of a simulated night: an operator who repeats an order until it is answered, and who looks at the PLC."""

from __future__ import annotations

from collections.abc import Callable

from pyros.actors.kernel.envelope import Answer
from pyros.cli.night.record import Order
from pyros.cli.night.service import Service
from pyros.cli.operators import OPERATOR, operator_message
from pyros.clock import Timer, VirtualClock
from pyros.messages.base import Expired, Failed
from simulators.physics_dome import Latch
from simulators.plc import SimulatedPlc

ANSWERED_WITHIN_S = 10.0
AGAIN_S = 60.0
LOOK_S = 60.0
CLEARS_ITSELF = Latch.RAIN | Latch.BOOT


class Operator:
    """Gives orders; `orders` is what was answered, and when. A new order ends the repetition of the one before."""

    def __init__(self, clock: VirtualClock) -> None:
        self.orders: list[Order] = []
        self._clock = clock
        self._again: Timer | None = None
        self._given = 0

    def order(self, command: str) -> Callable[[Service], None]:
        """Return what giving the order does.

        Raises
        ------
        ValueError
            If there is no such command.
        """
        operator_message(command)
        return lambda service: self._begin(service, command)

    def _begin(self, service: Service, command: str) -> None:
        self._given += 1
        self._give(service, command, self._given)

    def _give(self, service: Service, command: str, number: int) -> None:
        if number != self._given:
            return
        if self._again is not None:
            self._again.cancel()
        self._again = self._clock.call_later(AGAIN_S, lambda: self._give(service, command, number))
        actor, message = operator_message(command)
        service.ask(actor, message, ANSWERED_WITHIN_S, lambda reply: self._answered(command, number, reply), OPERATOR)

    def _answered(self, command: str, number: int, reply: Answer) -> None:
        if isinstance(reply, Failed | Expired):
            return
        self.orders.append(Order(self._clock.now(), command, type(reply).__name__))
        if number == self._given and self._again is not None:
            self._again.cancel()

    # -- the latch ---------------------------------------------------------------------------------------------------

    def attend(self, plc: SimulatedPlc, service: Service, after_s: float) -> None:
        """Look at the PLC every minute, and reset a latch that has stood for so long; again while it stands."""
        self._look(plc, service, after_s, None)

    def _look(self, plc: SimulatedPlc, service: Service, after_s: float, since_s: float | None) -> None:
        now_s = self._clock.monotonic_s()
        if not Latch(plc.latch_word()) & ~CLEARS_ITSELF:
            since_s = None
        elif since_s is None:
            since_s = now_s
        elif now_s - since_s >= after_s:
            since_s = now_s
            actor, message = operator_message("reset-latch")
            service.ask(actor, message, ANSWERED_WITHIN_S, _nothing, OPERATOR)
        self._clock.call_later(LOOK_S, lambda: self._look(plc, service, after_s, since_s))


def _nothing(reply: Answer) -> None:
    del reply
