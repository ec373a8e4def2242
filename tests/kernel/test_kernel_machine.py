"""Random stories on the virtual clock: whatever happens, every ask is answered and every good message handled once."""

import random
import threading
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from kernel_stage import House, actor, spec

from pyros.actors.kernel import Ask, Deferred, Sleep
from pyros.messages.base import Done, Expired, Failed, GetState, Refused
from pyros.messages.devices import Halt
from pyros.messages.night import Execute, NightStarted, SequenceEnded
from pyros.messages.people import CancelSequence
from pyros.messages.system import Crash, LibrarianState

NAMES = ("early", "middle", "late")
EARLIER = {"middle": "early", "late": "middle"}


def story_actor(handled):
    """Execute is noted; a CancelSequence is a procedure that asks the neighbour; sequence 0 hangs."""

    def on_execute(me, m):
        handled.append((me.name, m.sequence_id))

    def on_cancel_sequence(me, m):
        if m.sequence_id == 0:
            me.clock.sleep(300)
        yield Sleep(0.5 * m.sequence_id)
        if me.name in EARLIER:
            yield Ask(EARLIER[me.name], GetState(), 2.0)
        me.publish(SequenceEnded(sequence_id=m.sequence_id, outcome="EXECUTED", cause="", exposed_s=0.0))

    def on_halt(me, m):
        me.abort(m.cause)

    return actor(on_execute=on_execute, on_cancel_sequence=on_cancel_sequence, on_halt=on_halt)


class Story(RuleBasedStateMachine):
    """Asks, tells, crashes, aborts and hangs at three actors of a chain, in any order and at any time."""

    names = st.sampled_from(NAMES)

    def __init__(self):
        super().__init__()
        self.handled, self.sent, self.asked = [], {name: [] for name in NAMES}, []
        self.house = House(
            *(
                spec(name, story_actor(self.handled), needs=NAMES[:place][-1:], strategy="rest_for_one")
                for place, name in enumerate(NAMES)
            )
        )
        self.number = 0

    @rule(name=names)
    def tell(self, name):
        self.number += 1
        self.sent[name].append(self.number)
        self.house.tell(name, Execute(sequence_id=self.number))

    @rule(name=names, within_s=st.sampled_from([0.0, 0.5, 3.0, 30.0]))
    def ask(self, name, within_s):
        self.asked.append((self.house.clock.monotonic_s() + within_s, self.house.question(name, GetState(), within_s)))

    @rule(name=names, sequence_id=st.integers(1, 8), within_s=st.sampled_from([1.0, 20.0]))
    def begin(self, name, sequence_id, within_s):
        message = CancelSequence(sequence_id=sequence_id, by="x")
        self.asked.append((self.house.clock.monotonic_s() + within_s, self.house.question(name, message, within_s)))

    @rule(name=names, how=st.sampled_from(["raise", "exit"]))
    def crash(self, name, how):
        self.house.tell(name, Crash(how=how))

    @rule(name=names)
    def abort(self, name):
        self.house.tell(name, Halt(cause="story"))

    @rule(seconds=st.sampled_from([0, 0.3, 1, 7, 100]))
    def advance(self, seconds):
        self.house.run(seconds)

    @invariant()
    def every_ask_has_at_most_one_answer_and_has_one_by_its_deadline(self):
        now_s = self.house.clock.monotonic_s()
        for due_s, answers in self.asked:
            assert len(answers) <= 1
            assert answers or due_s >= now_s

    def teardown(self):
        self.house.run(1000)
        for _, (answer,) in self.asked:
            assert isinstance(answer, LibrarianState | Done | Failed | Refused | Expired)
        for name in NAMES:
            assert [number for who, number in self.handled if who == name] == self.sent[name]
        assert {row.status for row in self.house.supervisor.state().children} == {"up"}


Story.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestStory = Story.TestCase


# -- the same seed, the same night -----------------------------------------------------------------------------------


def night(seed):
    """Ten minutes of three chattering actors with crashes, hangs and timeouts; returns everything that happened."""
    dice, log = random.Random(seed), []

    def on_start(me):
        me.subscribe(NightStarted)
        me.after(1.0, Execute(sequence_id=1))

    def on_execute(me, m):
        me.after(dice.choice([1.0, 1.0, 2.5]), m)
        me.publish(NightStarted(night="2026-11-22", ends=me.clock.now() + timedelta(hours=1)))
        if me.name in EARLIER:
            me.ask(EARLIER[me.name], CancelSequence(sequence_id=dice.randrange(4), by=me.name), 3.0, lambda _: None)

    def on_cancel_sequence(me, m):
        if m.sequence_id == 0 and dice.random() < 0.01:
            me.clock.sleep(300)
        yield Sleep(dice.random() * 3)
        if me.name in EARLIER:
            yield Ask(EARLIER[me.name], GetState(), 1.0)

    hooks = {"on_start": on_start, "on_execute": on_execute, "on_cancel_sequence": on_cancel_sequence}
    house = House(*(spec(name, actor(on_night_started=lambda me, m: None, **hooks)) for name in NAMES), seed=seed)
    house.system.keep_journal(lambda d: log.append((d.t_us, d.sender, d.to, d.id, d.cause, repr(d.message))))
    for at_s in range(20, 600, 45):
        house.clock.call_later(at_s, lambda: house.tell(dice.choice(NAMES), Crash(how=dice.choice(["raise", "exit"]))))
    house.run(600)
    return log, [repr(letter.reason) for letter in house.system.dead_letters if "Traceback" not in letter.reason]


def test_the_same_seed_gives_the_same_night_to_the_last_delivery_also_on_a_loaded_machine():
    first = night(5)
    stop = threading.Event()

    def load():
        while not stop.is_set():
            sorted(range(2000), reverse=True)
            stop.wait(0.0005)  # keeps others waiting at odd moments, but lets them go on

    threads = [threading.Thread(target=load, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        second = night(5)
    finally:
        stop.set()
    assert len(first[0]) > 5000
    assert first == second
    assert any("Crash" in entry[5] for entry in first[0])
    assert first != night(6)


def test_a_promise_kept_late_is_worth_nothing_and_breaks_nothing():
    kept = []

    def on_execute(me, m):
        kept.append(Deferred())
        return kept[-1]

    house = House(
        spec("a", actor(on_execute=on_execute, on_halt=lambda me, m: kept[0].answer(LibrarianState(queries=1))))
    )
    late = house.question("a", Execute(sequence_id=1), 2.0)
    house.run(5)
    house.tell("a", Halt(cause="answer now"))
    house.run(1)
    assert [type(answer) for answer in late] == [Expired]
