"""The arithmetic of the lost-time ledger."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.cli.night.attribution import CATEGORIES, attribute, merged, overlap, total_s, without

instants = st.integers(0, 300)
spans = st.lists(st.tuples(instants, instants), max_size=12)
claims = st.dictionaries(st.sampled_from(CATEGORIES), spans)


def seconds(ones):
    return {t for begin, end in ones for t in range(begin, end)}


@given(spans, spans)
def test_spans_add_and_subtract_like_the_seconds_they_hold(ones, others):
    a, b = merged(ones), merged(others)
    assert seconds(a) == seconds(ones)
    assert seconds(overlap(a, b)) == seconds(a) & seconds(b)
    assert seconds(without(a, b)) == seconds(a) - seconds(b)
    for result in (a, overlap(a, b), without(a, b)):
        assert all(begin < end for begin, end in result)
        assert all(one[1] <= two[0] for one, two in itertools.pairwise(result))


@given(claims, instants, instants)
def test_every_dark_second_belongs_to_exactly_one_category(claimed, begin, end):
    shares = attribute((begin, end), claimed)
    held = [t for spans in shares.values() for t in seconds(spans)]
    assert list(shares) == list(CATEGORIES)
    assert sorted(held) == list(range(begin, end))


@given(claims, instants, instants)
def test_a_second_belongs_to_the_first_category_that_claims_it(claimed, begin, end):
    shares = attribute((begin, end), claimed)
    for t in range(begin, end):
        first = next((c for c in CATEGORIES[:-1] if t in seconds(claimed.get(c, []))), "no_target")
        assert t in seconds(shares[first])


@given(st.lists(st.tuples(st.integers(0, 10**11), st.integers(0, 10**11)), max_size=30), st.integers(1, 10**11))
def test_the_parts_add_up_to_the_dark_time_to_a_microsecond(taken, end):
    shares = attribute((0, end), {"exposing": taken[::3], "weather": taken[1::3], "readout": taken[2::3]})
    assert sum(total_s(spans) for spans in shares.values()) == pytest.approx(end / 1e6, abs=1e-6)


def test_a_claim_of_an_unknown_category_is_refused_by_name():
    with pytest.raises(ValueError, match="'lunch' is unknown"):
        attribute((0, 1), {"lunch": [(0, 1)]})
