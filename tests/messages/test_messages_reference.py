"""The printed reference and the page in docs tell of every message."""

from messages_survey import END, HANDLERS, MESSAGES, PAGE, Survey, table, written

from pyros.messages.devices import Brake, PlcState, Slew
from pyros.messages.reference import KINDS, entry, main, messages, reference


def test_the_reference_lists_every_message_once_under_its_kind():
    text = reference()
    heads = [
        line.split("  (")[0] for line in text.splitlines() if line and not line.startswith(" ") and not line.isupper()
    ]
    assert sorted(heads) == sorted(message.__name__ for kind in KINDS for message in messages(kind))
    assert set(MESSAGES) <= set(heads)


def test_an_entry_names_fields_with_units_types_limits_and_defaults():
    assert entry(Slew)[2:] == [
        "    ra_deg: float (≥ 0, < 360)",
        "    dec_deg: float (≥ -90, ≤ 90)",
        "    sequence_id: int",
    ]
    assert "    ups_percent: float (≥ 0, ≤ 100) or none = None" in entry(PlcState)
    assert entry(Brake, lambda name: ["telescope.brake"])[0] == (
        "Brake  (to telescope.brake; budget 2 s; makes safer: never expired or refused by a full mailbox)"
    )


def test_an_unknown_name_is_refused_in_one_line(capsys):
    assert main(["Slwe"]) == 2
    assert capsys.readouterr().err == "there is no message Slwe; without a name all are listed\n"
    assert main(["Slew"]) == 0
    assert capsys.readouterr().out.startswith("COMMANDS\n\nSlew  (budget 1 s)\n")


def test_the_page_names_every_message_with_its_sender_receiver_reply_and_budget():
    page = PAGE.read_text()
    assert END in page
    assert written(page) == table(), "the actors have changed: run python tests/messages/messages_survey.py"


def test_every_command_and_query_has_an_actor_that_takes_it():
    survey = Survey()
    asked = [name for name, message in MESSAGES.items() if message.kind in {"command", "query"}]
    assert [name for name in asked if not survey.takes[name]] == []


def test_no_handler_is_misspelt():
    """A method on_<something> of an actor that is neither a message's handler nor a hook would never be called."""
    assert Survey().stray == []
    assert HANDLERS["on_make_schedule"] == "MakeSchedule"
