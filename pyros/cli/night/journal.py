"""events.jsonl: one line per delivered message, device transaction and image; the same bytes for the same seed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from io import BufferedWriter
from pathlib import Path
from typing import Any

import msgspec

from pyros.actors.kernel import Delivery
from pyros.clock import EPOCH, Clock
from pyros.messages.night import ImageTaken

TRANSFER = "-transfer"
"""Threads of this name's kind run beside the actors; what they say on the wire has no place in the order of things."""


class Journal:
    """Writes the log, beside the store. What differs from run to run is left out.

    Parameters
    ----------
    addresses
        The observatory's, by device: the device's name stands in their place.
    """

    def __init__(self, path: Path, clock: Clock, addresses: Mapping[str, str]) -> None:
        self._folder = f"{path.parent}/".encode()
        self._file: BufferedWriter = path.open("wb")
        self._clock = clock
        self._encoder = msgspec.json.Encoder()
        self._names = {
            url.split("://")[1].split("/")[0].split("?")[0].encode(): name.encode() for name, url in addresses.items()
        }
        self._count = 0

    def deliver(self, delivery: Delivery) -> None:
        """Log a delivered message."""
        message = delivery.message
        self._write(
            {
                "t": _instant(delivery.t_us),
                "from": delivery.sender,
                "to": delivery.to,
                "type": type(message).__name__,
                "id": delivery.id,
                "cause": delivery.cause,
                "content": message,
            }
        )
        if isinstance(message, ImageTaken):
            self._write({"t": _instant(delivery.t_us), "image": message.file, "datasum": message.datasum})

    def transact(self, device: str, request: bytes, reply: bytes) -> None:
        """Log a device transaction by its digest."""
        if TRANSFER in threading.current_thread().name:
            return
        digest = hashlib.blake2b(request + b"\0" + reply, digest_size=8).hexdigest()
        self._write({"t": _instant(self._clock.micros()), "device": device, "digest": digest})

    def _write(self, line: dict[str, Any]) -> None:
        self._count += 1
        encoded = self._encoder.encode({"seq": self._count, **line})
        if b"127.0.0.1:" in encoded:
            for address, name in self._names.items():
                encoded = encoded.replace(address, name)
        self._file.write(encoded.replace(self._folder, b"") + b"\n")

    def close(self) -> None:
        """End the log."""
        self._file.close()


def _instant(t_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=t_us)
