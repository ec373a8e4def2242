"""Every table of the store, in two files: `MAIN_MODELS` in pyros.db, `TELEMETRY_MODELS` in telemetry.db."""

from pyros.store.models.alerts import Alert, Notice, Strategy, Trigger
from pyros.store.models.columns import JsonField, Row, UtcDateTimeField
from pyros.store.models.images import Detection, Image
from pyros.store.models.observations import Album, Plan, Request, Sequence
from pyros.store.models.operations import Audit, Device, Filter, LogEntry, Outbox, Setting
from pyros.store.models.people import Programme, User
from pyros.store.models.planning import Night, QuotaEntry, Schedule, ScheduledSequence
from pyros.store.models.telemetry import DeviceSample, WeatherSample

MAIN_MODELS: list[type[Row]] = [
    User,
    Programme,
    Strategy,
    Alert,
    Trigger,
    Notice,
    Request,
    Sequence,
    Album,
    Plan,
    Night,
    Schedule,
    ScheduledSequence,
    QuotaEntry,
    Image,
    Detection,
    Device,
    Filter,
    Outbox,
    Audit,
    LogEntry,
    Setting,
]
"""The tables of pyros.db; a table stands after those that it refers to."""

TELEMETRY_MODELS: list[type[Row]] = [DeviceSample, WeatherSample]
"""The tables of telemetry.db."""

__all__ = [
    "MAIN_MODELS",
    "TELEMETRY_MODELS",
    "Album",
    "Alert",
    "Audit",
    "Detection",
    "Device",
    "DeviceSample",
    "Filter",
    "Image",
    "JsonField",
    "LogEntry",
    "Night",
    "Notice",
    "Outbox",
    "Plan",
    "Programme",
    "QuotaEntry",
    "Request",
    "Row",
    "Schedule",
    "ScheduledSequence",
    "Sequence",
    "Setting",
    "Strategy",
    "Trigger",
    "User",
    "UtcDateTimeField",
    "WeatherSample",
]
