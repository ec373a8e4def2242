"""What people want of the observatory: run, pause, stop, and above these the lockdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pyros.messages.base import Command
from pyros.messages.night import Lockdown, Pause, Release, Resume, StartObserving, StopObserving

Wish = Literal["run", "pause", "stop"]
Ordered = Literal["run", "pause", "stop", "lockdown"]
LOCKDOWN, WISH = "lockdown", "ordered"


@dataclass(frozen=True)
class Orders:
    """The last order, and who has locked the observatory down. Both are in the store and survive any restart."""

    wish: Wish = "run"
    locked_by: str = ""

    @property
    def ordered(self) -> Ordered:
        """What holds now."""
        return "lockdown" if self.locked_by else self.wish

    def settings(self) -> dict[str, str]:
        """Return the rows of the table `setting` that keep them."""
        return {LOCKDOWN: self.locked_by, WISH: self.wish}


def orders_from(settings: Mapping[str, Any]) -> Orders:
    """Return what the store keeps; a wish that it does not know is a stop."""
    wish = settings.get(WISH, "run")
    return Orders(wish if wish in {"run", "pause", "stop"} else "stop", str(settings.get(LOCKDOWN) or ""))


def obey(orders: Orders, command: Command) -> Orders | str:
    """Return the orders after a command, or why it is refused. What makes safer is never refused."""
    match command:
        case Lockdown(operator=operator):
            return replace(orders, locked_by=operator)
        case StopObserving():
            return replace(orders, wish="stop")
        case Pause():
            return replace(orders, wish="pause") if orders.wish == "run" else orders
        case Release():
            return replace(orders, locked_by="") if orders.locked_by else "there is no lockdown"
        case StartObserving() | Resume() if orders.locked_by:
            return f"locked down by {orders.locked_by}; only Release by a named operator lifts it"
        case Resume() if orders.wish == "stop":
            return "stopped, not paused; only StartObserving lifts that"
        case StartObserving() | Resume():
            return replace(orders, wish="run")
        case _:
            return f"{type(command).__name__} is no order"
