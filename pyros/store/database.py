"""The store's two files and their connections.

`pyros.db` holds what must never be lost (SQLite WAL, synchronous FULL), `telemetry.db` what devices and weather said
(NORMAL). One connection writes to each: sixteen competing ones are 8 times slower with an 80 times longer tail, and
SQLite before 3.51.3 can corrupt a WAL that two connections checkpoint at once. Readers open their own `query_only`
connections, which never checkpoint.

A connection belongs to the thread that opened it: open a `Store` or a `Reader` in the actor's `on_start`, close it in
`on_stop`. Models are bound to no database; a query says which it means: `Alert.select().bind(reader.main)`.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

import peewee
from peewee import SqliteDatabase

from pyros.store.models import MAIN_MODELS, TELEMETRY_MODELS

Synchronous = Literal["full", "normal", "off"]

BUSY_TIMEOUT_S = 1.0
"""How long a connection waits for another process's lock before it fails."""
_TELEMETRY_TABLES = frozenset(model._meta.table_name for model in TELEMETRY_MODELS)  # noqa: SLF001 - peewee's public face


class StoreError(RuntimeError):
    """The store cannot be opened; one line says which file and why."""


class Reader:
    """Read-only connections to both files, for the thread that opened them. Also a context manager."""

    def __init__(self, folder: Path, main: SqliteDatabase, telemetry: SqliteDatabase) -> None:
        self.folder = folder
        self.main = main
        self.telemetry = telemetry

    def database_of(self, table: str) -> SqliteDatabase:
        """Return the connection to the file that holds the table."""
        return self.telemetry if table in _TELEMETRY_TABLES else self.main

    def close(self) -> None:
        """Close both connections; harmless when they are closed already."""
        self.main.close()
        self.telemetry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Store(Reader):
    """The writing connections to both files: exactly one such object at a time, the archivist's."""


def folder_of(place: str | Path) -> Path:
    """Return the folder that holds the two files: `place` itself, or what `sqlite:///FOLDER/pyros.db` says.

    Raises
    ------
    StoreError
        If the URL is of another database.
    """
    text = str(place)
    if "://" not in text:
        return Path(text)
    if not text.startswith("sqlite:///"):
        raise StoreError(f"store url is {text}; this version keeps its store in SQLite: sqlite:///FOLDER/pyros.db")
    path = Path(text.removeprefix("sqlite:///"))
    return path.parent if path.suffix == ".db" else path


def open_store(place: str | Path, synchronous: Synchronous = "full") -> Store:
    """Open the two files for writing, making them where they are not; `migrate` then gives them their tables.

    Parameters
    ----------
    place : str or Path
        The folder, or a URL `sqlite:///FOLDER/pyros.db`.
    synchronous : {"full", "normal", "off"}
        How hard a commit to pyros.db presses for the disk. "off" survives the death of the process but not of the
        machine; it is for simulated nights. telemetry.db is never above "normal".

    Raises
    ------
    StoreError
        If a file cannot be opened, or `synchronous` is none of the three.
    """
    if synchronous not in get_args(Synchronous):
        raise StoreError(f"synchronous is {synchronous!r}; it is one of {', '.join(get_args(Synchronous))}")
    folder = folder_of(place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"store folder {folder} cannot be made: {error.strerror}") from None
    lighter: Synchronous = "normal" if synchronous == "full" else synchronous
    main = _connect(
        folder / "pyros.db", {"journal_mode": "wal", "synchronous": synchronous, "foreign_keys": 1}, "immediate"
    )
    try:
        telemetry = _connect(folder / "telemetry.db", {"journal_mode": "wal", "synchronous": lighter}, "immediate")
    except StoreError:
        main.close()
        raise
    return Store(folder, main, telemetry)


def open_reader(place: str | Path) -> Reader:
    """Open the two files read-only; any number of readers in any threads, while the archivist writes.

    Raises
    ------
    StoreError
        If there is no store yet, or a file cannot be opened.
    """
    folder = folder_of(place)
    for name in ("pyros.db", "telemetry.db"):
        if not (folder / name).is_file():
            raise StoreError(f"there is no store: {folder / name} does not exist; the archivist makes it")
    pragmas = {"query_only": 1, "wal_autocheckpoint": 0}
    main = _connect(folder / "pyros.db", pragmas)
    try:
        return Reader(folder, main, _connect(folder / "telemetry.db", pragmas))
    except StoreError:
        main.close()
        raise


def _connect(file: Path, pragmas: dict[str, Any], lock: str = "deferred") -> SqliteDatabase:
    database = SqliteDatabase(str(file), pragmas=pragmas, timeout=BUSY_TIMEOUT_S, lock_type=lock, autoconnect=False)
    try:
        database.connect()
        database.execute_sql("SELECT COUNT(*) FROM sqlite_master")  # a file that is no database shows itself only here
    except peewee.DatabaseError as error:
        database.close()
        raise StoreError(f"{file} cannot be opened as the store: {error}") from None
    return database


def create_tables(store: Store) -> None:
    """Make every table straight from the models: for the test that the migrations lead to the same schema."""
    for database, models in ((store.main, MAIN_MODELS), (store.telemetry, TELEMETRY_MODELS)):
        for model in models:
            peewee.SchemaManager(model, database=database).create_all()
