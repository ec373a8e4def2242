"""`python -m tests.chaos.kill_nights --kills 200 --seed 1 [--speed 5] [--jobs N]`: kill -9, again and again.

A simulated observatory lives in this process; the daemon is a real `pyros run` that is killed at chosen and at random
instants and started again in the same night. Every rule that is broken is told at once; the last line is one JSON
object of totals. The status is 1 if any rule was broken.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # so that `python -m` finds what stands beside this file, as pytest does

from kill_rounds import Rounds
from kill_stage import Stage, middle

GOALS = {"shutter open": 0.3, "slewing": 0.2, "notice not acknowledged": 0.1}
"""What a run is for: of its kills at least this part came while that was under way."""
READY_GOAL_S = 5.0
LARGEST = ("wall_s", "ready_cpu_s", "acknowledged_after_s")
"""Totals of which several runs give the largest; the others are added up."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kill_nights", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=5.0, help="clock seconds per second (default 5)")
    parser.add_argument(
        "--jobs", type=int, default=1, help="observatories side by side, each with its part of the kills"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep state and words of the daemons there")
    options = parser.parse_args(arguments)
    print(
        f"seed {options.seed}: {options.kills} kills at {options.speed:g} times life, {options.jobs} jobs", flush=True
    )
    totals = _side_by_side(options) if options.jobs > 1 else _alone(options)
    totals["goals_missed"] = goals_missed(totals)
    print(json.dumps(totals), flush=True)
    return 1 if totals["breaches"] else 0


def _alone(options: argparse.Namespace) -> dict:
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with Stage(folder, options.seed, options.speed) as stage:
            rounds = Rounds(stage, options.seed, lambda line: print(f"[{options.seed}] {line}", flush=True))
            while rounds.totals.kills < options.kills:
                rounds.kill_at(rounds.next_aim())
            rounds.finish()
            return totals_of(rounds, options.seed, time.monotonic() - begun_s)


def goals_missed(totals: dict) -> list[str]:
    """Return what a run did not show; a short or a hindered one shows less, and breaks no rule by it."""
    wanted = {what: part * totals["kills"] for what, part in GOALS.items()}
    few = [f"{what}: {totals['under_way'].get(what, 0)} of {n:g}" for what, n in wanted.items()]
    missed = [line for line, (what, n) in zip(few, wanted.items(), strict=True) if totals["under_way"].get(what, 0) < n]
    slow = [value for value in totals["ready_s"] if value >= READY_GOAL_S]
    return missed + ([f"READY took {READY_GOAL_S:g} s or more {len(slow)} times"] if slow else [])


def totals_of(rounds: Rounds, seed: int, took_s: float) -> dict:
    totals, people, stage = rounds.totals, rounds.people, rounds.stage
    return {
        "seeds": [seed],
        "kills": totals.kills,
        "under_way": dict(totals.under_way),
        "aimed": dict(totals.aimed),
        "missed_aims": totals.missed,
        "ready_cpu_s": round(middle([one.ready_cpu_s for one in stage.starts if one.ready_s is not None]), 2),
        "ready_s": sorted(round(value, 2) for value in totals.ready_s),
        "notices_acknowledged": len(people.acknowledged()),
        "requests_accepted": len(people.requests),
        "frames_recorded": len(rounds.record.images),
        "frames_exposed": len(stage.observer.exposures),
        "frames_set_aside": sum(1 for _ in (stage.state / "images" / "set_aside").rglob("*.fits")),
        "acknowledged_after_s": round(middle(people.latencies), 4),
        "latch_resets": people.resets,
        "news": len(stage.receiver.news),
        "news_posted_twice": sum(1 for n in stage.receiver.posts.values() if n > 1),
        "clock_hours": round((stage.clock.now() - stage.starts[0].at).total_seconds() / 3600, 2),
        "wall_s": round(took_s, 1),
        "breaches": totals.breaches,
    }


def _side_by_side(options: argparse.Namespace) -> dict:
    shares = [options.kills // options.jobs + (k < options.kills % options.jobs) for k in range(options.jobs)]
    base = [sys.executable, "-m", "tests.chaos.kill_nights", "--speed", str(options.speed)]
    jobs = []
    for k, share in enumerate(shares):
        keep = ["--keep", str(options.keep / str(k))] if options.keep else []
        command = [*base, "--kills", str(share), "--seed", str(options.seed + k), *keep]
        jobs.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    results = [json.loads(_last_line(job)) for job in jobs]
    return merged(results)


def _last_line(job: subprocess.Popen) -> str:
    line = ""
    for line in job.stdout:
        print(line.rstrip(), flush=True)
    job.wait()
    return line


def merged(results: list[dict]) -> dict:
    """Return the sum of several runs' totals."""
    total = dict(results[0])
    for other in results[1:]:
        for name, value in other.items():
            if isinstance(value, dict):
                total[name] = dict(Counter(total[name]) + Counter(value))
            elif name in LARGEST:
                total[name] = max(total[name], value)
            else:
                total[name] = total[name] + value
    total["ready_s"] = sorted(total["ready_s"])
    return total


if __name__ == "__main__":
    sys.exit(main())
