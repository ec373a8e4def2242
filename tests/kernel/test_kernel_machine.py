"""Random stories on the virtual clock: whatever happens, every ask is answered and every good message handled once."""

import random
import threading
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from kernel_stage import House, actor, spec

from pyros.actors.kernel import Ask, AskUpwardError, Deferred, LeaseRevokedError, Sleep
from pyros.actors.kernel.envelope import StopOrder
from pyros.messages.base import Done, Expired, Failed, GetState, Refused
from pyros.messages.devices import Halt
from pyros.messages.night import Execute, NightStarted, SequenceEnded
from pyros.messages.people import CancelSequence
from pyros.messages.system import ActorRestarted, ActorStarted, Crash, LibrarianState

NAMES = ("early", "middle", "late")
EARLIER = {"middle": "early", "late": "middle"}


LIMIT = 12
"""Messages that a mailbox takes in a story, so that some overflow."""
HANGS_S = 400.0
MOST_HANGS = 3
"""More threads that hang at once would end the story by making safe."""


class Notes:
    """What the actors of a story did."""

    def __init__(self):
        self.handled, self.hanging, self.wrote_late = [], set(), []


def late_words(me, m):
    """Everything by which a hung incarnation, awake again, could still do something."""
    return (
        lambda: me.tell("early", Halt(cause="late")),
        lambda: me.publish(SequenceEnded(sequence_id=0, outcome="FAILED", cause="late", exposed_s=0.0)),
        lambda: me.after(0.0, Halt(cause="late")),
        lambda: me.ask(EARLIER.get(me.name, "late"), GetState(), 1.0, print),
        lambda: me.subscribe(SequenceEnded),
    )


def story_actor(notes):
    """Execute is noted, or hangs and then tries to write; a CancelSequence is a procedure that asks the neighbour."""

    def on_execute(me, m):
        if m.sequence_id not in notes.hanging:
            notes.handled.append((me.name, me.sender, m.sequence_id))
            return
        me.clock.sleep(HANGS_S)
        for word in late_words(me, m):
            try:
                word()
            except (LeaseRevokedError, AskUpwardError):
                continue
            notes.wrote_late.append((me.name, me.epoch, m.sequence_id))
        me.tell_from_outside(Execute(sequence_id=m.sequence_id))
        me.continue_with(lambda: notes.wrote_late.append("continued"))

    def on_cancel_sequence(me, m):
        yield Sleep(0.5 * m.sequence_id)
        if me.name in EARLIER:
            yield Ask(EARLIER[me.name], GetState(), 2.0)
        me.publish(SequenceEnded(sequence_id=m.sequence_id, outcome="EXECUTED", cause="", exposed_s=0.0))

    def on_halt(me, m):
        me.abort(m.cause)

    return actor(on_execute=on_execute, on_cancel_sequence=on_cancel_sequence, on_halt=on_halt)


class Story(RuleBasedStateMachine):
    """Asks, tells, crashes, exits, stops, aborts, hangs and floods at three actors of a chain, in any order."""

    names = st.sampled_from(NAMES)

    def __init__(self):
        super().__init__()
        self.notes, self.sent, self.asked, self.hangs = Notes(), [], [], 0
        self.house = House(
            *(
                spec(name, story_actor(self.notes), needs=NAMES[:place][-1:], strategy="rest_for_one")
                for place, name in enumerate(NAMES)
            )
        )
        for name in NAMES:
            self.house.system.mailbox(name)._limit = LIMIT
        self.number = 0

    @rule(name=names, sender=st.sampled_from(["ann", "bob"]), count=st.sampled_from([1, 1, 3, LIMIT + 2]))
    def tell(self, name, sender, count):
        for _ in range(count):
            self.number += 1
            self.sent.append((name, sender, self.number))
            self.house.tell(name, Execute(sequence_id=self.number), sender=sender)

    @precondition(lambda self: self.hangs < MOST_HANGS)
    @rule(name=names)
    def hang(self, name):
        self.hangs += 1
        self.notes.hanging.add(self.number + 1)
        self.tell(name, "ann", 1)

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
    def stop(self, name):
        """End it in order though the supervisor has not told it to."""
        mailbox = self.house.system.mailbox(name)
        mailbox.put(StopOrder(mailbox.owner), first=True)

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

    @invariant()
    def an_incarnation_that_was_replaced_writes_nothing(self):
        assert self.notes.wrote_late == []

    @invariant()
    def every_incarnation_is_a_new_one_and_its_restart_is_said_once(self):
        """One that was told to stop while it started has not been up, and is not said to be restarted."""
        for name in NAMES:
            started = [event.epoch for event in self.house.events(ActorStarted) if event.actor == name]
            restarted = [event.epoch for event in self.house.events(ActorRestarted) if event.actor == name]
            assert started == sorted(set(started))
            assert restarted == [epoch for epoch in started if epoch in restarted]
            row = self.house.row(name)
            assert row.epoch in {started[-1], started[-1] + 1}
            assert len(restarted) <= row.epoch - 1
            assert row.restarts <= row.epoch

    def teardown(self):
        self.house.run(2000)
        self.an_incarnation_that_was_replaced_writes_nothing()
        assert [row.status for row in self.house.supervisor.state().children] == ["up"] * len(NAMES)
        for _, (answer,) in self.asked:
            assert isinstance(answer, LibrarianState | Done | Failed | Refused | Expired)
        for name in NAMES:
            self.no_tell_vanishes(name)

    def no_tell_vanishes(self, name):
        """Each was handled once, in its sender's order, or is a dead letter: refused by a full mailbox, or hung on."""
        sent = [entry for entry in self.sent if entry[0] == name]
        handled = [entry for entry in self.notes.handled if entry[0] == name]
        for sender in ("ann", "bob"):
            numbers = [number for _, who, number in handled if who == sender]
            assert numbers == sorted(set(numbers))
        assert set(handled) <= set(sent)
        letters = self.house.letters()
        hung_when_told_to_stop = letters.count((name, "on_stop"))
        assert len(sent) - len(handled) == letters.count((name, "Execute")) + hung_when_told_to_stop


Story.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
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
