"""The librarian: answers questions about history, for the outside.

Takes `GetRows` and `GetFile`; owns read-only connections; decides nothing. When it dies nothing is lost.
"""

from __future__ import annotations

from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Context
from pyros.messages.base import Refused
from pyros.messages.store import FileChunk, GetFile, GetRows, Rows
from pyros.messages.system import LibrarianState
from pyros.store.database import Reader, open_reader
from pyros.store.files import chunk
from pyros.store.history import rows


class Librarian(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self._environment = environment
        self._reader: Reader | None = None
        self._queries = 0

    def on_start(self) -> None:
        """Open the store for reading."""
        self._reader = open_reader(self._environment.state_folder)

    def on_stop(self) -> None:
        """Close it."""
        if self._reader is not None:
            self._reader.close()

    def on_get_rows(self, message: GetRows) -> Rows | Refused:
        """Return one page of a table."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        self._queries += 1
        return rows(self._reader, message)

    def on_get_file(self, message: GetFile) -> FileChunk | Refused:
        """Return one chunk of an image's file or preview."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        self._queries += 1
        return chunk(self._reader, self._environment.images, message)

    def state(self) -> LibrarianState:
        """Return how often it was asked."""
        return LibrarianState(queries=self._queries)
