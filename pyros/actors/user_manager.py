"""The user manager: accounts, and whether a password is the right one.

Takes `Authenticate` (answered `Account` or `Refused`, in the same time whether the name exists or not) and `AddUser`;
owns nothing but a reader. Passwords are argon2 hashes; the hashing takes about 50 ms of this actor's own thread and
holds nobody else up. When it dies nothing is lost.
"""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context, Deferred
from pyros.messages.base import Refused
from pyros.messages.people import Account, AddUser, Authenticate, UserManagerState
from pyros.messages.store import Commit, Committed, GetRows, Insert
from pyros.store.database import Reader, open_reader
from pyros.store.history import rows
from pyros.store.repositories import account

HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""As OWASP's cheat sheet has it: a login page must not be a weapon against the machine."""
_NOBODY = HASHER.hash("nobody's password")


class UserManager(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self._environment = environment
        self._reader: Reader | None = None

    def on_start(self) -> None:
        """Open the store."""
        self._reader = open_reader(self._environment.state_folder)

    def on_stop(self) -> None:
        """Close it."""
        if self._reader is not None:
            self._reader.close()

    def on_authenticate(self, message: Authenticate) -> Account | Refused:
        """Check a password; an unknown name costs as much time as a wrong password."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        row = account(self._reader, message.name)
        try:
            HASHER.verify(row["password_hash"] if row is not None else _NOBODY, message.password)
        except (VerificationError, InvalidHashError):
            return Refused(reason="name or password is wrong")
        if row is None:
            return Refused(reason="name or password is wrong")
        if row["status"] != "VALIDATED":
            return Refused(reason=f"the account is {row['status']}; an administrator has to validate it")
        return Account(user_id=row["id"], name=row["name"], role=row["role"])

    def on_add_user(self, message: AddUser) -> Deferred:
        """Make an account; made by hand at the machine, it is validated at once."""
        values = {
            "name": message.name,
            "email": message.email,
            "role": message.role,
            "status": "VALIDATED",
            "validated_by": self.user or "command line",
            "password_hash": message.password_hash,
            "created_at": self.clock.now(),
        }
        answer = Deferred()

        def stored(reply: Answer) -> None:
            if isinstance(reply, Committed):
                answer.answer(Account(user_id=reply.ids[0], name=message.name, role=message.role))
            else:
                answer.answer(Refused(reason=f"the account was not made: {getattr(reply, 'reason', reply)}"))

        write = Insert(table="user", values=values)
        self.ask("archivist", Commit(writes=[write], reason=f"account {message.name}"[:200]), 10.0, stored)
        return answer

    def state(self) -> UserManagerState:
        """Return how many accounts there are."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        page = rows(self._reader, GetRows(table="user", limit=1))
        return UserManagerState(accounts=0 if isinstance(page, Refused) else page.total)
