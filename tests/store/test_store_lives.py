"""The lives stand in one place, and nothing leaves them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.store.lives import BIRTH, LIVES, TransitionError, check_transition, document, followers, statuses


def test_the_page_about_lives_shows_the_tables_of_the_code():
    page = Path(__file__).parents[2] / "docs" / "lives.md"
    assert page.read_text() == document(), "write it anew from pyros.store.lives.document()"


def test_a_sequence_lives_from_draft_to_executed():
    path = ["DRAFT", "COMPLETE", "OBSERVABLE", "PLANNED", "EXECUTING", "EXECUTED"]
    steps = [check_transition("sequence", old, new) for old, new in zip([BIRTH, *path], path, strict=False)]
    assert [step.quota for step in steps] == ["none", "none", "none", "reserve", "none", "settle"]
    assert followers("sequence", "EXECUTED") == []


def test_a_routine_sequence_that_an_alert_aborts_becomes_observable_again():
    assert check_transition("sequence", "EXECUTING", "OBSERVABLE").quota == "settle"


@pytest.mark.parametrize("end", ["REJECTED", "UNPLANNABLE", "CANCELLED", "ABORTED", "EXPIRED", "EXECUTED"])
def test_an_ended_sequence_never_comes_back(end):
    with pytest.raises(
        TransitionError, match=f"a sequence that is {end} cannot become PLANNED; from {end} follows: nothing"
    ):
        check_transition("sequence", end, "PLANNED")


def test_a_refused_step_says_what_may_follow():
    with pytest.raises(TransitionError, match="from COMPLETE follows: DRAFT, OBSERVABLE, REJECTED"):
        check_transition("sequence", "COMPLETE", "EXECUTING")
    with pytest.raises(TransitionError, match="a new plan cannot be EXECUTED; it begins as one of: WAITING"):
        check_transition("plan", BIRTH, "EXECUTED")


@pytest.mark.parametrize("kind", LIVES)
def test_every_status_can_be_reached_and_is_born_or_follows(kind):
    reached, edge = set(), followers(kind, BIRTH)
    while edge:
        reached |= set(edge)
        edge = [new for old in edge for new in followers(kind, old) if new not in reached]
    assert reached == set(statuses(kind))


@given(st.lists(st.sampled_from(statuses("sequence")), max_size=12))
def test_reserved_seconds_are_given_back_exactly_once_in_any_life_of_a_sequence(wishes):
    """MJ-T1: a reservation is open exactly while the sequence is planned or executing."""
    status, is_reserved = "COMPLETE", False
    for wish in wishes:
        try:
            step = check_transition("sequence", status, wish)
        except TransitionError:
            continue
        if step is None:
            continue
        if step.quota == "reserve":
            assert not is_reserved
            is_reserved = True
        elif step.quota in {"release", "settle"}:
            assert is_reserved
            is_reserved = False
        status = wish
        assert is_reserved == (status in {"PLANNED", "EXECUTING"})
