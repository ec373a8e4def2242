"""What is in the outbox reaches its destination in order, once for who drops known ids, whatever fails in between."""

from __future__ import annotations

import contextlib
import random
from datetime import UTC, datetime, timedelta

import pytest
from courier_stage import Dripping, Receiver, Stage, free_port, settings_with

from pyros.actors.archivist import Archivist
from pyros.actors.courier import actor as courier_actor
from pyros.actors.courier import post as courier_post
from pyros.actors.courier.news import news
from pyros.clock import WallClock
from pyros.messages.base import Refused
from pyros.messages.courier import CourierState, NewsRefused, NewsStored
from pyros.messages.store import Flush, Insert

HOUR = timedelta(hours=1)
ONLY_ALERTS = ["alert", "night", "candidate"]


@pytest.fixture
def receiver():
    with contextlib.closing(Receiver()) as one:
        yield one


def quiet(receiver):
    """The settings of one destination that is not told of the start."""
    return settings_with(fsc=(receiver.url, ONLY_ALERTS))


def facts(first, last):
    return [f"fact {number}" for number in range(first, last)]


def test_news_arrive_within_a_second_in_order_and_once(tmp_path, receiver):
    """AN-T4."""
    with Stage(tmp_path, quiet(receiver)) as stage:
        stage.run(3.0)
        stage.tell_of("fact 0")
        stage.run(0.9)
        assert receiver.subjects == ["fact 0"]
        stage.tell_of(*facts(1, 30))
        stage.run(30.0)
        assert [body["subject"] for _, _, body in receiver.posts] == facts(0, 30)
        assert stage.outbox("status", "attempts") == [("SENT", 1)] * 30
        assert (stage.row("fsc").waiting, stage.row("fsc").sent) == (0, 30)


def test_a_post_carries_its_id_as_the_idempotency_key_and_json(tmp_path, receiver):
    with Stage(tmp_path, quiet(receiver)) as stage:
        stage.tell_of("fact 0")
        stage.run(1.0)
        path, headers, body = receiver.posts[0]
        ((payload, created_at),) = stage.outbox("payload", "created_at")
        assert (path, headers["Content-Type"], headers["Idempotency-Key"]) == ("/news", "application/json", body["id"])
        assert body == payload
        assert body["content"] == {"what": "fact 0"}
        assert created_at.isoformat().startswith(body["at"].removesuffix("Z"))


def test_a_receiver_that_is_away_for_hours_gets_everything_in_order_when_it_is_back(tmp_path):
    """AN-T4: an outage; kept, sent later, once."""
    port = free_port()
    with Stage(tmp_path, settings_with(fsc=(f"http://127.0.0.1:{port}/", ONLY_ALERTS))) as stage:
        for number in range(6):
            stage.tell_of(f"fact {number}")
            stage.run(1800.0)
        row = stage.row("fsc")
        assert row.waiting == 6
        assert "Connection refused" in row.last_error
        assert row.oldest_at == stage.rows("outbox")[0]["created_at"]
        assert 0 < (row.next_try_at - stage.clock.now()).total_seconds() <= 72.0
        assert stage.rows("outbox")[0]["attempts"] > 120
        with contextlib.closing(Receiver(port=port)) as receiver:
            stage.run(80.0)
            assert receiver.subjects == facts(0, 6)
            assert len(receiver.posts) == 6
            assert stage.row("fsc").last_error == ""


def test_one_receiver_that_is_away_holds_no_other_up(tmp_path, receiver):
    settings = settings_with(gone=(f"http://127.0.0.1:{free_port()}/", ONLY_ALERTS), fsc=(receiver.url, ONLY_ALERTS))
    with Stage(tmp_path, settings) as stage:
        stage.tell_of(*facts(0, 5))
        stage.run(10.0)
        assert receiver.subjects == facts(0, 5)
        assert stage.row("gone").waiting == 5


@pytest.mark.parametrize("fault", [500, 503, 408, 429, 301, "hang up", "half"])
def test_an_answer_that_is_no_word_on_the_row_makes_the_courier_try_the_same_row_again(tmp_path, receiver, fault):
    receiver.behave = lambda number: fault if number < 3 else 204
    with Stage(tmp_path, quiet(receiver)) as stage:
        stage.tell_of("fact 0", "fact 1")
        took_s = stage.until(lambda: len(receiver.posts) == 5, 60.0)
        assert [body["subject"] for _, _, body in receiver.posts] == ["fact 0"] * 4 + ["fact 1"]
        assert len(set(receiver.ids)) == 2
        assert 2.0 < took_s < 6.0  # at once, then after 1 s and 2 s, each a fifth more or less
        stage.run(1.0)
        assert stage.outbox("status", "attempts", "last_error") == [("SENT", 4, ""), ("SENT", 1, "")]


