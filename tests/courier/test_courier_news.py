"""The outbox's rows, and what an answer means: the pure parts of the courier."""

from __future__ import annotations

import http.client
import json
import ssl
from datetime import timedelta

import msgspec
import pytest
from courier_stage import NOON, settings_with
from hypothesis import given
from hypothesis import strategies as st

from pyros.actors.courier.answers import OF_THE_MOMENT, Verdict, of_error, of_status, outcome
from pyros.actors.courier.news import identifier, news
from pyros.actors.courier.software import devices, libraries, software

URL = "https://fsc.example.org/in?key=secret"


def test_a_fact_is_told_to_each_destination_that_wants_its_topic_and_to_no_other():
    settings = settings_with(fsc=(URL, ["alert", "candidate"]), ic=(URL, ["start", "night"]), all=URL)
    told = news(settings, "alert", "alert 1 DONE", {"alert_id": 1}, NOON)
    assert [write.values["destination"] for write in told] == ["fsc", "all"]
    assert {write.values["dedup_key"] for write in told} == {"fsc: alert 1 DONE", "all: alert 1 DONE"}
    assert len({write.values["payload"]["id"] for write in told}) == 2
    assert news(settings_with(), "alert", "alert 1 DONE", {}, NOON) == []


def test_a_piece_of_news_is_whole_and_is_json():
    (write,) = news(settings_with(fsc=URL), "night", "night 2026-11-22 BEGUN", {"ends": NOON}, NOON)
    told = json.loads(msgspec.json.encode(write.values["payload"]))
    assert list(told) == ["schema", "id", "topic", "subject", "at", "site", "content"]
    assert (told["schema"], told["topic"], told["at"]) == (1, "night", "2026-11-22T20:00:00Z")
    assert (told["site"], told["content"]) == ("San Pedro Mártir", {"ends": "2026-11-22T20:00:00Z"})
    assert "secret" not in json.dumps(told)


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20), st.integers(0, 10**9)), unique=True, max_size=20))
def test_an_id_is_of_one_row_only_and_always_the_same(rows):
    ids = [identifier(site, key, NOON + timedelta(microseconds=us)) for site, key, us in rows]
    assert len(ids) == len(dict.fromkeys(ids))
    assert ids == [identifier(site, key, NOON + timedelta(microseconds=us)) for site, key, us in rows]
    assert all(one.isascii() for one in ids)


@given(st.integers(100, 599))
def test_every_status_is_taken_refused_or_not_now(status):
    verdict = of_status(status, "So")
    wanted = (
        "SENT" if status // 100 == 2 else "FAILED" if status // 100 == 4 and status not in OF_THE_MOMENT else "PENDING"
    )
    assert verdict.status == wanted
    assert (verdict.reason == "") is (wanted == "SENT")


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionRefusedError(111, "Connection refused"),
        http.client.RemoteDisconnected("gone"),
        http.client.BadStatusLine("HTTP/1.1 20"),
        ssl.SSLCertVerificationError("self-signed"),
        ValueError("Port out of range 0-65535"),
        UnicodeEncodeError("ascii", "é", 0, 1, "no"),
    ],
)
def test_no_error_ever_gives_a_row_up(error):
    verdict = of_error(error)
    assert verdict.status == "PENDING"
    assert verdict.reason


def test_an_outcome_writes_what_the_table_allows():
    sent = outcome(Verdict("SENT"), 3, NOON, None)
    assert (sent["status"], sent["sent_at"], sent["attempts"], sent["last_error"]) == ("SENT", NOON, 3, "")
    refused = outcome(Verdict("FAILED", "HTTP 404"), 1, NOON, None)
    assert (refused["status"], refused["sent_at"], refused["last_error"]) == ("FAILED", None, "HTTP 404")
    later = outcome(Verdict("PENDING", "HTTP 500"), 2, NOON, NOON)
    assert "status" not in later
    assert later["next_attempt_at"] == NOON


def test_the_software_is_told_by_its_versions_and_the_devices_by_their_protocols_alone():
    """MO-P2c."""
    settings = settings_with(fsc=URL)
    facts = software(settings)
    assert {"pyros", "python", "system", "libraries", "devices"} == facts.keys()
    assert {"numpy", "pykka", "peewee", "astropy"} <= libraries().keys()
    assert all(libraries().values())
    assert devices(settings) == {"plc": "modbus", "telescope": "lx200+tcp"}
    json.dumps(facts)
