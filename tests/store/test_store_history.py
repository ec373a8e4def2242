"""History is paged, complete and keeps its secrets; actors find what they left."""

from __future__ import annotations

from datetime import timedelta

import pytest
from conftest import AT, ROWS, insert, write
from hypothesis import given, settings
from hypothesis import strategies as st

from pyros.messages.base import Refused
from pyros.messages.store import Change, Committed, FileChunk, GetFile, GetRows, Insert
from pyros.store import repositories as repo
from pyros.store.commit import apply
from pyros.store.database import open_reader
from pyros.store.files import CHUNK_BYTES, chunk
from pyros.store.history import rows, trend
from pyros.store.retention import forget, thin
from pyros.store.tables import RefusedWriteError


def log(store, number):
    for index in range(number):
        insert(store, "log_entry", text=str(index), actor=f"a{index % 3}", at=AT + timedelta(seconds=index))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 9), st.booleans())
def test_the_pages_of_a_table_together_are_the_table(tmp_path_factory, limit, ascending):
    """SC-T3d: paged list of all; count = table count."""
    from pyros.store.database import open_store
    from pyros.store.migrations import migrate

    with open_store(tmp_path_factory.mktemp("store"), "off") as store, open_reader(store.folder) as reader:
        migrate(store)
        log(store, 20)
        seen, before = [], None
        while True:
            page = rows(reader, GetRows(table="log_entry", limit=limit, before_id=before, ascending=ascending))
            assert page.total == 20
            seen += [row["text"] for row in page.rows]
            if not page.more:
                break
            before = page.rows[-1]["id"]
        expected = [str(index) for index in range(20)]
        assert seen == (expected if ascending else expected[::-1])


def test_filters_give_exact_counts(store, reader):
    """DA-E2."""
    log(store, 20)
    assert rows(reader, GetRows(table="log_entry", where={"actor": "a1", "level": "INFO"})).total == 7
    assert rows(reader, GetRows(table="log_entry", where={"at": AT})).total == 1
    assert rows(reader, GetRows(table="log_entry", where={"detail": None})).total == 20


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (GetRows(table="nothing"), "there is no table nothing"),
        (GetRows(table="log_entry", where={"colour": 1}), "table log_entry has no column colour"),
        (GetRows(table="log_entry", where={"id": "1 OR 1"}), "log_entry.id is '1 OR 1'"),
        (GetRows(table="user", where={"password_hash": "x"}), "table user has no column password_hash"),
        (GetRows(table="setting", before_id=3), "has no row numbers"),
    ],
)
def test_a_bad_query_is_refused_with_one_line(full, reader, query, words):
    answer = rows(reader, query)
    assert isinstance(answer, Refused)
    assert words in answer.reason


def test_every_value_comes_back_as_it_was_written_but_no_password(full, reader):
    for table, values in ROWS.items():
        (row,) = rows(reader, GetRows(table=table)).rows
        assert row.items() >= {name: value for name, value in values.items() if name != "password_hash"}.items()
    assert "password_hash" not in rows(reader, GetRows(table="user")).rows[0]
    assert repo.account(reader, "eve")["password_hash"] == "$argon2$"
    assert repo.account(reader, "mallory") is None


def test_a_file_comes_in_chunks_and_never_from_outside_the_folder(full, reader, tmp_path):
    folder = tmp_path / "images"
    (folder / "a").mkdir(parents=True)
    content = bytes(range(256)) * 3000
    (folder / "a" / "1.fits").write_bytes(content)
    (tmp_path / "secret").write_text("key")
    (folder / "link").symlink_to(tmp_path / "secret")
    got, offset = b"", 0
    while piece := chunk(reader, folder, GetFile(image_id=1, offset=offset)).content:
        assert len(piece) <= CHUNK_BYTES
        got, offset = got + piece, offset + len(piece)
    assert got == content
    assert isinstance(chunk(reader, folder, GetFile(image_id=1, offset=10**12)), FileChunk)
    refusals = {GetFile(image_id=9): "image 9 does not exist", GetFile(image_id=1, preview=True): "no preview yet"}
    for path in ("../secret", "link", str(tmp_path / "secret"), "a/../../secret"):
        answer = insert(full, "image", file=path)
        refusals[GetFile(image_id=answer.ids[0])] = "outside the image folder"
    answer = insert(full, "image", file="gone.fits")
    refusals[GetFile(image_id=answer.ids[0])] = "No such file"
    for query, words in refusals.items():
        assert words in chunk(reader, folder, query).reason


def test_the_scheduler_finds_the_observable_sequences_with_their_trees(full, reader):
    """SC-P1: OBSERVABLE (and PLANNED) sequences only."""
    second = insert(full, "sequence", status="COMPLETE").ids[0]
    (tree,) = repo.observable_sequences(reader)
    assert (tree.id, tree.user_id, tree.programme_id, tree.alert_id, tree.request_name) == (1, 1, 1, None, "r")
    assert [(album.camera, [plan.filter for plan in album.plans]) for album in tree.albums] == [("vis", ["r"])]
    assert repo.sequence_tree(reader, second).albums == []
    assert repo.sequence_tree(reader, 99) is None
    write(full, Change(table="sequence", key=1, values={"status": "PLANNED"}))
    assert [one.id for one in repo.observable_sequences(reader)] == [1]
    assert repo.observable_sequences(reader, ("EXECUTING",)) == []


