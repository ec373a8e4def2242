"""The analyzer: what is in an image. Calibrated always; searched when it belongs to an alert.

Takes `Analyse`, and `Poll`, its own deadline; emits `Analysed` and `AnalyzerState`. The work is the pure function in
analysis.py, done in the process pool, never in an actor's thread. One failed image harms no other. An alert's images go
first; of routine images that come too fast the oldest are left out, with a word: their frames are on disk and in the
store. When it dies, the next incarnation takes up the alerts' images that nobody has measured.
"""

from __future__ import annotations

from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any

from pyros.actors.analyzer.analysis import AnalysisJob, AnalysisReport, analyse
from pyros.actors.analyzer.search import ErrorCircle
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context
from pyros.messages.alerts import Analyse, Analysed, AnalyzerState, Candidate
from pyros.messages.devices import Poll
from pyros.messages.store import Change, Commit, Committed, Insert
from pyros.store.database import Reader, open_reader
from pyros.store.repositories import image_rows, images_of, one_alert, unanalysed_images

FRAMES_TOGETHER = 3
"""How many frames of a field are searched together: enough to tell a source from a cosmic ray."""
MOST_DETECTIONS = 5
MOST_WAITING = 200
"""Routine images that may wait; a night's worth of them would be stale before it is through."""
WORK_S = 60.0
TAKEN_UP = timedelta(hours=12)


