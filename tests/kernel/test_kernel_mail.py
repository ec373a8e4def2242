"""How mail travels: lanes, deadlines, refusals, causes and users, events and retained states."""

import threading

import pytest
from kernel_stage import START, House, actor, spec

from pyros.actors.kernel import AskUpwardError, Deferred, Lease, LeaseRevokedError, System
from pyros.actors.kernel.envelope import StopOrder
from pyros.actors.kernel.events import EventStream
from pyros.actors.kernel.mailbox import Mailbox, MailboxRefusedError
from pyros.actors.kernel.system import Question
from pyros.clock import VirtualClock, WallClock
from pyros.messages.base import Done, Expired, Failed, GetState, Refused
from pyros.messages.devices import Brake, Slew
from pyros.messages.night import Execute, NightEnded, NightStarted, SequenceStarted
from pyros.messages.store import Commit, Insert
from pyros.messages.system import ActorFailed, Crash, GetMessages, LibrarianState, MessageList

STARTED = SequenceStarted(sequence_id=1, name="M31", alert_id=None)


def keeps(log, *fields):
    """A handler that notes fields of the actor (sender, user …)."""
    return lambda me, m: log.append(tuple(getattr(me, field) for field in fields))


# -- lanes and limits ------------------------------------------------------------------------------------------------


def test_a_brake_overtakes_everything_that_waits():
    taken = []
    house = House(
        spec("a", actor(on_execute=lambda me, m: taken.append(m.sequence_id), on_brake=lambda me, m: taken.append("!")))
    )
    for number in range(3):
        house.tell("a", Execute(sequence_id=number))
    house.tell("a", Brake(cause="x"))
    house.run(1)
    assert taken == ["!", 0, 1, 2]


def test_a_full_mailbox_refuses_commands_but_never_what_makes_safer_nor_the_kernels_own_mail():
    mailbox = Mailbox("a", WallClock(), limit=2)
    for mail in "xy":
        mailbox.put(mail)
    with pytest.raises(MailboxRefusedError, match="a has 2 messages waiting"):
        mailbox.put("z")
    mailbox.put("brake", first=True)
    mailbox.put("timer", always=True)
    view = mailbox.open_view(1)
    assert [mailbox.take(view) for _ in range(4)] == ["brake", "x", "y", "timer"]


def test_timers_and_answers_get_through_to_an_actor_whose_ordinary_lane_is_full():
    got = []

    def on_execute(me, m):
        me.after(1.0, Slew(ra_deg=1, dec_deg=1, sequence_id=1))
        me.ask("b", GetState(), 5.0, got.append)
        me.clock.sleep(2.0)

    hooks = {"on_execute": on_execute, "on_slew": lambda me, m: got.append("slew")}
    house = House(spec("b"), spec("a", actor(**hooks)))
    house.system.mailbox("a")._limit = 3
    house.tell("a", Execute(sequence_id=1))
    house.clock.call_later(0.5, lambda: [house.tell("a", GetState()) for _ in range(9)])
    house.run(10)
    assert got == [LibrarianState(queries=1), "slew"]
    assert ("a", "GetState") in house.letters()


def test_the_supervisor_hears_of_a_failure_even_with_a_full_mailbox():
    house = House(spec("a"))
    house.system.mailbox("supervisor")._limit = 0
    house.tell("a", Crash())
    house.run(5)
    assert house.ask("a") == LibrarianState(queries=2)


def test_a_stop_order_for_a_dead_incarnation_is_not_inherited():
    house = House(spec("a"))
    house.tell("a", Crash(), user="ops")
    house.system.mailbox("a").put(StopOrder(1))
    house.run(1)
    assert house.ask("a") == LibrarianState(queries=2)


# -- refusals --------------------------------------------------------------------------------------------------------


def test_an_unknown_message_is_refused_by_name_and_becomes_a_dead_letter():
    house = House(spec("a"))
    answer = house.ask("a", Execute(sequence_id=1))
    assert isinstance(answer, Refused)
    assert answer.reason.startswith("a does not take Execute; it takes Crash, GetMessages, GetState")
    house.tell("a", Done())
    house.run(1)
    assert house.letters() == [("a", "Execute"), ("a", "Done")]


def test_a_command_out_of_its_limits_is_refused_before_the_handler_sees_it():
    house = House(spec("a", actor(on_slew=lambda me, m: pytest.fail("taken"))))
    answer = house.ask("a", Slew(ra_deg=361.0, dec_deg=0.0, sequence_id=1))
    assert "`float` < 360.0" in answer.reason
    assert "outside" in answer.reason
    assert house.row("a").restarts == 0


