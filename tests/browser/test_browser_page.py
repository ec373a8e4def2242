"""The page in a real browser, at both widths, fed by a scripted daemon over server-sent events."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))
import web_stage as stage

from pyros.messages.alerts import AlertManagerState
from pyros.messages.night import ImageTaken, SafetyVerdict, SequenceStarted
from pyros.web.app import Options, create_app
from pyros.web.serving import make_server, run_server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: the page was not tried in a real browser"),
]
WIDTHS = [(390, 844), (1440, 900)]


class Site:
    """The app served by waitress on a free port."""

    def __init__(self):
        self.gateway = stage.ScriptedGateway(stage.observatory())
        self.app = create_app(self.gateway, Options(secret_key=stage.SECRET))
        self.feed = self.app.extensions["feed"]
        assert self.feed.refresh()
        self.server = make_server(self.app, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.effective_port}"
        self.feed.start()
        self.ending = threading.Event()
        threading.Thread(target=run_server, args=(self.server, self.ending), daemon=True).start()

    def stop(self):
        self.ending.set()
        self.feed.stop()
        self.server.task_dispatcher.shutdown(timeout=2)
        self.server.close()


@pytest.fixture
def site():
    site = Site()
    yield site
    site.stop()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Tab:
    """A browser's tab with its complaints and its requests."""

    def __init__(self, chromium, site, size=(1440, 900), **options):
        self.context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.complaints, self.strangers = [], []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda r: None if r.url.startswith(site.url) else self.strangers.append(r.url))
        self.page.goto(site.url)
        self.page.fill("#name", "noether")
        self.page.fill("#password", "emmy")
        self.page.click("button[type=submit]")
        self.page.wait_for_selector("#verdict strong")

    def sees(self, selector, text):
        self.page.locator(selector, has_text=text).first.wait_for()

    def stream_is_open(self, site):
        self.waits_until("performance.getEntriesByName(location.origin + '/snapshot.json').length > 0")
        assert len(site.feed.hub) == 1

    def waits_until(self, expression):
        """Playwright's own waiting evaluates strings inside the page, which the page's policy rightly refuses."""
        for _ in range(100):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(100)
        pytest.fail(f"not within ten seconds: {expression}")


@pytest.mark.parametrize("size", WIDTHS)
def test_the_page_is_live_fits_and_asks_nobody_else(chromium, site, size, tmp_path):
    """DA-P1, DA-E1, AL-T1, MO-T2."""
    site.gateway.states["alert_manager"] = [AlertManagerState(notices=3, accepted=0, alerts=[])]
    site.feed.refresh()
    tab = Tab(chromium, site, size)
    tab.sees("#alert", "No alert")
    tab.stream_is_open(site)
    site.gateway.publish("monitor", SafetyVerdict(level="UNSAFE", reasons=["rain at mast"], at=stage.NOW))
    tab.sees("#verdict strong", "UNSAFE")
    tab.sees("#announce", "UNSAFE: rain at mast")
    site.gateway.publish("alert_manager", AlertManagerState(notices=4, accepted=1, alerts=[stage.alert_row()]))
    tab.sees("#alert", "GRB 261123A")
    site.gateway.publish("observation_manager", SequenceStarted(sequence_id=42, name="GRB 261123A", alert_id=7))
    tab.sees("#log", "Sequence 42 (GRB 261123A) started")
    taken = {"camera": "vis", "filter": "r", "sequence_id": 42, "plan_id": 1, "alert_id": 7, "datasum": "1"}
    image = ImageTaken(image_id=44, file="a.fits", start=stage.at(-33), exposure_s=30.0, **taken)
    site.gateway.publish("observation_manager", image)
    tab.waits_until("document.querySelector('#image img')?.naturalWidth === 256")
    tab.sees("#image", "Image 44")
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert tab.page.title().startswith("UNSAFE")
    tab.page.screenshot(path=tmp_path / f"page{size[0]}.png", full_page=True)
    tab.page.click("#theme")
    tab.page.screenshot(path=tmp_path / f"page{size[0]}-red.png", full_page=True)
    tab.page.reload()
    assert tab.page.evaluate("document.documentElement.dataset.theme") == "red"
    assert (tab.complaints, tab.strangers) == ([], [])
    tab.context.close()


def test_ages_tick_by_the_daemons_fast_clock_and_values_go_stale_by_themselves(chromium, site):
    """MO-T2."""
    site.gateway.speed = 60.0
    site.feed.refresh()
    tab = Tab(chromium, site)
    tab.sees("#speed", "clock ×60")
    tab.sees("#verdict time", "stale")
    tab.sees("#verdict .if-stale", "treat as unsafe")
    assert tab.page.locator("#verdict .strip").get_attribute("data-fresh") == "no"
    tab.context.close()


def test_a_daemon_that_falls_silent_is_said_loudly_and_its_return_too(chromium, site):
    tab = Tab(chromium, site)
    tab.stream_is_open(site)
    assert not tab.page.locator("#away").is_visible()
    site.gateway.away = True
    tab.page.wait_for_selector("#away", state="visible", timeout=30_000)
    assert "what you see is old" in tab.page.locator("#away").inner_text()
    site.gateway.away = False
    tab.page.wait_for_selector("#away", state="hidden", timeout=30_000)
    tab.context.close()


def test_a_closed_tab_gives_its_stream_back(chromium, site):
    tab = Tab(chromium, site)
    tab.stream_is_open(site)
    tab.context.close()
    for _ in range(100):
        if not len(site.feed.hub):
            return
        threading.Event().wait(0.1)
    pytest.fail("the stream of a closed tab is still open after ten seconds")


def test_logging_out_in_one_tab_takes_the_page_away_from_the_other(chromium, site):
    """US-P1d."""
    tab = Tab(chromium, site)
    tab.stream_is_open(site)
    other = tab.context.new_page()
    other.goto(site.url)
    other.get_by_text("Log out").click()
    tab.page.wait_for_url("**/login", timeout=20_000)
    tab.context.close()


def test_without_scripts_the_page_still_answers(chromium, site):
    """DA-E1."""
    tab = Tab(chromium, site, java_script_enabled=False)
    for selector, text in (("#verdict", "SAFE"), ("#now", "GRB 261123A"), ("#weather", "mast"), ("#devices", "plc")):
        assert text in tab.page.locator(selector).inner_text()
    tab.context.close()
