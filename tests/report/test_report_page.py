"""report.html: one file for a person at breakfast."""

import re
from html.parser import HTMLParser

import pytest
from report_night import HOSTILE, eventful_night
from report_stage import Stage, at

from pyros.cli.night.page import attention, duration, headline, sexagesimal
from pyros.cli.night.report import build_report, write_report

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Checks that every element is closed in order, and collects what is in it."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    report = write_report(eventful_night(folder / "state"), folder / "out")
    return report, (folder / "out" / "report.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(written):
    page = Page(written[1])
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    addresses = [value for _, name, value in page.attributes if name in {"src", "href"}]
    assert addresses
    assert all(value.startswith("data:image/png;base64,") for value in addresses)
    assert not re.search(r"url\(|@import|https?://", written[1])


def test_a_hostile_target_name_is_shown_and_not_run(written):
    page = Page(written[1])
    assert HOSTILE in "".join(page.texts)
    assert "<script" not in written[1]
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_every_table_has_headers_and_every_drawing_says_what_it_shows(written):
    text = written[1]
    for table in re.findall(r"<table.*?</table>", text, re.DOTALL):
        assert 'scope="col"' in table
    for drawing in re.findall(r"<svg[^>]*>", text):
        assert "aria-label" in drawing or "aria-hidden" in drawing
    for picture in re.findall(r"<img[^>]*>", text):
        assert 'alt="' in picture
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_the_headline_says_in_one_sentence_what_happened(written):
    told = headline(written[0]).replace("\u00a0", " ")
    assert told.startswith(
        "2 of 2 alerts observed, the fastest 17.0 s after its notice; 11 sequences executed, 1 broken"
    )
    assert "1 h 06 min to weather" in told
    assert told.count(". ") == 0


def test_what_needs_attention_stands_first_and_nothing_else(written):
    report = written[0]
    told = attention(report)
    assert "pointing below the horizon limit" in told[0]
    assert any("lost to faults" in line for line in told)
    assert any("M42 broke off" in line for line in told)
    assert any("camera:vis was restarted" in line for line in told)
    calm = report | {"violations": [], "restarts": [], "lost_s": report["lost_s"] | {"fault": 1.0}}
    calm["sequences"] = report["sequences"] | {"aborted": []}
    assert attention(calm) == []


def test_each_closure_is_explained(written):
    text = "".join(Page(written[1]).texts)
    assert "rain, humidity 91.0 % (limit 85)" in text
    assert "pause: visitors under the dome" in text


def test_a_candidate_near_the_truth_is_marked(written):
    [row] = re.findall(r"<tr class=found>.*?</tr>", written[1])
    assert "02h24m52.80s +21°23′24.0″" in row


def test_the_page_of_an_empty_night_still_reads(tmp_path):
    write_report(Stage(tmp_path / "state").done(), tmp_path / "out")
    text = "".join(Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).texts)
    assert "No alert came" in text
    assert "Nothing was asked for" in text


def test_a_preview_outside_the_image_folder_is_not_shown(tmp_path):
    from pyros.messages.store import Change

    stage = Stage(tmp_path / "state")
    (tmp_path / "secret.png").write_bytes(b"secret")
    alert = stage.alert(at(1), "GRB", "1", 35.0, 42.0, 0.1, t0=at(1), times={"received": 3.0})
    sequence = stage.request("GRB", 35.0, 42.0, count=1, alert_id=alert)
    stage.observe(at(1.01), sequence, "GRB", 35.0, 42.0, count=1, alert_id=alert)
    stage.write(Change(table="image", key=1, values={"preview": "../../secret.png"}))
    write_report(stage.done(), tmp_path / "out")
    assert "<img" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_an_alert_that_was_never_observed_is_something_to_look_at(tmp_path):
    stage = Stage(tmp_path / "state")
    stage.alert(at(1), "GRB 1", "1", 35.0, -80.0, 0.1, t0=at(1), times={"received": 3.0}, status="EXPIRED")
    report = build_report(stage.done())
    assert "1 alert, none observed" in headline(report)
    assert any("GRB 1 was not observed" in line for line in attention(report))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (59.9, "1 min 00 s"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_durations_are_told_as_people_say_them(seconds, told):
    assert duration(seconds).replace("\u00a0", " ") == told


def test_positions_are_told_in_hours_and_degrees_without_sixty_seconds():
    assert sexagesimal(83.633083, 22.0145) == "05h34m31.94s +22°00′52.2″"
    assert sexagesimal(359.99999999, -0.00000001) == "00h00m00.00s +00°00′00.0″"
    assert sexagesimal(0.0, -5.999999) == "00h00m00.00s −06°00′00.0″"
