"""The part of majordome that listens to people: takes their orders, keeps them in the store, answers."""

from __future__ import annotations

from abc import abstractmethod

from pyros.actors.kernel import SUPERVISOR, Actor, Answer, Context, Deferred
from pyros.actors.majordome.orders import Orders, obey, orders_from
from pyros.messages.base import Command, Done, Refused
from pyros.messages.night import Lockdown, Release
from pyros.messages.store import Commit, Committed
from pyros.store.database import Reader
from pyros.store.repositories import setting_write, settings

COMMIT_S = 10.0


class OrderTaker(Actor):
    """Takes `StartObserving`, `StopObserving`, `Pause`, `Resume`, `Lockdown` and `Release`; says what holds."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.orders = Orders()
        """What holds now."""
        self._lasting = self._stored = self.orders
        self._storing = False
        self._promises: list[Deferred] = []
        self._settings_reader: Reader | None = None

    @abstractmethod
    def ordered(self, cause: str) -> None:
        """Act on new orders; called in the handler that brought them."""

    @abstractmethod
    def released(self, operator: str) -> None:
        """Say who has lifted a lockdown."""

    def load_orders(self, reader: Reader) -> None:
        """Take up what the store keeps."""
        self._settings_reader = reader
        self.orders = self._lasting = self._stored = orders_from(settings(reader))

    def _obey(self, command: Command) -> Done | Refused:
        """Take a person's order; see `orders.obey` for what overrules what."""
        after = obey(self.orders, command)
        if isinstance(after, str):
            return Refused(reason=after)
        self.orders = after
        if self.sender != SUPERVISOR:  # its stop ends the process, not the observing of the nights to come
            self._lasting = after
            self.store_orders()
        self.ordered(_cause(command))
        return Done()

    on_start_observing = on_stop_observing = on_pause = on_resume = _obey

    def on_release(self, message: Release) -> Done | Refused:
        """Lift a lockdown, and say who did."""
        reply = self._obey(message)
        if isinstance(reply, Done):
            self.released(message.operator)
        return reply

    def on_lockdown(self, message: Lockdown) -> Deferred:
        """Close now; answered once the store has it, so that no restart forgets what was acknowledged."""
        promise = Deferred()
        self._promises.append(promise)
        self._obey(message)
        self._answer_if_stored()
        return promise

    def store_orders(self) -> None:
        """Bring the orders into the store; to be called again and again, for what it does not take is tried again."""
        lasting, stored = self._lasting.settings(), self._stored.settings()
        changed = {key: value for key, value in lasting.items() if value != stored[key]}
        if self._storing or not changed or self._settings_reader is None:
            return
        self._storing, wanted = True, self._lasting
        now, by = self.clock.now(), self.user or self.name
        writes = [setting_write(self._settings_reader, key, value, now, by) for key, value in changed.items()]
        commit = Commit(writes=writes, reason="orders")
        within_s = self.clock.at_least_real(COMMIT_S, COMMIT_S)
        self.ask("archivist", commit, within_s, lambda reply: self._orders_stored(wanted, reply))

    def _orders_stored(self, wanted: Orders, reply: Answer) -> None:
        self._storing = False
        if isinstance(reply, Committed):
            self._stored = wanted
            self._answer_if_stored()

    def _answer_if_stored(self) -> None:
        if self._stored == self._lasting:
            promises, self._promises = self._promises, []
            for promise in promises:
                promise.answer(Done())


def _cause(command: Command) -> str:
    if isinstance(command, Lockdown):
        return f"{command.operator}: {command.reason}"
    return str(getattr(command, "cause", ""))