def test_a_receiver_that_never_answers_is_hung_up_and_tried_again(tmp_path, receiver, monkeypatch):
    monkeypatch.setattr(courier_post, "ANSWER_S", 0.2)
    receiver.behave = lambda number: "mute" if number == 0 else 200
    with Stage(tmp_path, quiet(receiver)) as stage:
        stage.tell_of("fact 0")
        stage.run(0.3)
        assert stage.row("fsc").last_error == "no answer in time"
        stage.run(5.0)
        assert len(receiver.posts) == 2
        assert receiver.subjects == ["fact 0"]
        assert stage.outbox("status") == [("SENT",)]


def test_a_refused_row_is_failed_with_its_reason_told_and_the_next_one_goes_on(tmp_path, receiver):
    receiver.behave = lambda number: 422 if number == 1 else 200
    with Stage(tmp_path, quiet(receiver)) as stage:
        stage.tell_of(*facts(0, 3))
        stage.run(5.0)
        assert stage.outbox("status") == [("SENT",), ("FAILED",), ("SENT",)]
        assert "HTTP 422" in stage.rows("outbox")[1]["last_error"]
        (refused,) = stage.events(NewsRefused)
        assert (refused.destination, refused.subject, refused.id) == ("fsc", "fact 1", receiver.ids[1])
        assert (stage.row("fsc").sent, stage.row("fsc").refused) == (2, 1)


def test_a_courier_killed_between_the_answer_and_its_commit_sends_again_under_the_same_id(tmp_path, receiver):
    with Stage(tmp_path, quiet(receiver)) as stage:
        stage.run(1.0)
        stage.tell_of("fact 0", "fact 1")
        stage.run(0.1)
        receiver.wait_for(1)  # it has it, and its answer is on its way; the clock stands
        stage.crash()
        stage.run(30.0)
        assert [body["subject"] for _, _, body in receiver.posts] == ["fact 0", "fact 0", "fact 1"]
        assert receiver.ids[0] == receiver.ids[1]
        assert receiver.subjects == ["fact 0", "fact 1"]
        assert stage.outbox("status") == [("SENT",)] * 2


class SlowArchivist(Archivist):
    """Takes two seconds for each group of commits."""

    def tell(self, to, message):
        if isinstance(message, Flush):
            self.after(2.0, message)
        else:
            super().tell(to, message)


def test_a_courier_killed_while_the_store_writes_its_outcome_waits_for_it_and_sends_nothing_twice(tmp_path, receiver):
    with Stage(tmp_path, quiet(receiver), archivist=SlowArchivist) as stage:
        stage.run(10.0)
        stage.tell_of("fact 0")
        stage.until(lambda: bool(receiver.posts), 10.0)
        stage.run(0.5)
        stage.crash()
        stage.run(30.0)
        assert len(receiver.posts) == 1
        assert stage.outbox("status") == [("SENT",)]


def test_a_killed_daemon_delivers_what_was_left_at_its_next_start(tmp_path):
    port = free_port()
    settings = settings_with(fsc=(f"http://127.0.0.1:{port}/", ONLY_ALERTS))
    with Stage(tmp_path, settings) as stage:
        stage.tell_of(*facts(0, 4))
        stage.run(100.0)
        later = stage.clock.now() + timedelta(hours=5)
    with contextlib.closing(Receiver(port=port)) as receiver, Stage(tmp_path, settings, start=later, boot=2) as stage:
        stage.run(5.0)
        assert receiver.subjects == facts(0, 4)
        assert len(receiver.posts) == 4


@pytest.mark.parametrize("seed", range(5))
def test_crashes_at_any_instant_lose_nothing_and_keep_the_order(tmp_path, receiver, seed):
    dice = random.Random(seed)
    receiver.behave = lambda number: dice.choice([200, 200, 200, 500, "hang up", "half"])
    with Stage(tmp_path, quiet(receiver)) as stage:
        for number in range(40):
            stage.tell_of(f"fact {number}")
            stage.run(dice.choice([0.0, 0.05, 0.2, 0.3, 1.0]))
            if dice.random() < 0.3:
                stage.crash(dice.choice(["courier", "courier", "archivist"]))
        stage.until(lambda: all(status == "SENT" for (status,) in stage.outbox("status")), 4000.0)
        stored = [subject for (subject,) in stage.outbox("subject")]
        assert receiver.subjects == stored
        assert len(stored) > 20  # a crash of the archivist takes along what nobody has been told is stored


class FullDisk(Archivist):
    """Takes nothing while `full`."""

    full = False

    def on_flush(self, message):
        self._store.main.execute_sql(f"PRAGMA query_only={int(self.full)}")
        super().on_flush(message)


def test_a_disk_that_takes_no_outcome_makes_nothing_be_posted_again(tmp_path, receiver, monkeypatch):
    with Stage(tmp_path, quiet(receiver), archivist=FullDisk) as stage:
        stage.run(1.0)
        stage.tell_of("fact 0", "fact 1")
        stage.run(0.05)
        monkeypatch.setattr(FullDisk, "full", True)
        stage.run(60.0)
        assert len(receiver.posts) == 1
        assert "outcome could not be stored" in stage.row("fsc").last_error
        monkeypatch.setattr(FullDisk, "full", False)
        stage.run(20.0)
        assert receiver.subjects == ["fact 0", "fact 1"]
        assert len(receiver.posts) == 2
        assert stage.row("fsc").last_error == ""


