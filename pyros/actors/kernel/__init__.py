"""The kernel: mailboxes, actors, procedures, supervision. The only place that knows pykka."""

from pyros.actors.kernel.actor import SUPERVISOR, Actor, Context, Deferred
from pyros.actors.kernel.backoff import Backoff
from pyros.actors.kernel.child import ChildSpec
from pyros.actors.kernel.envelope import Answer, Envelope
from pyros.actors.kernel.lease import Lease, LeaseRevokedError
from pyros.actors.kernel.procedure import AbortedError, Ask, AskFailedError, Outside, Procedure, Sleep, Until
from pyros.actors.kernel.supervisor import Supervisor, start_supervisor
from pyros.actors.kernel.system import OUTSIDE, AskUpwardError, Delivery, System

__all__ = [
    "OUTSIDE",
    "SUPERVISOR",
    "AbortedError",
    "Actor",
    "Answer",
    "Ask",
    "AskFailedError",
    "AskUpwardError",
    "Backoff",
    "ChildSpec",
    "Context",
    "Deferred",
    "Delivery",
    "Envelope",
    "Lease",
    "LeaseRevokedError",
    "Outside",
    "Procedure",
    "Sleep",
    "Supervisor",
    "System",
    "Until",
    "start_supervisor",
]
