"""Many nights of random trouble on the virtual clock, judged by an independent observer.

`python -m tests.chaos.chaos_nights --nights 100 --seed 1 [--jobs 2]` prints a line for each night and, last, one line
of JSON with the totals; its status is 1 if any rule was broken. Night n of seed s is drawn from the seed s + n - 1, so
that one night is played again by `--nights 1 --seed S --keep DIR`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from chaos_asks import counting
from chaos_scenario import draw_night

REQUESTS = 40
PIXELS = 64
OPERATOR_COMES_S = 240.0
MOST_SHUT = 20
"""How many instants of fair time under a shut dome are kept for whoever looks into it."""


@dataclass
class Result:
    """What became of one night; times in seconds."""

    seed: int
    night: str = ""
    troubles: int = 0
    restarts: int = 0
    deaths: int = 0
    frames: int = 0
    dark_s: float = 0.0
    fair_s: float = 0.0
    open_s: float = 0.0
    idle_s: float = 0.0
    """Safe and fault-free dark time in which the report finds that something could have been observed, and was not."""
    asked: int = 0
    answered: int = 0
    notices: int = 0
    wall_s: float = 0.0
    violations: list[str] = field(default_factory=list)
    shut: list[str] = field(default_factory=list)
    events: str = ""
    """Digest of events.jsonl."""


class NoAnalysis(Executor):
    """Images are not analysed in nights that are about other things; the analyzer takes that as a broken pool."""

    def submit(self, *_, **__):
        raise RuntimeError("images are not analysed tonight")


def play(seed: int, folder: Path, *, short: bool = False) -> Result:
    """Play the night of a seed in a folder and judge it."""
    from pyros.sky import configure_iers

    configure_iers()
    started_s = time.perf_counter()
    drawn = draw_night(seed, short=short)
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "scenario.toml"
    script.write_text(drawn.text)
    try:
        result = _played(drawn, folder, script)
    except Exception as error:
        result = Result(seed, str(drawn.on), violations=[f"the night broke off: {type(error).__name__}: {error}"])
    result.troubles, result.wall_s = drawn.troubles, time.perf_counter() - started_s
    return result


def _played(drawn, folder: Path, script: Path) -> Result:
    from chaos_judge import judged

    from pyros.cli.night.runner import Order, run_night

    worlds, overdue = [], []
    with counting() as ledger:

        def attend(observatory, system):
            worlds.append(observatory)
            overdue.extend(ledger.process_ended(system.clock.monotonic_s()))

        order = Order(
            on=drawn.on,
            seed=drawn.seed,
            folder=folder / "night",
            scenario=script,
            requests=REQUESTS,
            pixels=PIXELS,
            calibrated=False,
            operator_resets_after_s=OPERATOR_COMES_S,
            attend=attend,
        )
        record = run_night(order, pool=NoAnalysis())
        overdue += ledger.unanswered(worlds[-1].world.clock.monotonic_s())
    result = judged(drawn, record, worlds[-1], folder / "night")
    result.asked, result.answered = ledger.asked, ledger.answered
    for kind, questions in (("an ask was not answered", overdue), ("an ask was answered twice", ledger.twice)):
        result.violations += [f"{kind}: {one.asker} asked {one.to} {one.message}" for one in questions]
    return result


def _one(arguments: tuple[int, str, bool, bool]) -> Result:
    seed, base, keep, short = arguments
    folder = Path(base) / f"seed{seed}"
    result = play(seed, folder, short=short)
    if not keep and not result.violations:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def nights(seed: int, count: int, jobs: int, base: Path, *, keep: bool, short: bool = False):
    """Play nights, each in a process of its own, and yield their results in order."""
    context = multiprocessing.get_context("spawn")
    work = [(seed + number, str(base), keep, short) for number in range(count)]
    with ProcessPoolExecutor(jobs, context, max_tasks_per_child=1) as pool:
        yield from pool.map(_one, work)


def line(result: Result) -> str:
    """Return a night in a line."""
    share = f"{100 * result.open_s / result.fair_s:.0f} %" if result.fair_s else "-"
    verdict = "; ".join(result.violations[:3]) if result.violations else "ok"
    return (
        f"seed {result.seed} night {result.night}: {result.troubles} troubles, {result.restarts} restarts, "
        f"{result.deaths} deaths of the process, {result.frames} frames, open {share} of {result.fair_s / 3600:.1f} h "
        f"fair of {result.dark_s / 3600:.1f} h dark, {result.idle_s / 60:.0f} min of it idle, "
        f"{result.wall_s:.0f} s: {verdict}"
    )


def totals(seed: int, results: list[Result]) -> dict:
    """Return the sums of all nights."""
    sums = {
        name: round(sum(getattr(one, name) for one in results), 1)
        for name in (
            "troubles",
            "restarts",
            "deaths",
            "frames",
            "dark_s",
            "fair_s",
            "open_s",
            "idle_s",
            "asked",
            "notices",
        )
    }
    broken = {one.seed: one.violations for one in results if one.violations}
    share = sums["open_s"] / sums["fair_s"] if sums["fair_s"] else None
    return {
        "benchmark": "chaos_nights",
        "seed": seed,
        "nights": len(results),
        **sums,
        "violations": sum(map(len, broken.values())),
        "open_share": None if share is None else round(share, 4),
        "s_per_night": round(sum(one.wall_s for one in results) / max(1, len(results)), 1),
        "broken": broken,
    }


def main(arguments: list[str] | None = None) -> int:
    """Play, print, and return the status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.chaos_nights", description=__doc__.splitlines()[0])
    parser.add_argument("--nights", type=int, default=100, help="how many (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the first night (default 1)")
    parser.add_argument("--jobs", type=int, default=1, help="nights at the same time (default 1)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep every night below DIR")
    parser.add_argument("--short", action="store_true", help="nights with an hour or two of dark time")
    options = parser.parse_args(arguments)
    base = options.keep or Path(tempfile.mkdtemp(prefix="chaos_nights_"))
    print(f"seed {options.seed}, {options.nights} nights; those with violations are kept in {base}", flush=True)
    results = []
    for result in nights(
        options.seed, options.nights, options.jobs, base, keep=options.keep is not None, short=options.short
    ):
        results.append(result)
        print(line(result), flush=True)
        if options.keep:
            (base / f"seed{result.seed}" / "result.json").write_text(json.dumps(asdict(result), indent=1))
    sums = totals(options.seed, results)
    print(json.dumps(sums), flush=True)
    return 1 if sums["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
