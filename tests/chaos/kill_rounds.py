"""One kill after the other: what each of them waits for, and what really was under way when it came."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field

from kill_people import EXPOSURE_S, People
from kill_rules import Record, Store, breaches, frames_are_accounted_for, left_executing
from kill_stage import Stage, Start, middle, wait_for

CYCLE = (
    *(["shutter"] * 6),
    *(["slew"] * 5),
    *(["notice"] * 4),
    "alert",
    "boot",
    "opening",
    "readout",
    "random",
)
"""What every twenty kills are aimed at, in an order that the seed shuffles."""
FRAMES_BEFORE = (0, 0, 0, 1, 2)
"""How many frames may be taken before the one that is killed."""
PATIENCE_S = 75.0
READY_WITHIN_S = 30.0
FEW, MANY = 6, 12
SETTLED_S = 3.0
"""After READY=1 for so long, nothing of an earlier daemon may be EXECUTING any more; real seconds."""
NO_LATENCY_S = 0.03
BURST = 6
"""Notices that are handed over at once: some are acknowledged when the kill comes, some stored, some on their way."""


@dataclass
class Totals:
    """What a run counts."""

    kills: int = 0
    aimed: Counter = field(default_factory=Counter)
    under_way: Counter = field(default_factory=Counter)
    ready_s: list[float] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    missed: int = 0
    """Kills whose aim did not come in time: made all the same."""


class Rounds:
    """Kills daemons on a stage until told enough."""

    def __init__(self, stage: Stage, seed: int, say=lambda _: None):
        self.stage, self.rng, self.say = stage, random.Random(f"kills {seed}"), say
        self.people = People(stage, random.Random(f"people {seed}"))
        self.record, self.totals = Record(), Totals()
        self._aims: list[str] = []
        self._ivorns: list[str] = []

    def next_aim(self) -> str:
        if not self._aims:
            self._aims = list(CYCLE)
            self.rng.shuffle(self._aims)
        return self._aims.pop()

    # -- one kill ----------------------------------------------------------------------------------------------------

    def kill_at(self, aim: str) -> list[str]:
        """Start a daemon, kill it at what is aimed at, and return every rule that is broken."""
        begun_s, self._ivorns = time.monotonic(), []
        start = self.stage.start()
        found: list[str] = []
        if aim == "boot":
            time.sleep(self.rng.uniform(0.0, 1.2 * (middle(self.totals.ready_s) or 3.0)))
        else:
            found += self.bring_up(start)
            if not self._wait_for(aim):
                self.totals.missed += 1
                aim = "random"
        running = start.process.poll() is None
        at = self.stage.kill(start)
        under_way = self._under_way(at, start)
        survivors = self.stage.survivors()
        found += [f"process {pid} outlived the daemon" for pid in survivors]
        found += [] if running else [f"the daemon had ended by itself: {self.stage.last_words()}"]
        found += breaches(self.stage, self.people, self.record)
        self._count(aim, under_way, found, time.monotonic() - begun_s)
        time.sleep(self.rng.choice([0.0, 0.0, self.rng.uniform(0, 1), self.rng.uniform(0, 8)]))
        return found

    def bring_up(self, start: Start) -> list[str]:
        """Wait until a daemon is ready and do what people then do; return what it has not put in order."""
        self.totals.ready_s.append(self.stage.wait_ready(start, READY_WITHIN_S))
        self.people.come_in()
        self._look_after()
        wait_for(lambda: not self._left(start), SETTLED_S)
        return self._left(start)

    def _left(self, start: Start) -> list[str]:
        with Store(self.stage.state) as store:
            loose = frames_are_accounted_for(store, self.stage.state / "images")
        return [] if self.stage.is_exposing() else [*left_executing(self.stage, start.at), *loose]

    def _look_after(self) -> None:
        """Do what people do meanwhile: reset the latch, ask for more."""
        self.people.reset_latch()
        with Store(self.stage.state) as store:
            open_ones = store.rows(
                "SELECT COUNT(*) AS n FROM sequence WHERE kind = 'routine' AND status IN "
                "('COMPLETE', 'OBSERVABLE', 'PLANNED', 'INTERRUPTED')"
            )[0]["n"]
        if open_ones < FEW and self.people.entered:
            self.people.submit(MANY - open_ones)

    # -- waiting for the instant -------------------------------------------------------------------------------------

    def _wait_for(self, aim: str) -> bool:
        """Wait until the daemon does what is aimed at, and then a random moment longer."""
        return getattr(self, f"_at_{aim}")()

    def seen(self, what) -> bool:
        """Tell whether something comes about in time; people look after the observatory meanwhile."""
        looked_s = time.monotonic()

        def look() -> bool:
            nonlocal looked_s
            if time.monotonic() - looked_s > 2.0:
                looked_s = time.monotonic()
                self._look_after()
            return what()

        return wait_for(look, PATIENCE_S)

    def _pause(self, longest_s: float, least_s: float = 0.0) -> bool:
        time.sleep(self.rng.uniform(least_s, longest_s))
        return True

    def _at_shutter(self) -> bool:
        for _ in range(self.rng.choice(FRAMES_BEFORE)):
            if not self._after_a_frame():
                return False
        return self.seen(self.stage.is_exposing) and self._pause(0.8 * EXPOSURE_S / self.stage.clock.speed)

    def _at_slew(self) -> bool:
        return self.seen(self.stage.is_slewing) and self._pause(0.6)

    def _at_opening(self) -> bool:
        return self.seen(lambda: self.stage.dome() == "opening") and self._pause(3.0)

    def _at_readout(self) -> bool:
        return self._after_a_frame() and self._pause(1.0, 0.4)

    def _after_a_frame(self) -> bool:
        longest_s = 2 * EXPOSURE_S / self.stage.clock.speed
        return self.seen(self.stage.is_exposing) and wait_for(lambda: not self.stage.is_exposing(), longest_s, 0.005)

    def _at_notice(self) -> bool:
        return self._hand_over(BURST, interesting=False) and self._pause(
            1.2 * (middle(self.people.latencies) or NO_LATENCY_S)
        )

    def _at_alert(self) -> bool:
        if not self._hand_over(1, interesting=True):
            return False
        self.people.learn_latency(self._ivorns[0])
        return self._pause(4.0)

    def _hand_over(self, count: int, *, interesting: bool) -> bool:
        """Send one notice that is acknowledged, to learn how long that takes, and then those that it is about."""
        if not self.seen(lambda: self.stage.broker.subscribers() == 1):
            return False
        self.people.learn_latency(self.people.send_notice(interesting=False))
        if self.rng.random() < 0.5:
            self.seen(self.stage.is_exposing)
        self._ivorns = [self.people.send_notice(interesting=interesting) for _ in range(count)]
        return True

    def _at_random(self) -> bool:
        due_s = time.monotonic() + self.rng.uniform(0.0, 15.0)
        wait_for(lambda: self.seen(lambda: True) and time.monotonic() > due_s, 20.0, 0.1)
        return True

    # -- what was under way ------------------------------------------------------------------------------------------

    def _under_way(self, at, start: Start) -> list[str]:
        """Return what the simulated world says was going on when the daemon died."""
        seen = [f"dome {self.stage.dome()}"]
        seen += ["shutter open"] if self.stage.is_exposing() else []
        unix_s = at.timestamp()
        seen += ["slewing"] if self.stage.mount.slewing(unix_s) and not self.stage.mount.parking(unix_s) else []
        seen += ["before READY"] if start.ready_s is None else []
        return seen + self._unacknowledged()

    def _unacknowledged(self) -> list[str]:
        """Return whether notices had been handed over and not acknowledged, and whether any of those is stored."""
        if not self._ivorns:
            return []
        time.sleep(0.1)  # what the daemon still wrote is read by the broker now
        left = set(self._ivorns) - set(self.people.acknowledged())
        with Store(self.stage.state) as store:
            stored = {row["ivorn"] for row in store.rows("SELECT ivorn FROM notice")}
        seen = ["notice not acknowledged"] if left else []
        return seen + (["of these stored"] if left & stored else [])

    def _count(self, aim: str, under_way: list[str], found: list[str], took_s: float) -> None:
        totals = self.totals
        totals.kills += 1
        totals.aimed[aim] += 1
        totals.under_way.update(under_way)
        totals.breaches += [f"kill {totals.kills} ({aim}): {line}" for line in found]
        ready = f"{totals.ready_s[-1]:.1f} s to READY" if totals.ready_s else ""
        self.say(f"kill {totals.kills:3} at {aim:8} {took_s:5.1f} s, {ready}: {', '.join(under_way)}")
        for line in found:
            self.say(f"  BROKEN: {line}")

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> list[str]:
        """Let one more daemon live for a while, end it in order, and judge what is left."""
        start = self.stage.start()
        found = self.bring_up(start)
        self._at_random()
        status = self.stage.end(start)
        found += [] if status == 0 else [f"the last daemon ended with status {status}: {self.stage.last_words()}"]
        found += [] if self.stage.dome() == "closed" else [f"the dome is {self.stage.dome()} after an ordered end"]
        found += [f"process {pid} outlived the daemon" for pid in self.stage.survivors()]
        found += breaches(self.stage, self.people, self.record)
        found += left_executing(self.stage, self.stage.clock.now())
        self.totals.breaches += [f"at the end: {line}" for line in found]
        return found
