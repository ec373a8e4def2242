"""`pyros send`, `ask`, `tail`, `messages`, `status` and `user` against a real gateway on real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pyros.actors.kernel import Actor
from pyros.cli import COMMANDS, pyros
from pyros.cli.status import overview, seen_in
from pyros.cli.typed import CONCRETE, WordsError, message_from, one_line
from pyros.messages import Failed, Refused
from pyros.messages.alerts import AlertManagerState, AlertRow
from pyros.messages.codec import to_builtins
from pyros.messages.devices import PlcState, Slew
from pyros.messages.night import MajordomeState, ObservationManagerState, SafetyVerdict
from pyros.messages.people import Account, SubmitRequest, UserManagerState
from pyros.messages.store import Rows
from pyros.messages.system import ChildRow, LibrarianState, Snapshot, StateRow, SupervisorState

NOW = datetime(2026, 11, 22, 4, 20, tzinfo=UTC)
PASSWORD = "correct horse battery"


@pytest.fixture
def stage(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "gateway"))
    import gateway_stage

    return gateway_stage


class People(Actor):
    """A user manager and librarian that keep accounts in memory."""

    accounts: list

    def on_start(self):
        self.accounts = []

    def on_add_user(self, message):
        if any(account.name == message.name for account in self.accounts):
            return Refused(reason=f"there is\na {message.name} already")
        self.accounts.append(message)
        return Account(user_id=len(self.accounts), name=message.name, role=message.role)

    def state(self):
        return UserManagerState(accounts=len(self.accounts))


class Pages(Actor):
    """A librarian with three accounts on two pages."""

    def on_get_rows(self, message):
        names = ["ada", "berta", "carl"][message.before_id or 0 :]
        rows = [
            {"id": number, "name": name, "role": "observer", "status": "VALIDATED", "email": f"{name}@x.org"}
            for number, name in enumerate(names[:2], (message.before_id or 0) + 1)
        ]
        return Rows(table="user", rows=rows, more=len(names) > 2, total=3)

    def state(self):
        return LibrarianState(queries=0)


@pytest.fixture
def observatory(stage, monkeypatch):
    with stage.daemon(more=[("user_manager", People), ("librarian", Pages)]) as running:
        monkeypatch.setenv("PYROS_GATEWAY", str(running.folder))
        yield running


def run(*words, text=None):
    return CliRunner().invoke(pyros, [str(word) for word in words], input=text)


def test_send_prints_the_reply_on_one_line_and_carries_the_user(observatory):
    ran = run("send", "telescope", "Slew", "ra_deg=83.6", "dec_deg=-5", "sequence_id=1", "--user", "ada")
    assert ran.exit_code == 0
    assert ran.stdout.startswith("Slewed ra_deg=83.6 dec_deg=-5.0 ")
    assert len(ran.stdout.splitlines()) == 1
    assert observatory.telescope.taken[0] == ("ada", Slew(ra_deg=83.6, dec_deg=-5.0, sequence_id=1))


def test_send_prints_json_when_asked(observatory):
    ran = run("send", "telescope", "Halt", "cause=test", "--json")
    assert json.loads(ran.stdout) == {"type": "Done"}


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["send", "telescop", "Halt", "cause=x"], 1, "there is no actor telescop; there are telescope"),
        (["send", "telescope", "Park", "cause=x", "--within", "0.2"], 1, "expired: "),
        (["send", "telescope", "Crash"], 1, "failed: "),
        (["send", "telescope", "slew"], 2, "did you mean Slew?"),
        (["send", "telescope", "Slew", "ra=1"], 2, "did you mean ra_deg?"),
        (["send", "telescope", "Slew", "ra_deg=400"], 2, "ra_deg is '400': Expected `float` < 360.0"),
        (["send", "telescope", "Slew", "ra_deg=NaN"], 2, "Slew: ra_deg is 'NaN'"),
        (["send", "telescope", "Slew", "ra_deg=1"], 2, "needs dec_deg, sequence_id too"),
        (["send", "telescope", "Slew", "ra_deg"], 2, "'ra_deg' is not key=value"),
        (["send", "telescope", "Slew", "ra_deg=1", "ra_deg=2"], 2, "given twice"),
        (["send", "telescope", "Command"], 2, "there is no message 'Command'"),
        (["send", "telescope", "Slew", "--within", "0"], 2, "--within"),
        (["ask", "telescope", "Slew", "ra_deg=1", "dec_deg=1", "sequence_id=1"], 2, "use `pyros send"),
        (["ask", "telescope", "GetStat"], 2, "did you mean GetState?"),
        (["tail", "--type", "Slewedd"], 2, "did you mean Slewed?"),
        (["messages", "Slewedd"], 2, "did you mean Slewed?"),
        (["statsu"], 2, "did you mean status?"),
        (["status", "--connect", "tcp://x:1"], 2, "is not a folder"),
        (["status", "--connect", "/" + "x" * 120], 2, "too long"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_with_the_way_out(observatory, words, status, says):
    ran = run(*words)
    assert ran.exit_code == status
    assert says in ran.stderr
    assert ran.stdout == ""
    errors = [line for line in ran.stderr.splitlines() if not line.startswith(("Usage:", "Try ")) and line]
    assert len(errors) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["send", "telescope", "Halt", "cause=x", "--within", "0.1"],
        ["ask", "telescope", "--within", "0.1"],
        ["status"],
        ["tail"],
        ["user", "list"],
    ],
)
def test_without_a_daemon_every_command_says_so_in_one_line(tmp_path, words):
    ran = run(*words, "--connect", tmp_path)
    assert ran.exit_code == 1
    assert ran.stderr == (
        f"Error: no PyROS daemon answers at {tmp_path}; start one with `pyros run` or name it with --connect\n"
    )


def test_ask_prints_the_answer_as_json_and_asks_for_the_state_unless_told(observatory):
    assert json.loads(run("ask", "telescope").stdout)["ra_deg"] == 10.0
    assert "Slew" in json.loads(run("ask", "telescope", "GetMessages").stdout)["messages"]


def test_tail_shows_events_in_words_or_as_json_by_actor_and_type(observatory, stage):
    def tail(*words):
        thread, results = stage.in_thread(lambda: run("tail", *words))
        number = 0
        while thread.is_alive():
            observatory.publish(1, first=number)
            number += 1
            thread.join(0.02)
        return results[0]

    ran = tail("--limit", 3, "--actor", "telescope")
    assert ran.exit_code == 0
    for line in ran.stdout.splitlines():
        time, sender, tag, *words = line.split()
        assert datetime.fromisoformat(time)
        assert (sender, tag, words[0]) == ("telescope", "TelescopeState", "link=up")
    rows = [json.loads(line) for line in tail("--limit", 2, "--json", "--type", "TelescopeState").stdout.splitlines()]
    assert [row["message"]["type"] for row in rows] == ["TelescopeState"] * 2
    assert rows[0]["sequence"] < rows[1]["sequence"]


# -- words -----------------------------------------------------------------------------------------------------------


def test_values_are_typed_by_the_messages_fields():
    words = ["user=5", "programme=true", "name=null", 'target_name="M 31"', "ra_deg=.5", "dec_deg=1e1", "priority=7"]
    made = message_from("SubmitRequest", [*words, "earliest=2026-11-22T20:00:00Z", "latest=null"])
    assert made == SubmitRequest(
        user="5",
        programme="true",
        name="null",
        target_name="M 31",
        ra_deg=0.5,
        dec_deg=10.0,
        priority=7,
        earliest=datetime(2026, 11, 22, 20, tzinfo=UTC),
    )
    nested = message_from("Commit", ["reason=x", 'writes=[{"type":"Insert","table":"user","values":{"name":"ada"}}]'])
    assert nested.writes[0].values == {"name": "ada"}


@pytest.mark.parametrize(
    ("name", "pairs", "says"),
    [
        ("SubmitRequest", ["earliest=tonight"], "earliest is 'tonight'"),
        ("Beat", ["verdict_at=2026-11-22T20:00:00", "count=1"], "no time zone"),
        ("Commit", ["reason=x", "writes=[{]"], "writes is"),
        ("Commit", ["reason=x", 'writes=[{"type":"Insrt"}]'], "Insrt"),
        ("GetState", ["x=1"], "GetState has no fields"),
        ("Expose", ["frame=ligth"], "frame is 'ligth'"),
    ],
)
def test_a_value_that_does_not_fit_is_named(name, pairs, says):
    with pytest.raises(WordsError, match=says):
        message_from(name, pairs)


@given(st.text(max_size=60), st.sampled_from(sorted(CONCRETE)), st.lists(st.text(max_size=30), max_size=4))
def test_no_words_break_the_command_line(text, name, pairs):
    first = next(iter(CONCRETE[name].__struct_fields__), "x")
    for each in ([*pairs], [f"{first}={text}"]):
        with contextlib.suppress(WordsError):
            message_from(name, each)


@given(st.text(max_size=200))
def test_a_message_on_one_line_cannot_move_the_terminals_cursor(text):
    line = one_line(Failed(reason=text))
    assert line.isprintable()


def test_every_message_has_its_place_in_the_reference():
    listed = run("messages").stdout
    for name in CONCRETE:
        assert f"  {name} " in listed
        assert run("messages", name).stdout.startswith(f"{name} (")
    slew = run("messages", "Slew").stdout
    assert "ra_deg       number ≥ 0 < 360, degrees" in slew
    assert "makes safer" in run("messages", "Park").stdout


# -- status ----------------------------------------------------------------------------------------------------------


def states_of_a_night():
    alert = AlertRow(
        alert_id=7,
        name="GRB 261122A",
        status="ACTIVE",
        t0=NOW - timedelta(seconds=90),
        ra_deg=1,
        dec_deg=1,
        error_deg=0.05,
        strategy="x",
        notices=1,
        times={},
        candidates=2,
    )
    child = ChildRow(actor="plc", status="backing off", epoch=3, restarts=2, mailbox=0, last_fault="LinkError: mute")
    mode = MajordomeState(
        mode="observing",
        why="night and weather allow",
        since=NOW,
        sequence_id=42,
        sequence="GRB 261122A",
        until=NOW + timedelta(minutes=27),
        next_sequence_id=43,
        next_sequence="M 31",
        next_start=NOW + timedelta(days=1),
        locked_by="ada",
    )
    return [
        SafetyVerdict(level="UNSAFE", reasons=["rain", "wind 20 m/s"], at=NOW),
        PlcState(link="down", dome="closed", problem="mute", latched=["rain"]),
        mode,
        ObservationManagerState(sequence_id=42, step="exposing", frame=4, frames=20),
        AlertManagerState(notices=1, accepted=1, alerts=[alert, msgspec.structs.replace(alert, status="DONE")]),
        SupervisorState(status="up", since=NOW, children=[child]),
    ]


def test_the_overview_says_what_is_unsafe_what_runs_until_when_and_what_is_next():
    rows = [
        StateRow(actor="x", state=type(state).__name__, age_s=1.0, content=to_builtins(state))
        for state in states_of_a_night()
    ]
    rows.append(StateRow(actor="x", state="FromTheFuture", age_s=1.0, content={"type": "FromTheFuture"}))
    snapshot = Snapshot(now=NOW, speed=60.0, sequence=1, states=rows)
    assert [(name, text) for name, text, _ in overview(snapshot, seen_in(snapshot))] == [
        ("Time", "2026-11-22 04:20:00 UTC, 60 times as fast as the world's"),
        ("Safety", "UNSAFE: rain; wind 20 m/s"),
        ("Dome", "closed, wanted as is; latched: rain"),
        ("Mode", "observing: night and weather allow; locked down by ada (since 04:20:00)"),
        ("Now", "GRB 261122A until 04:47:00, exposing 4/20"),
        ("Next", "M 31 at 2026-11-23 04:20:00"),
        ("Alert", "GRB 261122A ACTIVE, 90.0 s after the burst, error 3.00′, 2 candidates"),
    ]


def test_status_shows_devices_with_their_ages_and_actors_with_their_restarts(observatory):
    """MO-P1, MO-T2: the tree of actors, and each instrument with its state and age."""
    for state in states_of_a_night():
        observatory.telescope.publish(state)
    ran = run("status")
    assert ran.exit_code == 0
    lines = [" ".join(line.split()) for line in ran.stdout.splitlines()]
    assert "Safety UNSAFE: rain; wind 20 m/s" in lines
    assert any(line.startswith("telescope down dome closed (mute) 0.") for line in lines)
    assert "plc backing off 2 LinkError: mute" in lines


def test_a_verdict_that_nobody_renews_is_no_verdict(observatory, monkeypatch):
    assert "UNSAFE: nobody has given a verdict yet" in run("status").stdout
    observatory.telescope.publish(SafetyVerdict(level="SAFE", reasons=[], at=NOW))
    assert "Safety  SAFE" in run("status").stdout
    monkeypatch.setattr("pyros.cli.status.STALE_S", 0.0)
    assert "UNSAFE: the last verdict (SAFE) is" in run("status").stdout


def test_status_as_json_is_the_whole_snapshot(observatory):
    states = json.loads(run("status", "--json").stdout)["states"]
    assert {"TelescopeState", "GatewayState"} <= {row["state"] for row in states}


# -- users -----------------------------------------------------------------------------------------------------------


def add(name, password, *more):
    words = ["--email", f"{name}@x.org", "--role", "observer", "--password-stdin", *more]
    return run("user", "add", name, *words, text=password + "\n")


def test_an_account_is_made_with_a_hash_and_never_with_the_password(observatory):
    from argon2 import PasswordHasher

    assert add("ada", PASSWORD).stdout == "Account user_id=1 name=ada role=observer\n"
    stored = observatory.others[0].accounts[0]
    assert stored.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PasswordHasher().verify(stored.password_hash, PASSWORD)
    again = add("ada", PASSWORD)
    assert (again.exit_code, again.stderr) == (1, "Error: refused: there is a ada already\n")


def test_a_short_password_or_none_to_be_had_is_refused_before_anything_is_sent(observatory):
    assert "11 characters; it needs 12" in add("ada", "x" * 11).stderr
    ran = run("user", "add", "ada", "--email", "ada@x.org", "--role", "observer")
    assert ran.exit_code == 2
    assert "--password-stdin" in ran.stderr
    assert add("a d a", PASSWORD, "--role", "king").exit_code == 2
    assert "email" in add("a d a", PASSWORD).stderr
    assert observatory.others[0].accounts == []


def test_accounts_are_listed_over_all_pages(observatory):
    ran = run("user", "list")
    assert [line.split()[0] for line in ran.stdout.splitlines()] == ["ada", "berta", "carl"]
    assert len(json.loads(run("user", "list", "--json").stdout)) == 3


# -- the group -------------------------------------------------------------------------------------------------------


def test_help_lists_only_commands_that_are_there_and_each_of_them_loads():
    ran = run("--help")
    assert ran.exit_code == 0
    listed = [line.split()[0] for line in ran.stdout.split("Commands:")[1].splitlines() if line.strip()]
    assert {"send", "ask", "tail", "status", "messages", "user", "schedule", "alert", "analyze"} <= set(listed)
    assert set(listed) <= set(COMMANDS)


def test_help_imports_nothing_slow():
    slow = "[n for n in ('astropy', 'zmq', 'rich', 'msgspec', 'pykka', 'numpy', 'peewee') if n in sys.modules]"
    code = f"import sys\ntry:\n from pyros.cli import pyros; pyros(['--help'])\nexcept SystemExit:\n print({slow})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_the_command_line_works_as_a_process_of_its_own(observatory):
    def pyros_process(*words):
        command = [sys.executable, "-m", "pyros", *words]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ), cwd=ROOT
        )

    good = pyros_process("send", "telescope", "Halt", "cause=test")
    assert (good.returncode, good.stdout, good.stderr) == (0, "Done\n", "")
    bad = pyros_process("send", "dome", "Halt", "cause=test")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.startswith("Error: refused: there is no actor dome")


ROOT = Path(__file__).parents[2]
