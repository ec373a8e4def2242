"""Messages on the wire: `msgspec` builtins packed by msgpack, and strictly back.

A frame to the gateway is `[1, id, cause, to, expires_in_s, user, body]`; `body` is the message with its tag under
`type`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgpack
import msgspec

from pyros.messages.base import REGISTRY, Message

VERSION = 1


class BadMessageError(ValueError):
    """Something on the wire that is no message; one line says what and where."""


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """A request on the wire: a message and what the kernel's envelope needs to know of it."""

    id: str
    cause: str
    to: str
    expires_in_s: float
    user: str
    body: Message


def to_builtins(message: Message) -> dict[str, Any]:
    """Return the message as plain dicts, lists, numbers and strings; instants as ISO-8601 text ending in Z."""
    return msgspec.to_builtins(message, builtin_types=(bytes,))


def from_builtins(body: Any) -> Message:
    """Return the message that `body` describes.

    Raises
    ------
    BadMessageError
        Naming the place and the rule, when the type is unknown or a value is out of its limits.
    """
    tag = body.get("type") if isinstance(body, dict) else None
    message_type = REGISTRY.get(tag) if isinstance(tag, str) else None
    if message_type is None:
        raise BadMessageError(f"message type {tag!r} is unknown; `pyros messages` lists all")
    try:
        message = msgspec.convert(body, message_type, builtin_types=(bytes,))
    except (msgspec.ValidationError, ValueError) as error:
        raise BadMessageError(f"{tag}: {error}") from None
    _refuse_naive_instants(message)
    return message


def validated(message: Message) -> Message:
    """Check a message made in this process as strictly as one from the wire, and return it."""
    return from_builtins(to_builtins(message))


def pack(frame: Frame) -> bytes:
    """Encode a request."""
    body = to_builtins(frame.body)
    return _packed([VERSION, frame.id, frame.cause, frame.to, frame.expires_in_s, frame.user, body])


def unpack(raw: bytes) -> Frame:
    """Decode a request; raises `BadMessageError`."""
    try:
        fields = msgpack.unpackb(raw)
    except (ValueError, msgpack.UnpackException) as error:
        raise BadMessageError(f"not msgpack: {error}") from None
    if not isinstance(fields, list) or len(fields) != 7 or fields[0] != VERSION:
        raise BadMessageError("a frame is [1, id, cause, to, expires_in_s, user, body]")
    _, identifier, cause, to, expires_in_s, user, body = fields
    texts = (identifier, cause, to, user)
    if not all(isinstance(text, str) and len(text) <= 200 for text in texts):
        raise BadMessageError("id, cause, to and user of a frame are texts of at most 200 characters")
    if isinstance(expires_in_s, bool) or not isinstance(expires_in_s, int | float) or not 0 < expires_in_s <= 3600:
        raise BadMessageError(f"expires_in_s is {expires_in_s!r}; it must be above 0 and at most 3600 seconds")
    return Frame(
        id=identifier, cause=cause, to=to, expires_in_s=float(expires_in_s), user=user, body=from_builtins(body)
    )


def pack_message(message: Message) -> bytes:
    """Encode a message alone (replies and events)."""
    return _packed(to_builtins(message))


def unpack_message(raw: bytes) -> Message:
    """Decode a message alone; raises `BadMessageError`."""
    try:
        return from_builtins(msgpack.unpackb(raw))
    except (ValueError, msgpack.UnpackException) as error:
        if isinstance(error, BadMessageError):
            raise
        raise BadMessageError(f"not msgpack: {error}") from None


def _packed(value: Any) -> bytes:
    packed = msgpack.packb(value)
    assert isinstance(packed, bytes)  # noqa: S101 - without an autoreset packer packb always returns bytes
    return packed


def _refuse_naive_instants(message: Message) -> None:
    for field in message.__struct_fields__:
        _refuse_naive(getattr(message, field), f"{type(message).__name__}: {field}")


def _refuse_naive(value: Any, place: str) -> None:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise BadMessageError(f"{place} has no time zone; instants are UTC, ending in Z")
    if isinstance(value, Message):
        _refuse_naive_instants(value)
    elif isinstance(value, list):
        for item in value:
            _refuse_naive(item, place)
