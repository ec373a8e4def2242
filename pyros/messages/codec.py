"""Messages on the wire: `msgspec` builtins packed by msgpack, and strictly back.

A frame to the gateway is `[1, id, cause, to, expires_in_s, user, body]`; `body` is the message with its tag under
`type`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import msgpack
import msgspec
from msgspec import inspect

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
    """Check a message made in this process as strictly as one from the wire, and return it as that would arrive.

    A message of plain fields goes through msgspec's own encoder and decoder, at a tenth of the cost; where these do not
    take it, the way of the wire decides and says why.

    Raises
    ------
    BadMessageError
        Naming the place and the rule.
    """
    decode = _plain_decoder(type(message))
    if decode is not None:
        try:
            return decode(_encode(message))
        except (TypeError, ValueError, OverflowError, RecursionError):
            pass  # said in full below
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


_encode = msgspec.msgpack.Encoder().encode
_PLAIN = (inspect.NoneType, inspect.BoolType, inspect.IntType, inspect.FloatType, inspect.StrType, inspect.LiteralType)
"""What both encodings write alike; instants, bytes and what has no type they do not."""


@cache
def _plain_decoder(message_type: type[Message]) -> Callable[[bytes], Message] | None:
    """Return msgspec's own decoder of a message whose fields mean the same in both encodings, or None."""
    if _is_plain(inspect.type_info(message_type)):
        return msgspec.msgpack.Decoder(message_type).decode
    return None


def _is_plain(kind: inspect.Type) -> bool:
    match kind:
        case inspect.StructType(fields=fields):
            return all(_is_plain(field.type) for field in fields)
        case inspect.UnionType(types):
            return all(_is_plain(one) for one in types)
        case inspect.ListType(item_type):
            return _is_plain(item_type)
        case inspect.Metadata(inner):
            return _is_plain(inner)
        case _:
            return isinstance(kind, _PLAIN)


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
