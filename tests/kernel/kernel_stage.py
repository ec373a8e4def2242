"""A small house of actors for the kernel's tests: made from functions, on the virtual clock unless told otherwise."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from pyros.actors.kernel import Actor, ChildSpec, Supervisor, System, start_supervisor
from pyros.clock import VirtualClock
from pyros.messages.base import GetState
from pyros.messages.devices import Brake, CloseDome, PlcState
from pyros.messages.night import Execute
from pyros.messages.system import ActorStarted, LibrarianState, Restart, Shutdown

RUN = Execute(sequence_id=1)
START = datetime(2026, 11, 22, tzinfo=UTC)


class Probe(Actor):
    """Counts in `state()` how many incarnations it is."""

    def state(self):
        return LibrarianState(queries=self.epoch)


def actor(**hooks):
    """Return an actor class with these handlers and hooks."""
    return type("Probe", (Probe,), hooks)


def spec(name, make=Probe, **rules):
    """Return a child spec; `needs` may be left out."""
    return ChildSpec(name, make, **rules)


def fails_until(epoch, how="on_start"):
    """An actor (or a maker of one) that breaks in its first incarnations."""

    def break_(me):
        if me.epoch < epoch:
            raise RuntimeError(f"{how} broke")

    def make(context):
        if context.lease.epoch < epoch:
            raise RuntimeError(f"{how} broke")
        return Probe(context)

    return make if how == "__init__" else actor(on_start=break_)


def hangs(me, m):
    """A handler that comes back after hours."""
    me.clock.sleep(10_000)


def plc(closes_in_s=5.0, dome="open"):
    """A PLC actor whose dome closes some time after it is told to."""

    def on_start(me):
        me.dome = dome
        me.on_restart(Restart(actor="plc", epoch=0, cause="", failed_at_s=0.0))

    def on_restart(me, m):
        me.publish(PlcState(link="up", dome=me.dome))
        me.after(1.0, m)

    def on_close_dome(me, m):
        me.after(closes_in_s, Brake(cause="closed"))

    def on_brake(me, m):
        me.dome = "closed"

    return actor(on_start=on_start, on_restart=on_restart, on_close_dome=on_close_dome, on_brake=on_brake)


MAJORDOME = actor(on_stop_observing=lambda me, m: me.tell("plc", CloseDome(cause=m.cause)))


class House:
    """A supervisor and its children."""

    def __init__(self, *specs, clock=None, stall_s=5.0, **rules):
        self.clock = clock or VirtualClock(START, stall_s)
        self.system = System(self.clock)
        self.log = []
        self.system.events.tap(lambda sender, event: self.log.append((sender, event)))
        self.supervisor = start_supervisor(self.system, lambda context: Supervisor(context, list(specs), **rules))
        self.run(0)

    def run(self, seconds):
        """Let `seconds` pass on the virtual clock."""
        if self.clock.virtual:
            self.clock.run(self.clock.now() + timedelta(seconds=seconds))

    def ask(self, to, message=None, within_s=5.0, **rules):
        return self.system.ask(to, message or GetState(), within_s, **rules)

    def tell(self, to, message, **rules):
        self.system.tell(to, message, **rules)

    def question(self, to, message=None, within_s=5.0):
        """Ask without letting time pass; returns the list in which the answers appear."""
        answers = []
        self.system.question(to, message or GetState(), within_s, answers.append)
        return answers

    def row(self, name):
        """A child's line in the supervisor's state."""
        return next(row for row in self.supervisor.state().children if row.actor == name)

    def events(self, kind):
        return [event for _, event in self.log if isinstance(event, kind)]

    def starts(self):
        """Who was started, in order, as (name, epoch)."""
        return [(event.actor, event.epoch) for event in self.events(ActorStarted) if event.actor != "supervisor"]

    def letters(self):
        """Dead letters as (to, message)."""
        return [(letter.to, letter.message) for letter in self.system.dead_letters]

    def shut_down(self):
        self.tell("supervisor", Shutdown(cause="the end"))
        if self.clock.virtual:
            self.clock.run(done=self.supervisor.finished.is_set)
        assert self.supervisor.finished.wait(10)


def eventually(condition, within_s=5.0):
    """Wait in real time until `condition()`; for tests on the wall clock."""
    pause = threading.Event()
    for _ in range(int(within_s / 0.005)):
        if condition():
            return True
        pause.wait(0.005)
    return bool(condition())
