"""Messages of the way of an alert: notices in, requests out, images analysed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from pyros.messages.base import Command, Count, Declination, Event, Name, Part, Reply, RightAscension, State, Text

AlertStatus = Literal["ACTIVE", "HELD", "CANCELLED", "RETRACTED", "EXPIRED", "DONE"]


class FrameReceived(Command):
    """A listener's reader thread hands its actor one frame of the transport."""

    raw: Annotated[bytes, Meta(max_length=1 << 20)]


class ConnectionLost(Command):
    """A listener's reader thread has ended."""

    reason: Text
    generation: Count


class NoticeArrived(Command):
    """A notice as it came. Answered with `NoticeStored` after it is in the store, before anything is decided."""

    raw: Annotated[bytes, Meta(max_length=1 << 20)]
    transport: Name
    received_at: datetime


class NoticeStored(Reply):
    """The notice is safe; `fresh` is false when these very bytes were there already."""

    notice_id: int
    fresh: bool


class NoticeJudged(Event):
    """What was made of a notice, and why."""

    notice_id: int
    ivorn: Text
    stream: Text
    trigger: Text
    accepted: bool
    reason: Text
    alert_id: int | None


class AlertOpened(Event):
    """A new alert: a burst that the telescope shall look at."""

    alert_id: int
    name: Text
    t0: datetime
    ra_deg: RightAscension
    dec_deg: Declination
    error_deg: float
    strategy: Text
    sequence_id: int


class AlertUpdated(Event):
    """A better position, a retraction or a new status."""

    alert_id: int
    status: AlertStatus
    ra_deg: RightAscension
    dec_deg: Declination
    error_deg: float
    reason: Text


class AlertRow(Part):
    """One alert in short. Part of `AlertManagerState`."""

    alert_id: int
    name: Text
    status: AlertStatus
    t0: datetime
    ra_deg: RightAscension
    dec_deg: Declination
    error_deg: float
    strategy: Text
    notices: Count
    times: dict[str, datetime]
    candidates: Count = 0


class AlertManagerState(State):
    """Tonight's alerts, and how many notices came and were taken."""

    notices: Count
    accepted: Count
    alerts: list[AlertRow]


class Connect(Command):
    """A listener's own timer: connect to the source (again)."""

    budget_s = 3.0


class ListenerState(State):
    """A listener's connection."""

    source: Name
    connected: bool
    frames: Count
    last_frame_at: datetime | None = None
    problem: Text = ""


class CancelAlert(Command):
    """End an alert: its sequences are cancelled."""

    alert_id: int
    by: Name


# -- analyzer --------------------------------------------------------------------------------------------------------


class Analyse(Command):
    """Calibrate and search the frames of a sequence that are on disk; `image_ids` in order of time."""

    image_ids: list[int]
    alert_id: int | None = None


class Candidate(Part):
    """A source that the catalogue does not know. Part of `Analysed`."""

    ra_deg: RightAscension
    dec_deg: Declination
    position_error_arcsec: float
    mag: float
    mag_err: float
    snr: float


class Analysed(Event):
    """What was found in an image (or in the frames of one field together)."""

    image_id: int
    alert_id: int | None
    candidates: list[Candidate]
    limiting_mag: float | None
    zero_point: float | None
    fwhm_arcsec: float | None
    problems: list[str]


class AnalyzerState(State):
    """The analyzer's queue."""

    waiting: Count
    running: Count
    done: Count
    last_image: Text = ""
    problem: Text = ""
