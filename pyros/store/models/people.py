"""Tables of people: users and programmes."""

from __future__ import annotations

from typing import ClassVar

from peewee import AutoField, BooleanField, CharField, ForeignKeyField, IntegerField, TextField, fn

from pyros.store.lives import statuses
from pyros.store.models.columns import Row, UtcDateTimeField, one_of, within

ROLES = ("admin", "operator", "observer", "commission")


class User(Row):
    """An account of a person."""

    private = ("password_hash",)
    life = "user"
    id = AutoField(help_text="row number")
    name = CharField(unique=True, help_text="login name")
    email = CharField(help_text="e-mail address, unique whatever its case")
    role = CharField(help_text="what the account may do: admin, operator, observer or commission")
    status = CharField(help_text="life of the account, see docs/lives.md")
    status_reason = TextField(default="", help_text="why the account has its status")
    validated_by = CharField(null=True, help_text="name of the administrator or commission that judged the account")
    password_hash = TextField(help_text="argon2 hash; never leaves the store by history queries")
    session_epoch = IntegerField(default=0, help_text="count; raising it ends every session of the account")
    created_at = UtcDateTimeField(help_text="instant of the registration")

    class Meta:
        """What no row may break."""

        constraints: ClassVar = [one_of("user", "role", ROLES), one_of("user", "status", statuses("user"))]


User.add_index(User.index(fn.LOWER(User.email), unique=True, name="user_email_any_case"))


class Programme(Row):
    """A scientific programme that owns observing time."""

    id = AutoField(help_text="row number")
    name = CharField(unique=True, help_text="short name")
    title = TextField(default="", help_text="what it is for")
    leader = ForeignKeyField(User, null=True, on_delete="RESTRICT", help_text="the responsible user")
    priority = IntegerField(default=50, help_text="weight 1 to 100 of its requests, high is important")
    active = BooleanField(default=True, help_text="whether new requests may name it")

    class Meta:
        """What no row may break."""

        constraints: ClassVar = [within("programme", "priority", "priority BETWEEN 1 AND 100")]
