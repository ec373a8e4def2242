"""What a scene stores and orders to be observed: sequences of the routine programme and of alerts."""

from __future__ import annotations

from datetime import date, timedelta

from pyros.messages.night import ObserveAlert, Replan
from pyros.messages.store import Commit, Committed, Insert
from pyros.store.builder import AlbumDraft, PlanDraft, RequestDraft, SequenceDraft, build_request

TARGET = (5.0, 40.0)
"""High in the sky for hours after the beginning of the night, far from the Moon."""
ON = date(2026, 11, 22)


class Sequences:
    """Part of `scene.Scene`."""

    # -- sequences ---------------------------------------------------------------------------------------------------

    def open_up(self):
        """Wait until the observatory observes."""
        self.until(lambda: self.mode == "observing", 150.0)

    def store(self, *writes):
        reply = self.ask("archivist", Commit(writes=list(writes), reason="scene"))
        assert isinstance(reply, Committed), reply
        return reply.ids

    def sequence(self, target=TARGET, exposure_s=20.0, count=1, alert=False, filter_name="r"):
        """Store a sequence that may be observed at once; return its id and its alert's."""
        now, first, request = self.clock.now(), [], {"kind": "routine", "user_id": self._user()}
        if alert:
            first = [Insert(table="alert", values=self._alert(target, now))]
            request = {"kind": "alert", "alert_id": {"$ref": 0}}
        plan = PlanDraft(exposure_s=exposure_s, count=count, filter=filter_name)
        draft = SequenceDraft(
            name="scene", target_name="somewhere", ra_deg=target[0], dec_deg=target[1], status="OBSERVABLE",
            duration_s=exposure_s * count + 1.0, albums=[AlbumDraft(camera="vis", plans=[plan])],
        )  # fmt: skip
        commit = build_request(RequestDraft(name="scene", status="ACCEPTED", sequences=[draft], **request), now, first)
        ids = self.store(*commit.writes)
        at = next(index for index, write in enumerate(commit.writes) if write.table == "sequence")
        if not alert:
            self.tell("majordome", Replan(cause="scene"))
        return ids[at], (ids[0] if alert else None)

    def _user(self):
        if not hasattr(self, "_user_id"):
            account = {"name": "astronomer", "email": "a@example.org", "password_hash": "!", "role": "observer",
                       "status": "VALIDATED", "created_at": self.clock.now()}  # fmt: skip
            self._user_id = self.store(Insert(table="user", values=account))[0]
            grant = {"user_id": self._user_id, "kind": "grant", "seconds": 1e6, "at": self.clock.now()}
            self.store(Insert(table="quota_entry", values=grant))
        return self._user_id

    @staticmethod
    def _alert(target, now):
        return {"name": f"GRB {now:%H%M%S}", "night": str(ON), "status": "ACTIVE", "t0": now,
                "ra_deg": target[0], "dec_deg": target[1], "error_deg": 0.05, "times": {},
                "created_at": now}  # fmt: skip

    def alert(self, target=TARGET, *, may_interrupt=True, for_s=1800.0, **rules):
        """Store an alert's sequence and tell majordome of it; return the sequence's id."""
        sequence_id, alert_id = self.sequence(target, alert=True, **rules)
        until = self.clock.now() + timedelta(seconds=for_s)
        call = ObserveAlert(sequence_id=sequence_id, alert_id=alert_id, may_interrupt=may_interrupt, until=until)
        self._calls = {**getattr(self, "_calls", {}), sequence_id: call}
        self.tell("majordome", call)
        return sequence_id

    def sent_alert(self, sequence_id):
        """The word on an alert that majordome was sent, to send it again."""
        return self._calls[sequence_id]
