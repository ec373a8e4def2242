"""How long a simulated night takes: `python -m benchmarks.night [--empty] [--times 1]` prints one JSON line.

`--empty` leaves out requests and bursts: what remains is the poll of every second, all actors, all sockets.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import date
from pathlib import Path

from pyros.cli.night.runner import Order, run_night


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    runs = []
    for _ in range(options.times):
        with tempfile.TemporaryDirectory() as folder:
            order = Order(
                on=date(2026, 11, 22),
                seed=options.seed,
                folder=Path(folder),
                requests=0 if options.empty else 60,
                quiet=options.empty,
            )
            record = run_night(order)
        runs.append(
            {
                "wall_s": round(record.wall_s, 2),
                "cpu_s": round(record.cpu_s, 2),
                "exposures": len(record.exposures),
                "dark_h": round((record.ends - record.begins).total_seconds() / 3600, 2),
            }
        )
    best = min(runs, key=lambda run: run["wall_s"])
    pressure = Path("/proc/pressure/cpu")
    print(
        json.dumps(
            {
                "benchmark": "empty night" if options.empty else "night",
                **best,
                "runs": [run["wall_s"] for run in runs],
                "cpu_pressure": pressure.read_text().splitlines()[0] if pressure.exists() else None,
            }
        )
    )


if __name__ == "__main__":
    main()
