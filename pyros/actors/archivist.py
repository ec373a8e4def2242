"""The archivist: the only one that writes to the store.

Takes `Commit`, answered with `Committed` after COMMIT, `Refused`, or `Failed` when the disk took nothing; all that
waits is written in one transaction. Emits `NewsStored` when rows of the outbox are in the store. Once a day, around
local noon, it makes old telemetry smaller. Decides nothing. Refuses what an older incarnation of a sender wanted
written. When it dies, what was not answered was not written; who asked asks again or gives up.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Context, Deferred
from pyros.messages.base import Command, Failed, Refused
from pyros.messages.courier import NewsStored
from pyros.messages.store import Commit, Committed, Flush, Insert
from pyros.messages.system import ArchivistState
from pyros.store.commit import apply
from pyros.store.database import Store, open_store
from pyros.store.migrations import migrate
from pyros.store.retention import forget, thin

HOUSEKEEPING_S = 3600.0
FINE = timedelta(days=7)
"""How long every reading of devices and weather is kept; older ones become one a minute."""
KEPT = timedelta(days=400)
"""How long those are kept."""


class Archivist(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self._environment = environment
        self._store: Store | None = None
        self._waiting: list[tuple[Commit, Deferred]] = []
        self._epochs: dict[str, int] = {}
        self._commits = self._rows = self._refused = 0
        self._problem = ""
        self._thinned_on = ""
        self._next_look_s = 0.0

    def on_start(self) -> None:
        """Open the two files, and bring their tables up to date."""
        self._store = open_store(self._environment.state_folder, self._environment.settings.store.synchronous)
        migrate(self._store)
        self.after(HOUSEKEEPING_S, Flush())
        self._next_look_s = self.clock.monotonic_s() + HOUSEKEEPING_S
        self.show()

    def on_stop(self) -> None:
        """Write what waits, and close."""
        self._flush()
        if self._store is not None:
            self._store.close()

    def on_commit(self, message: Commit) -> Deferred | Refused:
        """Queue a commit behind those that wait already; the flush comes after what is in the mailbox now."""
        newest = self._epochs.setdefault(self.sender, self.sender_epoch)
        if self.sender_epoch < newest:
            return Refused(reason=f"{self.sender} has been replaced (incarnation {self.sender_epoch} of {newest})")
        self._epochs[self.sender] = self.sender_epoch
        answer = Deferred()
        if not self._waiting:
            self.tell(self.name, Flush())
        self._waiting.append((message, answer))
        return answer

    def on_flush(self, _: Command) -> None:
        """Write everything that waits in one transaction, then answer; once an hour look after old telemetry."""
        self._flush()
        if self.clock.monotonic_s() >= self._next_look_s - 1.0:
            self._next_look_s = self.clock.monotonic_s() + HOUSEKEEPING_S
            self.after(HOUSEKEEPING_S, Flush())
            self._keep_house()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting or self._store is None:
            return
        self._environment.before_write(self._store)
        self.lease.check()  # who hung and was replaced writes nothing: the commits were answered Failed
        replies = apply(self._store, [commit for commit, _ in waiting])
        news = 0
        for (commit, answer), reply in zip(waiting, replies, strict=True):
            if isinstance(reply, Committed):
                self._commits += 1
                self._rows += len(commit.writes)
                news += news_in(commit)
            else:
                self._refused += 1
            answer.answer(reply)
        if news:
            self.publish(NewsStored(rows=news))
        self._note("; ".join(dict.fromkeys(reply.reason for reply in replies if isinstance(reply, Failed))))

    def _keep_house(self) -> None:
        """Thin and forget at the quietest hour: around local noon, once a day."""
        local = self.clock.now() + timedelta(hours=self._environment.site.longitude_deg / 15)
        if self._store is None or not is_quiet(local) or self._thinned_on == f"{local:%Y-%m-%d}":
            return
        self._thinned_on = f"{local:%Y-%m-%d}"
        thin(self._store, self.clock.now() - FINE)
        forget(self._store, self.clock.now() - KEPT)
        self.show()

    def _note(self, problem: str) -> None:
        """Show at once when the disk begins or ceases to fail; the counts alone are told on demand."""
        if problem != self._problem:
            self._problem = problem
            self.show()

    def state(self) -> ArchivistState:
        """Return how much was written, and what the disk refuses."""
        return ArchivistState(
            commits=self._commits, rows=self._rows, refused=self._refused, file="pyros.db", problem=self._problem[:500]
        )


def news_in(commit: Commit) -> int:
    """Return how many rows of the outbox a commit makes."""
    return sum(1 for write in commit.writes if isinstance(write, Insert) and write.table == "outbox")


def is_quiet(local: datetime) -> bool:
    """Tell whether it is around noon, local mean time."""
    return 11 <= local.hour < 14
