"""A stage on which nights are played by hand: the store, the actors' words and the observer's notes, consistent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from pyros.actors.analyzer.preview import write_preview
from pyros.cli.night.record import NightRecord
from pyros.messages.alerts import AlertOpened, Analysed, Candidate
from pyros.messages.base import Message
from pyros.messages.devices import ShutterOpened
from pyros.messages.night import (
    ImageTaken,
    ModeChanged,
    MonitorState,
    PlannedSequence,
    Pointed,
    RejectedSequence,
    SafetyVerdict,
    ScheduleMade,
    SequenceEnded,
    SequenceStarted,
)
from pyros.messages.store import Change, Commit, Committed, Insert
from pyros.store.builder import AlbumDraft, PlanDraft, RequestDraft, SequenceDraft, build_request
from pyros.store.commit import apply
from pyros.store.database import Store, open_store
from pyros.store.migrations import migrate

NIGHT = "2026-11-22"
BEGINS = datetime(2026, 11, 23, 1, 30, 41, 250000, tzinfo=UTC)
ENDS = datetime(2026, 11, 23, 13, 15, 9, 750000, tzinfo=UTC)
SITE = {"name": "San Pedro Mártir", "longitude_deg": -115.4637, "latitude_deg": 31.0442, "height_m": 2830.0}


def at(hours: float, seconds: float = 0.0) -> datetime:
    return BEGINS + timedelta(hours=hours, seconds=seconds)


class Stage:
    """Plays a night by hand: the store, the actors' words and the observer's notes stay consistent."""

    def __init__(self, folder: Path, begins: datetime = BEGINS, ends: datetime = ENDS) -> None:
        self.record = NightRecord(NIGHT, 7, dict(SITE), begins, ends, folder, wall_s=41.5, cpu_s=38.25)
        self.store: Store = open_store(folder, "off")
        migrate(self.store)
        self.plans: dict[int, int] = {}
        self.write(
            Insert(
                table="user",
                values={
                    "name": "noether",
                    "email": "n@example.org",
                    "role": "observer",
                    "status": "VALIDATED",
                    "password_hash": "x",
                    "created_at": begins,
                },
            )
        )

    def write(self, *writes):
        answer = apply(self.store, [Commit(writes=list(writes), reason="stage")])[0]
        assert isinstance(answer, Committed), answer
        return answer.ids

    def say(self, when: datetime, actor: str, message: Message) -> None:
        self.record.hear(when, actor, message)

    def mode(self, when, before, after, cause):
        self.say(when, "majordome", ModeChanged(before=before, after=after, cause=cause))

    def safety(self, when, level, *reasons):
        self.say(when, "monitor", SafetyVerdict(level=level, reasons=list(reasons), at=when))

    def monitor(self, when, level, *reasons):
        state = MonitorState(
            phase="night",
            night=NIGHT,
            begins=self.record.begins,
            ends=self.record.ends,
            opens=None,
            sunrise=None,
            level=level,
            reasons=list(reasons),
            devices=[],
        )
        self.say(when, "monitor", state)

    def dome(self, when, before, after, cause):
        self.record.dome.append({"t": when, "from": before, "to": after, "cause": cause})

    def open_dome(self, when):
        """Begin to open; observing a minute later."""
        self.mode(when, "closed", "opening", "night and weather allow")
        self.dome(when, "closed", "opening", "commanded")
        self.dome(when + timedelta(seconds=60), "opening", "open", "open switch")
        self.mode(when + timedelta(seconds=60), "opening", "observing", "the dome is open")

    def close_dome(self, when, cause):
        """Begin to close; closed a minute later."""
        self.mode(when, "observing", "closing", cause)
        self.dome(when, "open", "closing", "commanded")
        self.dome(when + timedelta(seconds=60), "closing", "closed", "closed switch")
        self.mode(when + timedelta(seconds=60), "closing", "closed", "closed and parked")

    def request(
        self, name, ra_deg, dec_deg, *, exposure_s=60.0, count=5, alert_id=None, priority=50, status="OBSERVABLE"
    ):
        """One sequence in the store; returns its id."""
        duration_s = exposure_s * count + 4.0 * count + 20.0
        draft = RequestDraft(
            name=name,
            kind="routine" if alert_id is None else "alert",
            alert_id=alert_id,
            user_id=1 if alert_id is None else None,
            status="ACCEPTED",
            sequences=[
                SequenceDraft(
                    name=name,
                    target_name=name,
                    ra_deg=ra_deg,
                    dec_deg=dec_deg,
                    priority=priority,
                    duration_s=duration_s,
                    status=status,
                    albums=[
                        AlbumDraft(camera="vis", plans=[PlanDraft(filter="r", exposure_s=exposure_s, count=count)])
                    ],
                )
            ],
        )
        commit = build_request(draft, self.record.begins - timedelta(hours=3))
        ids = self.write(*commit.writes)
        self.plans[ids[1]] = ids[3]
        return ids[1]

    def planning(self, when, trigger, placed, rejected=()):
        """`placed`: (sequence, name, start, end, delta_tr_s); `rejected`: (sequence, code, reason)."""
        old = [("CURRENT", i) for i in range(1, getattr(self, "_schedules", 0) + 1)][-1:]
        writes = [Change(table="schedule", key=i, values={"status": "SUPERSEDED"}) for _, i in old]
        writes.append(
            Insert(
                table="schedule",
                values={
                    "status": "CURRENT",
                    "trigger": trigger,
                    "first_of_night": not old,
                    "night": NIGHT,
                    "plan_start": when,
                    "plan_end": self.record.ends,
                    "created_at": when,
                },
            )
        )
        self._schedules = self.write(*writes)[-1]
        for sequence, _, start, end, tr in placed:
            values = {"planned_start": start, "planned_end": end, "delta_tl_s": 0.0, "delta_tr_s": tr}
            self.write(
                Insert(
                    table="scheduled_sequence",
                    values={"schedule_id": self._schedules, "sequence_id": sequence, **values},
                )
            )
        for sequence, code, reason in rejected:
            values = {"reject_code": code, "reject_reason": reason}
            self.write(
                Insert(
                    table="scheduled_sequence",
                    values={"schedule_id": self._schedules, "sequence_id": sequence, **values},
                )
            )
        made = ScheduleMade(
            schedule_id=self._schedules,
            trigger=trigger,
            placed=[
                PlannedSequence(sequence_id=s, name=n, start=a, end=b, delta_tl_s=0.0, delta_tr_s=tr, priority=50)
                for s, n, a, b, tr in placed
            ],
            rejected=[RejectedSequence(sequence_id=s, code=c, reason=r) for s, c, r in rejected],
        )
        self.say(when, "scheduler", made)

    def observe(
        self, when, sequence, name, ra_deg, dec_deg, *, exposure_s=60.0, count=5, alert_id=None, stop_after=None,
        outcome="EXECUTED", cause="done", slew_s=14.0, previews=False,
    ):  # fmt: skip
        """Run a sequence: slew, then frames with three seconds of readout; returns its end."""
        self.write(Change(table="sequence", key=sequence, values={"status": "EXECUTING", "started_at": when}))
        self.say(when, "observation_manager", SequenceStarted(sequence_id=sequence, name=name, alert_id=alert_id))
        settled = when + timedelta(seconds=slew_s)
        self.record.slews.append((when + timedelta(seconds=0.3), settled))
        pointed = Pointed(sequence_id=sequence, alert_id=alert_id, commanded_at=when, settled_at=settled)
        self.say(settled, "observation_manager", pointed)
        clock = settled + timedelta(seconds=4)
        exposed_s = 0.0
        for number in range(count):
            if stop_after is not None and number >= stop_after:
                break
            opened = ShutterOpened(
                camera="vis", sequence_id=sequence, plan_id=self.plans[sequence], start=clock, exposure_s=exposure_s
            )
            self.say(clock, "camera:vis", opened)
            end = clock + timedelta(seconds=exposure_s)
            self.record.exposures.append((clock, end))
            self.record.readouts.append((end, end + timedelta(seconds=3)))
            self.image(sequence, number, clock, exposure_s, ra_deg, dec_deg, alert_id, previews)
            exposed_s += exposure_s
            clock = end + timedelta(seconds=4)
        status = {"EXECUTED": "EXECUTED", "INTERRUPTED": "INTERRUPTED"}.get(
            outcome, "ABORTED" if alert_id is not None else "OBSERVABLE"
        )
        self.write(
            Change(
                table="sequence",
                key=sequence,
                values={"status": status, "ended_at": clock, "reason": cause, "exposed_s": exposed_s},
            )
        )
        ended = SequenceEnded(sequence_id=sequence, outcome=outcome, cause=cause, exposed_s=exposed_s)
        self.say(clock, "observation_manager", ended)
        return clock

    def image(self, sequence, number, start, exposure_s, ra_deg, dec_deg, alert_id, previews):
        file = f"{NIGHT}/vis_{sequence:06d}_{self.plans[sequence]:06d}_{start:%H%M%S}_{number:03d}.fits"
        values = {
            "file": file,
            "plan_id": self.plans[sequence],
            "sequence_id": sequence,
            "alert_id": alert_id,
            "camera": "vis",
            "filter": "r",
            "kind": "light",
            "number": number,
            "start": start,
            "exposure_s": exposure_s,
            "ra_deg": ra_deg,
            "dec_deg": dec_deg,
            "datasum": "1",
            "quality": {"limiting_mag": round(19.4 + 0.01 * number, 2)},
        }
        if previews:
            values["preview"] = file.replace(".fits", ".png")
            draw(self.record.state_folder / "images" / values["preview"], seed=sequence * 100 + number)
        [image_id] = self.write(Insert(table="image", values=values))
        taken = ImageTaken(
            image_id=image_id,
            file=file,
            camera="vis",
            filter="r",
            sequence_id=sequence,
            plan_id=self.plans[sequence],
            alert_id=alert_id,
            start=start,
            exposure_s=exposure_s,
            datasum="1",
        )
        self.say(start + timedelta(seconds=exposure_s + 3.5), "observation_manager", taken)
        return image_id

    def detect(self, image_id, alert_id, ra_deg, dec_deg, mag, snr, when):
        found = {
            "ra_deg": ra_deg,
            "dec_deg": dec_deg,
            "position_error_arcsec": 0.3,
            "mag": mag,
            "mag_err": 0.05,
            "snr": snr,
        }
        self.write(Insert(table="detection", values={"image_id": image_id, "alert_id": alert_id, **found}))
        analysed = Analysed(
            image_id=image_id,
            alert_id=alert_id,
            candidates=[Candidate(**found)],
            limiting_mag=19.6,
            zero_point=23.1,
            fwhm_arcsec=2.4,
            problems=[],
        )
        self.say(when, "analyzer", analysed)

    def alert(self, when, name, identifier, ra_deg, dec_deg, error_deg, *, t0, times, status="DONE", truth=True):
        """An alert with its trigger and one notice; returns its id."""
        steps = {step: (t0 + timedelta(seconds=s)).isoformat().replace("+00:00", "Z") for step, s in times.items()}
        if not getattr(self, "_strategy", None):
            row = {"name": "prompt", "version": 2, "text": "", "created_at": self.record.begins}
            [self._strategy] = self.write(Insert(table="strategy", values=row))
        place = {"ra_deg": ra_deg, "dec_deg": dec_deg, "error_deg": error_deg}
        alert = {
            "name": name,
            "status": "ACTIVE",
            "night": NIGHT,
            "t0": t0,
            **place,
            "strategy_id": self._strategy,
            "times": steps,
            "created_at": when,
        }
        [alert_id] = self.write(Insert(table="alert", values=alert))
        if status != "ACTIVE":
            self.write(Change(table="alert", key=alert_id, values={"status": status, "reason": "observed"}))
        trigger = {"mission": "svom", "identifier": identifier, "alert_id": alert_id, "t0": t0, "created_at": when}
        notice = {
            "ivorn": f"ivo://org.svom/fsc#{identifier}_eclairs-wakeup",
            "content_sha256": f"{alert_id:064d}",
            "raw": b"<x/>",
            "transport": "vtp",
            "received_at": when,
            "sent_at": when,
            "mission": "svom",
            "identifier": identifier,
            **place,
            "verdict": "ACCEPTED",
            "reason": "interesting",
            "alert_id": alert_id,
        }
        self.write(Insert(table="trigger", values=trigger), Insert(table="notice", values=notice))
        if truth:
            burst = {"ra_deg": ra_deg + 0.02, "dec_deg": dec_deg - 0.01, "t0": t0, "mag_at_60s": 15.5, "alpha": 1.1}
            self.record.transients.append(burst)
        return alert_id

    def opened(self, when, alert_id, name, t0, ra_deg, dec_deg, error_deg, sequence):
        opened = AlertOpened(
            alert_id=alert_id,
            name=name,
            t0=t0,
            ra_deg=ra_deg,
            dec_deg=dec_deg,
            error_deg=error_deg,
            strategy="prompt 2",
            sequence_id=sequence,
        )
        self.say(when, "alert_manager", opened)

    def done(self) -> NightRecord:
        """Put the words into the order of their instants and close the store."""
        self.record.said.sort(key=lambda said: said.at)
        self.store.close()
        return self.record


def draw(path: Path, seed: int) -> None:
    """A star field."""
    rng = np.random.default_rng(seed // 100)
    y, x = np.mgrid[:256, :256]
    frame = np.random.default_rng(seed).normal(400.0, 12.0, (256, 256))
    for _ in range(60):
        cy, cx, flux = rng.uniform(0, 256), rng.uniform(0, 256), 10 ** rng.uniform(1.8, 4.2)
        frame += flux / 8 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 4.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_preview(path, frame)
