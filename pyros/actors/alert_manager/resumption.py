"""How an alert goes on whose manager or daemon has died, from where its last sequence stands in the store: pure."""

from __future__ import annotations

from typing import Literal

from pyros.store.repositories import SequenceTree

Step = Literal["issue", "wait", "done", "offer", "again"]
"""Make its first sequence; wait for the running one's end; it is observed; order it (again); make another sequence."""


def next_step(tree: SequenceTree | None, running_id: int | None) -> Step:
    """Return what is due for an alert.

    Parameters
    ----------
    tree : SequenceTree or None
        The alert's last sequence; None if it has none.
    running_id : int or None
        The sequence that the observation manager is at. One that is EXECUTING and not its is about to be ended by it.
    """
    if tree is None:
        return "issue"
    if tree.id == running_id or tree.status == "EXECUTING":
        return "wait"
    if tree.status == "EXECUTED":
        return "done"
    return "offer" if tree.status in {"OBSERVABLE", "PLANNED"} else "again"
