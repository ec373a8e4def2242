"""Keeps the board up to date and tells the open tabs: one thread reads the events, one turns the wheel.

The wheel turns four times a second: it renders the parts that changed, once for all tabs; each second it wakes the
streams, every five it sends the daemon's clock; and when the daemon has been silent for three seconds, or events were
missed, or the last snapshot is old, it asks for a snapshot.
"""

from __future__ import annotations

import logging
import threading

from jinja2 import Environment

from pyros.client import GatewayError
from pyros.clock import Clock
from pyros.messages import Event, Message
from pyros.messages.store import GetRows, Rows
from pyros.messages.system import GetSnapshot, Snapshot
from pyros.web.board import Memory
from pyros.web.gateway import Gateway
from pyros.web.images import last_image
from pyros.web.parts import PARTS, heartbeat, payload
from pyros.web.stream import RELOAD, Hub, event_text

_log = logging.getLogger(__name__)

TURN_S = 0.25
WAKE_S = 1.0
HEARTBEAT_S = 5.0
SILENCE_S = 3.0
RESYNC_S = 15.0
RETRY_S = 1.0


class Feed:
    """The board, who watches it, and the two threads between them and the daemon."""

    def __init__(self, client: Gateway, clock: Clock, environment: Environment, streams: int) -> None:
        self.memory = Memory(clock)
        self.hub = Hub(clock, streams)
        self._client = client
        self._clock = clock
        self._environment = environment
        self._lock = threading.Lock()
        self._changed: dict[str, None] = {}
        self._gap = True
        self._problem = ""
        self._stopped = False
        self._woken_s = self._beaten_s = self._asked_s = clock.monotonic_s() - 1e6

    def start(self) -> None:
        """Start both threads; they end with the process, or after `stop`."""
        threading.Thread(target=self._listen, name="feed events", daemon=True).start()
        threading.Thread(target=self._run, name="feed wheel", daemon=True).start()

    def stop(self) -> None:
        """End the streams and both threads."""
        self._stopped = True
        self.hub.close()
        self._client.close()

    def refresh(self) -> bool:
        """Ask for a snapshot and take it over; tell whether the daemon answered."""
        asked_after = self.memory.last_sequence
        try:
            answer = self._client.ask("gateway", GetSnapshot())
            if not isinstance(answer, Snapshot):
                return False
            self.memory.load(answer, asked_after)
            self._ask_last_image()
        except GatewayError:
            return False
        return True

    def take(self, sequence: int, sender: str, message: Message) -> None:
        """Note one published message and what it changes on the page."""
        missed = self.memory.take(sequence, sender, message)
        tags = [type(message).__name__, *(["Event"] if isinstance(message, Event) else [])]
        with self._lock:
            self._gap |= missed
            self._changed |= dict.fromkeys(tags)

    def turn(self) -> None:
        """Do what is due now."""
        now_s = self._clock.monotonic_s()
        self._publish_changes()
        if now_s - self._beaten_s >= HEARTBEAT_S:
            self._beaten_s = now_s
            self.hub.publish(": heartbeat\n" + event_text("Clock", heartbeat(self.memory.board())))
        elif now_s - self._woken_s >= WAKE_S:
            self._woken_s = now_s
            self.hub.wake()
        if self._snapshot_is_due(now_s):
            self._asked_s = now_s
            self._resync()

    def _snapshot_is_due(self, now_s: float) -> bool:
        since_s = now_s - self._asked_s
        quiet_s = self.memory.quiet_s()
        silent = quiet_s is None or quiet_s >= SILENCE_S
        return since_s >= RESYNC_S or (since_s >= RETRY_S and (self._gap or silent))

    def _resync(self) -> None:
        with self._lock:
            gap, self._gap = self._gap, False
        if self.refresh():
            if gap:
                self.hub.publish(RELOAD)
        else:
            self._gap = True

    def _publish_changes(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, {}
        board = self.memory.board() if changed and len(self.hub) else None
        if board is None:
            return
        drawn: set[str] = set()
        for tag in changed:
            names = [name for name, tags in PARTS.items() if tag in tags and name not in drawn]
            drawn.update(names)
            if names:
                self.hub.publish(event_text(tag, payload(self._environment, board, names)))

    def _ask_last_image(self) -> None:
        answer = self._client.ask("librarian", GetRows(table="image", limit=1), within_s=1.0)
        if isinstance(answer, Rows) and answer.rows:
            self.memory.set_image(last_image(answer.rows[0]))

    def _listen(self) -> None:
        while not self._stopped:
            try:
                for sequence, sender, message in self._client.events():
                    self.take(sequence, sender, message)
                    self._complain("")
            except GatewayError as error:
                self._complain(str(error))
            except Exception:  # noqa: BLE001 - an event that cannot be read must not end the listening
                _log.exception("the stream of events broke")
            with self._lock:
                self._gap = True
            if not self._stopped:
                self._clock.sleep(RETRY_S)

    def _complain(self, problem: str) -> None:
        """Log why there are no events, once, and once that there are some again."""
        if problem != self._problem:
            self._problem = problem
            _log.warning("events from the daemon: %s", problem or "they come again")

    def _run(self) -> None:
        while not self._stopped:
            try:
                self.turn()
            except Exception:  # noqa: BLE001 - the wheel must go on turning, whatever one message was like
                _log.exception("the feed stumbled and goes on")
            self._clock.sleep(TURN_S)
