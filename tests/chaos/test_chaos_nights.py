"""A short form of `python -m tests.chaos.chaos_nights`: two short nights with fixed seeds, one of them twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NIGHTS = [(3, "1"), (12, "1"), (12, "4242")]
"""Seeds, and the hash seed of the process: 12 has kills, a disk that is full, and a step of the clock."""


def play(folder: Path, seed: int, hash_seed: str) -> dict:
    """Play a short night in a process of its own and return its result."""
    place = folder / f"{seed}_{hash_seed}"
    command = [sys.executable, "-m", "tests.chaos.chaos_nights", "--nights", "1", "--seed", str(seed), "--short"]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [*command, "--keep", str(place)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr[-2000:])
    return json.loads((place / f"seed{seed}" / "result.json").read_text())


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("chaos")
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda night: play(folder, *night), NIGHTS))


@pytest.mark.night
@pytest.mark.timeout(300)
def test_whatever_goes_wrong_in_a_night_no_judge_finds_a_rule_broken(results):
    assert [one["violations"] for one in results] == [[], [], []]


@pytest.mark.night
@pytest.mark.timeout(300)
def test_the_same_seed_gives_the_same_night_through_every_death_and_restart(results):
    assert results[1]["deaths"] > 0
    assert results[1]["events"] == results[2]["events"] != results[0]["events"]


@pytest.mark.night
@pytest.mark.timeout(300)
def test_troubles_cost_no_more_of_the_dark_time_than_they_must(results):
    fair_s = sum(one["fair_s"] for one in results)
    assert fair_s > 1800.0
    assert sum(one["open_s"] for one in results) >= 0.9 * fair_s
    assert all(one["frames"] > 0 and one["asked"] >= one["answered"] > 100 for one in results)
