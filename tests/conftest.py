"""For the whole suite: the long nights come first, so that the last minutes do not belong to one core alone."""

import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that hold whole nights before the others."""
    long = {item.path for item in items if item.get_closest_marker("night")}
    items.sort(key=lambda item: item.path not in long)
