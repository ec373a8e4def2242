"""For the whole suite: the long nights come first, so that the last minutes do not belong to one core alone.

Hypothesis plays the same examples each time, so that what passes here passes elsewhere;
`HYPOTHESIS_PROFILE=explore make test` looks for new ones.
"""

import os
import signal

import pytest
from hypothesis import settings

settings.register_profile("steady", derandomize=True)
settings.register_profile("explore")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that hold whole nights before the others."""
    long = {item.path for item in items if item.get_closest_marker("night")}
    items.sort(key=lambda item: item.path not in long)
