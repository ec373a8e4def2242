"""A command is judged alike by the short way and by the way of the wire, whatever a sender has put into it."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.messages import REGISTRY, Command
from pyros.messages.codec import BadMessageError, _plain_decoder, from_builtins, to_builtins, validated
from pyros.messages.devices import CloseDome, Expose, Slew

PLAIN = sorted(
    (kind for kind in REGISTRY.values() if issubclass(kind, Command) and _plain_decoder(kind) is not None),
    key=lambda kind: kind.__name__,
)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, -1, 2**63, 2**64, 2**70, -(2**63) - 1]),
    st.floats(),
    st.sampled_from([0.0, 1.0, 90.0, 360.0, math.nextafter(360.0, 0.0), 1e300]),
    st.text(max_size=5),
    st.sampled_from(["\ud800", "raise", "light", "2026-11-22T00:00:00Z", "x" * 30_000]),
    st.binary(max_size=3),
    st.just(datetime(2026, 11, 22, tzinfo=UTC)),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
    st.just(object()),
    st.just(Slew(ra_deg=1.0, dec_deg=2.0, sequence_id=3)),
)


def outcome(check, message):
    try:
        return repr(check(message))
    except (BadMessageError, TypeError, ValueError, OverflowError, RecursionError) as error:
        return type(error), str(error)


@given(st.data())
def test_the_short_way_says_what_the_way_of_the_wire_says(data):
    kind = data.draw(st.sampled_from(PLAIN))
    message = kind(**{name: data.draw(ANYTHING, name) for name in kind.__struct_fields__})
    assert outcome(validated, message) == outcome(lambda m: from_builtins(to_builtins(m)), message)


def test_most_commands_go_the_short_way_and_those_with_instants_or_free_values_do_not():
    assert {"Slew", "Expose", "CloseDome", "Park"} <= {kind.__name__ for kind in PLAIN}
    assert not {"Beat", "Commit"} & {kind.__name__ for kind in PLAIN}


@pytest.mark.parametrize("wrong", [360.0, -0.1, math.nan, math.inf, "1.5", True, None])
def test_a_plain_command_out_of_its_limits_is_refused_by_place_and_rule(wrong):
    with pytest.raises(BadMessageError, match=r"Slew: Expected `float`.*at `\$\.ra_deg`"):
        validated(Slew(ra_deg=wrong, dec_deg=0.0, sequence_id=1))


def test_a_valid_command_comes_back_as_it_would_from_the_wire():
    expose = Expose(exposure_s=1, frame="light", filter="r", sequence_id=1, plan_id=2, number=3)
    assert validated(expose) == expose
    assert isinstance(validated(expose).exposure_s, float)
    assert validated(CloseDome(cause="x")) == CloseDome(cause="x")
