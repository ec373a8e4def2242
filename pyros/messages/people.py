"""Messages of the people who use the telescope: their requests and programmes, and their accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from pyros.messages.base import Command, Count, Declination, Name, Query, Reply, RightAscension, State, Text

# -- routine manager -------------------------------------------------------------------------------------------------


class SubmitRequest(Command):
    """A user's request with its whole tree, as documented for `pyros request import`."""

    user: Name
    programme: Name
    name: Name
    target_name: Name
    ra_deg: RightAscension
    dec_deg: Declination
    priority: Annotated[int, Meta(ge=1, le=100)] = 50
    min_altitude_deg: Annotated[float, Meta(ge=0, le=90)] = 25.0
    moon_separation_deg: Annotated[float, Meta(ge=0, le=180)] = 20.0
    earliest: datetime | None = None
    latest: datetime | None = None
    camera: Name = "vis"
    filter: Name = "r"
    exposure_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    count: Annotated[int, Meta(ge=1, le=500)] = 1


class Submitted(Reply):
    """The new rows."""

    request_id: int
    sequence_ids: list[int]


class OpenProgramme(Command):
    """Open a scientific programme, and grant a user observing time in it."""

    name: Name
    title: Text
    user: Name
    grant_s: Annotated[float, Meta(gt=0, le=366 * 86_400)]


class CancelSequence(Command):
    """Take a sequence out of the planning."""

    sequence_id: int
    by: Name


class RoutineManagerState(State):
    """How many sequences wait in each state."""

    counts: dict[str, int]


# -- user manager ----------------------------------------------------------------------------------------------------

Role = Literal["admin", "operator", "observer", "commission"]


class Authenticate(Query):
    """Is this the password of that account? Answered with `Account` or `Refused`, in the same time."""

    name: Name
    password: Annotated[str, Meta(max_length=1000)]


class AddUser(Command):
    """Make an account. The password arrives hashed (argon2)."""

    name: Name
    email: Annotated[str, Meta(min_length=3, max_length=200, pattern="^[^@\\s]+@[^@\\s]+$")]
    role: Role
    password_hash: Text


class Account(Reply):
    """An account without its secrets."""

    user_id: int
    name: Name
    role: Role


class UserManagerState(State):
    """How many accounts there are."""

    accounts: Count
