"""Every message over the wire and back, and everything that is no message refused in one line."""

import ast
import subprocess
import sys
from datetime import UTC, datetime

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from messages_survey import MESSAGES
from msgspec import inspect

from pyros.messages import REGISTRY, Command, Done, Refused
from pyros.messages.codec import (
    BadMessageError,
    Frame,
    from_builtins,
    pack,
    pack_message,
    to_builtins,
    unpack,
    unpack_message,
    validated,
)
from pyros.messages.devices import Expose, Slew, Target
from pyros.messages.night import ScheduleMade
from pyros.messages.people import SubmitRequest
from pyros.messages.store import Commit, FileChunk, Insert

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
SLEW = Slew(ra_deg=10.0, dec_deg=-5.0, sequence_id=1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def values(kind):
    """A hypothesis strategy for one msgspec type."""
    match kind:
        case inspect.Metadata(inner):
            return values(inner)
        case inspect.UnionType(types):
            return st.one_of([values(one) for one in types])
        case inspect.LiteralType(literals):
            return st.sampled_from(literals)
        case inspect.ListType(item_type):
            return st.lists(values(item_type), max_size=2)
        case inspect.DictType(key_type, value_type):
            return st.dictionaries(values(key_type), values(value_type), max_size=2)
        case inspect.StructType(cls):
            return samples(cls)
        case inspect.IntType():
            return st.integers(*_bounds(kind, -(2**62), 2**62))
        case inspect.FloatType():
            low, high = _bounds(kind, -1e300, 1e300)
            return st.floats(low, high, exclude_min=kind.gt is not None, exclude_max=kind.lt is not None)
        case inspect.StrType():
            return _texts(kind)
        case inspect.BytesType():
            return st.binary(max_size=20)
        case inspect.DateTimeType():
            return st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.AnyType():
            return st.none() | st.integers(-9, 9) | TEXT | st.binary(max_size=3) | st.lists(st.booleans(), max_size=2)
    raise AssertionError(f"no strategy for {kind}")


def _bounds(kind, low, high):
    lower = next((limit for limit in (kind.ge, kind.gt) if limit is not None), low)
    upper = next((limit for limit in (kind.le, kind.lt) if limit is not None), high)
    return lower, upper


def _texts(kind):
    if kind.pattern:
        return st.from_regex(kind.pattern, fullmatch=True).filter(lambda text: len(text) <= (kind.max_length or 100))
    return st.text(st.characters(codec="utf-8"), min_size=kind.min_length or 0, max_size=20)


def samples(cls):
    """A hypothesis strategy for one message."""
    fields = inspect.type_info(cls).fields
    return st.builds(cls, **{field.name: values(field.type) for field in fields})


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_every_message_comes_back_from_the_wire_as_it_was(name):
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(samples(MESSAGES[name]))
    def round_trip(message):
        assert unpack_message(pack_message(message)) == message
        assert validated(message) == message
        frame = Frame(id="1-1", cause="1-1", to="a", expires_in_s=5.0, user="ann", body=message)
        assert unpack(pack(frame)) == frame

    round_trip()


def test_every_tag_is_a_class_name_and_belongs_to_one_message():
    assert all(name == message.__name__ == message.__struct_config__.tag for name, message in REGISTRY.items())


def test_every_message_is_frozen_takes_keywords_only_and_forbids_unknown_fields():
    for message in MESSAGES.values():
        config = message.__struct_config__
        assert config.frozen
        assert config.forbid_unknown_fields
        if message.__struct_fields__:
            with pytest.raises(TypeError):
                message(None)


def test_a_second_message_of_the_same_name_is_refused_at_its_definition():
    with pytest.raises(TypeError, match="two messages are called Slew"):
        type(Command)("Slew", (Command,), {"__module__": "elsewhere"})


def test_every_message_says_what_it_means_and_has_a_budget_above_zero():
    for message in MESSAGES.values():
        assert (message.__doc__ or "").strip().endswith("."), message
        assert 0 < message.budget_s <= 60


def test_no_message_is_called_like_a_hook_of_the_actors():
    assert not {"Start", "Stop", "Failure", "Receive"} & set(REGISTRY)


# -- strictness ------------------------------------------------------------------------------------------------------

BODY = to_builtins(SLEW)
WRONG = {
    "unknown type": ({**BODY, "type": "Slwe"}, "message type 'Slwe' is unknown"),
    "no type": ({"ra_deg": 1.0}, "message type None is unknown"),
    "a type that is no text": ({**BODY, "type": ["Slew"]}, "is unknown"),
    "not a map": ([1, 2], "message type None is unknown"),
    "unknown field": ({**BODY, "speed": 1}, "unknown field `speed`"),
    "missing field": ({"type": "Slew", "ra_deg": 1.0}, "missing required field `dec_deg`"),
    "out of range": ({**BODY, "ra_deg": 360.0}, "`float` < 360.0 - at `$.ra_deg`"),
    "not a number": ({**BODY, "ra_deg": float("nan")}, "at `$.ra_deg`"),
    "infinite": ({**BODY, "dec_deg": float("inf")}, "at `$.dec_deg`"),
    "text for a number": ({**BODY, "ra_deg": "10.0"}, "Expected `float`, got `str`"),
    "truth for a number": ({**BODY, "sequence_id": True}, "Expected `int`, got `bool`"),
    "fraction for a whole number": ({**BODY, "sequence_id": 1.5}, "Expected `int`, got `float`"),
}


@pytest.mark.parametrize(("body", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_no_message_is_refused_with_the_place_and_the_rule(body, reason):
    with pytest.raises(BadMessageError) as error:
        from_builtins(body)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_a_field_deep_inside_is_named_by_its_place():
    expose = Expose(
        exposure_s=1.0,
        frame="light",
        filter="r",
        sequence_id=1,
        plan_id=1,
        number=0,
        target=Target(name="M31", ra_deg=10.0, dec_deg=99.0),
    )
    with pytest.raises(BadMessageError, match=r"at `\$\.target\.dec_deg`"):
        validated(expose)


def submit(earliest):
    request = SubmitRequest(user="ann", programme="p", name="n", target_name="M31", ra_deg=1.0, dec_deg=1.0)
    return {**to_builtins(request), "earliest": earliest}


def test_an_instant_without_a_time_zone_is_refused():
    with pytest.raises(BadMessageError, match="earliest has no time zone"):
        from_builtins(submit("2026-11-22T03:00:00"))
    assert from_builtins(submit("2026-11-22T03:00:00Z")).earliest == NOW


def test_an_instant_without_a_time_zone_is_refused_inside_a_list_too():
    body = {
        "type": "ScheduleMade",
        "schedule_id": 1,
        "trigger": "x",
        "rejected": [],
        "placed": [
            {
                "type": "PlannedSequence",
                "sequence_id": 1,
                "name": "x",
                "start": "2026-11-22T03:00:00",
                "end": "2026-11-22T04:00:00Z",
                "delta_tl_s": 0.0,
                "delta_tr_s": 0.0,
                "priority": 1,
            }
        ],
    }
    assert isinstance(from_builtins(body | {"placed": []}), ScheduleMade)
    with pytest.raises(BadMessageError, match="start has no time zone"):
        from_builtins(body)


def test_instants_travel_as_iso_text_ending_in_z_and_bytes_as_bytes():
    commit = Commit(writes=[Insert(table="image", values={"at": NOW, "raw": b"\x00"})], reason="x")
    assert to_builtins(commit)["writes"][0]["values"] == {"at": "2026-11-22T03:00:00Z", "raw": b"\x00"}
    chunk = FileChunk(name="x", offset=0, size=3, content=b"abc")
    assert unpack_message(pack_message(chunk)) == chunk


# -- hostile frames --------------------------------------------------------------------------------------------------

HEAD = [1, "1-1", "1-1", "a", 5.0, "ann"]
HOSTILE = {
    "empty": b"",
    "not msgpack": b"\xc1\xc1\xc1",
    "an announced array of four thousand million": b"\xdd\xff\xff\xff\xff",
    "an announced text of four gigabytes": b"\xdb\xff\xff\xff\xff",
    "nested beyond reason": b"\x91" * 5000 + b"\x01",
    "cut short": pack(Frame(id="", cause="", to="", expires_in_s=1.0, user="", body=SLEW))[:-3],
    "trailing bytes": pack(Frame(id="", cause="", to="", expires_in_s=1.0, user="", body=SLEW)) + b"\x01",
    "a text that is no UTF-8": msgpack.packb([*HEAD, "x"])[:-1] + b"\xff",
    "another version": msgpack.packb([2, *HEAD[1:], BODY]),
    "too few fields": msgpack.packb([1, "a"]),
    "a map": msgpack.packb(BODY),
    "a long user": msgpack.packb([*HEAD[:5], "x" * 201, BODY]),
    "a number for an id": msgpack.packb([1, 7, *HEAD[2:], BODY]),
    "a deadline that is not a number": msgpack.packb([*HEAD[:4], float("nan"), "ann", BODY]),
    "a deadline of zero": msgpack.packb([*HEAD[:4], 0, "ann", BODY]),
    "a deadline of a day": msgpack.packb([*HEAD[:4], 86_400, "ann", BODY]),
    "a deadline that is true": msgpack.packb([*HEAD[:4], True, "ann", BODY]),
    "a body that is no message": msgpack.packb([*HEAD, [1]]),
    "keys that are no text": msgpack.packb([*HEAD, {1: 2, "type": "Slew"}]),
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_frame_is_refused_in_one_line(raw):
    with pytest.raises(BadMessageError) as error:
        unpack(raw)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", [case for case in HOSTILE if case != "a map"])
def test_a_hostile_frame_is_no_message_either(case):
    with pytest.raises(BadMessageError):
        unpack_message(HOSTILE[case])


@given(st.binary(max_size=200))
def test_no_bytes_whatever_do_more_than_be_refused(raw):
    try:
        unpack(raw)
    except BadMessageError:
        return
    raise AssertionError(f"{raw!r} passed as a frame")


def test_replies_have_no_surprises():
    assert unpack_message(pack_message(Done())) == Done()
    assert pack_message(Refused(reason="rain")) == msgpack.packb({"type": "Refused", "reason": "rain"})


def test_the_messages_import_nothing_else_of_pyros():
    probe = (
        "import sys, pyros.messages.reference, pyros.messages.codec;"
        "print([name for name in sys.modules if name.startswith('pyros.')])"
    )
    out = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60).stdout
    assert all(module.startswith("pyros.messages") for module in ast.literal_eval(out))
