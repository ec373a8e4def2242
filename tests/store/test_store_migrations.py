"""The schema by migrations is the schema of the models, and files are opened as they must be."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import AT

from pyros.messages.store import Commit, Insert
from pyros.store.commit import apply
from pyros.store.database import StoreError, create_tables, folder_of, open_reader, open_store
from pyros.store.migrations import migrate, pending
from pyros.store.models import MAIN_MODELS, TELEMETRY_MODELS, Setting


def schema(database):
    query = (
        "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'schema_migration%' AND name NOT LIKE 'sqlite%'"
    )
    return sorted(database.execute_sql(query).fetchall())


def test_a_fresh_store_by_migrations_equals_one_made_from_the_models(store, tmp_path):
    """PA-P1: not only tables and columns, every word of the schema."""
    with open_store(tmp_path / "direct", "off") as direct:
        create_tables(direct)
        assert schema(store.main) == schema(direct.main)
        assert schema(store.telemetry) == schema(direct.telemetry)
        assert len(schema(store.main)) > len(MAIN_MODELS)


@pytest.mark.parametrize(("file", "models"), [("pyros.db", "MAIN_MODELS"), ("telemetry.db", "TELEMETRY_MODELS")])
def test_pwmigrate_finds_no_difference(store, file, models):
    """PA-P1: `pwmigrate diff` empty."""
    command = [sys.executable, "-m", "playhouse.migrations", str(store.folder / file), "diff"]
    done = subprocess.run(
        [*command, f"pyros.store.models:{models}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "schema matches models.", done.stderr


def test_a_second_migration_does_nothing_and_the_store_says_so(store):
    assert migrate(store) == []
    assert pending(store) == []


def test_every_step_can_be_taken_back(store):
    from pyros.store.migrations import _runners

    for _, runner in _runners(store):
        while any(step.applied for step in runner.status()):
            runner.down()
    assert schema(store.main) == schema(store.telemetry) == []
    assert len(migrate(store)) == 4


def test_a_store_of_a_newer_version_is_refused_by_name(store):
    store.main.execute_sql("INSERT INTO schema_migration (name, applied) VALUES ('0099_future', '2030-01-01')")
    with pytest.raises(StoreError, match=r"pyros\.db was written by a newer version \(it knows 0099_future\)"):
        migrate(store)


def test_the_two_files_press_for_the_disk_as_promised(tmp_path):
    with open_store(tmp_path) as store:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        assert [store.main.pragma(name) for name in pragmas] == ["wal", 2, 1]
        assert [store.telemetry.pragma(name) for name in pragmas[:2]] == ["wal", 1]
    with open_store(tmp_path, "off") as store:
        assert [store.main.pragma("synchronous"), store.telemetry.pragma("synchronous")] == [0, 0]


def test_a_reader_cannot_write_and_sees_each_commit(store, reader):
    import peewee

    with pytest.raises(peewee.OperationalError, match="readonly"):
        reader.main.execute_sql("DELETE FROM setting")
    values = {"key": "boot", "value": 4, "changed_at": AT, "changed_by": "supervisor"}
    apply(store, [Commit(writes=[Insert(table="setting", values=values)], reason="boot")])
    assert [row.value for row in Setting.select().bind(reader.main)] == [4]


def test_two_stores_in_one_process_do_not_mix(tmp_path):
    with open_store(tmp_path / "a", "off") as first, open_store(tmp_path / "b", "off") as second:
        for number, store in ((1, first), (2, second)):
            migrate(store)
            values = {"key": "boot", "value": number, "changed_at": AT, "changed_by": "supervisor"}
            apply(store, [Commit(writes=[Insert(table="setting", values=values)], reason="boot")])
        found = [[row.value for row in Setting.select().bind(store.main)] for store in (first, second)]
        assert found == [[1], [2]]
    assert all(model._meta.database is None for model in [*MAIN_MODELS, *TELEMETRY_MODELS])


def test_what_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        open_reader(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "pyros.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match=r"pyros\.db cannot be opened as the store: file is not a database"):
        open_store(tmp_path)
    with pytest.raises(StoreError, match="cannot be made"):
        open_store(tmp_path / "pyros.db" / "below")
    with pytest.raises(StoreError, match="synchronous is 'none'"):
        open_store(tmp_path, "none")


def test_a_url_or_a_folder_says_where_the_store_is(tmp_path):
    assert folder_of(f"sqlite:///{tmp_path}/pyros.db") == folder_of(f"sqlite:///{tmp_path}") == folder_of(tmp_path)
    with pytest.raises(StoreError, match="postgresql://host/pyros"):
        folder_of("postgresql://host/pyros")
