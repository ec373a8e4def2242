"""No process outlives the daemon: what a child process says to the system when it begins."""

from __future__ import annotations

import ctypes
import signal
import sys

PARENT = "PYROS_PARENT"
"""Environment variable in which a process that is executed anew finds the pid of whoever started it."""
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have this process killed when the thread that started it ends. Linux alone can do it.

    Killed, not asked: nobody is left to insist if it does not end. Whoever starts the process does so from a thread
    that lives as long, and the process itself looks afterwards whether its parent has died in the meantime.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