@pytest.mark.parametrize("values", [{"x": object()}, {1: 2**70}, {"x": "\ud800"}])
def test_a_senders_nonsense_is_refused_and_does_not_break_the_receiver(values):
    house = House(spec("a", actor(on_commit=lambda me, m: None)))
    answer = house.ask("a", Commit(writes=[Insert(table="image", values=values)], reason="test"))
    assert isinstance(answer, Refused | Done)
    assert house.row("a").restarts == 0


def test_an_actor_that_asks_upward_fails_and_is_restarted():
    """A programming error: it fails like any other exception, with a dead letter that names both."""
    house = House(spec("a", actor(on_execute=lambda me, m: me.ask("b", GetState(), 1.0, print))), spec("b"))
    answer = house.ask("a", Execute(sequence_id=1))
    assert isinstance(answer, Failed)
    assert "a may not ask b" in answer.reason
    assert house.ask("a") == LibrarianState(queries=2)


def test_an_actor_may_not_ask_itself():
    with pytest.raises(AskUpwardError):
        House(spec("a")).system.check_may_ask("a", "a")


def test_a_handler_that_returns_no_message_is_a_failure():
    answer = House(spec("a", actor(on_execute=lambda me, m: True))).ask("a", Execute(sequence_id=1))
    assert "returned True" in answer.reason


# -- answers ---------------------------------------------------------------------------------------------------------


