"""Counts every question and every answer, beside the kernel: each has to be answered once, unless its asker is gone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from unittest.mock import patch

from pyros.actors.kernel.core import Core
from pyros.actors.kernel.system import System

LATE_S = 60.0
"""How long after its deadline an answer may still wait in the mailbox of a busy asker."""


@dataclass
class Question:
    """One question: who asked whom what, until when it must be answered, and how often it was."""

    asker: str
    to: str
    message: str
    due_s: float
    still_there: Callable[[], bool]
    """Whether whoever asked can still hear the answer."""
    answers: int = 0


class Ledger:
    """Filled while `counting()` is entered."""

    def __init__(self) -> None:
        self.asked = 0
        self.answered = 0
        self.twice: list[Question] = []
        self._open: dict[int, Question] = {}

    def ask(self, question: Question, then: Callable) -> Callable:
        """Note a question; return what has to be called with its answer instead of `then`."""
        self.asked += 1
        number = self.asked
        self._open[number] = question

        def answer(reply):
            question.answers += 1
            if question.answers > 1:
                self.twice.append(question)
            else:
                self.answered += 1
                self._open.pop(number, None)
            then(reply)

        return answer

    def unanswered(self, now_s: float) -> list[Question]:
        """Return the questions that are overdue although whoever asked is still there."""
        return [q for q in self._open.values() if now_s > q.due_s + LATE_S and q.still_there()]

    def process_ended(self, now_s: float) -> list[Question]:
        """Forget what nobody waits for any more; return what was overdue before."""
        overdue = self.unanswered(now_s)
        self._open.clear()
        return overdue


@contextlib.contextmanager
def counting() -> Generator[Ledger]:
    """Count in every system of this process."""
    ledger = Ledger()
    core_ask, system_question = Core.ask, System.question

    def ask(self, to, message, within_s, then):
        due_s = self.clock.monotonic_s() + within_s
        question = Question(self.name, to, type(message).__name__, due_s, lambda: self.lease.valid)
        core_ask(self, to, message, within_s, ledger.ask(question, then))

    def question(self, to, message, within_s, then, **more):
        due_s = self.clock.monotonic_s() + within_s
        asked = Question("outside", to, type(message).__name__, due_s, lambda: True)
        system_question(self, to, message, within_s, ledger.ask(asked, then), **more)

    with patch.object(Core, "ask", ask), patch.object(System, "question", question):
        yield ledger
