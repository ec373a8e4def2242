"""The ledger: what is reserved is either spent or given back, once."""

from __future__ import annotations

import pytest
from conftest import AT, ROWS, insert, write
from hypothesis import given
from hypothesis import strategies as st

from pyros.messages.base import Refused
from pyros.messages.store import Change, Committed, Insert
from pyros.store.quota import Reservation, balance, balance_of, held_by, open_reservations, release, reserve, settle


def grant(store, seconds):
    values = {"user_id": 1, "kind": "grant", "seconds": seconds, "at": AT}
    assert isinstance(write(store, Insert(table="quota_entry", values=values)), Committed)


@pytest.fixture
def ledger(store):
    for table in ("user", "programme", "strategy", "alert", "request", "sequence"):
        assert isinstance(insert(store, table), Committed)
    grant(store, 1000.0)
    return store


def test_an_aborted_sequence_pays_what_it_exposed_and_no_more(ledger, reader):
    """MJ-T1, SC-T10."""
    planned = Change(table="sequence", key=1, values={"status": "PLANNED"})
    write(ledger, planned, *reserve(1, 1, 300.0, AT))
    assert (balance(reader, 1).reserved_s, balance(reader, 1).available_s) == (300.0, 700.0)
    (reservation,) = open_reservations(reader, 1)
    write(ledger, *settle(reservation, 120.0, AT))
    after = balance(reader, 1)
    assert (after.spent_s, after.reserved_s, after.available_s) == (120.0, 0.0, 880.0)
    assert open_reservations(reader, 1) == []


def test_a_reservation_is_settled_only_once(ledger, reader):
    """MJ-T1: never twice, whoever asks."""
    write(ledger, *reserve(1, 1, 300.0, AT, programme_id=1))
    (reservation,) = open_reservations(reader, 1)
    assert isinstance(write(ledger, *release(reservation, AT)), Committed)
    again = write(ledger, *release(reservation, AT))
    assert isinstance(again, Refused)
    assert "UNIQUE constraint failed: quota_entry.reservation_id, quota_entry.kind" in again.reason
    assert balance(reader, 1).available_s == 1000.0
    assert balance(reader, 1, programme_id=1).available_s == 0.0


def test_a_sequence_may_be_reserved_again_after_its_release(ledger, reader):
    for _ in range(3):
        write(ledger, *reserve(1, 1, 50.0, AT))
        (reservation,) = open_reservations(reader, 1)
        write(ledger, *release(reservation, AT))
    assert balance(reader, 1).available_s == 1000.0


def test_the_reservations_of_many_sequences_are_found_together_each_for_its_own(ledger, reader):
    for number in (2, 3):
        assert isinstance(insert(ledger, "sequence", name=f"s{number}"), Committed)
    write(ledger, *reserve(1, 1, 100.0, AT), *reserve(1, 2, 200.0, AT))
    write(ledger, *release(open_reservations(reader, 1)[0], AT))
    write(ledger, *reserve(1, 1, 50.0, AT))
    held = held_by(reader, [3, 2, 1])
    assert {number: [one.seconds for one in found] for number, found in held.items()} == {3: [], 2: [200.0], 1: [50.0]}
    assert held_by(reader, []) == {}
    assert all(open_reservations(reader, number) == found for number, found in held.items())


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(-10, 6000)), max_size=50), st.integers(0, 10**6))
def test_the_balance_is_the_grants_less_what_was_exposed(sequences, granted):
    """SC-T10: the invariant under random events; an overrun is not the user's."""
    entries = [("grant", float(granted))] if granted else []
    for number, (planned_s, exposed_s) in enumerate(sequences):
        reservation = Reservation(number, 1, None, number, float(planned_s))
        writes = [*reserve(1, number, planned_s, AT), *settle(reservation, exposed_s, AT)]
        entries += [(one.values["kind"], one.values["seconds"]) for one in writes]
    result = balance_of(entries)
    assert result.reserved_s == 0
    assert result.spent_s == sum(min(max(exposed, 0), planned) for planned, exposed in sequences)
    assert result.available_s == granted - result.spent_s


def test_nothing_to_reserve_writes_nothing():
    assert reserve(1, 1, 0.0, AT) == []
    assert ROWS["quota_entry"]["kind"] == "reserve"