def test_the_same_fact_cannot_be_entered_twice(tmp_path, receiver):
    with Stage(tmp_path, quiet(receiver)) as stage:
        first = news(stage.settings, "alert", "alert 1 DONE", {}, stage.clock.now())
        stage.stored(*first)
        stage.run(60.0)
        again = stage.commit(*news(stage.settings, "alert", "alert 1 DONE", {}, stage.clock.now()))
        assert isinstance(again, Refused)
        assert "outbox.dedup_key" in again.reason
        assert len(receiver.posts) == 1


def test_a_row_refers_to_what_its_own_commit_makes(tmp_path, receiver):
    with Stage(tmp_path, quiet(receiver)) as stage:
        programme = [Insert(table="programme", values={"name": name, "title": ""}) for name in "abc"]
        told = news(stage.settings, "alert", "new", {"deep": [{"id": {"$ref": 2}}]}, stage.clock.now())
        ids = stage.stored(*programme, *told)
        stage.run(2.0)
        assert receiver.posts[0][2]["content"] == {"deep": [{"id": ids[2]}]}


def test_a_start_is_told_once_with_the_versions_that_run_and_not_again_by_a_restarted_courier(tmp_path, receiver):
    """MO-P2c, MO-T9."""
    settings = settings_with(ic=(receiver.url, ["start"]))
    with Stage(tmp_path, settings, boot=7) as stage:
        stage.run(2.0)
        stage.crash()
        stage.run(5.0)
        assert receiver.subjects == ["start 7"]
        facts = receiver.posts[0][2]["content"]
        assert facts == stage.setting("software")
        assert facts["devices"] == {"plc": "modbus", "telescope": "lx200+tcp"}
        assert facts["libraries"]["numpy"]
        ((text, detail),) = [(row["text"], row["detail"]) for row in stage.rows("log_entry")]
        assert text.startswith("start 7: PyROS ")
        assert detail == facts
        later = stage.clock.now() + timedelta(minutes=1)
    with Stage(tmp_path, settings, boot=8, start=later) as stage:
        stage.run(2.0)
        assert receiver.subjects == ["start 7", "start 8"]
        assert len(stage.rows("log_entry")) == 2


def test_without_destinations_the_start_is_recorded_and_nothing_is_sent(tmp_path):
    """MO-P2c."""
    with Stage(tmp_path, settings_with()) as stage:
        stage.tell_of("fact 0")
        stage.run(60.0)
        assert stage.rows("outbox") == []
        assert len(stage.rows("log_entry")) == 1
        assert stage.state == CourierState(destinations=[])


def test_a_night_begins_and_ends_in_the_news_once_though_the_daemon_is_killed_in_its_middle(tmp_path, receiver):
    """MO-P5."""
    settings = settings_with(ic=(receiver.url, ["night"]))
    evening, ends = datetime(2026, 11, 23, 1, 0, tzinfo=UTC), datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
    for boot, (start, wanted) in enumerate(
        [(evening, ["BEGUN"]), (evening + HOUR, ["BEGUN"]), (ends, ["BEGUN", "ENDED"])]
    ):
        with Stage(tmp_path, settings, monitor=True, start=start, boot=boot) as stage:
            stage.run(2700.0)
        assert [body["subject"] for _, _, body in receiver.posts] == [f"night 2026-11-22 {word}" for word in wanted]
    begun, ended = (body["content"] for _, _, body in receiver.posts)
    assert (begun["type"], begun["night"]) == ("NightStarted", "2026-11-22")
    assert ended == {"type": "NightEnded", "night": "2026-11-22"}


def test_the_archivist_says_how_many_rows_of_news_are_in_the_store_and_nothing_when_there_are_none(tmp_path, receiver):
    with Stage(tmp_path, quiet(receiver)) as stage:
        stage.run(1.0)
        before = len(stage.events(NewsStored))
        stage.commit()
        assert len(stage.events(NewsStored)) == before
        stage.tell_of("fact 0", "fact 1")
        stage.run(0.1)
        assert [event.rows for event in stage.events(NewsStored)[before:]] == [2]


def test_a_receiver_that_answers_letter_by_letter_is_given_up_by_the_couriers_own_deadline(tmp_path, monkeypatch):
    """On the wall clock: on the virtual one time would wait for the answer."""
    monkeypatch.setattr(courier_actor, "GIVE_UP_S", 0.5)
    with contextlib.closing(Dripping()) as receiver:
        stage = Stage(tmp_path, settings_with(fsc=(receiver.url, ONLY_ALERTS)), clock=WallClock())
        with stage:
            stage.until(lambda: stage.events(CourierState), 10.0)
            stage.tell_of("fact 0")
            stage.until(lambda: stage.outbox("status", "attempts") == [("SENT", 2)], 10.0)
            assert receiver.calls == 2