def test_a_question_is_answered_once_whoever_is_first():
    answers = []
    question = Question(answers.append)
    threads = [threading.Thread(target=question.answer, args=(Done(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [Done()]


def test_an_ask_that_nobody_answers_expires_in_the_askers_thread():
    def on_execute(me, m):
        if me.name == "a":
            return Deferred()
        answer = Deferred()
        me.ask("a", m, 3.0, answer.answer)
        return answer

    house = House(spec("a", actor(on_execute=on_execute)), spec("b", actor(on_execute=on_execute)))
    assert house.ask("b", Execute(sequence_id=1), 10) == Expired(reason="a has not answered Execute in 3 s")
    assert (house.clock.now() - START).total_seconds() == 3.0


def test_a_promise_of_an_actor_that_breaks_is_answered_failed_at_once():
    house = House(spec("a", actor(on_execute=lambda me, m: Deferred())))
    promised = house.question("a", Execute(sequence_id=1), 60)
    house.tell("a", Crash())
    house.run(1)
    assert promised == [Failed(reason="a broke on Crash: RuntimeError: a was told to break")]


def test_an_answer_to_a_dead_incarnation_is_dropped_and_its_timers_are_not_heard():
    got = []

    def on_execute(me, m):
        if me.name == "a":
            me.clock.sleep(0.9)
            return
        me.after(2.0, Brake(cause="old"))
        me.ask("a", m, 5.0, got.append)

    hooks = {"on_execute": on_execute, "on_brake": lambda me, m: got.append(m)}
    house = House(spec("a", actor(**hooks)), spec("b", actor(**hooks)))
    house.tell("b", Execute(sequence_id=1))
    house.tell("b", Crash())
    house.run(10)
    assert got == []


# -- envelopes -------------------------------------------------------------------------------------------------------


def test_cause_and_user_travel_along_a_chain_of_tells_asks_timers_and_events():
    seen, deliveries = [], []
    note = keeps(seen, "name", "sender", "user")

    def on_execute(me, m):
        note(me, m)
        if me.name == "c":
            me.ask("b", m, 1.0, lambda _: (note(me, m), me.after(1.0, Brake(cause="x"))))

    def on_brake(me, m):
        me.publish(STARTED)

    hooks = {"on_execute": on_execute, "on_brake": on_brake, "on_sequence_started": note}
    hooks["on_start"] = lambda me: me.subscribe(SequenceStarted) if me.name == "b" else None
    house = House(spec("b", actor(**hooks)), spec("c", actor(**hooks)))
    house.system.keep_journal(deliveries.append)
    house.tell("c", Execute(sequence_id=1), user="ann")
    house.run(3)
    assert seen == [("c", "outside", "ann"), ("b", "c", "ann"), ("c", "outside", "ann"), ("b", "c", "ann")]
    chain = {delivery.id: delivery.cause for delivery in deliveries if delivery.id}
    event = next(d for d in deliveries if isinstance(d.message, SequenceStarted))
    command = next(d for d in deliveries if isinstance(d.message, Execute) and d.to == "c")
    assert chain[event.cause] == command.id
    assert command.cause == command.id


def test_a_journal_that_breaks_is_dropped_and_nobody_else_breaks(capsys):
    def full(_):
        raise OSError("disk full")

    house = House(spec("a"))
    house.system.keep_journal(full)
    house.system.events.tap(full)
    assert house.ask("a") == LibrarianState(queries=1)
    assert house.system.journals == ()
    assert "disk full" in capsys.readouterr().err


def test_an_actor_lists_the_messages_that_it_takes():
    answer = House(spec("a", actor(on_slew=print))).ask("a", GetMessages())
    assert answer == MessageList(actor="a", messages=["Crash", "GetMessages", "GetState", "Slew"])


# -- events and states -----------------------------------------------------------------------------------------------


def test_subscribers_hear_in_the_order_of_subscription_and_once_also_after_a_restart():
    heard = []
    hooks = {"on_start": lambda me: me.subscribe(NightStarted), "on_night_started": keeps(heard, "name", "epoch")}
    publish = actor(on_execute=lambda me, m: me.publish(NightStarted(night="2026-11-21", ends=START)))
    house = House(spec("b", actor(**hooks)), spec("a", actor(**hooks)), spec("p", publish))
    house.tell("b", Crash())
    house.run(1)
    house.tell("p", Execute(sequence_id=1))
    house.run(1)
    assert heard == [("b", 2), ("a", 1)]


def test_an_event_without_a_handler_is_nobodys_fault():
    house = House(spec("a", actor(on_start=lambda me: me.subscribe(NightEnded))))
    house.tell("a", NightEnded(night="2026-11-21"))
    house.run(1)
    assert house.letters() == []


def test_the_latest_state_is_the_last_one_published_whoever_did_it():
    stream = EventStream()
    for at_s, (name, queries) in enumerate([("a", 1), ("b", 2), ("a", 3)]):
        stream.retain(name, LibrarianState(queries=queries), float(at_s))
    assert stream.latest(LibrarianState) == (LibrarianState(queries=3), 2.0)
    assert stream.latest(LibrarianState, "b") == (LibrarianState(queries=2), 1.0)
    stream.retain("b", LibrarianState(queries=4), 3.0)
    assert stream.latest(LibrarianState) == (LibrarianState(queries=4), 3.0)
    assert stream.latest(LibrarianState, "c") is None
    assert [kept.actor for kept in stream.snapshot()] == ["a", "b"]


def test_a_state_is_published_only_when_it_has_changed_and_ages_on_the_clock():
    ages = []

    def on_execute(me, m):
        me.show()
        me.show()
        me.after(7.0, Brake(cause="look"))

    hooks = {"on_execute": on_execute, "on_brake": lambda me, m: ages.append(me.latest(LibrarianState, me.name))}
    house = House(spec("a", actor(**hooks)))
    house.tell("a", Execute(sequence_id=1))
    house.run(20)
    assert len(house.events(LibrarianState)) == 1
    assert ages == [(LibrarianState(queries=1), 7.0)]


# -- leases ----------------------------------------------------------------------------------------------------------


def test_a_revoked_lease_closes_its_links_once_whatever_one_of_them_raises(capsys):
    closed, lease = [], Lease("plc", 3)
    lease.on_revoke(lambda: closed.append(1))
    lease.on_revoke(lambda: 1 / 0)
    lease.on_revoke(lambda: closed.append(2))
    lease.check()
    lease.revoke()
    lease.revoke()
    assert closed == [1, 2]
    assert "ZeroDivisionError" in capsys.readouterr().err
    with pytest.raises(LeaseRevokedError, match="plc: incarnation 3 has been replaced"):
        lease.check()
    lease.on_revoke(lambda: closed.append("late"))
    assert closed[-1] == "late"


def test_a_replaced_incarnation_can_neither_tell_nor_publish_nor_arm_a_timer():
    wrong = []

    def on_execute(me, m):
        me.clock.sleep(30)
        for act in (lambda: me.tell("a", m), lambda: me.publish(STARTED), lambda: me.after(1, m), me.show):
            try:
                act()
                wrong.append(act)
            except LeaseRevokedError:
                pass

    house = House(spec("a", actor(on_execute=on_execute, on_stop=lambda me: wrong.append("on_stop"))))
    house.tell("a", Execute(sequence_id=1))
    house.run(100)
    assert wrong == []
    assert house.row("a").epoch == 2
    assert house.events(LibrarianState) == []
    assert len(house.events(ActorFailed)) == 1


def test_two_actors_cannot_have_the_same_name():
    system = System(VirtualClock(START))
    system.open_mailbox("a")
    with pytest.raises(ValueError, match="two actors are called a"):
        system.open_mailbox("a")


def test_an_actor_may_call_its_own_attributes_what_it_likes():
    """Majordome's `_running` and the observation manager's `_deliver` are none of the kernel's business."""
    names = ("_view", "_running", "_envelope", "_system", "_deliver", "_begin", "_fail", "_stop", "_answer", "_failure")

    def on_start(me):
        for name in names:
            setattr(me, name, None)

    house = House(spec("a", actor(on_start=on_start, **dict.fromkeys(names, 1))))
    assert house.ask("a") == LibrarianState(queries=1)
    assert isinstance(house.ask("a", Crash()), Failed)
    assert house.ask("a") == LibrarianState(queries=2)
