"""What people say to the observatory, as messages: the operators' commands of scenarios and of the command line."""

from __future__ import annotations

from collections.abc import Callable

from pyros.messages.base import Command
from pyros.messages.devices import ResetLatch
from pyros.messages.night import Lockdown, Pause, Release, Resume, StartObserving, StopObserving
from pyros.messages.people import CancelSequence

OPERATOR = "operator"
_COMMANDS: dict[str, tuple[str, Callable[[dict[str, str]], Command]]] = {
    "pause": ("majordome", lambda _: Pause()),
    "resume": ("majordome", lambda _: Resume()),
    "start": ("majordome", lambda _: StartObserving()),
    "stop": ("majordome", lambda _: StopObserving()),
    "lockdown": (
        "majordome",
        lambda keys: Lockdown(operator=keys.get("operator", OPERATOR), reason=keys.get("reason", "ordered")),
    ),
    "release": ("majordome", lambda keys: Release(operator=keys.get("operator", OPERATOR))),
    "reset-latch": ("plc", lambda keys: ResetLatch(operator=keys.get("operator", OPERATOR))),
    "cancel": ("routine_manager", lambda keys: CancelSequence(sequence_id=int(keys["sequence"]), by=OPERATOR)),
}


def operator_message(text: str) -> tuple[str, Command]:
    """Return the receiver and the message of a command such as `pause` or `cancel sequence=12`.

    Raises
    ------
    ValueError
        With one line, when there is no such command or a key is missing.
    """
    word, *rest = text.split()
    if word not in _COMMANDS:
        raise ValueError(f"operator command {word!r} is unknown; there are {', '.join(_COMMANDS)}")
    keys = dict(part.split("=", 1) for part in rest if "=" in part)
    actor, make = _COMMANDS[word]
    try:
        return actor, make(keys)
    except (KeyError, ValueError) as error:
        raise ValueError(f"operator command {text!r} lacks {error}") from None
