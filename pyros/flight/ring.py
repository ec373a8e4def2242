"""The last ten minutes in memory, by reference: nothing is packed before somebody wants a file. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from pyros.flight.record import Publication, Record
from pyros.messages.base import State

WINDOW_S = 600.0
MOST_RECORDS = 200_000


class Ring:
    """Records in the order in which they came, bounded in time and number; what a lost one leaves standing is kept."""

    def __init__(self, window_s: float = WINDOW_S, most: int = MOST_RECORDS) -> None:
        self._window_s = window_s
        self._most = most
        self._records: deque[tuple[float, Record]] = deque()
        self._standing: dict[tuple[str, type], Publication] = {}

    def append(self, record: Record, at_s: float) -> None:
        """Add a record, and drop what is too old now or too many.

        Parameters
        ----------
        at_s
            When, on the clock's monotonic count: a step of the machine's UTC must not empty the ring.
        """
        records = self._records
        records.append((at_s, record))
        horizon_s = at_s - self._window_s
        while records[0][0] < horizon_s or len(records) > self._most:
            self._leave_standing(records.popleft()[1])

    def begin_with(self, states: Iterable[Publication]) -> None:
        """Note what had been published before anything was recorded."""
        records = self.records()
        for publication in states:
            if not records or publication.t_us < records[0].t_us:
                self._leave_standing(publication)

    def _leave_standing(self, record: Record) -> None:
        if isinstance(record, Publication) and isinstance(record.message, State):
            self._standing[record.sender, type(record.message)] = record

    def standing(self) -> list[Publication]:
        """Return the last state of each kind that was published before the first record, in order of actors."""
        return list(self._standing.values())

    def records(self) -> list[Record]:
        """Return every record, oldest first."""
        return [record for _, record in self._records]
