"""Random nights and an independent judge of plans: astropy and the statement of the problem, nothing of the planner."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import numpy as np

from pyros.actors.scheduler.problem import Problem, Request
from pyros.sky import configure_iers
from pyros.sky.night import night_of
from pyros.sky.site import Site

NIGHT = night_of(Site(), date(2026, 11, 22))
USERS = ("ana", "bob", "chloe")


def some_requests(seed, n, *, night=NIGHT, tiers=(0,)):
    """Requests drawn blindly: some impossible, many in each other's way."""
    rng = np.random.default_rng(seed)
    span_s = (night.noon_after - night.noon_before).total_seconds()
    requests = []
    for k in range(n):
        duration = int(rng.integers(60, 3600))
        earliest = night.noon_before + timedelta(seconds=float(rng.uniform(0, 0.6) * span_s * rng.integers(0, 2)))
        latest = night.noon_after if rng.uniform() < 0.5 else earliest + timedelta(seconds=float(rng.uniform(0, 4e4)))
        preferred = earliest + timedelta(seconds=float(rng.uniform(0, 4e4))) if rng.uniform() < 0.2 else None
        requests.append(
            Request(
                id=f"r{k:03}",
                ra_deg=float(rng.uniform(0, 360)),
                dec_deg=float(np.degrees(np.arcsin(rng.uniform(-0.6, 1)))),
                priority=int(rng.integers(1, 101)),
                duration_s=duration,
                earliest=earliest,
                latest=latest,
                t_preferred=preferred,
                delta_left_s=int(rng.integers(0, 3600)),
                delta_right_s=int(rng.integers(0, 3600)),
                user=str(rng.choice(USERS)),
                min_altitude_deg=float(rng.uniform(10, 40)),
                moon_separation_deg=float(rng.choice([0.0, 20.0, 60.0])),
                tier=int(rng.choice(tiers)),
            )
        )
    return tuple(requests)


def first_problem(requests, **more):
    return Problem(
        site=Site(), night=NIGHT, requests=tuple(requests), first_schedule=True,
        night_start=NIGHT.noon_before, night_end=NIGHT.noon_after, **more,
    )  # fmt: skip


def easy(name, priority=10, duration_s=600, **more):
    """A request near the pole: up all night, far from the Moon."""
    where = {"ra_deg": 30.0, "dec_deg": 80.0, "earliest": NIGHT.noon_before, "latest": NIGHT.noon_after}
    return Request(id=name, priority=priority, duration_s=duration_s, **(where | more))


def faults_of(problem, planning):
    """Every rule that the planning breaks, as text."""
    requests = {r.id: r for r in problem.requests}
    faults = []
    told = [p.id for p in planning.placed] + [r.id for r in planning.rejected]
    if sorted(told) != sorted(requests):
        faults.append("not every request is answered once")
    faults += [f"{r.id} has no reason" for r in planning.rejected if not r.reason.strip() or "\n" in r.reason]
    fixed = {f.id: (f.start, f.end) for f in problem.fixed}
    second = timedelta(milliseconds=2)
    for a, b in pairwise(planning.placed):
        if b.start - a.end < timedelta(seconds=problem.overhead_s) - second:
            faults.append(f"{b.id} follows {a.id} too soon")
    for row in planning.placed:
        if row.id in fixed:
            if (row.start, row.end) != fixed[row.id]:
                faults.append(f"fixed {row.id} has moved")
            continue
        faults += _time_faults(problem, requests[row.id], row, second)
    for user, quota in problem.quotas_s.items():
        if sum(requests[p.id].duration_s for p in planning.placed if requests[p.id].user == user) > quota:
            faults.append(f"{user} exceeds the quota")
    free = [p for p in planning.placed if p.id not in fixed]
    return faults + (_sky_faults(problem, [requests[p.id] for p in free], free) if free else [])


def _time_faults(problem, request, row, second):
    if abs(row.end - row.start - timedelta(seconds=request.duration_s)) > second:
        yield f"{row.id} lasts {row.end - row.start}"
    if row.start < request.earliest - second or row.end > request.latest + second:
        yield f"{row.id} leaves its window"
    if problem.now and row.start < problem.now - second:
        yield f"{row.id} starts in the past"
    if request.t_preferred:
        off_s = ((row.start + (row.end - row.start) / 2) - request.t_preferred).total_seconds()
        if not -request.delta_left_s - 0.002 <= off_s <= request.delta_right_s + 0.002:
            yield f"{row.id} is {off_s} s from its preferred time"


def _sky_faults(problem, requests, rows):
    """Altitude, Moon and Sun at eleven instants of each exposure, both ends included."""
    configure_iers()
    import astropy.units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
    from astropy.time import Time

    site = problem.site
    place = EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.height_m * u.m)
    share = np.linspace(0, 1, 11)
    times = Time([[p.start + (p.end - p.start) * float(x) for x in share] for p in rows])
    frame = AltAz(obstime=times, location=place)
    ra, dec = np.array([[r.ra_deg, r.dec_deg] for r in requests]).T
    stars = SkyCoord(np.repeat(ra[:, None], 11, 1), np.repeat(dec[:, None], 11, 1), unit="deg").transform_to(frame)
    moon = get_body("moon", times, place).transform_to(frame)
    sun = get_body("sun", times, place).transform_to(frame).alt.deg.max(1)
    low, near = stars.alt.deg.min(1), stars.separation(moon).deg.min(1)
    faults = []
    for k, request in enumerate(requests):
        if low[k] < request.min_altitude_deg - 0.005:
            faults.append(f"{request.id} at {low[k]} deg")
        if request.moon_separation_deg and near[k] < request.moon_separation_deg - 0.005:
            faults.append(f"{request.id} at {near[k]} deg from the Moon")
        if sun[k] > problem.night.sun_altitude_max_deg + 0.005:
            faults.append(f"{request.id} with the Sun at {sun[k]} deg")
    return faults
