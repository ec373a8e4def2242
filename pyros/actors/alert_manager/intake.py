"""The part of the alert manager that takes notices in: stores them, answers, hands on what is to be decided."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from pyros.actors.alert_manager import memory, rows
from pyros.actors.alert_manager.notice import Notice
from pyros.actors.kernel import Actor, Answer, Context, Deferred
from pyros.messages.alerts import NoticeArrived, NoticeStored
from pyros.messages.base import Failed, Refused
from pyros.messages.store import Commit, Committed
from pyros.store.database import Reader
from pyros.store.repositories import pending_notice, stored_notice

COMMIT_S = 20.0


class NoticeTaker(Actor):
    """Takes `NoticeArrived`, answered with `NoticeStored` once the notice is in the store, before it is judged."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.reader: Reader | None = None
        self.notices = 0
        """How many came that were not known."""

    @property
    def store(self) -> Reader:
        """The open store."""
        assert self.reader is not None  # noqa: S101 - opened in on_start
        return self.reader

    @abstractmethod
    def decide_on(self, row: dict[str, Any]) -> None:
        """Take a stored notice that is not judged yet; called again for the same one it does nothing."""

    def on_notice_arrived(self, message: NoticeArrived) -> Deferred | NoticeStored:
        """Store it; answer; only then decide."""
        digest = hashlib.sha256(message.raw).hexdigest()
        notice, problem = memory.read_notice(message.raw)
        ivorn = notice.ivorn[: rows.LONGEST_IVORN] if notice is not None else rows.unreadable_name(digest)
        known = stored_notice(self.store, ivorn, digest)
        if known is not None:  # it may have been stored for an incarnation that broke before it could decide
            self._hand_on(known)
            return NoticeStored(notice_id=known, fresh=False)
        answer = Deferred()
        self._keep(message, notice, problem, digest, answer)
        return answer

    def _keep(self, message: NoticeArrived, notice: Notice | None, problem: str, digest: str, answer: Deferred) -> None:
        """Store a notice; what the store does not take as a notice, it takes as bytes."""
        ivorn = notice.ivorn[: rows.LONGEST_IVORN] if notice is not None else rows.unreadable_name(digest)

        def stored(reply: Answer) -> None:
            if isinstance(reply, Refused):
                known = stored_notice(self.store, ivorn, digest)
                if known is not None:  # the same bytes came twice at once
                    answer.answer(NoticeStored(notice_id=known, fresh=False))
                    return
                if notice is not None:
                    self._keep(message, None, reply.reason, digest, answer)
                    return
            if not isinstance(reply, Committed):
                answer.answer(Failed(reason=f"the notice could not be stored: {getattr(reply, 'reason', reply)}"))
                return
            self.notices += 1
            answer.answer(NoticeStored(notice_id=reply.ids[0], fresh=True))
            self._hand_on(reply.ids[0])
            self.show()

        row = (
            rows.quarantined_row(digest, message, problem, self.clock.now())
            if notice is None
            else rows.notice_row(notice, digest, message)
        )
        self.commit([row], f"notice {ivorn}", stored)

    def _hand_on(self, notice_id: int) -> None:
        left = pending_notice(self.store, notice_id)
        if left is not None:
            self.decide_on(left)

    def commit(self, writes: list[Any], reason: str, then: Callable[[Answer], None]) -> None:
        """Have something written; `then` is called with the archivist's answer."""
        within_s = self.clock.at_least_real(COMMIT_S, 10.0)
        self.ask("archivist", Commit(writes=writes, reason=reason[:200]), within_s, then)