class Analyzer(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self.settings = environment.settings.analyzer
        self._reader: Reader | None = None
        self._waiting: list[Analyse] = []
        self._running: dict[int, tuple[Analyse, float]] = {}
        """Job's number: what it is about, and when (monotonic seconds) it is given up."""
        self._jobs = 0
        self._done = 0
        self._left_out = 0
        self._last = ""
        self._problem = ""

    def on_start(self) -> None:
        """Open the store, and take up what a crash left of an alert."""
        self._reader = open_reader(self.environment.state_folder)
        for row in unanalysed_images(self._reader, self.clock.now() - TAKEN_UP):
            self._queue(Analyse(image_ids=[row["id"]], alert_id=row["alert_id"]))
        self._submit()
        self.show()

    def on_stop(self) -> None:
        """Close it."""
        if self._reader is not None:
            self._reader.close()

    def on_analyse(self, message: Analyse) -> None:
        """Queue; an alert's images go first."""
        self._queue(message)
        self._submit()

    def _queue(self, message: Analyse) -> None:
        alerts = sum(1 for waiting in self._waiting if waiting.alert_id is not None)
        if message.alert_id is not None:
            self._waiting.insert(alerts, message)
            return
        self._waiting.append(message)
        if len(self._waiting) - alerts > MOST_WAITING:
            dropped = self._waiting.pop(alerts)
            self._left_out += 1
            self._problem = (
                f"images {dropped.image_ids} were left out, {self._left_out} so far: {MOST_WAITING} are waiting"
            )

    def _submit(self) -> None:
        while self._waiting and self._has_room_for(self._waiting[0]):
            message = self._waiting.pop(0)
            try:
                job = self._job(message)
            except Exception as error:  # noqa: BLE001 - one image that cannot even be asked for must not stop the others
                self._problem = f"images {message.image_ids}: {type(error).__name__}: {error}"[:500]
                continue
            if job is None:
                continue
            try:
                future = self.environment.pool.submit(analyse, job)
            except RuntimeError as error:  # the pool is broken or has been shut down: no later image fares better
                self._problem = f"no image is analysed any more until a restart: {error}"[:500]
                continue
            self._watch(message, future)
        self.show()

    def _has_room_for(self, message: Analyse) -> bool:
        """Tell whether an analysis may begin; of several workers one is kept free for alerts."""
        if len(self._running) >= self.settings.workers:
            return False
        routine = sum(1 for running, _ in self._running.values() if running.alert_id is None)
        return message.alert_id is not None or routine < max(1, self.settings.workers - 1)

    def _watch(self, message: Analyse, future: Future[AnalysisReport]) -> None:
        self._jobs += 1
        number = self._jobs
        work_s = self.clock.at_least_real(WORK_S, WORK_S)
        self._running[number] = message, self.clock.monotonic_s() + work_s
        timer = self.after(work_s, Poll())

        def taken(done: Future[AnalysisReport]) -> None:
            timer.cancel()
            self._take(number, message, done)

        modelled_s = self.settings.modelled_s if message.alert_id is not None else self.settings.modelled_routine_s
        self.clock.collect(future, lambda done: self.continue_with(lambda: taken(done)), modelled_s)

    def on_poll(self, _: Poll) -> None:
        """Give up an analysis that does not end; others go on in its place."""
        now_s = self.clock.monotonic_s()
        for number, (message, until_s) in list(self._running.items()):
            if now_s >= until_s - 1e-6:
                del self._running[number]
                self._problem = f"images {message.image_ids} took longer than {WORK_S:g} s and were given up"
        self._submit()

    def _job(self, message: Analyse) -> AnalysisJob | None:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        rows = image_rows(self._reader, message.image_ids)
        if not rows:
            self._problem = f"images {message.image_ids} are not in the store"
            return None
        circle = None
        if message.alert_id is not None:
            alert = one_alert(self._reader, message.alert_id)
            if alert is not None:
                # a quarter more than the 90 % circle, and never less than what pointing and edges need
                radius_arcmin = max(alert["error_deg"] * 60 * 1.25, 1.0)
                circle = ErrorCircle(ra_deg=alert["ra_deg"], dec_deg=alert["dec_deg"], radius_arcmin=radius_arcmin)
            rows = self._with_companions(rows)
        files = tuple(str(self.environment.images / row["file"]) for row in rows)
        return AnalysisJob(
            frames=files,
            output=str((self.environment.images / rows[-1]["file"]).parent),
            masters=_text(self.settings.masters),
            catalogue=_text(self.settings.catalogue),
            circle=circle,
        )

    def _with_companions(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add the frames of the same field and filter that came just before."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        last = rows[-1]
        if last["sequence_id"] is None:
            return rows
        same = [
            row
            for row in images_of(self._reader, sequence_id=last["sequence_id"])
            if row["filter"] == last["filter"] and row["camera"] == last["camera"] and row["start"] <= last["start"]
        ]
        return same[-FRAMES_TOGETHER:]

    def _take(self, number: int, message: Analyse, future: Future[AnalysisReport]) -> None:
        if self._running.pop(number, None) is None:
            return  # given up before
        self._done += 1
        error = future.exception()
        if error is not None:
            self._problem = f"images {message.image_ids}: {type(error).__name__}: {error}"[:500]
            quality = {"problems": [self._problem]}
            self._commit([Change(table="image", key=message.image_ids[-1], values={"quality": quality})], message)
        else:
            self._publish(message, future.result())
        self._submit()

    def _commit(self, writes: list[Any], message: Analyse) -> None:
        def stored(reply: Answer) -> None:
            if not isinstance(reply, Committed):
                self._problem = f"analysis of {message.image_ids} not stored: {getattr(reply, 'reason', reply)}"[:500]
                self.show()

        commit = Commit(writes=writes, reason=f"analysis {message.image_ids[-1]}")
        self.ask("archivist", commit, self.clock.at_least_real(20.0, 10.0), stored)

    def _publish(self, message: Analyse, report: AnalysisReport) -> None:
        image_id = message.image_ids[-1]
        last = report.images[-1]
        self._last = Path(last.file).name
        self._problem = "; ".join(report.problems)[:500]
        candidates = [
            Candidate(
                ra_deg=found.ra_deg,
                dec_deg=found.dec_deg,
                position_error_arcsec=found.position_error_arcsec,
                mag=found.mag,
                mag_err=found.mag_err,
                snr=found.snr,
            )
            for found in report.candidates[:MOST_DETECTIONS]
        ]
        self._commit(self._rows(image_id, message, report, candidates), message)
        self.publish(
            Analysed(
                image_id=image_id,
                alert_id=message.alert_id,
                candidates=candidates,
                limiting_mag=report.limiting_mag,
                zero_point=last.zero_point,
                fwhm_arcsec=last.fwhm_arcsec,
                problems=list(report.problems),
            )
        )

    def _rows(self, image_id: int, message: Analyse, report: AnalysisReport, candidates: list[Candidate]) -> list[Any]:
        last = report.images[-1]
        quality = {
            "fwhm_arcsec": last.fwhm_arcsec,
            "zero_point": last.zero_point,
            "limiting_mag": last.limiting_mag,
            "n_stars": last.n_stars,
            "problems": list(last.problems),
        }
        preview = ""
        if last.preview is not None:
            preview = str(Path(last.preview).relative_to(self.environment.images))
        values = {"quality": quality, "preview": preview}
        if last.ra_deg is not None and last.dec_deg is not None:
            values |= {"ra_deg": last.ra_deg, "dec_deg": last.dec_deg}
        writes: list[Any] = [Change(table="image", key=image_id, values=values)]
        writes += [
            Insert(
                table="detection",
                values={
                    "image_id": image_id,
                    "alert_id": message.alert_id,
                    "ra_deg": found.ra_deg,
                    "dec_deg": found.dec_deg,
                    "position_error_arcsec": found.position_error_arcsec,
                    "mag": found.mag,
                    "mag_err": found.mag_err,
                    "snr": found.snr,
                },
            )
            for found in candidates
        ]
        return writes

    def state(self) -> AnalyzerState:
        """Return the queue."""
        return AnalyzerState(
            waiting=len(self._waiting),
            running=len(self._running),
            done=self._done,
            last_image=self._last,
            problem=self._problem,
        )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
