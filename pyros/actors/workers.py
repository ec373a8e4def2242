"""The processes that analyse images, for as long as the daemon lives: when one of them dies a new set takes over.

The first set is forked before any thread; a later one is forked by a server process that has no threads either
(`forkserver`), for a fork of the daemon itself might copy a lock that some other thread holds. Whoever waits for work
that was under way when a worker died gets `BrokenExecutor`; it may be asked for again at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import ParamSpec, TypeVar

from pyros.orphans import die_with_parent

P = ParamSpec("P")
T = TypeVar("T")
LIMIT_S = 90
"""Real seconds after which a worker's own alarm clock ends it: one that never comes back would keep its place."""


class Workers(Executor):
    """An executor that outlives its processes.

    Parameters
    ----------
    first
        The set to begin with.
    count
        How many processes a later set has.
    limit_s
        Real seconds that one piece of work may take.
    """

    def __init__(self, first: Executor, count: int, limit_s: int = LIMIT_S) -> None:
        self._pool = first
        self._count = count
        self._limit_s = limit_s
        self._lock = threading.Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have it done by a worker.

        Raises
        ------
        RuntimeError
            After `shutdown`, or when no process can be started any more.
        """
        with self._lock:
            try:
                return self._pool.submit(within, self._limit_s, fn, *args, **kwargs)
            except BrokenExecutor:
                self._pool = _new_pool(self._count)
            return self._pool.submit(within, self._limit_s, fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the present set of processes."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def within(limit_s: int, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the work in a worker, which ends without a word if it takes longer than `limit_s` real seconds."""
    signal.alarm(limit_s)
    try:
        return fn(*args, **kwargs)
    finally:
        signal.alarm(0)


def _new_pool(count: int) -> Executor:
    return ProcessPoolExecutor(count, multiprocessing.get_context("forkserver"), initializer=_begin)


def _begin() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):  # ctrl-C and a closed terminal are the daemon's business
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()  # that is the fork server, which in turn stays as long as a worker does
    threading.Thread(target=_die_with_daemon, name="end of the daemon", daemon=True).start()


def _die_with_daemon() -> None:
    daemon = multiprocessing.parent_process()
    if daemon is not None:
        daemon.join()
    os._exit(1)
