"""What people get to see of the courier: lines of the log, and of `pyros status`."""

from __future__ import annotations

import logging
from datetime import timedelta

from courier_stage import NOON

from pyros.cli.daemon_log import ALARM_AFTER, EventLog
from pyros.cli.status import overview, seen_in
from pyros.clock import VirtualClock
from pyros.messages.codec import to_builtins
from pyros.messages.courier import CourierState, DestinationRow, NewsRefused
from pyros.messages.system import ActorFailed, ArchivistState, Snapshot, StateRow

REFUSED = "fsc refuses the news of alert 1 DONE: HTTP 404"
BLANK = {"name": "fsc", "waiting": 0, "oldest_at": None, "sent": 1, "refused": 0}


def fares(**more):
    return CourierState(destinations=[DestinationRow(**(BLANK | more))])


def shown(*states):
    rows = [StateRow(actor="a", state="s", age_s=0.0, content=to_builtins(state)) for state in states]
    snapshot = Snapshot(now=NOON, speed=1.0, sequence=1, states=rows)
    return {name: text for name, text, _ in overview(snapshot, seen_in(snapshot))}


def test_the_log_has_a_line_when_news_are_held_up_and_when_they_go_out_again_and_none_in_between(caplog):
    log = EventLog(VirtualClock(NOON))
    with caplog.at_level(logging.INFO, "pyros"):
        for error in ("", "HTTP 500", "HTTP 500", "", ""):
            log("courier", fares(last_error=error, waiting=3))
        log("courier", NewsRefused(destination="fsc", id="1", subject="alert 1 DONE", reason="HTTP 404"))
    words = [line.split(": ", 1)[1] for line in caplog.messages]
    assert words == [
        "go out",
        "held up: HTTP 500",
        "go out",
        "fsc refuses the news of alert 1 DONE: HTTP 404",
    ]


def test_an_actor_that_fails_three_times_in_ten_minutes_raises_an_alarm_and_one_that_fails_seldom_none(caplog):
    """AL-E2."""
    clock = VirtualClock(NOON)
    log = EventLog(clock)
    with caplog.at_level(logging.CRITICAL, "pyros"):
        for wait_s in (400.0, 400.0, 400.0, 0.0, 0.0, 0.0):
            clock.run(clock.now() + timedelta(seconds=wait_s))
            log("supervisor", ActorFailed(actor="listener:vtp", epoch=1, cause="RuntimeError: no", message="Crash"))
    assert len(caplog.messages) == 1
    assert f"listener:vtp: ALARM: {ALARM_AFTER} failures" in caplog.messages[0]


def test_the_status_shows_what_waits_for_whom_since_when_and_why():
    waits = shown(fares(waiting=3, oldest_at=NOON - timedelta(hours=3), last_error="no connection: refused"))
    assert waits["News"] == "3 wait for fsc, the oldest for 3.0 h: no connection: refused"
    assert shown(fares(refused=2))["News"] == "fsc has refused 2; see the log"
    assert "News" not in shown(fares())


def test_the_status_shows_a_disk_that_takes_nothing():
    state = ArchivistState(commits=1, rows=1, refused=0, file="pyros.db", problem="pyros.db took none of 1 commits")
    assert shown(state)["Store"] == "pyros.db took none of 1 commits"
