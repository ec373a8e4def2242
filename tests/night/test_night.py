"""Whole nights on the virtual clock: every actor, real drivers, real sockets, an independent observer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

NIGHT = ["--date", "2026-11-22", "--seed", "1"]


def run_night(folder: Path, hash_seed: str) -> dict:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "pyros", "night", *NIGHT, "--report", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads((folder / "report.json").read_text())
    print(f"night: wall {report['wall_s']:.1f} s, CPU {report['cpu_s']:.1f} s")
    return report


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, Path, dict]:
    """The same night twice: in another folder, with another hash seed, and the second one beside a busy thread."""
    one, two = tmp_path_factory.mktemp("one") / "a", tmp_path_factory.mktemp("two") / "somewhere" / "else"
    first = run_night(one, "1")
    busy = threading.Event()

    def load() -> None:
        while not busy.is_set():
            sum(range(10_000))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        second = run_night(two, "4242")
    finally:
        busy.set()
        thread.join()
    return one, first, two, second


@pytest.mark.night
@pytest.mark.timeout(1200)
def test_the_same_night_twice_gives_the_same_events_byte_for_byte(nights):
    one, _, two, _ = nights
    first, second = (folder / "events.jsonl" for folder in (one, two))
    if first.read_bytes() != second.read_bytes():
        for number, (a, b) in enumerate(zip(first.open(), second.open(), strict=False), 1):
            assert a == b, f"line {number} differs"
    assert first.stat().st_size == second.stat().st_size > 1_000_000


@pytest.mark.night
@pytest.mark.timeout(1200)
def test_the_bursts_of_the_night_are_observed_and_found_where_they_are(nights):
    """AL-E7, AL-P3."""
    _, report, _, _ = nights
    observed = [alert for alert in report["alerts"] if alert["images"]]
    assert observed
    for alert in observed:
        assert alert["truth"] is not None
        order = [
            alert["times"][step]
            for step in (
                "t0",
                "sent",
                "received",
                "stored",
                "decided",
                "slew_commanded",
                "settled",
                "first_shutter",
                "first_result",
            )
        ]
        assert order == sorted(order)
    assert any(
        offset_arcsec(candidate, alert["truth"]) < 2.0 for alert in observed for candidate in alert["candidates"]
    )


@pytest.mark.night
@pytest.mark.timeout(1200)
def test_every_dark_second_has_its_reason_and_no_rule_was_broken(nights):
    """WK-5."""
    _, report, _, _ = nights
    assert report["exposing_s"] + sum(report["lost_s"].values()) == pytest.approx(report["dark_s"], abs=1e-3)
    assert report["violations"] == []
    assert report["restarts"] == []
    assert report["lost_s"]["fault"] < 60
    assert report["utilisation"] > 0.5


def offset_arcsec(candidate: dict, truth: dict) -> float:
    from astropy.coordinates import SkyCoord

    one = SkyCoord(candidate["ra"], candidate["dec"], unit="deg")
    return one.separation(SkyCoord(truth["ra"], truth["dec"], unit="deg")).arcsec
