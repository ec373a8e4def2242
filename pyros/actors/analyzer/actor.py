"""The analyzer: what is in an image. Calibrated always; searched when it belongs to an alert.

Takes `Analyse`, and `Poll`, its own deadline; emits `Analysed` and `AnalyzerState`. The work is the pure function in
analysis.py, done in the process pool, never in an actor's thread. One failed image harms no other. An alert's images go
first; of routine images that come too fast the oldest are left out, with a word: their frames are on disk and in the
store. A measurement, its candidates and their news are one commit, which an image takes once. When it dies, the next
incarnation takes up the images of the last hours that nobody has measured.
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, Future
from datetime import timedelta
from pathlib import Path
from typing import Any

from pyros.actors.analyzer import rows
from pyros.actors.analyzer.analysis import AnalysisJob, AnalysisReport, analyse
from pyros.actors.analyzer.search import ErrorCircle
from pyros.actors.courier.news import news
from pyros.actors.environment import Environment
from pyros.actors.kernel import Actor, Answer, Context
from pyros.messages.alerts import Analyse, Analysed, AnalyzerState
from pyros.messages.base import Refused
from pyros.messages.devices import Poll
from pyros.messages.store import Commit, Committed, Insert
from pyros.store.database import Reader, open_reader
from pyros.store.repositories import image_rows, images_of, one_alert, unanalysed_images

FRAMES_TOGETHER = 3
"""How many frames of a field are searched together: enough to tell a source from a cosmic ray."""
MOST_WAITING = 200
"""Routine images that may wait; a night's worth of them would be stale before it is through."""
MOST_RETRIES = 2
"""How often an image is analysed again whose worker died: it may be the image that kills."""
WORK_S = 60.0
STORE_AGAIN_S = 30.0
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
        self._retries: dict[tuple[int, ...], int] = {}
        """Image ids of an analysis: how often its worker has died so far."""
        self._jobs = 0
        self._done = 0
        self._left_out = 0
        self._last = ""
        self._problem = ""

    def on_start(self) -> None:
        """Open the store, and take up what a crash left: an alert's images first."""
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
        under_way = [*self._waiting, *(running for running, _ in self._running.values())]
        if any(known.image_ids == message.image_ids for known in under_way):
            return  # found in the store at the start, and told by a message that was waiting
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
        """Tell whether an analysis may begin; of several workers one is kept free for alerts.

        One whose worker has died runs alone: should it be the one that kills, no other dies with it again.
        """
        if len(self._running) >= self.settings.workers:
            return False
        beside = [running for running, _ in self._running.values()]
        if beside and any(tuple(one.image_ids) in self._retries for one in (message, *beside)):
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
                self._retries.pop(tuple(message.image_ids), None)
                self._problem = f"images {message.image_ids} took longer than {WORK_S:g} s and were given up"
        self._submit()

    def _job(self, message: Analyse) -> AnalysisJob | None:
        assert self._reader is not None  # noqa: S101 - opened in on_start
        images = image_rows(self._reader, message.image_ids)
        if not images:
            self._problem = f"images {message.image_ids} are not in the store"
            return None
        if images[-1]["quality"]:
            return None  # measured already
        circle = None
        if message.alert_id is not None:
            alert = one_alert(self._reader, message.alert_id)
            if alert is not None:
                # a quarter more than the 90 % circle, and never less than what pointing and edges need
                radius_arcmin = max(alert["error_deg"] * 60 * 1.25, 1.0)
                circle = ErrorCircle(ra_deg=alert["ra_deg"], dec_deg=alert["dec_deg"], radius_arcmin=radius_arcmin)
            images = self._with_companions(images)
        files = tuple(str(self.environment.images / row["file"]) for row in images)
        return AnalysisJob(
            frames=files,
            output=str((self.environment.images / images[-1]["file"]).parent),
            masters=_text(self.settings.masters),
            catalogue=_text(self.settings.catalogue),
            circle=circle,
        )

    def _with_companions(self, images: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add the frames of the same field and filter that came just before."""
        assert self._reader is not None  # noqa: S101 - opened in on_start
        last = images[-1]
        if last["sequence_id"] is None:
            return images
        same = [
            row
            for row in images_of(self._reader, sequence_id=last["sequence_id"])
            if row["filter"] == last["filter"] and row["camera"] == last["camera"] and row["start"] <= last["start"]
        ]
        return same[-FRAMES_TOGETHER:]

    def _take(self, number: int, message: Analyse, future: Future[AnalysisReport]) -> None:
        if self._running.pop(number, None) is None:
            return  # given up before
        error = future.exception()
        if isinstance(error, BrokenExecutor) and self._is_tried_again(message):
            return
        self._retries.pop(tuple(message.image_ids), None)
        self._done += 1
        if error is not None:
            self._problem = f"images {message.image_ids}: {type(error).__name__}: {error}"[:500]
            self._commit([rows.failed(message.image_ids[-1], self._problem)], message)
        else:
            self._publish(message, future.result())
        self._submit()

    def _is_tried_again(self, message: Analyse) -> bool:
        """Put an analysis whose worker has died before its like in the queue, unless it has been tried often enough."""
        key = tuple(message.image_ids)
        retries = self._retries.get(key, 0)
        if retries >= MOST_RETRIES:
            return False
        self._retries[key] = retries + 1
        self._problem = f"the worker that analysed images {message.image_ids} died; they are analysed again"
        alerts = sum(1 for waiting in self._waiting if waiting.alert_id is not None)
        self._waiting.insert(alerts if message.alert_id is None else 0, message)
        self._submit()
        return True

    def _commit(self, writes: list[Any], message: Analyse) -> None:
        """Have the outcome stored; an alert's image whose outcome the disk did not take is analysed again."""

        def stored(reply: Answer) -> None:
            if not isinstance(reply, Committed):
                self._problem = f"analysis of {message.image_ids} not stored: {getattr(reply, 'reason', reply)}"[:500]
                self.show()
            if not isinstance(reply, Committed | Refused) and message.alert_id is not None:
                self.after(self.clock.at_least_real(STORE_AGAIN_S, 1.0), message)

        commit = Commit(writes=writes, reason=f"analysis {message.image_ids[-1]}")
        self.ask("archivist", commit, self.clock.at_least_real(20.0, 10.0), stored)

    def _publish(self, message: Analyse, report: AnalysisReport) -> None:
        event = rows.analysed(message, report)
        self._last = Path(report.images[-1].file).name
        self._problem = "; ".join(report.problems)[:500]
        writes = rows.measured(report, event, self.environment.images)
        self._commit([*writes, *self._news(event)], message)
        self.publish(event)

    def _news(self, event: Analysed) -> list[Insert]:
        """Return the news of an alert's image with candidates."""
        if event.alert_id is None or not event.candidates:
            return []
        assert self._reader is not None  # noqa: S101 - opened in on_start
        (image,) = image_rows(self._reader, [event.image_id])
        subject = f"candidates in image {event.image_id}"
        return news(self.environment.settings, "candidate", subject, rows.told(event, image), self.clock.now())

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