def test_the_alert_manager_finds_its_alerts_triggers_and_notices(full, reader):
    later = insert(full, "notice", content_sha256="1" * 64, verdict="ACCEPTED", reason="burst").ids[0]
    (alert,) = repo.alerts_of_night(reader, "2026-11-21")
    assert [one["identifier"] for one in alert["triggers"]] == ["1234"]
    assert repo.alerts_of_night(reader, "2026-11-22") == []
    assert [one["id"] for one in repo.notices_about(reader, "swift", "1234")] == [later, 1]
    assert "raw" not in repo.notices_of_alert(reader, 1)[0]
    assert [one["id"] for one in repo.recent_notices(reader, AT, limit=1)] == [later]
    assert repo.recent_notices(reader, AT + timedelta(seconds=1)) == []
    assert [one["raw"] for one in repo.undecided_notices(reader)] == [b"<\x00>"]
    assert repo.stored_notice(reader, "ivo://a/b#c", "1" * 64) == later
    assert repo.stored_notice(reader, "ivo://a/b#c", "2" * 64) is None
    assert repo.trigger(reader, "swift", "1234")["alert_id"] == 1
    assert repo.trigger(reader, "fermi", "1234") is None


def test_the_current_planning_lists_the_placed_by_time_and_the_rejected_last(full, reader):
    """SC-E9, SC-T4."""
    ids = [insert(full, "sequence").ids[0] for _ in range(2)]
    rejected = {"planned_start": None, "planned_end": None, "delta_tl_s": None, "delta_tr_s": None}
    insert(full, "scheduled_sequence", sequence_id=ids[0], **rejected, reject_code="MOON", reject_reason="too near")
    insert(full, "scheduled_sequence", sequence_id=ids[1], planned_start=AT - timedelta(seconds=9))
    assert [one["sequence_id"] for one in repo.current_schedule(reader)["entries"]] == [ids[1], 1, ids[0]]
    old, new = Change(table="schedule", key=1, values={"status": "SUPERSEDED"}), ROWS["schedule"]
    assert isinstance(write(full, old, Insert(table="schedule", values=new)), Committed)
    assert repo.current_schedule(reader)["entries"] == []
    assert len(repo.schedule_entries(reader, 1)) == 3


def test_images_settings_and_outbox_are_found(full, reader):
    early = insert(full, "image", file="a/0.fits", start=AT - timedelta(seconds=60), alert_id=None).ids[0]
    assert [one["id"] for one in repo.images_of(reader, sequence_id=1)] == [early, 1]
    assert [one["id"] for one in repo.images_of(reader, alert_id=1, plan_id=1)] == [1]
    assert repo.images_of(reader) == []
    assert [one["id"] for one in repo.last_images(reader, 1)] == [1]
    for value in ({"by": "eve"}, {"by": "bob"}):
        write(full, repo.setting_write(reader, "lockdown", value, AT, "eve"))
    assert repo.settings(reader) == {"boot": 3, "lockdown": {"by": "bob"}}
    assert [one["subject"] for one in repo.pending_outbox(reader, "IC")] == ["planning"]
    write(full, Change(table="outbox", key=1, values={"status": "SENT", "sent_at": AT}))
    assert repo.pending_outbox(reader, "IC") == []


def weather(store, seconds, **changes):
    values = ROWS["weather_sample"] | {"at": AT.replace(second=0, microsecond=0) + timedelta(seconds=seconds)}
    return Insert(table="weather_sample", values=values | changes)


def test_old_telemetry_is_thinned_to_minutes_and_then_forgotten(store, reader):
    """MO-T14: retention and downsampling; a gust and a drop of rain survive the mean."""
    samples = [weather(store, s, wind_m_s=float(s % 60), gust_m_s=float(s), rain=s == 70) for s in range(180)]
    devices = [
        Insert(table="device_sample", values=ROWS["device_sample"] | {"at": one.values["at"]}) for one in samples
    ]
    write(store, *samples, *devices)
    start = samples[0].values["at"]
    assert thin(store, start + timedelta(seconds=130)) == 2 * (120 - 2)
    found = rows(reader, GetRows(table="weather_sample", ascending=True, limit=1000)).rows
    assert [(one["at"], one["period_s"], one["wind_m_s"], one["gust_m_s"], one["rain"]) for one in found[:2]] == [
        (start, 60.0, 29.5, 59.0, False),
        (start + timedelta(seconds=60), 60.0, 29.5, 119.0, True),
    ]
    assert len(found) == 62
    assert thin(store, start + timedelta(seconds=130)) == 0
    assert forget(store, start + timedelta(seconds=60)) == 2
    assert rows(reader, GetRows(table="device_sample")).total == 61


def test_a_trend_is_fine_for_hours_and_coarse_for_days(store, reader):
    """MO-T3, MO-T14."""
    write(
        store,
        *[weather(store, 10 * step, wind_m_s=float(step)) for step in range(12)],
        weather(store, 5, wind_m_s=None),
    )
    start = AT.replace(second=0, microsecond=0)
    fine = trend(reader, "mast", "wind_m_s", start, start + timedelta(hours=1))
    assert [point.mean for point in fine] == [float(step) for step in range(12)]
    minutes = trend(reader, "mast", "wind_m_s", start, start + timedelta(hours=24))
    assert [(point.at, point.mean, point.least, point.most) for point in minutes] == [
        (start, 2.5, 0.0, 5.0),
        (start + timedelta(minutes=1), 8.5, 6.0, 11.0),
    ]
    assert len(trend(reader, "mast", "wind_m_s", start, start + timedelta(days=30))) == 1
    assert trend(reader, "roof", "wind_m_s", start, start + timedelta(hours=24)) == []
    with pytest.raises(RefusedWriteError, match="no column wind"):
        trend(reader, "mast", "wind", start, start)


def test_readers_see_whole_commits_only(full):
    with open_reader(full.folder) as reader, full.main.atomic():
        full.main.execute_sql("UPDATE sequence SET priority = 1")
        assert repo.sequence_tree(reader, 1).priority == 50
    assert apply(full, []) == []
