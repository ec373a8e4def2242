"""The reference of messages, printed from the messages themselves: `python -m pyros.messages.reference [NAME…]`.

For each message its kind, what it means, its fields with types and limits, and the budget of its handler. Who takes it
is known by the actors, not here; a caller that knows gives `receivers`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import inspect

from pyros.messages import REGISTRY, Command, Message

KINDS = ("command", "query", "event", "state", "reply", "part")
BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"), ("min_length", "length ≥"), ("max_length", "length ≤"))
PLAIN = {"NoneType": "none", "DateTimeType": "instant", "StrType": "text", "AnyType": "any"}


def messages(kind: str) -> list[type[Message]]:
    """Return the messages of one kind, by name, without the bases; "part" are values inside others."""
    found = (message for message in REGISTRY.values() if message.kind == kind and not message.__subclasses__())
    return sorted(found, key=lambda message: message.__name__)


def reference(names: Sequence[str] = (), receivers: Callable[[str], Iterable[str]] | None = None) -> str:
    """Return the reference of all messages, or of those named.

    Parameters
    ----------
    names
        Tags; empty for all.
    receivers
        Gives the names of the actors that take the message of a tag.

    Raises
    ------
    ValueError
        If a name is no message.
    """
    unknown = [name for name in names if name not in REGISTRY]
    if unknown:
        raise ValueError(f"there is no message {', '.join(unknown)}; without a name all are listed")
    lines: list[str] = []
    for kind in KINDS:
        chosen = [message for message in messages(kind) if not names or message.__name__ in names]
        if chosen:
            lines += [f"{kind.upper()}S" if kind != "query" else "QUERIES", ""]
        for message in chosen:
            lines += [*entry(message, receivers), ""]
    return "\n".join(lines)


def entry(message: type[Message], receivers: Callable[[str], Iterable[str]] | None = None) -> list[str]:
    """Return the lines of one message: its name and rules, its meaning, and a line for each field."""
    takers = "" if receivers is None else ", ".join(receivers(message.__name__))
    rules = [f"to {takers}"] if takers else []
    if message.kind in {"command", "query"}:
        rules.append(f"budget {message.budget_s:g} s")
    if issubclass(message, Command) and message.makes_safer:
        rules.append("makes safer: never expired or refused by a full mailbox")
    head = message.__name__ + (f"  ({'; '.join(rules)})" if rules else "")
    meaning = " ".join((message.__doc__ or "").split())
    return [head, f"    {meaning}", *(f"    {line}" for line in fields(message))]


def fields(message: type[Message]) -> list[str]:
    """Return one line for each field: name, type with its limits, and default."""
    structure = inspect.type_info(message)
    assert isinstance(structure, inspect.StructType)  # noqa: S101 - every message is a Struct
    return [f"{field.name}: {describe(field.type)}{_default(field)}" for field in structure.fields]


def describe(kind: inspect.Type) -> str:
    """Return a field's type in words, with its limits."""
    match kind:
        case inspect.UnionType(types):
            return " or ".join(describe(one) for one in types)
        case inspect.ListType(item_type):
            return f"list of {describe(item_type)}"
        case inspect.DictType(key_type, value_type):
            return f"map of {describe(key_type)} to {describe(value_type)}"
        case inspect.LiteralType(values):
            return " | ".join(repr(value) for value in values)
        case inspect.StructType(cls):
            return cls.__name__
        case inspect.Metadata(inner):
            return describe(inner)
        case _:
            name = type(kind).__name__
            return PLAIN.get(name, name.removesuffix("Type").lower()) + _limits(kind)


def _limits(kind: inspect.Type) -> str:
    found = [f"{sign} {limit}" for bound, sign in BOUNDS if (limit := getattr(kind, bound, None)) is not None]
    pattern = getattr(kind, "pattern", None)
    return f" ({', '.join([*found, *([f'like {pattern}'] if pattern else [])])})" if found or pattern else ""


def _default(field: inspect.Field) -> str:
    if field.default is not msgspec.NODEFAULT:
        return f" = {field.default!r}"
    return "" if field.default_factory is msgspec.NODEFAULT else " = empty"


def main(arguments: Sequence[str]) -> int:
    """Print the reference; exit status 2 for an unknown name."""
    try:
        sys.stdout.write(reference(arguments) + "\n")
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
