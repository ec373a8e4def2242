"""From words to messages and back: `Slew ra_deg=83.6 …` on the command line, and one line for any message. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from pyros.messages.base import REGISTRY, Command, Event, Message, Part, Query, Reply, State
from pyros.messages.codec import BadMessageError, from_builtins, to_builtins

_ABSTRACT = (Message, Command, Query, Event, State, Reply, Part)
CONCRETE = {name: message for name, message in REGISTRY.items() if message not in _ABSTRACT}
"""Every message that can be sent, by its tag."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
_PLAIN = re.compile(r"[\w.:+/@-]+")


class WordsError(ValueError):
    """The words make no message; one line names the word, the rule and the nearest right one."""


def message_from(name: str, pairs: Sequence[str]) -> Message:
    """Return the message `name` with the fields that `pairs` (`key=value`) give.

    Raises
    ------
    WordsError
        For a name or key that does not exist, a value out of its field's limits, or a field that is missing.
    """
    message_type = message_type_named(name)
    fields = {field.name: field for field in msgspec.structs.fields(message_type)}
    values: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise WordsError(f"{pair!r} is not key=value; {_has(name, fields)}")
        if key not in fields:
            raise WordsError(f"{name} has no field {key!r}{_nearest(key, fields) or '; ' + _has(name, fields)}")
        if key in values:
            raise WordsError(f"{name}: {key} is given twice")
        values[key] = _value(name, key, text, fields[key].type)
    missing = [key for key, field in fields.items() if field.required and key not in values]
    if missing:
        raise WordsError(f"{name} needs {', '.join(missing)} too; see `pyros messages {name}`")
    try:
        return from_builtins(to_builtins(message_type(**values)))
    except BadMessageError as error:
        raise WordsError(str(error)) from error


def message_type_named(name: str) -> type[Message]:
    """Return a message's type by its tag; raises `WordsError` with the nearest one."""
    message_type = CONCRETE.get(name)
    if message_type is None:
        raise WordsError(f"there is no message {name!r}{_nearest(name, CONCRETE) or '; `pyros messages` lists them'}")
    return message_type


def one_line(message: Message) -> str:
    """Return a message as its tag and `key=value` words, safe for a terminal; fields at their defaults are left out."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(type(message)) if not field.required}
    shown = [key for key in message.__struct_fields__ if getattr(message, key) != defaults.get(key, msgspec.NODEFAULT)]
    content: dict[str, Any] = msgspec.to_builtins(message)
    return " ".join([type(message).__name__, *(f"{key}={_word(content[key])}" for key in shown)])


def _word(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)


def _value(name: str, key: str, text: str, kind: Any) -> Any:
    """Convert by the field's type: the text itself where it fits, else what it is as JSON."""
    parsed = _parsed(text)
    complaint = ""
    for attempt in [parsed] if isinstance(parsed, str) else [text, parsed]:
        try:
            return msgspec.convert(attempt, kind)
        except (msgspec.ValidationError, ValueError) as error:
            complaint = str(error)
    raise WordsError(f"{name}: {key} is {text[:80]!r}: {complaint}")


def _parsed(text: str) -> Any:
    """Return the text as JSON, or as a number as people write them (`.5`, `+5`), or as it is."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return float(text) if _NUMBER.fullmatch(text) else text


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number here")


def _nearest(word: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1) or [n for n in names if n.lower().startswith(word.lower())]
    return f"; did you mean {near[0]}?" if near else ""


def _has(name: str, fields: Iterable[str]) -> str:
    listed = ", ".join(fields)
    return f"{name} has {listed}" if listed else f"{name} has no fields"
