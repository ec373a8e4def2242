"""Turns a TOML table into a typed value and names every fault of it at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class TableError(ValueError):
    """A table with faults; one line of the message for each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def typed(kind: type[T], table: object, where: str) -> tuple[T | None, list[str]]:
    """Return the table as a `kind`, or None and its faults, each naming key, value and rule.

    Lists of structures are looked into, so that a fault in the third exposure does not hide one in the fourth.
    """
    if not isinstance(table, Mapping):
        return None, [f"{where} is {table!r:.40}, not a table"]
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    faults = [_unknown(where, str(key), list(fields)) for key in table if key not in fields]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in table:
            values[field.name], found = _value(field.type, table[name], f"{where}.{name}")
            faults += found
        elif field.required:
            faults.append(f"{where}.{name} is missing")
    return (None, faults) if faults else (kind(**values), [])


def _value(kind: Any, value: Any, where: str) -> tuple[Any, list[str]]:
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    parts = [part for part in get_args(plain) if isinstance(part, type) and issubclass(part, msgspec.Struct)]
    if parts and isinstance(value, list):
        rows = [typed(parts[0], row, f"{where}[{number}]") for number, row in enumerate(value, 1)]
        faults = [fault for _, found in rows for fault in found]
        if faults:
            return None, faults
    try:
        return msgspec.convert(value, kind), []
    except msgspec.ValidationError as error:
        return None, [f"{where} is {value!r:.60}: {error}"]


def _unknown(where: str, key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    return f"{where}.{key} is not a known key; {hint}"
