"""The mailbox against a model of two queues, and the clock's timers against a sorted list: any story, any order."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from kernel_stage import START

from pyros.actors.kernel.envelope import REPLACED, Envelope, Resume, StopOrder
from pyros.actors.kernel.mailbox import Mailbox, MailboxRefusedError
from pyros.clock import VirtualClock
from pyros.messages.base import GetState
from pyros.timers import FEWEST_SWEPT, Timer, TimerQueue

LIMIT = 4


class MailboxStory(RuleBasedStateMachine):
    """Puts, takes, replacements, revocations and stops; the model is one deque for each lane."""

    def __init__(self):
        super().__init__()
        self.mailbox = Mailbox("a", VirtualClock(START), limit=LIMIT)
        self.control, self.ordinary = deque(), deque()
        self.views = [self.mailbox.open_view(1)]
        self.owned, self.closed, self.number = True, False, 0

    def mail(self):
        self.number += 1
        return Envelope(f"1-{self.number}", "", "ann", "a", GetState(), 0)

    def put(self, mail, lane, *, may=True, **how):
        if may and not self.closed:
            self.mailbox.put(mail, **how)
            lane.append(mail)
        else:
            reason = "a has stopped" if self.closed else f"a has {LIMIT} messages waiting"
            with pytest.raises(MailboxRefusedError, match=reason):
                self.mailbox.put(mail, **how)

    @rule()
    def put_ordinary(self):
        self.put(self.mail(), self.ordinary, may=len(self.ordinary) < LIMIT)

    @rule()
    def put_first(self):
        self.put(self.mail(), self.control, first=True)

    @rule()
    def put_the_kernels_own(self):
        self.put(Resume(1, print, GetState()), self.ordinary, always=True)

    @rule(ago=st.integers(0, 2))
    def order_a_stop(self, ago):
        self.put(StopOrder(len(self.views) - ago), self.control, first=True)

    @rule()
    def replace(self):
        self.views.append(self.mailbox.open_view(len(self.views) + 1))
        self.owned = True

    @rule(data=st.data())
    def revoke(self, data):
        view = data.draw(st.sampled_from(self.views))
        view.close()
        self.owned = self.owned and view is not self.views[-1]

    @rule(data=st.data())
    def come_back_late(self, data):
        """An incarnation without the right to the mail takes none, however much there is."""
        late = self.views[:-1] if self.owned else self.views
        if late:
            assert self.mailbox.take(data.draw(st.sampled_from(late))) is REPLACED

    def next_mail(self):
        for lane in (self.control, self.ordinary):
            while lane and isinstance(lane[0], StopOrder) and lane[0].epoch != len(self.views):
                lane.popleft()
            if lane:
                return lane.popleft()
        return None

    @precondition(lambda self: self.owned)
    @rule()
    def take(self):
        expected = self.next_mail()
        if expected is None:
            self.put_first()  # else it would wait for ever
            expected = self.next_mail()
        if expected is not None:
            assert self.mailbox.take(self.views[-1]) is expected
            assert self.mailbox.busy()[0] is expected

    @rule()
    @precondition(lambda self: self.number > 15)
    def close(self):
        left = [mail for mail in (*self.control, *self.ordinary) if isinstance(mail, Envelope)]
        assert self.mailbox.close() == left
        self.control.clear()
        self.ordinary.clear()
        self.closed = True

    @invariant()
    def nothing_is_lost_and_nothing_comes_twice(self):
        waiting = [*self.mailbox._control, *self.mailbox._ordinary]
        stale = [mail for mail in waiting if isinstance(mail, StopOrder)]
        assert [mail for mail in waiting if mail not in stale] == [
            mail for mail in (*self.control, *self.ordinary) if not isinstance(mail, StopOrder)
        ]
        assert len(self.mailbox) == len(waiting)


MailboxStory.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestMailboxStory = MailboxStory.TestCase


class TimerStory(RuleBasedStateMachine):
    """Timers set, cancelled and due in any order; the model is a list, sorted by time, then by order of setting."""

    def __init__(self):
        super().__init__()
        self.queue, self.model = TimerQueue(), []

    @rule(due_us=st.integers(0, 50), count=st.integers(1, 200))
    def set(self, due_us, count):
        for _ in range(count):
            self.model.append(Timer(due_us, print))
            self.queue.push(self.model[-1])

    @rule(every=st.integers(1, 3), offset=st.integers(0, 2))
    def cancel(self, every, offset):
        for timer in self.model[offset::every]:
            timer.cancel()
            timer.cancel()
        self.model = [timer for timer in self.model if timer.callback is not None]

    @rule(count=st.integers(1, 50))
    def let_pass(self, count):
        for _ in range(min(count, len(self.model))):
            first = min(self.model, key=lambda timer: timer.due_us)
            assert self.queue.next_due_us() == first.due_us
            assert self.queue.pop() is first
            self.model.remove(first)
        if not self.model:
            assert self.queue.next_due_us() is None

    @invariant()
    def what_lives_is_kept(self):
        assert len(self.queue) >= len(self.model)


TimerStory.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestTimerStory = TimerStory.TestCase


def test_cancelled_timers_of_long_deadlines_are_not_kept_until_they_are_due():
    """The deadline of an ask is cancelled as soon as the answer is there: the queue must not grow with every ask."""
    queue = TimerQueue()
    kept = [Timer(3_600_000_000 + number, print) for number in range(100)]
    for timer in kept:
        queue.push(timer)
    for number in range(20_000):
        timer = Timer(60_000_000 + number, print)
        queue.push(timer)
        timer.cancel()
        assert len(queue) <= max(FEWEST_SWEPT, 2 * len(kept) + 2)
    assert queue.next_due_us() == kept[0].due_us
    assert [queue.pop() for _ in kept] == kept
