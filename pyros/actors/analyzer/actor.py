"""The analyzer: what is in an image. Calibrated always; searched when it belongs to an alert.

Takes `Analyse`; emits `Analysed` and `AnalyzerState`. The work is the pure function in analysis.py, done in the process
pool, never in an actor's thread. One failed image harms no other. When it dies, what was waiting is not analysed again
by itself; the frames are on disk and in the store.
"""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

from pyros.actors.analyzer.analysis import AnalysisJob, AnalysisReport, analyse
from pyros.actors.analyzer.search import ErrorCircle
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Context
from pyros.messages.alerts import Analyse, Analysed, AnalyzerState, Candidate
from pyros.messages.store import Change, Commit, Insert
from pyros.store.database import Reader, open_reader
from pyros.store.repositories import images_of, image_rows, one_alert

FRAMES_TOGETHER = 3
"""How many frames of a field are searched together: enough to tell a source from a cosmic ray."""
MOST_DETECTIONS = 5
WORK_S = 60.0


class Analyzer(Actor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment) -> None:
        super().__init__(context)
        self.environment = environment
        self.settings = environment.settings.analyzer
        self._reader: Reader | None = None
        self._waiting: list[Analyse] = []
        self._busy = 0
        self._done = 0
        self._last = ""
        self._problem = ""

    def on_start(self) -> None:
        """Open the store."""
        self._reader = open_reader(self.environment.state_folder)
        self.show()

    def on_stop(self) -> None:
        """Close it."""
        if self._reader is not None:
            self._reader.close()

    def on_analyse(self, message: Analyse) -> None:
        """Queue; an alert's images go first."""
        if message.alert_id is not None:
            place = sum(1 for waiting in self._waiting if waiting.alert_id is not None)
            self._waiting.insert(place, message)
        else:
            self._waiting.append(message)
        self._submit()

    def _submit(self) -> None:
        while self._waiting and self._busy < self.settings.workers:
            message = self._waiting.pop(0)
            job = self._job(message)
            if job is None:
                continue
            self._busy += 1
            future = self.environment.pool.submit(analyse, job)
            self.clock.collect(
                future,
                lambda done, message=message: self.continue_with(lambda: self._take(message, done)),
                self.settings.modelled_s,
            )
        self.show()

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
        same = [
            row
            for row in images_of(self._reader, sequence_id=last["sequence_id"])
            if row["filter"] == last["filter"] and row["camera"] == last["camera"] and row["start"] <= last["start"]
        ]
        return same[-FRAMES_TOGETHER:]

    def _take(self, message: Analyse, future: Future[AnalysisReport]) -> None:
        self._busy -= 1
        self._done += 1
        error = future.exception()
        if error is not None:
            self._problem = f"images {message.image_ids}: {type(error).__name__}: {error}"[:500]
        else:
            self._publish(message, future.result())
        self._submit()

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
        self.tell(
            "archivist", Commit(writes=self._rows(image_id, message, report, candidates), reason=f"analysis {image_id}")
        )
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
            running=self._busy,
            done=self._done,
            last_image=self._last,
            problem=self._problem,
        )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
