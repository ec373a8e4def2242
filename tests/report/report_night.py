"""A made-up night with something of everything: rain, a fault, an operator's pause, two alerts, an unlucky request."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from report_stage import ENDS, Stage, at

from pyros.cli.night.record import NightRecord
from pyros.messages.system import ActorFailed, ActorRestarted

HOSTILE = "<script>alert('M31')</script>"
FIELDS = [
    ("M31", 10.68, 41.27), ("NGC 891", 35.64, 42.35), ("M33", 23.46, 30.66), ("M45", 56.75, 24.12),
    ("Crab", 83.63, 22.01), ("M42", 83.82, -5.39), ("NGC 2403", 114.21, 65.60), ("M81", 148.89, 69.07),
    ("NGC 3079", 150.49, 55.68), ("Leo I", 152.12, 12.31),
]  # fmt: skip


def eventful_night(folder: Path) -> NightRecord:
    """The whole story, eleven and three quarter hours long."""
    stage = Stage(folder)
    names = [*FIELDS, (HOSTILE, 120.0, -70.0), ("Antares", 247.35, -26.43), ("Fornax", 39.99, -25.0)]
    ids = {name: stage.request(name, ra, dec, exposure_s=120.0, count=18) for name, ra, dec in names}
    stage.safety(at(-0.5), "UNSAFE", "the PLC does not answer")
    stage.safety(at(-0.45), "SAFE")
    stage.open_dome(at(-0.03))
    placed = [
        (ids[name], name, at(0.05 + 0.66 * k), at(0.66 + 0.66 * k), 600.0) for k, (name, _, _) in enumerate(FIELDS)
    ]
    low = (ids["Antares"], "ALTITUDE", "never above 25.0° while it is dark; highest −1.4° at 01:30:41Z")
    south = (ids["Fornax"], "NO_ROOM", "every window is taken by sequences worth more")
    stage.planning(at(0.0), "first of the night", placed, [low, south])
    end = stage.observe(at(0.01), ids["M31"], *FIELDS[0], exposure_s=120.0, count=18)
    end = stage.observe(end + timedelta(seconds=2), ids["NGC 891"], *FIELDS[1], exposure_s=120.0, count=18)
    _first_alert(stage, ids)
    _rain(stage, ids)
    _fault_and_pause(stage, ids)
    _second_alert(stage, ids)
    stage.close_dome(ENDS, "the night is over")
    return stage.done()


def _first_alert(stage: Stage, ids: dict[str, int]) -> None:
    stop = stage.observe(
        at(1.32), ids["M33"], *FIELDS[2], exposure_s=120.0, count=18, stop_after=8, outcome="ABORTED", cause="alert 1"
    )
    t0 = stop - timedelta(seconds=32)
    times = {
        "t0": 0.0, "sent": 24.0, "received": 31.2, "stored": 31.21, "decided": 31.24, "slew_commanded": 33.5,
        "settled": 47.5, "first_shutter": 51.5, "first_result": 88.0,
    }  # fmt: skip
    place = (36.2, 21.4)
    name = "SVOM sb26112301"
    alert_id = stage.alert(stop, name, "sb26112301", *place, 0.12, t0=t0, times=times)
    sequence = stage.request(name, *place, exposure_s=30.0, count=20, alert_id=alert_id, priority=90)
    stage.opened(t0 + timedelta(seconds=31.3), alert_id, name, t0, *place, 0.12, sequence)
    end = stage.observe(
        stop + timedelta(seconds=1.5),
        sequence,
        name,
        *place,
        exposure_s=30.0,
        count=20,
        alert_id=alert_id,
        previews=True,
    )
    for k in range(3):
        image = stage.image(sequence, 50 + k, end + timedelta(seconds=60 * k), 30.0, *place, alert_id, k == 0)
        stage.detect(image, alert_id, place[0] + 0.02, place[1] - 0.01 + k * 2e-5, 15.9 + 0.3 * k, 80.0 - 20 * k, end)
    stage.detect(image, alert_id, place[0] - 0.05, place[1] + 0.04, 18.4, 6.2, end)
    stage.planning(end + timedelta(seconds=4), "sequence 14 executed: observed", [
        (ids[name], name, end + timedelta(hours=0.7 * k, seconds=20), end + timedelta(hours=0.7 * k + 0.65), 900.0)
        for k, name in enumerate(["M33", "M45", "Crab", "M42"])
    ])  # fmt: skip
    stage.observe(end + timedelta(seconds=10), ids["M33"], *FIELDS[2], exposure_s=120.0, count=18)


def _rain(stage: Stage, ids: dict[str, int]) -> None:
    start = at(3.0)
    end = stage.observe(
        start, ids["M45"], *FIELDS[3], exposure_s=120.0, count=18, stop_after=6, outcome="ABORTED", cause="rain"
    )
    stage.safety(end - timedelta(seconds=2), "UNSAFE", "rain", "humidity 91.0 % (limit 85)")
    stage.close_dome(end - timedelta(seconds=1), "rain, humidity 91.0 % (limit 85)")
    stage.monitor(end + timedelta(minutes=50), "UNSAFE", "good again; hold-off until 05:55:00")
    stage.safety(end + timedelta(minutes=65), "SAFE")
    stage.open_dome(end + timedelta(minutes=65, seconds=5))
    again = end + timedelta(minutes=66, seconds=20)
    later = again + timedelta(minutes=42)
    placed = [
        (ids["Crab"], "Crab", again, again + timedelta(minutes=38), 600.0),
        (ids["M42"], "M42", later, later + timedelta(minutes=38), 600.0),
    ]
    rejected = [
        (ids["Antares"], "ALTITUDE", "never above 25.0° while it is dark"),
        (ids["Fornax"], "NO_ROOM", "every window is taken by sequences worth more"),
        (ids[HOSTILE], "MOON", "28.1° from the Moon; the limit is 40°"),
    ]
    stage.planning(again - timedelta(seconds=4), "the dome is open", placed, rejected)
    stage.observe(again, ids["Crab"], *FIELDS[4], exposure_s=120.0, count=18)


def _fault_and_pause(stage: Stage, ids: dict[str, int]) -> None:
    broke = at(5.6)
    fault = "camera:vis: no image 60 s after the readout's end"
    stage.observe(
        broke, ids["M42"], *FIELDS[5], exposure_s=120.0, count=18, stop_after=4, outcome="INTERRUPTED", cause=fault
    )
    stage.say(
        broke + timedelta(seconds=600),
        "supervisor",
        ActorFailed(actor="camera:vis", epoch=1, cause="hung", message="Expose"),
    )
    stage.say(
        broke + timedelta(seconds=612), "supervisor",
        ActorRestarted(actor="camera:vis", epoch=2, cause="Expose: hung", away_s=12.0),
    )  # fmt: skip
    placed = [
        (ids[name], name, at(5.9 + 0.8 * k), at(6.5 + 0.8 * k), 120.0)
        for k, name in enumerate(["NGC 2403", "M81", "NGC 3079"])
    ]
    stage.planning(at(5.85), "sequence 6 interrupted", placed)
    end = stage.observe(at(5.92), ids["NGC 2403"], *FIELDS[6], exposure_s=120.0, count=17)
    stage.close_dome(end + timedelta(seconds=20), "pause: visitors under the dome")
    stage.mode(end + timedelta(seconds=81), "closed", "paused", "ordered: pause")
    stage.mode(end + timedelta(minutes=25), "paused", "opening", "night and weather allow")
    stage.mode(end + timedelta(minutes=26), "opening", "observing", "the dome is open")
    stage.dome(end + timedelta(minutes=25), "closed", "opening", "commanded")
    stage.dome(end + timedelta(minutes=26), "opening", "open", "open switch")
    again = end + timedelta(minutes=26, seconds=10)
    following, last = again + timedelta(minutes=39), at(10.2)
    placed = [
        (ids["M81"], "M81", again, again + timedelta(minutes=38), 900.0),
        (ids["NGC 3079"], "NGC 3079", following, following + timedelta(minutes=38), 900.0),
        (ids["Leo I"], "Leo I", last, last + timedelta(minutes=38), 300.0),
    ]
    stage.planning(again - timedelta(seconds=3), "the dome is open", placed)
    stage.observe(again, ids["M81"], *FIELDS[7], exposure_s=120.0, count=18)
    end = stage.observe(following - timedelta(seconds=15), ids["NGC 3079"], *FIELDS[8], exposure_s=120.0, count=18)
    stage.observe(end + timedelta(seconds=6), ids["M45"], *FIELDS[3], exposure_s=120.0, count=18)
    stage.record.violations.append(
        {"t": at(7.9), "rule": "pointing below the horizon limit", "detail": "slewing at 18.2 degrees; the limit is 20"}
    )


def _second_alert(stage: Stage, ids: dict[str, int]) -> None:
    t0 = at(9.0)
    times = {"t0": 0.0, "sent": 41.0, "received": 44.0, "stored": 44.01, "decided": 44.05, "slew_commanded": 45.0}
    times |= {"settled": 57.0, "first_shutter": 61.0, "first_result": 99.0}
    place = (151.3, 14.8)
    name = "Swift 1284213"
    alert_id = stage.alert(
        t0 + timedelta(seconds=44), name, "1284213", *place, 0.05, t0=t0, times=times, status="ACTIVE"
    )
    sequence = stage.request(name, *place, exposure_s=30.0, count=40, alert_id=alert_id, priority=90)
    stage.opened(t0 + timedelta(seconds=44.05), alert_id, name, t0, *place, 0.05, sequence)
    end = stage.observe(
        t0 + timedelta(seconds=45), sequence, name, *place, exposure_s=30.0, count=40, alert_id=alert_id
    )
    placed = [(ids["Leo I"], "Leo I", at(10.2), at(10.85), 300.0)]
    stage.planning(end + timedelta(seconds=3), "sequence 15 executed: observed", placed)
    stage.observe(at(10.2), ids["Leo I"], *FIELDS[9], exposure_s=120.0, count=18)
