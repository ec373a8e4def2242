"""One record of the flight recorder: in memory as it happened, and packed as it is written. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import msgpack
import msgspec

from pyros.flight.redaction import redacted
from pyros.messages.base import Message
from pyros.messages.codec import BadMessageError, from_builtins, to_builtins

DELIVERED, PUBLISHED, LOST = "delivered", "published", "lost"
KINDS = (DELIVERED, PUBLISHED, LOST)


class Delivered(Protocol):
    """A message handed to its receiver, as the kernel's journal has it (`pyros.actors.kernel.Delivery`)."""

    @property
    def t_us(self) -> int:
        """Microseconds of UTC since 1970."""
        ...

    @property
    def sender(self) -> str:
        """Whose message it is."""
        ...

    @property
    def to(self) -> str:
        """Who took it."""
        ...

    @property
    def id(self) -> str:
        """The envelope's id; "" for the answer to a question."""
        ...

    @property
    def cause(self) -> str:
        """Id of the message in whose handling it was sent, or its question asked."""
        ...

    @property
    def message(self) -> Message:
        """The message itself."""
        ...


class Publication(msgspec.Struct, frozen=True):
    """An event or a state, when it was published."""

    t_us: int
    sender: str
    message: Message


class Loss(msgspec.Struct, frozen=True):
    """So many records could not be kept here."""

    t_us: int
    count: int


Record = Delivered | Publication | Loss


class Recorded(NamedTuple):
    """A record as it is read from a file."""

    t_us: int
    kind: str
    sender: str
    to: str
    id: str
    cause: str
    body: dict[str, Any]

    @property
    def tag(self) -> str:
        """The message's name."""
        return str(self.body.get("type", ""))

    @property
    def is_reply(self) -> bool:
        """Whether it is the answer to a question that `to` had asked."""
        return self.kind == DELIVERED and not self.id

    def message(self) -> Message | None:
        """Return the message, or None where this version of PyROS knows none like it."""
        try:
            return from_builtins(self.body)
        except BadMessageError:
            return None


def row_of(record: Record) -> list[Any]:
    """Return a record as it is written, without its secrets; what cannot be written says so in its place."""
    if isinstance(record, Loss):
        return [record.t_us, LOST, "", "", "", "", {"count": record.count}]
    if isinstance(record, Publication):
        return [record.t_us, PUBLISHED, record.sender, "", "", "", _body(record.message)]
    return [record.t_us, DELIVERED, record.sender, record.to, record.id, record.cause, _body(record.message)]


def packed(records: Iterable[Record]) -> bytes:
    """Return records as bytes, one object after the other."""
    return b"".join(_packed(record) for record in records)


def recorded(row: Any) -> Recorded | None:
    """Return a row that was read as a record, or None if it is none."""
    if not isinstance(row, list) or len(row) != len(Recorded._fields):
        return None
    t_us, kind, *names, body = row
    sound = isinstance(t_us, int) and not isinstance(t_us, bool) and kind in KINDS and isinstance(body, dict)
    return Recorded(*row) if sound and all(isinstance(name, str) for name in names) else None


def _packed(record: Record) -> bytes:
    row = row_of(record)
    try:
        raw = msgpack.packb(row)
    except (TypeError, ValueError, OverflowError) as error:
        assert not isinstance(record, Loss)  # noqa: S101 - three numbers are always packed
        raw = msgpack.packb([*row[:-1], _unwritable(record.message, error)])
    assert isinstance(raw, bytes)  # noqa: S101 - without an autoreset packer packb always returns bytes
    return raw


def _body(message: Message) -> dict[str, Any]:
    try:
        return redacted(to_builtins(message))
    except Exception as error:  # noqa: BLE001 - a message that holds what no wire takes must not end the recorder
        return _unwritable(message, error)


def _unwritable(message: Message, error: Exception) -> dict[str, Any]:
    return {"type": type(message).__name__, "unwritable": f"{type(error).__name__}: {error}"[:200]}
