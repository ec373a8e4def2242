"""A scripted daemon behind the interface of `pyros.client.Client`, and an observatory for it to tell of."""

from __future__ import annotations

import queue
import struct
import threading
import zlib
from datetime import UTC, datetime, timedelta

from pyros.client import GatewayError
from pyros.messages import Expired, Refused, State
from pyros.messages.alerts import AlertManagerState, AlertRow, AnalyzerState, ListenerState
from pyros.messages.codec import to_builtins
from pyros.messages.devices import CameraState, FilterWheelState, PlcState, TelescopeState, WeatherState
from pyros.messages.night import (
    DeviceHealth,
    MajordomeState,
    MonitorState,
    ObservationManagerState,
    PlannedSequence,
    SafetyVerdict,
    SchedulerState,
)
from pyros.messages.people import Account, Authenticate
from pyros.messages.store import FileChunk, GetFile, GetRows, Rows
from pyros.messages.system import ChildRow, GetSnapshot, Snapshot, StateRow, SupervisorState

NOW = datetime(2026, 11, 23, 4, 20, 30, tzinfo=UTC)
SECRET = "s" * 64


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


class ScriptedGateway:
    """Answers from `states`; `publish` feeds `events`; `away` makes it unreachable."""

    def __init__(self, states: dict[str, list[State]] | None = None, now: datetime = NOW, speed: float = 1.0) -> None:
        self.states = states or {}
        self.now, self.speed, self.sequence, self.away, self.age_s = now, speed, 100, False, 0.5
        self.asked: list[tuple[str, object]] = []
        self.image = picture()
        self.has_image_rows = True
        self._events: queue.Queue = queue.Queue()
        self._lock = threading.Lock()

    def ask(self, to, message, within_s=3.0):
        self.asked.append((to, message))
        if self.away:
            raise GatewayError("nobody answers at the gateway")
        if isinstance(message, GetSnapshot):
            return self._snapshot()
        if isinstance(message, Authenticate):
            known = (message.name, message.password) == ("noether", "emmy")
            return Account(user_id=1, name="noether", role="observer") if known else Refused(reason="no such account")
        if isinstance(message, GetRows):
            rows = [{"id": 41, "camera": "vis", "filter": "r", "start": "2026-11-23T04:18:00Z", "exposure_s": 60.0}]
            rows = rows if self.has_image_rows else []
            return Rows(table="image", rows=rows, more=False, total=len(rows))
        if isinstance(message, GetFile):
            part = self.image[message.offset : message.offset + 4096]
            return FileChunk(name="41.png", offset=message.offset, size=len(self.image), content=part)
        return Expired(reason="nobody answered")

    def events(self, topics=()):
        while (item := self._events.get()) is not None:
            yield item

    def close(self):
        self._events.put(None)

    def publish(self, sender, message, skipped=0):
        with self._lock:
            self.sequence += 1 + skipped
            if isinstance(message, State):
                others = [s for s in self.states.get(sender, []) if type(s) is not type(message)]
                self.states[sender] = [*others, message]
            self._events.put((self.sequence, sender, message))

    def _snapshot(self):
        rows = [
            StateRow(actor=actor, state=type(state).__name__, age_s=self.age_s, content=to_builtins(state))
            for actor, states in self.states.items()
            for state in states
        ]
        return Snapshot(now=self.now, speed=self.speed, sequence=self.sequence, states=rows)


