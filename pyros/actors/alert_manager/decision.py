"""What is done with a notice, given all that is known: a pure function of the notice, the alerts and the triggers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from pyros.actors.alert_manager.association import Association, KnownAlert, associate, known_alert
from pyros.actors.alert_manager.ledger import AlertFile, LooseTrigger, by_name_only
from pyros.actors.alert_manager.notice import Notice
from pyros.actors.alert_manager.verdict import AlertPolicy, Verdict, judge

Action = Literal["open", "improve", "retract", "keep", "loose", "record"]
"""Open an alert; take its better position; end it; put the notice to it; keep the trigger alone; only store it."""
_IMPROVABLE = ("ACTIVE", "HELD", "DONE")


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What is done, why, and with which alert or loose trigger."""

    action: Action
    verdict: Verdict
    number: int | None = None
    """The alert's id, or the loose trigger's number."""


def decide(
    notice: Notice,
    alerts: Sequence[AlertFile],
    loose: Sequence[LooseTrigger],
    policy: AlertPolicy,
    received_at: datetime,
) -> Decision:
    """Decide on a notice. Of what is no burst only the name leads to an alert, never time and place.

    It is as old as it was when it was received: how long it then waited for us is not held against it. Whether there is
    still time to observe is the strategy's to say.
    """
    verdict = judge(notice, policy, received_at, earlier_class=_earlier_class(notice, alerts, loose))
    known = [file.known() for file in alerts] + [trigger.known() for trigger in loose]
    if not verdict.burst:
        known = [by_name_only(one) for one in known]
    found = associate(notice, known, burst=verdict.burst)
    file = next((file for file in alerts if file.alert_id == found.alert_id), None)
    if file is not None:
        return _with_alert(notice, file, verdict, found)
    trigger = next((trigger for trigger in loose if trigger.number == found.alert_id), None)
    if trigger is not None and (notice.retraction or trigger.retracted):
        return Decision(action="loose", verdict=_refused(verdict, "its trigger is retracted"), number=trigger.number)
    if verdict.accepted:
        return Decision(action="open", verdict=verdict)
    worth_keeping = verdict.burst or notice.retraction or bool(notice.classification)
    if notice.mission and notice.trigger and not notice.test and worth_keeping:
        return Decision(action="loose", verdict=verdict, number=trigger.number if trigger is not None else None)
    return Decision(action="record", verdict=verdict)


def _with_alert(notice: Notice, file: AlertFile, verdict: Verdict, found: Association) -> Decision:
    told = Verdict(accepted=verdict.accepted, reason=f"{found.explanation}; {verdict.reason}", burst=verdict.burst)
    if notice.retraction:
        others = [mission for mission in file.missions if mission != notice.mission]
        if others or file.status == "RETRACTED":
            why = f"{others[0]} still stands for it" if others else "it is retracted already"
            return Decision(action="keep", verdict=_refused(told, why), number=file.alert_id)
        return Decision(action="retract", verdict=told, number=file.alert_id)
    if any(same_content(notice, other) for other in file.notices):
        return Decision(action="keep", verdict=_refused(told, "a repetition"), number=file.alert_id)
    if file.status not in _IMPROVABLE:
        why = f"the alert is {file.status}"
        return Decision(action="keep", verdict=_refused(told, why), number=file.alert_id)
    better = verdict.accepted and file.better(notice) is not None
    return Decision(action="improve" if better else "keep", verdict=told, number=file.alert_id)


def _refused(verdict: Verdict, why: str) -> Verdict:
    return Verdict(accepted=False, reason=f"{why}: {verdict.reason}", burst=verdict.burst)


def same_content(one: Notice, other: Notice) -> bool:
    """Tell whether two notices say the same, under whatever names they were sent."""
    places = [
        (n.identity, n.ra_deg, n.dec_deg, n.error_deg, n.t0, n.retraction, n.classification) for n in (one, other)
    ]
    return bool(one.trigger) and places[0] == places[1]


def _earlier_class(notice: Notice, alerts: Sequence[AlertFile], loose: Sequence[LooseTrigger]) -> str:
    """Return what the same trigger was last taken for."""
    earlier = [n for group in (*alerts, *loose) for n in group.notices if n.mission == notice.mission]
    named = [n.classification for n in earlier if n.trigger == notice.trigger and n.classification]
    return named[-1] if notice.trigger and named else ""


def companions(notice: Notice, loose: Sequence[LooseTrigger]) -> list[LooseTrigger]:
    """Return the loose triggers that are the same burst as a notice which opens an alert."""
    seed = known_alert(0, [notice])
    return [trigger for trigger in loose if not trigger.retracted and _same_burst(trigger, seed)]


def _same_burst(trigger: LooseTrigger, seed: KnownAlert) -> bool:
    target = seed if trigger.burst else by_name_only(seed)
    return any(associate(other, [target], burst=trigger.burst).alert_id is not None for other in trigger.notices)
