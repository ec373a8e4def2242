"""A listener: one VTP broker's subscriber. Stores before it acknowledges.

Takes `Connect`, `FrameReceived` and `ConnectionLost` from its own reader thread, `Poll`; emits `ListenerState`. The
reader thread only reads and hands over whole frames; this actor asks the alert manager to store a notice and writes the
ack when it is stored. One that could not be stored is kept here and offered again, because brokers do not send twice. A
broker that is silent for two minutes is left and called again, with the kernel's backoff. When it dies its socket is
closed, and the next incarnation connects.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections import deque
from datetime import datetime
from urllib.parse import urlsplit

from pyros.actors.alert_manager import vtp
from pyros.actors.alert_manager.voevent import NoticeError, parse_xml
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context
from pyros.actors.kernel.backoff import Backoff
from pyros.config import AlertSource
from pyros.messages.alerts import Connect, ConnectionLost, FrameReceived, ListenerState, NoticeArrived, NoticeStored
from pyros.messages.devices import Poll

CONNECT_S = 1.0
SILENCE_S = 120.0
LOOK_EVERY_S = 30.0
STORE_S = 30.0
MOST_KEPT = 100
"""Notices that wait to be offered to the alert manager again."""
SEND_TIMEOUT = struct.pack("ll", int(CONNECT_S), 0)
"""A `struct timeval`. Python's own timeout would hold for the reader's thread too."""


class VtpListener(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment, source: AlertSource) -> None:
        super().__init__(context)
        address = urlsplit(source.url)
        self._address = (address.hostname or "", address.port or 0)
        self._channel = f"{self._address[0]}:{self._address[1]}"
        self._source = source
        self._local_ivorn = environment.settings.alerts.local_ivorn
        self._socket: socket.socket | None = None
        self._generation = 0
        self._backoff = Backoff(random.Random(f"{environment.settings.seed} {source.name}"), period_s=0.0)
        self._frames = 0
        self._last_frame_at: datetime | None = None
        self._problem = "not connected yet"
        self._kept: deque[NoticeArrived] = deque(maxlen=MOST_KEPT)

    def on_start(self) -> None:
        """Call the broker."""
        self.lease.on_revoke(self._hang_up)
        self.after(0.0, Connect())
        self.after(LOOK_EVERY_S, Poll())

    def on_stop(self) -> None:
        """Hang up."""
        self._hang_up()

    # -- the connection ----------------------------------------------------------------------------------------------

    def on_connect(self, _: Connect) -> None:
        """Connect, and start to read; or try again later."""
        if self._socket is not None:
            return
        try:
            link = socket.create_connection(self._address, timeout=CONNECT_S)
        except OSError as error:
            self._lost(f"{self._channel} cannot be reached: {error}")
            return
        link.settimeout(None)  # the reader waits as long as it takes; only sending has a deadline
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_TIMEOUT)
        self._generation += 1
        self._socket, self._problem = link, ""
        self._last_frame_at = self.clock.now()
        threading.Thread(
            target=self._read, args=(link, self._generation), name=f"{self.name}-reader", daemon=True
        ).start()
        self.show()

    def _read(self, link: socket.socket, generation: int) -> None:
        """Cut the stream into frames and hand them over; in the reader's thread."""
        decoder, reason = vtp.Decoder(), "the broker hung up"
        try:
            while received := link.recv(65_536):
                for raw in decoder.feed(received):
                    self.clock.arrive(self._channel, lambda raw=raw: self.tell_from_outside(FrameReceived(raw=raw)))
        except (OSError, vtp.FrameError) as error:
            reason = str(error)
        if self._socket is link:  # not hung up from this side
            lost = ConnectionLost(reason=reason, generation=generation)
            self.clock.arrive(self._channel, lambda: self.tell_from_outside(lost))

    def on_connection_lost(self, message: ConnectionLost) -> None:
        """Call again, after a while."""
        if message.generation == self._generation:
            self._hang_up()
            self._lost(message.reason)

    def _lost(self, reason: str) -> None:
        self._problem = reason
        wait_s = self._backoff.failed(self.clock.monotonic_s())
        self.after(self.clock.at_least_real(wait_s, 0.5), Connect())
        self.show()

    def _hang_up(self) -> None:
        link, self._socket = self._socket, None
        if link is not None:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()

    def on_poll(self, _: Poll) -> None:
        """Leave a broker that says nothing; offer again what could not be stored."""
        self.after(self.clock.at_least_real(LOOK_EVERY_S, 2.0), Poll())
        kept, self._kept = self._kept, deque(maxlen=MOST_KEPT)
        for arrived in kept:
            self._offer(arrived)
        silent_s = (self.clock.now() - self._last_frame_at).total_seconds() if self._last_frame_at else 0.0
        if self._socket is not None and silent_s > self.clock.at_least_real(SILENCE_S, 10.0):
            self._hang_up()
            self._lost(f"no word from the broker for {silent_s:.0f} s")

    # -- frames ------------------------------------------------------------------------------------------------------

    def on_frame_received(self, message: FrameReceived) -> None:
        """Answer the broker's own messages; hand a notice on and acknowledge it when it is stored."""
        self._frames += 1
        self._backoff.up(self.clock.monotonic_s())
        self._last_frame_at = self.clock.now()
        try:
            kind = vtp.kind_of(message.raw)
        except NoticeError as error:
            self._problem = f"unreadable frame of {len(message.raw)} bytes: {error}"
            kind = "unreadable"
        if kind == "iamalive":
            self._send(vtp.iamalive_reply(vtp.read_transport(message.raw), self._local_ivorn, self.clock.now()))
        elif kind == "authenticate":
            self._send(vtp.authenticate_reply(vtp.read_transport(message.raw), self._local_ivorn, self.clock.now()))
        elif kind in {"voevent", "unreadable"}:
            self._offer(NoticeArrived(raw=message.raw, transport=self._source.name, received_at=self._last_frame_at))
        self.show()

    def _offer(self, arrived: NoticeArrived) -> None:
        def stored(reply: Answer) -> None:
            if isinstance(reply, NoticeStored):
                self._acknowledge(arrived.raw)
                return
            self._kept.append(arrived)
            self._problem = f"a notice is not stored yet and not acknowledged: {getattr(reply, 'reason', reply)}"
            self.show()

        self.ask("alert_manager", arrived, self.clock.at_least_real(STORE_S, 10.0), stored)

    def _acknowledge(self, raw: bytes) -> None:
        """Acknowledge by name, in quarantine or not: what is never acknowledged makes a broker drop us."""
        ivorn = name_of(raw)
        if ivorn:
            self._send(vtp.ack(ivorn, self._local_ivorn, self.clock.now()))

    def _send(self, xml: bytes) -> None:
        link = self._socket
        if link is None:
            return
        try:
            link.sendall(vtp.frame(xml))
        except OSError as error:
            self._hang_up()
            self._lost(f"{self._channel} does not take our answer: {error}")

    def state(self) -> ListenerState:
        """Return how the connection is."""
        return ListenerState(
            source=self._source.name,
            connected=self._socket is not None,
            frames=self._frames,
            last_frame_at=self._last_frame_at,
            problem=self._problem,
        )


def name_of(raw: bytes) -> str:
    """Return a notice's IVORN even if nothing else of it makes sense, or nothing."""
    try:
        return str(parse_xml(raw).get("ivorn") or "").strip()
    except NoticeError:
        return ""
