"""The courier: delivers the outbox's rows to their destinations, in order, each until it is taken or refused.

Takes `NewsStored` (the archivist's word that there are new rows) and `Poll` (its own timer); emits `CourierState`, and
`NewsRefused` for a row that a destination will never take. It owns no rows: the next one is read from the store each
time, and its outcome is a commit that expects it to be PENDING still. At its start it records, once for each start of
the daemon, which software runs here. It decides when to try again. When it dies, what was posted and not yet marked is
posted again, under the same id. See docs/courier.md.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

from pyros.actors.courier.answers import Verdict, of_error, of_status, outcome
from pyros.actors.courier.line import MICROSECOND_S, Delivery, Line, Settlement
from pyros.actors.courier.news import news
from pyros.actors.courier.post import Post
from pyros.actors.courier.software import software
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context
from pyros.clock import Timer
from pyros.messages.base import Refused
from pyros.messages.courier import CourierState, NewsRefused, NewsStored
from pyros.messages.devices import Poll
from pyros.messages.store import Change, Commit, Committed, Insert
from pyros.store.database import Reader, open_reader
from pyros.store.repositories import pending_outbox, setting_write, settings, waiting_outbox

LOOK_EVERY_S = 10.0
GIVE_UP_S = 15.0
"""Real seconds at least; a receiver that sends its answer letter by letter does not hold the others up for longer."""
MODELLED_S = 0.2
"""How long a post takes on the virtual clock."""
COMMIT_S = 20.0
STORE_AGAIN_S = 5.0
SOFTWARE = "software"
"""The setting with the versions of the last start."""


class Courier(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        chosen = environment.settings
        self._lines = [Line(destination, chosen.seed) for destination in chosen.courier.destination]
        self._reader: Reader | None = None
        self._ready = self._recorded = False
        self._next_look: Timer | None = None

    def on_start(self) -> None:
        """Wait for what the last incarnation had sent to the archivist; then begin."""
        self._reader = open_reader(self.environment.state_folder)
        self.lease.on_revoke(self._hang_up)
        self.subscribe(NewsStored)
        self._commit([], "before the courier begins", lambda _: self._begin())
        self.show()

    def _begin(self) -> None:
        self._ready = True
        self._look()

    def on_stop(self) -> None:
        """Hang up, and close the store."""
        self._hang_up()
        if self._reader is not None:
            self._reader.close()

    def _hang_up(self) -> None:
        for line in self._lines:
            delivery = line.delivery
            if delivery is not None:
                delivery.post.hang_up()

    @property
    def _store(self) -> Reader:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        return self._reader

    # -- looking -----------------------------------------------------------------------------------------------------

    def on_news_stored(self, _: NewsStored) -> None:
        """There is something new to deliver."""
        self._look()

    def on_poll(self, _: Poll) -> None:
        """A wait is over, or it is time to look anyway."""
        self._look()

    def _look(self) -> None:
        """Begin whatever may be begun, and arm the next look."""
        if not self._ready:
            return
        if not self._recorded:
            self._record_start()
        now_s = self.clock.monotonic_s()
        for line in self._lines:
            self._give_up_late(line, now_s)
            self._go_on(line, now_s)
        waiting = waiting_outbox(self._store)
        for line in self._lines:
            line.sees(waiting.get(line.name, (0, None)))
        self._arm(now_s)
        self.show()

    def _arm(self, now_s: float) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
        waits_s = [line.wait_s(now_s) for line in self._lines]
        look_s = self.clock.at_least_real(LOOK_EVERY_S, 1.0)
        self._next_look = self.after(min([look_s, *(wait_s for wait_s in waits_s if wait_s >= MICROSECOND_S)]), Poll())

    def _go_on(self, line: Line, now_s: float) -> None:
        """Have the outcome of the last row stored, or deliver the next one."""
        if not line.is_free(now_s):
            return
        if line.settlement is not None:
            self._settle(line, line.settlement)
        elif rows := pending_outbox(self._store, line.name, 1):
            self._deliver(line, rows[0], now_s)

    # -- a delivery --------------------------------------------------------------------------------------------------

    def _deliver(self, line: Line, row: dict[str, Any], now_s: float) -> None:
        post = Post(line.destination.url, row["payload"])
        delivery = line.delivery = Delivery(row, post, now_s + self.clock.at_least_real(GIVE_UP_S, GIVE_UP_S))

        def ended(answer: Future[tuple[int, str]]) -> None:
            if line.delivery is delivery:  # not given up meanwhile
                error = answer.exception()
                self._judged(line, row, of_status(*answer.result()) if error is None else of_error(error))
                self._look()

        self.clock.collect(post.begin(), lambda answer: self.continue_with(lambda: ended(answer)), MODELLED_S)

    def _give_up_late(self, line: Line, now_s: float) -> None:
        delivery = line.delivery
        if delivery is not None and line.wait_s(now_s) < MICROSECOND_S:
            delivery.post.hang_up()
            self._judged(line, delivery.row, Verdict("PENDING", f"the answer has not ended within {GIVE_UP_S:g} s"))

    def _judged(self, line: Line, row: dict[str, Any], verdict: Verdict) -> None:
        """Note what a post has led to; what a destination cannot take now is posted again after the backoff."""
        line.delivery = None
        now, now_s = self.clock.now(), self.clock.monotonic_s()
        if verdict.status == "PENDING":
            wait_s = self.clock.at_least_real(line.backoff.failed(now_s), 0.1)
            line.wait_until(now_s + wait_s, now + timedelta(seconds=wait_s), verdict.reason)
        else:
            line.backoff.up(now_s)
            line.wait_until(now_s, None, "")
        line.settlement = Settlement(row, outcome(verdict, row["attempts"] + 1, now, line.next_try_at))
        self._settle(line, line.settlement)

    def _settle(self, line: Line, settlement: Settlement) -> None:
        """Have the outcome stored; until it is, nothing more goes to that destination."""
        row, values = settlement.row, settlement.values
        line.storing = True

        def stored(reply: Answer) -> None:
            line.storing = False
            if isinstance(reply, Committed | Refused):  # refused: somebody else has dealt with the row
                line.settlement = None
                self._ended(line, settlement, reply)
            else:
                wait_s = self.clock.at_least_real(STORE_AGAIN_S, 1.0)
                reason = f"its outcome could not be stored: {getattr(reply, 'reason', reply)}"[:500]
                line.wait_until(self.clock.monotonic_s() + wait_s, self.clock.now() + timedelta(seconds=wait_s), reason)
            self._look()

        change = Change(table="outbox", key=row["id"], values=values, expect={"status": "PENDING"})
        self._commit([change], f"{line.name}: {row['subject']}", stored)

    def _ended(self, line: Line, settlement: Settlement, reply: Committed | Refused) -> None:
        row, status = settlement.row, settlement.values.get("status", "PENDING")
        if isinstance(reply, Refused):
            return
        line.count(status)
        if status == "FAILED":
            told = {"destination": line.name, "id": row["payload"]["id"], "subject": row["subject"]}
            self.publish(NewsRefused(**told, reason=settlement.values["last_error"]))

    # -- this start --------------------------------------------------------------------------------------------------

    def _record_start(self) -> None:
        """Record which software runs here, and tell it; once for each start of the daemon."""
        self._recorded = True
        boot, now = self.environment.boot, self.clock.now()
        known = settings(self._store).get(SOFTWARE)
        if isinstance(known, dict) and known.get("boot") == boot:
            return
        facts = {"boot": boot, **software(self.environment.settings)}
        text = f"start {boot}: PyROS {facts['pyros']}, Python {facts['python']}"
        line = {"at": now, "level": "INFO", "actor": self.name, "text": text, "detail": facts}
        writes: list[Any] = [
            setting_write(self._store, SOFTWARE, facts, now, self.name),
            Insert(table="log_entry", values=line),
            *news(self.environment.settings, "start", f"start {boot}", facts, now),
        ]

        def stored(reply: Answer) -> None:
            self._recorded = isinstance(reply, Committed | Refused)  # else the disk: it is tried again at the next look

        self._commit(writes, f"start {boot}", stored)

    # -- store and state ---------------------------------------------------------------------------------------------

    def _commit(self, writes: list[Any], reason: str, then: Callable[[Answer], None]) -> None:
        commit = Commit(writes=writes, reason=reason[:200])
        self.ask("archivist", commit, self.clock.at_least_real(COMMIT_S, 10.0), then)

    def state(self) -> CourierState:
        """Return how each destination fares."""
        return CourierState(destinations=[line.row() for line in self._lines])
