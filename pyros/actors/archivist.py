"""The archivist: the only one that writes to the store.

Takes `Commit`, answered with `Committed` after COMMIT or with `Refused`; all that waits is written in one transaction.
Decides nothing. Refuses what an older incarnation of a sender wanted written. When it dies, what was not answered was
not written; who asked asks again or gives up.
"""

from __future__ import annotations

from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Context, Deferred
from pyros.messages.base import Command, Refused
from pyros.messages.store import Commit, Committed, Flush
from pyros.messages.system import ArchivistState
from pyros.store.commit import apply
from pyros.store.database import Store, open_store
from pyros.store.migrations import migrate


class Archivist(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self._environment = environment
        self._store: Store | None = None
        self._waiting: list[tuple[Commit, Deferred]] = []
        self._epochs: dict[str, int] = {}
        self._commits = self._rows = self._refused = 0

    def on_start(self) -> None:
        """Open the two files, and bring their tables up to date."""
        self._store = open_store(self._environment.state_folder, self._environment.settings.store.synchronous)
        migrate(self._store)

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
        """Write everything that waits in one transaction, then answer."""
        self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting or self._store is None:
            return
        replies = apply(self._store, [commit for commit, _ in waiting])
        for (commit, answer), reply in zip(waiting, replies, strict=True):
            if isinstance(reply, Committed):
                self._commits += 1
                self._rows += len(commit.writes)
            else:
                self._refused += 1
            answer.answer(reply)

    def state(self) -> ArchivistState:
        """Return how much was written."""
        return ArchivistState(commits=self._commits, rows=self._rows, refused=self._refused, file="pyros.db")
