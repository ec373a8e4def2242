"""How fast and how well images are analysed: seconds per frame, completeness, false alarms, accuracy. One JSON line.

    python -m benchmarks.imaging [--pixels 512] [--fields 40] [--frames 3] [--radius 5] [--density 2500] [--seed 1]

Frames come from the simulators' renderer, which shares no code with the analysis. Every second field has no burst.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from pyros.actors.analyzer.analysis import AnalysisJob, analyse
from pyros.actors.analyzer.calibration import calibrate
from pyros.actors.analyzer.frame import FrameHeader, estimate_wcs, read_frame, write_frame
from pyros.actors.analyzer.masters import choose, list_masters, load, make_masters
from pyros.actors.analyzer.measurement import measure
from pyros.actors.analyzer.search import ErrorCircle, search
from simulators.frame import Exposure, FrameRenderer
from simulators.frame_detector import READ_NOISE_E, Window
from simulators.frame_scene import DARK_SKY_E_S_ARCSEC2, Sample
from simulators.sky import SyntheticSky

START = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
GAIN_E_ADU = 1.5
EXPOSURE_S = 30.0
DELAYS_S = (60.0, 100.0, 300.0)
NEAR_ARCSEC = 2.0


@dataclass
class Burst:
    ra_deg: float
    dec_deg: float
    mag_at_60s: float
    alpha: float = 1.1

    def magnitude(self, t):
        return self.mag_at_60s + 2.5 * self.alpha * math.log10(max((t - START).total_seconds(), 1.0) / 60.0)

    def mean_magnitude(self, delay_s):
        times = (START + timedelta(seconds=delay_s + (k + 0.5) * EXPOSURE_S / 50) for k in range(50))
        return -2.5 * math.log10(sum(10 ** (-0.4 * self.magnitude(t)) for t in times) / 50)


class Observatory:
    """A simulated camera that writes frames as the camera actor does."""

    def __init__(self, folder, pixels, seed, density, seeing_arcsec):
        self.folder, self.pixels, self.number, self.seeing_arcsec = folder, pixels, 0, seeing_arcsec
        self.sky = SyntheticSky(seed, stars_per_deg2=density)
        self.renderer = FrameRenderer("vis", seed=seed, sky=self.sky, pixels=pixels)
        (folder / "catalogue").mkdir()

    def take(self, kind, started_at, exposure_s, place=None, bursts=()):
        self.number += 1
        samples = ()
        if kind == "light":
            samples = (Sample(*place, self.seeing_arcsec, 1.0, DARK_SKY_E_S_ARCSEC2),)
        elif kind == "flat":
            samples = (Sample(10.0, 20.0, 2.0, 0.0, 0.0),)
        window = Window(0, 0, self.pixels, self.pixels)
        exposure = Exposure(
            number=self.number,
            start=started_at,
            duration_s=exposure_s,
            window=window,
            samples=samples,
            lamp=kind == "flat",
            electrons_per_adu=GAIN_E_ADU,
        )
        scale = 26 * 60 / self.pixels
        header = FrameHeader(
            started_at=started_at,
            exposure_s=exposure_s,
            image_type=kind,
            camera="vis",
            filter="r",
            gain_e_adu=GAIN_E_ADU,
            read_noise_e=READ_NOISE_E,
            ccd_temperature_c=-20.0,
            wcs=estimate_wcs(*place, (self.pixels, self.pixels), scale) if place else None,
        )
        path = self.folder / f"{kind}_{self.number:05d}.fits"
        write_frame(path, self.renderer.render(exposure, bursts), header)
        for tile in self.renderer.tiles(exposure) if place else ():
            self.sky.write_tile(self.folder / "catalogue", *tile)
        return str(path)

    def make_masters(self):
        plan = [("bias", 0.0), ("dark", 60.0), ("flat", 5.0)]
        paths = [self.take(kind, START - timedelta(hours=1), exposure_s) for kind, exposure_s in plan for _ in range(9)]
        began = time.perf_counter()
        made = make_masters(paths, self.folder / "masters")
        assert len(made.masters) == 3, made.problems
        return time.perf_counter() - began


def run_field(observatory, rng, options, with_burst):
    """Analyse one field and compare with the truth."""
    ra, dec = rng.uniform(0, 360), math.degrees(math.asin(rng.uniform(-0.5, 0.95)))
    radius = options.radius * math.sqrt(rng.uniform()) / 60 * 0.95
    angle = rng.uniform(0, 2 * math.pi)
    truth = Burst(
        (ra + radius * math.sin(angle) / math.cos(math.radians(dec))) % 360,
        dec + radius * math.cos(angle),
        rng.uniform(options.bright, options.faint),
    )
    delays = DELAYS_S[: options.frames]
    frames = [
        observatory.take("light", START + timedelta(seconds=d), EXPOSURE_S, (ra, dec), [truth] if with_burst else [])
        for d in delays
    ]
    job = AnalysisJob(
        frames=tuple(frames),
        output=str(observatory.folder / "products"),
        masters=str(observatory.folder / "masters"),
        catalogue=str(observatory.folder / "catalogue"),
        circle=ErrorCircle(ra_deg=ra, dec_deg=dec, radius_arcmin=options.radius),
    )
    began, cpu = time.perf_counter(), time.process_time()
    report = analyse(job)
    wall_s, cpu_s = (time.perf_counter() - began) / len(delays), (time.process_time() - cpu) / len(delays)
    expected_mag = truth.mean_magnitude(delays[0])
    snr = [
        5 * 10 ** (0.4 * (i.limiting_mag - truth.mean_magnitude(d))) if i.limiting_mag else 0
        for i, d in zip(report.images, delays, strict=True)
    ]
    hits = []
    for rank, c in enumerate(report.candidates):
        east = ((c.ra_deg - truth.ra_deg + 180) % 360 - 180) * math.cos(math.radians(dec)) * 3600
        north = (c.dec_deg - truth.dec_deg) * 3600
        if with_burst and math.hypot(east, north) < 2 * NEAR_ARCSEC:
            hits.append(
                {
                    "rank": rank,
                    "east": east,
                    "north": north,
                    "error": c.position_error_arcsec,
                    "mag_pull": (c.mag - expected_mag) / c.mag_err,
                    "mag_off": c.mag - expected_mag,
                }
            )
    return {
        "burst": with_burst,
        "snr": math.sqrt(sum(s * s for s in snr)),
        "hits": hits[:1],
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "false": len(report.candidates) - len(hits),
        "problems": report.problems,
        "limit": report.limiting_mag,
        "rms": report.images[0].rms_arcsec,
        "frames": frames,
    }


def time_steps(observatory, frame, circle):
    """Seconds of each step for one frame, best of three."""
    steps = {}

    def timed(name, work):
        best, result = math.inf, None
        for _ in range(3):
            began = time.perf_counter()
            result = work()
            best = min(best, time.perf_counter() - began)
        steps[name] = round(best, 4)
        return result

    raw = timed("read", lambda: read_frame(frame))
    masters = load(choose(list_masters(observatory.folder / "masters"), raw.header, raw.pixels.shape))
    image = timed("calibrate", lambda: calibrate(raw.pixels, raw.header, masters))
    measured = timed("measure", lambda: measure("f", image, raw.header, observatory.folder / "catalogue", 150.0))
    timed("search", lambda: search([measured], circle))
    target = observatory.folder / "timed.fits"
    timed("write", lambda: write_frame(target, image.pixels, raw.header, replace=True))
    return steps


def completeness(results, low, high):
    chosen = [r for r in results if r["burst"] and low <= r["snr"] < high]
    return f"{sum(bool(r['hits']) for r in chosen)}/{len(chosen)}"


def summary(options, results, masters_s, steps):
    hits = [h for r in results for h in r["hits"]]
    bright = [r["hits"][0] for r in results if r["hits"] and r["snr"] >= 10]
    distance = [math.hypot(h["east"], h["north"]) for h in bright]
    pulls = [h[axis] / h["error"] for h in hits for axis in ("east", "north")]
    wall = sorted(r["wall_s"] for r in results)
    return {
        "benchmark": "imaging",
        "pixels": options.pixels,
        "fields": len(results),
        "frames_per_field": options.frames,
        "radius_arcmin": options.radius,
        "stars_per_deg2": options.density,
        "seed": options.seed,
        "s_per_frame_median": round(wall[len(wall) // 2], 4),
        "s_per_frame_max": round(wall[-1], 4),
        "cpu_s_per_frame_median": round(float(np.median([r["cpu_s"] for r in results])), 4),
        "steps_s": steps,
        "masters_27_frames_s": round(masters_s, 3),
        "found_by_snr": {
            f"{a}-{b}": completeness(results, a, b) for a, b in ((3, 5), (5, 6), (6, 7), (7, 10), (10, 20), (20, 10000))
        },
        "false_candidates": sum(r["false"] for r in results),
        "ranked_first": f"{sum(h['rank'] == 0 for h in hits)}/{len(hits)}",
        "worst_offset_arcsec_snr10": round(max(distance, default=math.nan), 3),
        "median_offset_arcsec_snr10": round(float(np.median(distance)) if distance else math.nan, 3),
        "position_pull": round(float(np.std(pulls)), 3) if pulls else None,
        "magnitude_pull": round(float(np.sqrt(np.mean([h["mag_pull"] ** 2 for h in hits]))), 3) if hits else None,
        "magnitude_bias": round(float(np.median([h["mag_off"] for h in hits])), 4) if hits else None,
        "limiting_mag_median": round(float(np.median([r["limit"] for r in results if r["limit"]] or [math.nan])), 3),
        "unsolved": sum(r["rms"] is None for r in results),
        "problems": sorted({p for r in results for p in r["problems"]})[:5],
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "pressure_cpu": pressure(),
    }


def pressure():
    try:
        return Path("/proc/pressure/cpu").read_text(encoding="ascii").splitlines()[0]
    except OSError:
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--fields", type=int, default=40)
    parser.add_argument("--frames", type=int, default=3, choices=(1, 2, 3))
    parser.add_argument("--radius", type=float, default=5.0)
    parser.add_argument("--density", type=float, default=2500.0)
    parser.add_argument("--seeing", type=float, default=2.0)
    parser.add_argument("--bright", type=float, default=14.5)
    parser.add_argument("--faint", type=float, default=18.5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as name:
        observatory = Observatory(Path(name), options.pixels, options.seed, options.density, options.seeing)
        masters_s = observatory.make_masters()
        results = []
        for k in range(options.fields):
            results.append(run_field(observatory, rng, options, with_burst=k % 2 == 0))
            for path in results[-1]["frames"][1:]:
                Path(path).unlink()
        frame = results[0]["frames"][0]
        header = read_frame(frame).header
        circle = ErrorCircle(ra_deg=header.wcs.crval1, dec_deg=header.wcs.crval2, radius_arcmin=options.radius)
        print(json.dumps(summary(options, results, masters_s, time_steps(observatory, frame, circle))))


if __name__ == "__main__":
    main()
