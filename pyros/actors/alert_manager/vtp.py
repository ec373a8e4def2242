"""The VOEvent Transport Protocol without any socket: bytes in, frames out, and the answers a subscriber owes.

A frame is a big-endian 32-bit length and that many bytes of XML: a VOEvent, or a Transport message (`iamalive`,
`authenticate`, `ack`, `nak`). See the IVOA note "VOEvent Transport Protocol", 2.0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs

from pyros.actors.alert_manager.voevent import MAX_BYTES, NoticeError, parse_xml

NAMESPACE = "http://www.telescope-networks.org/xml/Transport/v1.1"
ROLES = ("iamalive", "authenticate", "ack", "nak")
_LENGTH = struct.Struct("!I")


class FrameError(ValueError):
    """The peer announced a frame that must not be read; the connection is to be closed."""


class Decoder:
    """Cuts a stream of bytes into frames. Holds at most one incomplete frame, whose length was checked first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Take what came and hand out the frames that are complete.

        Raises
        ------
        FrameError
            If a frame is empty or longer than allowed, as soon as its header is there.
        """
        self._buffer += received
        return self._frames()

    def _frames(self) -> Iterator[bytes]:
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if not 0 < length <= self._max_bytes:
                raise FrameError(f"frame of {length} bytes announced; 1 to {self._max_bytes} are allowed")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield frame

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame that wait; above 0 for long means a stalled peer."""
        return len(self._buffer)


class Transport(msgspec.Struct, frozen=True, kw_only=True):
    """A Transport message."""

    role: str
    origin: str
    """The sender's IVORN; in an ack or nak that of the event."""
    response: str = ""
    timestamp: str = ""
    result: str = ""


def frame(xml: bytes) -> bytes:
    """Return the XML with its length in front.

    Raises
    ------
    FrameError
        If it is empty or longer than a peer would take.
    """
    if not 0 < len(xml) <= MAX_BYTES:
        raise FrameError(f"frame of {len(xml)} bytes not sent; 1 to {MAX_BYTES} are allowed")
    return _LENGTH.pack(len(xml)) + xml


def kind_of(xml: bytes) -> str:
    """Return `voevent`, or the role of a Transport message.

    Raises
    ------
    NoticeError
        If it is neither, or unreadable.
    """
    root = parse_xml(xml)
    name = etree.QName(root).localname
    if name == "VOEvent":
        return "voevent"
    role = root.get("role", "")
    if name != "Transport" or role not in ROLES:
        raise NoticeError(f"neither a VOEvent nor a Transport message: {name[:40]!r} with role {role[:40]!r}")
    return role


def read_transport(xml: bytes) -> Transport:
    """Read a Transport message.

    Raises
    ------
    NoticeError
        If it is none, or unreadable.
    """
    role = kind_of(xml)
    if role == "voevent":
        raise NoticeError("a VOEvent where a Transport message was expected")
    root = parse_xml(xml)
    fields = {name: (root.findtext(name) or "").strip() for name in ("Origin", "Response", "TimeStamp")}
    return Transport(
        role=role,
        origin=fields["Origin"],
        response=fields["Response"],
        timestamp=fields["TimeStamp"],
        result=(root.findtext("Meta/Result") or "").strip(),
    )


def ack(ivorn: str, local_ivorn: str, now: datetime) -> bytes:
    """Return the message that an event is in safe keeping here."""
    return _transport("ack", ivorn, local_ivorn, now)


def nak(ivorn: str, local_ivorn: str, now: datetime, reason: str) -> bytes:
    """Return the message that an event was refused, and why (a broker may drop a subscriber for it)."""
    return _transport("nak", ivorn, local_ivorn, now, result=reason)


def iamalive(local_ivorn: str, now: datetime) -> bytes:
    """Return what a broker sends to see whether its subscriber lives."""
    return _transport("iamalive", local_ivorn, "", now)


def iamalive_reply(asked: Transport, local_ivorn: str, now: datetime) -> bytes:
    """Return the echo of a broker's `iamalive`."""
    return _transport("iamalive", asked.origin, local_ivorn, now)


def authenticate(local_ivorn: str, now: datetime) -> bytes:
    """Return what a broker opens a connection with."""
    return _transport("authenticate", local_ivorn, "", now)


def authenticate_reply(asked: Transport, local_ivorn: str, now: datetime, xpath_filters: tuple[str, ...] = ()) -> bytes:
    """Return who we are, and which events we want (none given: all)."""
    return _transport("authenticate", asked.origin, local_ivorn, now, xpath_filters=xpath_filters)


def _transport(
    role: str, origin: str, response: str, now: datetime, *, result: str = "", xpath_filters: tuple[str, ...] = ()
) -> bytes:
    root = etree.Element(f"{{{NAMESPACE}}}Transport", {"role": role, "version": "1.0"}, nsmap={"trn": NAMESPACE})
    _add(root, "Origin", origin)
    if response:
        _add(root, "Response", response)
    _add(root, "TimeStamp", now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    if result or xpath_filters:
        meta = etree.SubElement(root, "Meta")
        for expression in xpath_filters:
            etree.SubElement(meta, "Param", {"name": "xpath-filter", "value": expression})
        if result:
            _add(meta, "Result", result)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _add(parent: etree._Element, name: str, text: str) -> None:
    etree.SubElement(parent, name).text = "".join(c for c in text if c.isprintable())
