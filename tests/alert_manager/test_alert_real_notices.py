"""Real notices, which are not part of PyROS: set PYROS_NOTICES to a folder of them with an INDEX.tsv to run these."""

import csv
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pyros.actors.alert_manager.strategy import choose, defaults
from pyros.actors.alert_manager.streams import interpret
from pyros.actors.alert_manager.verdict import AlertPolicy, judge
from pyros.actors.alert_manager.voevent import NoticeError, Voevent, read, shift

ROOT = Path(os.environ.get("PYROS_NOTICES", "/nonexistent"))
pytestmark = pytest.mark.skipif(not (ROOT / "INDEX.tsv").is_file(), reason="PYROS_NOTICES names no notices")


def rows():
    with (ROOT / "INDEX.tsv").open(encoding="utf-8", newline="") as index:
        return list(csv.DictReader(index, delimiter="\t", quoting=csv.QUOTE_NONE))


def read_all() -> tuple[list[tuple[dict[str, str], Voevent]], dict[str, str]]:
    good, refused = [], {}
    for row in rows():
        try:
            good.append((row, read((ROOT / row["file"]).read_bytes())))
        except NoticeError as error:
            refused[row["file"]] = str(error)
    return good, refused


def test_every_real_file_is_read_or_refused_for_a_named_reason():
    good, refused = read_all()
    assert all("\n" not in reason for reason in refused.values())
    for row, event in good:
        assert row["voeventparse"].startswith("ok"), row["file"]
        notice = interpret(event)
        verdict = judge(notice, AlertPolicy(), (notice.sent or notice.reference) + timedelta(seconds=1))
        assert verdict.reason
        choose(defaults(), notice)
    must = [row["file"] for row in rows() if row["voeventparse"] == "ok" and row["file"].endswith(".xml")]
    must = [file for file in must if "synthetic__malformed" not in file]
    assert not [file for file in must if file in refused]


def test_facts_agree_with_the_index():
    """AL-T5: identifier, type, trigger, time and place, against an index made by other means."""
    compared = 0
    for row, event in read_all()[0]:
        notice = interpret(event)
        assert notice.ivorn == row["ivorn"]
        assert notice.packet_type == row["packet_type"]
        if notice.mission in {"Swift", "Fermi", "SVOM", "LVK", "IceCube"}:
            assert notice.trigger == row["trigger_id"], row["file"]
        if row["t0"] not in {"", "ERR"}:
            assert datetime.fromisoformat(row["t0"]) in {notice.t0, notice.observed_at}, row["file"]
        told = [float(row[key]) for key in ("ra", "dec", "err_deg") if row[key] not in {"", "ERR"}]
        if len(told) == 3 and told[:2] != [0, 0] and notice.ra_deg is not None:
            assert (notice.ra_deg, notice.dec_deg) == pytest.approx(told[:2], abs=1e-6), row["file"]
            assert notice.error_deg == (pytest.approx(told[2]) if told[2] > 0 else None), row["file"]
            compared += 1
    assert compared > 100


def test_known_stories_come_out_right():
    by_file = {row["file"].rpartition("/")[2]: interpret(event) for row, event in read_all()[0]}
    assert by_file["SWIFT_Lost_starlock.xml"].position_trusted is False
    assert by_file["eclairs_304.xml"].retraction
    assert by_file["mxt_53.xml"].t0 < by_file["mxt_53.xml"].observed_at
    assert by_file["grm_345.xml"].error_deg is None
    assert not by_file["grm_345.xml"].position_trusted


def test_every_real_notice_with_a_time_can_be_replayed_now():
    t0 = datetime.fromisoformat("2026-11-22T05:00:00Z")
    for row, event in read_all()[0]:
        if event.isotime is not None and "TDB" not in row["file"]:
            again = read(shift((ROOT / row["file"]).read_bytes(), t0, t0 + timedelta(seconds=30)))
            assert abs((again.isotime - t0).total_seconds()) < 70, row["file"]
            assert (again.ivorn, again.ra_deg) == (event.ivorn, event.ra_deg)
