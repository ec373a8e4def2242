"""The reference of messages as text, made from the types themselves so that it cannot be out of date. Pure."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
from msgspec import inspect as types

from pyros.cli.typed import CONCRETE
from pyros.messages import Message

_KINDS = {
    "command": "Commands", "query": "Queries", "event": "Events", "state": "States", "reply": "Replies",
    "part": "Parts of messages",
}  # fmt: skip
_UNITS = {
    "_arcsec": "arcseconds", "_arcmin": "arcminutes", "_m_s": "metres per second",
    "_deg": "degrees", "_percent": "percent", "_hpa": "hectopascals", "_mag": "magnitudes", "_s": "seconds",
    "_c": "degrees Celsius",
}  # fmt: skip
_NAMES = {
    types.AnyType: "anything", types.NoneType: "null", types.BoolType: "true or false", types.IntType: "whole number",
    types.FloatType: "number", types.StrType: "text", types.BytesType: "bytes (base64 on the command line)",
    types.DateTimeType: "instant, ISO-8601 UTC",
}  # fmt: skip


def listing() -> str:
    """Return every message by kind, a line each."""
    lines: list[str] = []
    for kind, title in _KINDS.items():
        lines += ["", title] if lines else [title]
        found = [(name, message) for name, message in sorted(CONCRETE.items()) if message.kind == kind]
        lines += [f"  {name:24} {_summary(message)}" for name, message in found]
    return "\n".join(lines)


def reference(message: type[Message]) -> str:
    """Return one message: its kind, what it is for, and its fields with types, limits, units and defaults."""
    safer = ", makes safer: never expired, fenced or refused by a full mailbox" if _makes_safer(message) else ""
    head = [f"{message.__name__} ({message.kind}{safer})", inspect.cleandoc(message.__doc__ or "")]
    info = types.type_info(message)
    assert isinstance(info, types.StructType)  # noqa: S101 - messages are structs
    rows = [(field.name, _meaning(field)) for field in info.fields]
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([*head, *(f"  {name:{width}}  {meaning}" for name, meaning in rows)])


def _summary(message: type[Message]) -> str:
    return inspect.cleandoc(message.__doc__ or "").partition("\n")[0]


def _makes_safer(message: type[Message]) -> bool:
    return bool(getattr(message, "makes_safer", False))


def _meaning(field: types.Field) -> str:
    unit = next((unit for suffix, unit in _UNITS.items() if field.name.endswith(suffix)), "")
    default = "" if field.required else f"; {_default(field)} unless given"
    return _type(field.type) + (f", {unit}" if unit else "") + default


def _default(field: types.Field) -> str:
    value: Any = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return msgspec.json.encode(value).decode()


def _type(kind: types.Type) -> str:
    """Return a type in words with its limits."""
    if isinstance(kind, types.Metadata):
        return _type(kind.type)
    if isinstance(kind, types.UnionType):
        return " or ".join(_type(part) for part in kind.types)
    if isinstance(kind, types.LiteralType):
        return " | ".join(str(value) for value in kind.values)
    if isinstance(kind, types.StructType):
        return kind.cls.__name__
    if isinstance(kind, types.ListType):
        return f"list of ({_type(kind.item_type)})"
    if isinstance(kind, types.DictType):
        return f"map of {_type(kind.key_type)} to {_type(kind.value_type)}"
    name = next((name for base, name in _NAMES.items() if isinstance(kind, base)), type(kind).__name__)
    return " ".join([name, *_limits(kind)])


def _limits(kind: types.Type) -> list[str]:
    signs = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}", "pattern": "like {}"}
    found = {name: getattr(kind, name, None) for name in signs}
    limits = [signs[name].format(value) for name, value in found.items() if value is not None]
    shortest, longest = getattr(kind, "min_length", None), getattr(kind, "max_length", None)
    if longest is not None:
        limits.append(f"of {shortest or 0} to {longest} characters")
    return limits
