"""The gateway: the outside's door to the actors, over two ZeroMQ sockets in a folder that only its owner may enter.

Owns the sockets (a ROUTER for requests, an XPUB for everything published; the wire is described in `pyros.client`) and
the thread that alone touches them. Takes `GetSnapshot`; emits nothing of its own. Decides one thing: in robotic mode
the outside may not move a device directly, nor break an actor, nor write to the store, unless that makes safer.

When it dies its requests go unanswered and the observatory goes on; the next incarnation binds the same sockets, and
the events' numbers go on counting, so that a listener sees what it missed.
"""

from __future__ import annotations

import threading

import msgpack

from pyros.actors.environment import Environment
from pyros.actors.gateway.sockets import Doors, EventLine, Numbered
from pyros.actors.kernel import Actor, Answer, Context
from pyros.messages.base import Command, GetState, Message, Query, Refused
from pyros.messages.codec import BadMessageError, Frame, to_builtins, unpack
from pyros.messages.store import Commit
from pyros.messages.system import Crash, DeadLetter, GatewayState, GetSnapshot, Snapshot, StateRow

MOST_PENDING = 2000
"""Requests that may wait for their answers at once; what makes safer is always let in."""
_DEVICES = ("telescope", "camera", "filter_wheel", "focuser", "plc")


def forbidden(to: str, message: Message, mode: str) -> str:
    """Return why the outside may not send `message` to the actor `to`, or '' if it may."""
    tag = type(message).__name__
    if message.kind in {"reply", "part"}:
        return f"{tag} is a {message.kind}; send a command or a query (`pyros messages` lists them)"
    if mode == "simulation" or isinstance(message, Query) or (isinstance(message, Command) and message.makes_safer):
        return ""
    if not isinstance(message, Command):
        return f"{tag} is {'an event' if message.kind == 'event' else 'a state'}; only actors publish those"
    if isinstance(message, Crash | Commit):
        return f"{tag} is not taken from outside in robotic mode"
    if to.removesuffix(".brake").partition(":")[0] in _DEVICES:
        return (
            f"{tag} to {to} is not taken from outside in robotic mode; only what makes safer is (Halt, Park, CloseDome)"
        )
    return ""


class Gateway(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self._system = context.system
        self._mode = environment.settings.mode
        self._boot = environment.boot
        self._folder = (environment.settings.gateway.folder or environment.state_folder / "gateway").absolute()
        self._line = EventLine.of(context.system)
        self._doors: Doors | None = None
        self._ended_by: Exception | None = None
        self._requests = self._refused = self._pending = 0
        self._lock = threading.Lock()

    def on_start(self) -> None:
        """Bind the sockets and serve them; they close with the lease."""
        doors = self._doors = Doors(
            self._folder,
            self.clock,
            self._boot,
            take=self._take,
            unrenderable=self._complain,
            broken=self._broken,
        )
        self.lease.on_revoke(doors.close)
        doors.open(self._line)
        self.show()

    def on_stop(self) -> None:
        """Close the sockets."""
        if self._doors is not None:
            self._doors.close()

    def on_get_snapshot(self, message: GetSnapshot) -> Snapshot:
        """Return every retained state. The number is read first: what is published meanwhile is heard after it."""
        del message
        self.show()
        sequence, now_s = self._line.sequence, self.clock.monotonic_s()
        rows = [
            StateRow(
                actor=kept.actor,
                state=type(kept.state).__name__,
                age_s=max(0.0, now_s - kept.at_s),
                content=to_builtins(kept.state),
            )
            for kept in self._system.events.snapshot()
        ]
        return Snapshot(now=self.clock.now(), speed=self.clock.speed, sequence=sequence, states=rows)

    def state(self) -> GatewayState:
        """Return what went through; without its sockets the gateway has no state, and fails."""
        if self._ended_by is not None:
            raise self._ended_by
        return GatewayState(
            requests=self._requests, refused=self._refused, events=self._line.sequence, endpoint=str(self._folder)
        )

    # -- in the sockets' thread --------------------------------------------------------------------------------------

    def _take(self, route: list[bytes], frames: list[bytes]) -> None:
        """Pass a request on to its actor, or refuse it."""
        self._requests += 1
        raw = frames[0] if frames else b""
        try:
            frame = unpack(_only(frames))
        except BadMessageError as error:
            self._answer(route, _identifier(raw), Refused(reason=str(error)[:1000]))
            return
        except Exception as error:  # noqa: BLE001 - nothing that comes from outside may break the door
            self._answer(route, _identifier(raw), Refused(reason=f"not a request: {error}"[:1000]))
            return
        reason = forbidden(frame.to, frame.body, self._mode) or self._too_much(frame.body)
        if reason:
            self._answer(route, frame.id, Refused(reason=reason))
        else:
            self._ask(route, frame)

    def _ask(self, route: list[bytes], frame: Frame) -> None:
        with self._lock:
            self._pending += 1

        def then(answer: Answer) -> None:
            with self._lock:
                self._pending -= 1
            self._answer(route, frame.id, answer)

        within_s = frame.expires_in_s * self.clock.speed  # the outside lives in real seconds
        self._system.question(frame.to, frame.body, within_s, then, user=frame.user)

    def _answer(self, route: list[bytes], identifier: str, answer: Answer) -> None:
        """Send an answer; runs in whatever thread has it."""
        if isinstance(answer, Refused):
            with self._lock:
                self._refused += 1
        if self._doors is not None:
            self._doors.reply(route, identifier, answer)

    def _too_much(self, message: Message) -> str:
        if self._pending < MOST_PENDING or (isinstance(message, Command) and message.makes_safer):
            return ""
        return f"{self._pending} requests wait for their answers already; try again later"

    def _complain(self, numbered: Numbered, error: Exception) -> None:
        tag = type(numbered.message).__name__
        self._system.bury(DeadLetter(to=self.name, message=tag, reason=f"{numbered.sender}'s {tag}: {error}"[:500]))

    def _broken(self, error: Exception) -> None:
        """Let the actor fail with what ended the sockets' thread, so that the supervisor starts it anew."""
        self._ended_by = error
        self.tell_from_outside(GetState())


def _identifier(raw: bytes) -> str:
    """Return the id of a request that is wrong elsewhere, or ''."""
    try:
        fields = msgpack.unpackb(raw)
    except (ValueError, TypeError, msgpack.UnpackException):
        return ""
    named = isinstance(fields, list) and len(fields) > 1 and isinstance(fields[1], str) and len(fields[1]) <= 200
    return fields[1] if named else ""


def _only(frames: list[bytes]) -> bytes:
    if len(frames) != 1:
        raise BadMessageError(f"a request is one frame; this one came in {len(frames)}")
    return frames[0]
