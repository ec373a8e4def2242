"""The one way to make a request: for users, alerts, calibrations and imports.

A request is begun, sequences are added to it, albums to a sequence, plans to an album; each step returns a handle that
serves as parent of the next. Nothing exists in the store before `validate` has given the one commit that makes all of
it or nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from pyros.messages.base import Declination, Name, RightAscension, Seconds, Text
from pyros.messages.store import Change, Commit, Insert

Kind = Literal["routine", "alert", "calibration"]
AwareInstant = Annotated[datetime, Meta(tz=True)]
_BRANCHES = ("sequences", "albums", "plans")
RowId = Annotated[int, Meta(ge=1)]


class _Draft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the drafts."""


class PlanDraft(_Draft, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number of like frames through one filter."""

    exposure_s: Annotated[float, Meta(ge=0, le=3600)]
    count: Annotated[int, Meta(ge=1, le=1000)] = 1
    filter: Annotated[str, Meta(max_length=50)] = ""
    """Empty: the filter stays as it stands."""
    kind: Literal["light", "dark", "bias", "flat"] = "light"
    dither_arcsec: Annotated[float, Meta(ge=0, le=3600)] = 0.0


class AlbumDraft(_Draft, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one camera takes."""

    camera: Name
    plans: list[PlanDraft] = []


class SequenceDraft(_Draft, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pointing; the albums run side by side, the plans of an album one after the other."""

    name: Name
    target_name: Name
    ra_deg: RightAscension | None = None
    dec_deg: Declination | None = None
    priority: Annotated[int, Meta(ge=1, le=100)] = 50
    duration_s: Annotated[float, Meta(gt=0, le=86_400)]
    """At least the exposures of its longest album."""
    overhead_s: Seconds = 0.0
    earliest: AwareInstant | None = None
    latest: AwareInstant | None = None
    t_preferred: AwareInstant | None = None
    """Preferred instant of mid-exposure; it may be missed by `delta_left_s` before and `delta_right_s` after."""
    delta_left_s: Seconds = 0.0
    delta_right_s: Seconds = 0.0
    min_altitude_deg: Annotated[float, Meta(ge=0, le=90)] = 25.0
    moon_separation_deg: Annotated[float, Meta(ge=0, le=180)] = 0.0
    status: Literal["DRAFT", "COMPLETE", "OBSERVABLE"] = "COMPLETE"
    albums: list[AlbumDraft] = []


class RequestDraft(_Draft, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody wants: a user, an alert, or the observatory itself."""

    name: Name
    kind: Kind = "routine"
    user_id: RowId | None = None
    programme_id: RowId | None = None
    alert_id: RowId | dict[str, int] | None = None
    """The alert's row, or `{"$ref": index}` of the write in `first` that makes it."""
    status: Literal["DRAFT", "SUBMITTED", "ACCEPTED"] = "SUBMITTED"
    reason: Text = ""
    sequences: list[SequenceDraft] = []


class BuildError(ValueError):
    """A request that cannot be made; one line says what, which value and which rule."""


class Handle(msgspec.Struct, frozen=True):
    """A part of a request being built; `index` is also the place of its id in the answer to the commit."""

    level: Literal["request", "sequence", "album", "plan"]
    index: int


DraftType = TypeVar("DraftType", bound=_Draft)


class RequestBuilder:
    """Builds one request; not shared between threads.

    Parameters
    ----------
    created_at : datetime
        Instant of the rows, aware UTC.
    first : list of Insert or Change
        Writes of the same commit that come before the request, such as the alert it belongs to.
    """

    def __init__(self, created_at: datetime, first: list[Insert | Change] | None = None) -> None:
        self._created_at = created_at
        self._writes: list[Insert | Change] = list(first or [])
        self._first = len(self._writes)
        self._children: dict[int, list[_Draft]] = {}
        self._drafts: dict[int, _Draft] = {}
        self._request: RequestDraft | None = None
        self._sealed = False

    def add_request(self, draft: RequestDraft) -> Handle:
        """Begin the request, with the sequences that the draft brings along."""
        if self._request is not None:
            raise BuildError(f"request {draft.name!r} is a second one; a builder makes one request")
        branches, draft = draft.sequences, _checked(draft, f"request {draft.name!r}")
        if draft.kind == "routine" and draft.user_id is None:
            raise BuildError(f"request {draft.name!r} is routine and has no user_id; somebody must ask for it")
        if (draft.kind == "alert") != (draft.alert_id is not None):
            raise BuildError(f"request {draft.name!r} is {draft.kind}, alert_id is {draft.alert_id}; alerts have one")
        self._request = draft
        handle = self._add("request", draft, None, {"created_at": self._created_at})
        for sequence in branches:
            self.add_sequence(handle, sequence)
        return handle

    def add_sequence(self, parent: Handle, draft: SequenceDraft) -> Handle:
        """Add a sequence to the request, with the albums that the draft brings along."""
        self._check_parent(parent, "request", "sequence")
        branches, draft = draft.albums, _checked(draft, f"sequence {draft.name!r}")
        request = self._request
        kind: Kind = "routine" if request is None else request.kind
        _check_times(draft)
        if (draft.ra_deg is None) != (draft.dec_deg is None) or (draft.ra_deg is None and kind != "calibration"):
            raise BuildError(f"sequence {draft.name!r} has no ra_deg and dec_deg; only calibrations need no target")
        values = {"request_id": {"$ref": parent.index}, "kind": kind, "created_at": self._created_at}
        handle = self._add("sequence", draft, parent, values)
        for album in branches:
            self.add_album(handle, album)
        return handle

    def add_album(self, parent: Handle, draft: AlbumDraft) -> Handle:
        """Add an album to a sequence, with the plans that the draft brings along."""
        self._check_parent(parent, "sequence", "album")
        branches, draft = draft.plans, _checked(draft, f"album {draft.camera!r}")
        others = [one for one in self._children[parent.index] if isinstance(one, AlbumDraft)]
        if any(one.camera == draft.camera for one in others):
            raise BuildError(
                f"album {draft.camera!r} is a second one of that camera; a camera has one album a sequence"
            )
        handle = self._add("album", draft, parent, {"sequence_id": {"$ref": parent.index}, "status": "WAITING"})
        for plan in branches:
            self.add_plan(handle, plan)
        return handle

    def add_plan(self, parent: Handle, draft: PlanDraft) -> Handle:
        """Add a plan to an album."""
        self._check_parent(parent, "album", "plan")
        draft = _checked(draft, f"plan {draft.filter!r}")
        if draft.exposure_s == 0 and draft.kind != "bias":
            raise BuildError(f"plan {draft.filter!r}: exposure_s is 0; only a bias has none")
        values = {"album_id": {"$ref": parent.index}, "status": "WAITING"}
        return self._add("plan", draft, parent, values)

    def validate(self) -> Commit:
        """Return the one commit that makes the whole request; the builder takes nothing more after it.

        Raises
        ------
        BuildError
            If a request, sequence or album is empty, or a sequence's exposures do not fit its duration.
        """
        if self._request is None:
            raise BuildError("there is no request; begin with add_request")
        for index, draft in self._drafts.items():
            if not self._children[index] and not isinstance(draft, PlanDraft):
                raise BuildError(f"{_named(draft)} is empty; a request has sequences, these albums, these plans")
        self._check_durations()
        self._sealed = True
        return Commit(writes=self._writes, reason=f"request {self._request.name}"[:200])

    def _check_durations(self) -> None:
        for index, draft in self._drafts.items():
            if not isinstance(draft, AlbumDraft):
                continue
            plans = [plan for plan in self._children[index] if isinstance(plan, PlanDraft)]
            exposures_s = sum(plan.count * plan.exposure_s for plan in plans)
            sequence = self._drafts[self._writes[index].values["sequence_id"]["$ref"]]
            if isinstance(sequence, SequenceDraft) and exposures_s > sequence.duration_s:
                raise BuildError(
                    f"{_named(sequence)}: duration_s is {sequence.duration_s:g}, "
                    f"but the exposures of {_named(draft)} need {exposures_s:g} s"
                )

    def _check_parent(self, parent: Handle, level: str, child: str) -> None:
        if self._sealed:
            raise BuildError(f"{child} added after validate; begin a new builder")
        known = self._first <= parent.index < len(self._writes) and self._writes[parent.index].table == parent.level
        if not known or parent.level != level:
            raise BuildError(f"{child} added to a {parent.level}; its parent must be: {level} of this builder")

    def _add(
        self,
        level: Literal["request", "sequence", "album", "plan"],
        draft: _Draft,
        parent: Handle | None,
        values: dict[str, Any],
    ) -> Handle:
        index = len(self._writes)
        own = {name: getattr(draft, name) for name in draft.__struct_fields__ if name not in _BRANCHES}
        self._writes.append(Insert(table=level, values=own | values))
        self._drafts[index] = draft
        self._children[index] = []
        if parent is not None:
            self._children[parent.index].append(draft)
        return Handle(level, index)


def build_request(draft: RequestDraft, created_at: datetime, first: list[Insert | Change] | None = None) -> Commit:
    """Return the one commit that makes a request with its whole tree; its id is the one after those of `first`.

    Raises
    ------
    BuildError
        Naming the part, the value and the rule.
    """
    builder = RequestBuilder(created_at, first)
    builder.add_request(draft)
    return builder.validate()


def _checked(draft: DraftType, what: str) -> DraftType:
    """Return the draft without its branches, all of its limits checked (a Struct's constructor checks none)."""
    own = {name: getattr(draft, name) for name in draft.__struct_fields__ if name not in _BRANCHES}
    try:
        return msgspec.convert(msgspec.to_builtins(own), type(draft))
    except (msgspec.ValidationError, TypeError) as error:
        raise BuildError(f"{what}: {error}") from None


def _check_times(draft: SequenceDraft) -> None:
    """Refuse a sequence whose window cannot hold it."""
    if draft.earliest is not None and draft.latest is not None:
        window_s = (draft.latest - draft.earliest).total_seconds()
        if window_s < draft.duration_s:
            raise BuildError(
                f"sequence {draft.name!r}: earliest to latest is {window_s:g} s, "
                f"duration_s is {draft.duration_s:g}; it does not fit"
            )
    if draft.t_preferred is None:
        if draft.delta_left_s or draft.delta_right_s:
            raise BuildError(f"sequence {draft.name!r}: delta_left_s and delta_right_s need t_preferred")
        return
    before = draft.earliest is not None and draft.t_preferred < draft.earliest
    if before or (draft.latest is not None and draft.t_preferred > draft.latest):
        raise BuildError(f"sequence {draft.name!r}: t_preferred {draft.t_preferred} is outside earliest to latest")


def _named(draft: _Draft) -> str:
    if isinstance(draft, AlbumDraft):
        return f"album {draft.camera!r}"
    level = type(draft).__name__.removesuffix("Draft").lower()
    return f"{level} {getattr(draft, 'name', '')!r}"
