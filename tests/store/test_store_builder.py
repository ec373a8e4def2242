"""Requests are built in one way, in order, all or nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from conftest import AT, ROWS, write
from hypothesis import given
from hypothesis import strategies as st

from pyros.messages.store import Committed, GetRows, Insert
from pyros.store.builder import (
    AlbumDraft,
    BuildError,
    PlanDraft,
    RequestBuilder,
    RequestDraft,
    SequenceDraft,
    build_request,
)
from pyros.store.commit import apply
from pyros.store.history import rows
from pyros.store.repositories import sequences_of

PLAN = PlanDraft(exposure_s=30.0, count=2, filter="r")
ALBUM = AlbumDraft(camera="vis", plans=[PLAN])
TARGET = {"name": "s", "target_name": "M31", "ra_deg": 10.0, "dec_deg": 41.0, "duration_s": 100.0}
SEQUENCE = SequenceDraft(**TARGET, albums=[ALBUM, AlbumDraft(camera="nir", plans=[PLAN, PLAN][:1])])
REQUEST = RequestDraft(name="r", user_id=1, sequences=[SEQUENCE, SEQUENCE])


def test_a_request_is_built_step_by_step_with_handles_as_parents(store, reader):
    """CO-C1, CO-C2, CO-C3."""
    write(store, Insert(table="user", values=ROWS["user"]))
    builder = RequestBuilder(AT)
    request = builder.add_request(RequestDraft(name="r", user_id=1))
    sequence = builder.add_sequence(request, SequenceDraft(**TARGET))
    album = builder.add_album(sequence, AlbumDraft(camera="vis"))
    plan = builder.add_plan(album, PLAN)
    assert rows(reader, GetRows(table="request")).total == 0, "nothing is stored before validate"
    answer = apply(store, [builder.validate()])[0]
    (tree,) = sequences_of(reader, request_id=answer.ids[request.index])
    assert (tree.id, tree.status, tree.kind) == (answer.ids[sequence.index], "COMPLETE", "routine")
    assert [one.id for one in tree.albums] == [answer.ids[album.index]]
    assert [(one.id, one.exposure_s, one.count) for one in tree.albums[0].plans] == [(answer.ids[plan.index], 30.0, 2)]


def test_the_whole_tree_at_once_gives_the_same_commit():
    """CO-C1: one builder for all paths."""
    builder = RequestBuilder(AT)
    request = builder.add_request(RequestDraft(name="r", user_id=1))
    for _ in range(2):
        sequence = builder.add_sequence(request, SequenceDraft(**TARGET))
        for camera in ("vis", "nir"):
            builder.add_plan(builder.add_album(sequence, AlbumDraft(camera=camera)), PLAN)
    assert builder.validate() == build_request(REQUEST, AT)


def test_an_alert_and_its_request_are_one_commit(store, reader):
    first = [Insert(table="alert", values=ROWS["alert"] | {"strategy_id": None})]
    draft = RequestDraft(
        name="GRB",
        kind="alert",
        alert_id={"$ref": 0},
        status="ACCEPTED",
        sequences=[SequenceDraft(**TARGET, status="OBSERVABLE", albums=[ALBUM])],
    )
    assert isinstance(apply(store, [build_request(draft, AT, first)])[0], Committed)
    (tree,) = sequences_of(reader, alert_id=1)
    assert (tree.kind, tree.status, tree.alert_id, tree.request_name) == ("alert", "OBSERVABLE", 1, "GRB")


def test_a_plan_without_an_album_is_an_error():
    """CO-C2."""
    builder = RequestBuilder(AT)
    request = builder.add_request(RequestDraft(name="r", user_id=1))
    sequence = builder.add_sequence(request, SequenceDraft(**TARGET))
    with pytest.raises(BuildError, match="plan added to a sequence; its parent must be: album"):
        builder.add_plan(sequence, PLAN)
    with pytest.raises(BuildError, match="sequence added to a sequence"):
        builder.add_sequence(sequence, SequenceDraft(**TARGET))
    with pytest.raises(BuildError, match="album added to a request"):
        builder.add_album(request, ALBUM)


def test_an_unfinished_request_cannot_be_validated():
    """CO-C4."""
    builder = RequestBuilder(AT)
    with pytest.raises(BuildError, match="there is no request"):
        builder.validate()
    request = builder.add_request(RequestDraft(name="r", user_id=1))
    with pytest.raises(BuildError, match="request 'r' is empty"):
        builder.validate()
    sequence = builder.add_sequence(request, SequenceDraft(**TARGET))
    with pytest.raises(BuildError, match="sequence 's' is empty"):
        builder.validate()
    album = builder.add_album(sequence, AlbumDraft(camera="vis"))
    with pytest.raises(BuildError, match="album 'vis' is empty"):
        builder.validate()
    builder.add_plan(album, PLAN)
    assert len(builder.validate().writes) == 4
    with pytest.raises(BuildError, match="after validate"):
        builder.add_plan(album, PLAN)


def request_with(**changes):
    return RequestDraft(name="r", user_id=1, sequences=[SequenceDraft(**(TARGET | {"albums": [ALBUM]} | changes))])


@pytest.mark.parametrize(
    ("draft", "words"),
    [
        (request_with(ra_deg=360.0), "sequence 's': Expected `float` < 360.0 - at `$.ra_deg`"),
        (request_with(dec_deg=-91.0), "at `$.dec_deg`"),
        (request_with(ra_deg=None, dec_deg=None), "only calibrations need no target"),
        (request_with(ra_deg=None), "has no ra_deg and dec_deg"),
        (request_with(priority=0), "at `$.priority`"),
        (request_with(duration_s=0.0), "at `$.duration_s`"),
        (request_with(duration_s=59.0), "duration_s is 59, but the exposures of album 'vis' need 60 s"),
        (request_with(earliest=datetime(2026, 1, 1)), "timezone component - at `$.earliest`"),
        (request_with(earliest=AT, latest=AT + timedelta(seconds=99)), "earliest to latest is 99 s, duration_s is 100"),
        (request_with(delta_left_s=3.0), "need t_preferred"),
        (request_with(earliest=AT, t_preferred=AT - timedelta(seconds=1)), "outside earliest to latest"),
        (request_with(latest=AT, t_preferred=AT + timedelta(seconds=1)), "outside earliest to latest"),
        (request_with(albums=[ALBUM, ALBUM]), "album 'vis' is a second one of that camera"),
        (request_with(albums=[AlbumDraft(camera="vis", plans=[PlanDraft(exposure_s=0.0)])]), "only a bias has none"),
        (
            request_with(albums=[AlbumDraft(camera="vis", plans=[PlanDraft(exposure_s=-1.0)])]),
            "plan '': Expected `float` >= 0.0 - at `$.exposure_s`",
        ),
        (RequestDraft(name="r", sequences=[SEQUENCE]), "has no user_id"),
        (RequestDraft(name="r", user_id=1, alert_id=3, sequences=[SEQUENCE]), "alerts have one"),
        (RequestDraft(name="r", kind="alert", sequences=[SEQUENCE]), "alerts have one"),
        (RequestDraft(name="", user_id=1, sequences=[SEQUENCE]), "at `$.name`"),
    ],
)
def test_a_bad_draft_is_refused_with_one_line_that_names_it(draft, words):
    with pytest.raises(BuildError) as caught:
        build_request(draft, AT)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_builder_makes_one_request_and_knows_its_own_handles():
    builder, other = RequestBuilder(AT), RequestBuilder(AT)
    request = builder.add_request(RequestDraft(name="r", user_id=1))
    with pytest.raises(BuildError, match="a builder makes one request"):
        builder.add_request(RequestDraft(name="again", user_id=1))
    with pytest.raises(BuildError, match="of this builder"):
        other.add_sequence(request, SequenceDraft(**TARGET))


PLANS = st.builds(
    PlanDraft, exposure_s=st.floats(0.1, 60), count=st.integers(1, 5), filter=st.sampled_from(["", "g", "r"])
)
ALBUMS = st.lists(st.lists(PLANS, min_size=1, max_size=3), min_size=1, max_size=3).map(
    lambda lists: [AlbumDraft(camera=f"c{number}", plans=plans) for number, plans in enumerate(lists)]
)


@given(st.lists(ALBUMS, min_size=1, max_size=3))
def test_every_part_of_a_valid_tree_is_written_after_its_parent(trees):
    sequences = [SequenceDraft(**TARGET | {"duration_s": 900.0}, albums=albums) for albums in trees]
    commit = build_request(RequestDraft(name="r", user_id=1, sequences=sequences), AT)
    parts = 1 + len(trees) + sum(len(albums) + sum(len(one.plans) for one in albums) for albums in trees)
    assert len(commit.writes) == parts
    for index, one in enumerate(commit.writes):
        references = [value["$ref"] for value in one.values.values() if isinstance(value, dict)]
        assert all(reference < index for reference in references)
        assert len(references) == (one.table != "request")
