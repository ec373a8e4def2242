"""A daemon in small, for the tests that kill it: a real clock, a kernel, one actor that counts, a flight recorder.

`python flight_victim.py FOLDER BOOT [crash|end]`: prints `up`, then counts until it is killed; or crashes its actor
once; or ends in order.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from pyros.actors.kernel import Actor, ChildSpec, Supervisor, System, start_supervisor
from pyros.clock import WallClock
from pyros.flight import Header, flight_recorder
from pyros.messages.devices import Poll
from pyros.messages.system import Crash, FlightRecorded, LibrarianState


class Counter(Actor):
    """Says each tenth of a second how often it has counted."""

    count = 0

    def on_start(self):
        self.after(0.0, Poll())

    def on_poll(self, _):
        self.count += 1
        self.show()
        self.after(0.1, Poll())

    def state(self):
        return LibrarianState(queries=self.count)


def main(folder, boot, what="count"):
    clock = WallClock()
    header = Header(at=datetime(2026, 11, 22, tzinfo=UTC), boot=boot, site="x", versions={}, settings={})
    recorder = flight_recorder(clock, Path(folder), header)
    system = System(clock, boot)
    system.events.tap(recorder.hear)
    system.events.tap(lambda _, event: isinstance(event, FlightRecorded) and print(event.file, flush=True))
    start_supervisor(system, lambda context: Supervisor(context, [ChildSpec("counter", Counter)]))
    recorder.attach(system)
    print("up", flush=True)
    if what == "crash":
        system.tell("counter", Crash())
    if what == "end":
        recorder.close()
        return
    clock.sleep(100.0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
