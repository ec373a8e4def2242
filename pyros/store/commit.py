"""The one writing path: group commit.

All commits that wait are written in one transaction, each in its own savepoint, so that one that is refused harms no
neighbour, and the disk is waited for once. The answers are returned after COMMIT. The archivist owns the connections
and calls `apply`; nobody else writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import peewee
from peewee import SqliteDatabase

from pyros.messages.base import Failed, Refused
from pyros.messages.store import Change, Commit, Committed, Insert
from pyros.store.database import Store
from pyros.store.lives import BIRTH, TransitionError, check_transition
from pyros.store.tables import RefusedWriteError, Table, table_named

Answer = Committed | Refused | Failed
"""`Failed` only when the file itself failed (disk full, I/O error): nothing of that file's commits was written."""


def apply(store: Store, commits: list[Commit]) -> list[Answer]:
    """Write all commits that can be written and return their answers in order, after the disk has them.

    A commit's writes stand in one file: pyros.db and telemetry.db have no common transaction.
    """
    answers: dict[int, Answer] = {}
    groups: dict[bool, list[int]] = {False: [], True: []}
    for index, commit in enumerate(commits):
        files = {store.database_of(write.table) is store.telemetry for write in commit.writes} or {False}
        if len(files) > 1:
            answers[index] = Refused(
                reason=f"commit {commit.reason!r} writes to pyros.db and telemetry.db; split it, one file each"
            )
        else:
            groups[files.pop()].append(index)
    for telemetry, indices in groups.items():
        database = store.telemetry if telemetry else store.main
        answers.update(zip(indices, _apply_group(database, [commits[index] for index in indices]), strict=True))
    return [answers[index] for index in range(len(commits))]


def _apply_group(database: SqliteDatabase, commits: list[Commit]) -> list[Answer]:
    if not commits:
        return []
    try:
        with database.atomic():
            return [_apply_one(database, commit) for commit in commits]
    except peewee.DatabaseError as error:
        name = str(database.database).rpartition("/")[2]
        return [Failed(reason=f"{name} took none of {len(commits)} commits: {error}") for _ in commits]


def _apply_one(database: SqliteDatabase, commit: Commit) -> Committed | Refused:
    ids: list[Any] = []
    try:
        with database.atomic():
            for write in commit.writes:
                ids.append(
                    _insert(database, write, ids) if isinstance(write, Insert) else _change(database, write, ids)
                )
    except RefusedWriteError as error:
        return Refused(reason=f"commit {commit.reason!r}, write {len(ids)}: {error}")
    return Committed(ids=ids)


def _write(database: SqliteDatabase, write: Insert | Change, ids: list[Any]) -> Any:
    if isinstance(write, Insert):
        return _insert(database, write, ids)
    return _change(database, write, ids)


def _insert(database: SqliteDatabase, write: Insert, ids: list[Any]) -> Any:
    table = table_named(write.table)
    if table.numbered and table.key in write.values:
        raise RefusedWriteError(f"{table.name}.{table.key} is given; the archivist gives row numbers")
    if table.life:
        _step(table, BIRTH, write.values.get("status", BIRTH))
    values = _converted(table, write.values, ids)
    for name, default in table.defaults.items():
        if name not in values:
            values[name] = table.to_db(name, default() if callable(default) else default)
    sql = _insert_sql(table.name, tuple(values), database.param)
    return _run(database, table, sql, list(values.values()), values)[0][0]


def _change(database: SqliteDatabase, write: Change, ids: list[Any]) -> Any:
    table = table_named(write.table)
    key = table.to_db(table.key, _resolved(write.key, ids))
    if table.key in write.values:
        raise RefusedWriteError(f"{table.name}.{table.key} is to be changed; a row keeps its key")
    lives = bool(table.life) and "status" in write.values
    expected = _converted(table, write.expect, ids)
    watched = tuple(dict.fromkeys((*expected, *(["status"] if lives else []), table.key)))
    row = _run(database, table, _look_sql(table.name, watched, table.key, database.param), [key], {})
    if not row:
        raise RefusedWriteError(f"{table.name} {key} does not exist")
    found = dict(zip(watched, row[0], strict=True))
    for name, value in expected.items():
        if found[name] != value:
            raise RefusedWriteError(f"{table.name} {key}: {name} is {found[name]!r}, not {value!r} as expected")
    if lives:
        _step(table, found["status"], write.values["status"], f" ({table.name} {key})")
    values = _converted(table, write.values, ids)
    if values:
        sql = _update_sql(table.name, tuple(values), table.key, database.param)
        _run(database, table, sql, [*values.values(), key], values)
    return key


def _converted(table: Table, values: dict[str, Any], ids: list[Any]) -> dict[str, Any]:
    try:
        return {name: table.to_db(name, _resolved(value, ids)) for name, value in values.items()}
    except RecursionError:
        raise RefusedWriteError(f"{table.name}: a value is a list of lists without end") from None


def _resolved(value: Any, ids: list[Any]) -> Any:
    """Return the value with each `{"$ref": index}` in it replaced by the id that it means."""
    if isinstance(value, list):
        return [_resolved(item, ids) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() != {"$ref"}:
        return {name: _resolved(item, ids) for name, item in value.items()}
    index = value["$ref"]
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(ids):
        raise RefusedWriteError(f"$ref is {index!r}; it must be the index of an earlier write, 0 to {len(ids) - 1}")
    return ids[index]


def _step(table: Table, old: str, new: Any, where: str = "") -> None:
    try:
        check_transition(table.life, old, str(new))
    except TransitionError as error:
        raise RefusedWriteError(f"{error}{where}") from None


def _run(
    database: SqliteDatabase, table: Table, sql: str, parameters: list[Any], values: dict[str, Any]
) -> list[tuple[Any, ...]]:
    try:
        return database.execute_sql(sql, parameters).fetchall()
    except (peewee.IntegrityError, peewee.DataError) as error:
        text = str(error)
        if "FOREIGN KEY" in text:
            text = _missing_reference(database, table, values) or text
        raise RefusedWriteError(f"{table.name}: {text}") from None


def _missing_reference(database: SqliteDatabase, table: Table, values: dict[str, Any]) -> str:
    """Return which foreign key of a refused row leads nowhere; SQLite does not say."""
    for name, value in values.items():
        other = table.columns[name].refers_to
        if other is None or value is None:
            continue
        target = table_named(other)
        if not database.execute_sql(_look_sql(other, (target.key,), target.key, database.param), [value]).fetchall():
            return f"FOREIGN KEY constraint failed: {name} is {value}, and {other} has no such row"
    return ""


@lru_cache(maxsize=1024)
def _insert_sql(table: str, columns: tuple[str, ...], param: str) -> str:
    marks = ", ".join([param] * len(columns))
    return f'INSERT INTO "{table}" ({_listed(columns)}) VALUES ({marks}) RETURNING "{table_named(table).key}"'  # noqa: S608 - names come from the models


@lru_cache(maxsize=1024)
def _update_sql(table: str, columns: tuple[str, ...], key: str, param: str) -> str:
    changes = ", ".join(f'"{column}" = {param}' for column in columns)
    return f'UPDATE "{table}" SET {changes} WHERE "{key}" = {param}'  # noqa: S608 - names come from the models


@lru_cache(maxsize=1024)
def _look_sql(table: str, columns: tuple[str, ...], key: str, param: str) -> str:
    return f'SELECT {_listed(columns)} FROM "{table}" WHERE "{key}" = {param}'  # noqa: S608 - names come from the models


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