def picture(side: int = 256) -> bytes:
    """A grey PNG: a dark sky with a few stars."""
    stars = [(40, 60, 90), (170, 40, 200), (120, 130, 255), (210, 200, 140), (70, 190, 180), (30, 120, 110)]
    rows = []
    for y in range(side):
        row = bytearray([0])
        for x in range(side):
            glow = sum(b * 12 / (12 + 3 * ((x - sx) ** 2 + (y - sy) ** 2)) for sx, sy, b in stars)
            row.append(min(255, int(14 + (x * 7 + y * 13) % 5 + glow)))
        rows.append(bytes(row))

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packed = zlib.compress(b"".join(rows), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def alert_row(**changes) -> AlertRow:
    fields = {
        "alert_id": 7,
        "name": "GRB 261123A",
        "status": "ACTIVE",
        "t0": at(-192),
        "ra_deg": 83.6331,
        "dec_deg": -5.0145,
        "error_deg": 0.05,
        "strategy": "swift_bat",
        "notices": 2,
        "times": {"received": at(-178), "decided": at(-177.7), "slewing": at(-177.2), "first_image": at(-140)},
        "candidates": 1,
    }
    return AlertRow(**(fields | changes))


def placed(number: int, name: str, start_min: float, length_min: float) -> PlannedSequence:
    return PlannedSequence(
        sequence_id=number,
        name=name,
        start=at(start_min * 60),
        end=at((start_min + length_min) * 60),
        delta_tl_s=0.0,
        delta_tr_s=600.0,
        priority=50,
    )


def child(actor: str, restarts: int = 0, status="up", fault: str = "") -> ChildRow:
    return ChildRow(actor=actor, status=status, epoch=1 + restarts, restarts=restarts, mailbox=0, last_fault=fault)


def plc(**changes) -> PlcState:
    fields = {
        "link": "up",
        "dome": "open",
        "dome_open_fraction": 1.0,
        "rain": False,
        "wind_m_s": 4.2,
        "mains": True,
        "ups_percent": 98.0,
        "desired": "open",
        "read_at": at(-1),
        "local_key": False,
        "emergency_stop": False,
    }
    return PlcState(**(fields | changes))


def weather(station: str = "mast", **changes) -> WeatherState:
    fields = {
        "station": station,
        "rain": False,
        "wind_m_s": 4.2,
        "gust_m_s": 6.9,
        "humidity_percent": 41.0,
        "temperature_c": 3.4,
        "dew_point_c": -8.6,
        "pressure_hpa": 731.0,
        "sky_minus_ambient_c": -24.5,
        "sampled_at": at(-2),
    }
    return WeatherState(**(fields | changes))


def observatory() -> dict[str, list[State]]:
    """A good night with an alert in progress."""
    plan = [
        placed(40, "NGC 1851 r", -40, 35),
        placed(42, "GRB 261123A", -3, 30),
        placed(43, "AT 2026abc g r i", 28, 50),
        placed(44, "M 42 survey field 7", 80, 95),
        placed(45, "HD 49798", 180, 25),
        placed(46, "SN 2026xyz", 215, 120),
        placed(47, "Landolt 98", 350, 40),
    ]
    actors = ["archivist", "librarian", "user_manager", "plc", "weather:mast", "telescope", "camera:vis", "camera:nir"]
    actors += ["filter_wheel:vis", "analyzer", "courier", "monitor", "scheduler", "observation_manager", "majordome"]
    actors += ["alert_manager", "gateway", "web"]
    health = [DeviceHealth(device="camera:nir", link="down", blocking=False, problem="no answer in 1 s")]
    return {
        "monitor": [
            SafetyVerdict(level="SAFE", reasons=[], at=at(-1)),
            MonitorState(
                phase="night",
                night="2026-11-22",
                begins=at(-3 * 3600),
                ends=at(8.4 * 3600),
                opens=at(-4 * 3600),
                sunrise=at(9.5 * 3600),
                level="SAFE",
                reasons=[],
                devices=health,
            ),
        ],
        "majordome": [
            MajordomeState(
                mode="observing",
                why="night and weather allow",
                since=at(-3600),
                sequence_id=42,
                sequence="GRB 261123A",
                until=at(27 * 60),
                next_sequence_id=43,
                next_sequence="AT 2026abc g r i",
                next_start=at(28 * 60),
            )
        ],
        "observation_manager": [
            ObservationManagerState(sequence_id=42, name="GRB 261123A", step="exposing", frame=4, frames=20)
        ],
        "alert_manager": [AlertManagerState(notices=14, accepted=2, alerts=[alert_row()])],
        "scheduler": [SchedulerState(schedule_id=5, trigger="alert 7", made_at=at(-175), placed=plan, rejected=3)],
        "plc": [plc()],
        "telescope": [
            TelescopeState(
                link="up",
                ra_deg=83.6331,
                dec_deg=-5.0145,
                altitude_deg=48.31,
                azimuth_deg=141.9,
                slewing=False,
                tracking=True,
                parked=False,
                read_at=at(-2),
            )
        ],
        "camera:vis": [
            CameraState(
                link="up",
                doing="exposing",
                until=at(22),
                ccd_temperature_c=-60.0,
                cooler_on=True,
                last_file="2026-11-22/vis_r_GRB261123A_0003.fits",
                read_at=at(-3),
            )
        ],
        "filter_wheel:vis": [FilterWheelState(link="up", filter="r", filters=["g", "r", "i", "z"], read_at=at(-130))],
        "weather:mast": [weather()],
        "analyzer": [AnalyzerState(waiting=0, running=1, done=37, last_image="0003.fits")],
        "listener:gcn": [ListenerState(source="gcn", connected=True, frames=512, last_frame_at=at(-12))],
        "supervisor": [
            SupervisorState(
                status="up",
                since=at(-7200),
                children=[child(a, restarts=1 if a == "courier" else 0, fault="") for a in actors],
            )
        ],
    }
