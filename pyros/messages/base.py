"""What every message is: an immutable, typed value with limits in its types, and its place on the wire.

A message holds domain content only; who sent it, why and until when it is good stands in the kernel's envelope.
Commands are imperative (`Slew`), events past tense (`Slewed`), queries `Get…`, states nouns (`TelescopeState`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, dataclass_transform

import msgspec
from msgspec import Meta

RightAscension = Annotated[float, Meta(ge=0, lt=360)]
"""ICRS right ascension in degrees."""
Declination = Annotated[float, Meta(ge=-90, le=90)]
"""ICRS declination in degrees."""
Seconds = Annotated[float, Meta(ge=0, le=86_400 * 400)]
"""A duration in seconds."""
Percent = Annotated[float, Meta(ge=0, le=100)]
Count = Annotated[int, Meta(ge=0)]
Instant = datetime
"""An aware UTC datetime."""
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=20_000)]

REGISTRY: dict[str, type[Message]] = {}
"""Every concrete message by its tag, which is its class name."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class _MessageMeta(msgspec.StructMeta):
    """Gives every message the same rules: immutable, keywords only, tagged with its name, no unknown fields."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        message: Any = super().__new__(
            cls, name, bases, namespace, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True
        )
        other = REGISTRY.setdefault(name, message)
        if other.__module__ != message.__module__:
            raise TypeError(f"two messages are called {name}; names are tags and must be unique")
        return message


class Message(msgspec.Struct, metaclass=_MessageMeta):
    """Base of all messages. Subclasses are declared through `Command`, `Query`, `Event`, `State` and `Reply`."""

    budget_s: ClassVar[float] = 1.0
    """How long a handler may take before its actor counts as hung."""
    kind: ClassVar[str] = ""
    makes_safer: ClassVar[bool] = False
    """Some commands do: never expired, fenced or refused by a full mailbox; they travel in the control lane."""


class Command(Message):
    """Asks an actor to do something."""

    kind = "command"


class Query(Message):
    """Asks an actor for something and changes nothing."""

    kind = "query"


class Event(Message):
    """Something that happened."""

    kind = "event"


class State(Message):
    """What an actor is like now; published on change and retained, so that who comes late gets the last one."""

    kind = "state"


class Reply(Message):
    """The answer to a command or a query."""

    kind = "reply"


class Part(Message):
    """A value inside another message; nobody sends it alone."""

    kind = "part"


class Done(Reply):
    """The command was carried out, or for a long one: has been begun."""


class Refused(Reply):
    """The request was understood and will not be carried out; nothing has changed."""

    reason: Text


class Failed(Reply):
    """The actor broke on the request; it has been restarted and the request set aside."""

    reason: Text


class Expired(Reply):
    """Nobody answered in time."""

    reason: Text


class GetState(Query):
    """Every actor answers with its `<Actor>State`."""
