"""Plans: what they must never do, and what they are for."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from schedule_oracle import NIGHT, easy, faults_of, first_problem, some_requests

from pyros.actors.scheduler.intervals import cut, merge
from pyros.actors.scheduler.placement import make_schedule
from pyros.actors.scheduler.problem import Fixed, Problem, RejectCode
from pyros.sky.night import night_of
from pyros.sky.site import Site

SEEDS = st.integers(0, 2**32 - 1)


def seconds(delta):
    return delta.total_seconds()


def value_of(problem, planning):
    worth = {r.id: r.value for r in problem.requests}
    return sum(worth[p.id] for p in planning.placed)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 60), st.sampled_from([(0,), (0, 0, 0, 1)]), st.booleans())
def test_no_plan_breaks_a_rule_of_the_sky_or_of_the_users(seed, n, tiers, limited):
    """SC-E4, SC-T6: everything placed is observable by astropy's word, everything else has its reason."""
    quotas = {"ana": 3000.0, "bob": 0.0} if limited else {}
    problem = first_problem(some_requests(seed, n, tiers=tiers), quotas_s=quotas, overhead_s=seed % 60)
    planning = make_schedule(problem, iterations=5)
    assert faults_of(problem, planning) == []
    assert planning.value == pytest.approx(value_of(problem, planning))


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.floats(0.05, 0.95))
def test_what_was_executed_or_is_executing_never_moves_when_the_night_is_planned_again(seed, share):
    """SC-T5, SC-E9."""
    problem = first_problem(some_requests(seed, 40), overhead_s=30, quotas_s={"ana": 9000.0})
    planning = make_schedule(problem, iterations=3)
    now = NIGHT.begins + (NIGHT.ends - NIGHT.begins) * share
    begun = tuple(Fixed(p.id, p.start, p.end) for p in planning.placed if p.start <= now)
    free = max([now, *(f.end + timedelta(seconds=30) for f in begun)])
    assume(free + timedelta(seconds=900) <= NIGHT.ends)
    later = replace(problem, first_schedule=False, now=now, fixed=begun,
                    requests=(*problem.requests, easy("alert", 100, 900, tier=1)))  # fmt: skip
    again = make_schedule(later, iterations=3)
    assert faults_of(later, again) == []
    alert = next(p for p in again.placed if p.id == "alert")
    assert abs(seconds(alert.start - free)) < 0.001  # as soon as what is executing is over
    assert {f.id for f in begun} <= {p.id for p in again.placed}


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_slack_is_exact_for_the_whole_chain(seed):
    """SC-E2: a row alone may move by its deltas, its neighbours giving way, and not a millisecond further."""
    problem = first_problem(some_requests(seed, 25), overhead_s=10)
    placed = make_schedule(problem, iterations=3).placed
    for row in placed:
        assert row.delta_tl_s >= 0
        assert row.delta_tr_s >= 0
    for a, b in pairwise(placed):
        earliest = a.start - timedelta(seconds=a.delta_tl_s), b.start - timedelta(seconds=b.delta_tl_s)
        latest = a.start + timedelta(seconds=a.delta_tr_s), b.start + timedelta(seconds=b.delta_tr_s)
        period = seconds(a.end - a.start) + 10
        assert seconds(earliest[1] - earliest[0]) >= period - 1e-4
        assert seconds(latest[1] - latest[0]) >= period - 1e-4


def test_the_last_row_of_a_full_chain_carries_the_slack_of_all_before_it():
    """SC-E2: three rows in a window of 2,000 s; each may move by the 100 s that are left."""
    box = {"earliest": NIGHT.begins + timedelta(hours=1), "latest": NIGHT.begins + timedelta(hours=1, seconds=2000)}
    problem = first_problem([easy(n, duration_s=600, **box) for n in "abc"], overhead_s=50)
    placed = make_schedule(problem).placed
    assert [(p.delta_tl_s, p.delta_tr_s) for p in placed] == [(0, pytest.approx(100, abs=1e-3))] * 3
    assert [seconds(p.start - box["earliest"]) for p in placed] == pytest.approx([0, 650, 1300])


def test_raising_the_overhead_moves_starts_by_exactly_that():
    """SC-E10."""
    requests = [easy(f"r{k}") for k in range(4)]
    starts = [[p.start for p in make_schedule(first_problem(requests, overhead_s=o)).placed] for o in (0, 7, 30)]
    for overhead, row in zip((0, 7, 30), starts, strict=True):
        assert [seconds(t - NIGHT.begins) for t in row] == pytest.approx([k * (600 + overhead) for k in range(4)])
    with pytest.raises(ValueError, match="overhead_s is -1"):
        first_problem(requests, overhead_s=-1)


def test_an_alert_displaces_any_number_of_routine_requests_however_dear():
    box = {"earliest": NIGHT.begins, "latest": NIGHT.begins + timedelta(seconds=1000)}
    routine = [easy("dear", 100, 1000, **box)]
    planning = make_schedule(first_problem([*routine, easy("alert", 1, 60, tier=2, **box)]))
    assert [p.id for p in planning.placed] == ["alert"]
    assert planning.rejected[0].code is RejectCode.NO_ROOM
    assert "may not be displaced" in planning.rejected[0].reason


@pytest.mark.parametrize("iterations", [0, 20])
def test_within_a_tier_priority_times_duration_decides(iterations):
    box = {"earliest": NIGHT.begins, "latest": NIGHT.begins + timedelta(seconds=1000)}
    problem = first_problem([easy("short", 50, 100, **box), easy("long", 10, 960, **box)], overhead_s=0)
    planning = make_schedule(problem, iterations=iterations)
    assert [p.id for p in planning.placed] == ["long"]
    assert planning.rejected[0].reason == (
        "worth 5,000 (priority 50 for 100 s), its cheapest opening costs 9,600: it would displace long"
    )


def test_a_preferred_time_is_met_when_nothing_stands_in_its_way():
    wanted = NIGHT.begins + timedelta(hours=3)
    request = easy("p", t_preferred=wanted, delta_left_s=1800, delta_right_s=1800)
    row = make_schedule(first_problem([request])).placed[0]
    assert abs(seconds(row.start + (row.end - row.start) / 2 - wanted)) < 0.001
    assert (row.delta_tl_s, row.delta_tr_s) == (pytest.approx(1800, abs=1e-3),) * 2


def test_small_instances_are_planned_as_well_as_by_trying_everything():
    for seed in range(6):
        box = NIGHT.begins + timedelta(hours=2), NIGHT.begins + timedelta(hours=3)
        rng_requests = some_requests(seed, 6)
        requests = [easy(r.id, r.priority, r.duration_s, earliest=box[0], latest=box[1]) for r in rng_requests]
        problem = first_problem(requests, overhead_s=30)
        best = 0
        for order in permutations(requests):
            used_s, worth = 0, 0
            for request in order:
                if used_s + request.duration_s <= 3600:
                    used_s += request.duration_s + 30
                    worth += request.value
            best = max(best, worth)
        assert make_schedule(problem).value == pytest.approx(best)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_free_and_used_time_are_the_night_and_never_the_same(seed):
    """SC-E3, SC-T11."""
    problem = first_problem(some_requests(seed, 20), overhead_s=15)
    planning = make_schedule(problem, iterations=2)
    dark = (NIGHT.begins.timestamp(), NIGHT.ends.timestamp())
    free = [(a.timestamp(), b.timestamp()) for a, b in planning.free]
    busy = [(p.start.timestamp(), p.end.timestamp() + 15) for p in planning.placed]
    assert all(
        cut([f], busy) == [f] or abs(f[1] - f[0]) < 1e-3 for f in cut(free, [(x - 1e-3, y + 1e-3) for x, y in busy])
    )
    total = sum(b - a for a, b in merge([*free, *[(max(a, dark[0]), min(b, dark[1])) for a, b in busy]]))
    assert total == pytest.approx(dark[1] - dark[0], abs=0.01)


def test_the_first_schedule_of_a_night_needs_its_bounds_and_a_later_one_needs_now():
    """SC-T5."""
    with pytest.raises(ValueError, match="needs night_start and night_end"):
        Problem(site=Site(), night=NIGHT, requests=(), first_schedule=True)
    with pytest.raises(ValueError, match="needs now"):
        Problem(site=Site(), night=NIGHT, requests=())
    with pytest.raises(ValueError, match="a is given twice"):
        first_problem([easy("a"), easy("a")])
    with pytest.raises(ValueError, match="ghost is not among the requests"):
        first_problem([easy("a")], fixed=(Fixed("ghost", NIGHT.begins, NIGHT.ends),))


REJECTIONS = {
    RejectCode.ALTITUDE: (easy("x", dec_deg=-80.0), "it stays below 20°: at most -"),
    RejectCode.MOON: (easy("x", moon_separation_deg=170.0), "the Moon is "),
    RejectCode.WINDOW: (easy("x", latest=NIGHT.begins - timedelta(hours=1)), "lies outside the dark time left"),
    RejectCode.TOO_LONG: (easy("x", duration_s=80_000), "it takes 80000 s and only 42"),
    RejectCode.PREFERRED: (easy("x", t_preferred=NIGHT.noon_before), "its middle cannot be within"),
    RejectCode.QUOTA: (easy("x", user="bob"), "it takes 600 s, and of the quota of bob, 500 s, only 500 s are left"),
}


@pytest.mark.parametrize("code", REJECTIONS, ids=str)
def test_each_refusal_names_its_cause_with_figures(code):
    """SC-T4, SC-T6."""
    request, sentence = REJECTIONS[code]
    rejected = make_schedule(first_problem([request], quotas_s={"bob": 500.0})).rejected[0]
    assert rejected.code is code
    assert sentence in rejected.reason


def test_a_summer_night_without_darkness_plans_nothing_and_says_so():
    site = Site("Tromsø", 18.9553, 69.6492, 10.0)
    night = night_of(site, date(2026, 6, 21))
    request = easy("x", earliest=night.noon_before, latest=night.noon_after)
    planning = make_schedule(Problem(site=site, night=night, requests=(request,), now=night.noon_before))
    assert planning.rejected[0].code is RejectCode.NIGHT
    assert planning.free == ()


def test_after_the_night_nothing_is_planned_and_no_requests_give_an_empty_plan():
    over = Problem(site=Site(), night=NIGHT, requests=(easy("x"),), now=NIGHT.ends)
    assert make_schedule(over).rejected[0].code is RejectCode.NIGHT
    empty = make_schedule(first_problem([]))
    assert (empty.placed, empty.rejected, empty.free) == ((), (), ((NIGHT.begins, NIGHT.ends),))


def test_the_same_problem_gives_the_same_plan_in_another_process_with_other_hashes():
    """SC-E4."""
    code = (
        "from schedule_oracle import *\nfrom pyros.actors.scheduler.placement import make_schedule\n"
        "print(make_schedule(first_problem(some_requests(7, 50, tiers=(0, 1)), quotas_s={'ana': 5000., 'bob': 3000.})))"
    )
    here = str(Path(__file__).parent)
    answers = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": here},
            capture_output=True, check=True, timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert answers[0] == answers[1]
    assert b"Placed" in answers[0]
