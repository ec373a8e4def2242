"""The app from outside: doors, headers, what the page shows, and what it does when the daemon is away."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest
import web_stage as stage

from pyros.clock import VirtualClock
from pyros.messages.alerts import AlertManagerState
from pyros.messages.night import MajordomeState, SafetyVerdict
from pyros.messages.system import ActorFailed
from pyros.web.app import Options, create_app
from pyros.web.auth import PUBLIC
from pyros.web.parts import PARTS

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{7*7}}"
PASSWORD = {"name": "noether", "password": "emmy"}


class House:
    """An app, its scripted daemon and a browser without scripts."""

    def __init__(self, states=None, **options):
        self.clock = VirtualClock(stage.NOW)
        self.gateway = stage.ScriptedGateway(stage.observatory() if states is None else states)
        self.app = create_app(self.gateway, Options(secret_key=stage.SECRET, **options), self.clock)
        self.feed = self.app.extensions["feed"]
        self.browser = self.app.test_client()

    def login(self, browser=None, **changes):
        browser = browser or self.browser
        page = browser.get("/login").text
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page).group(1)
        return browser.post("/login", data={"csrf_token": token, **PASSWORD, **changes})

    def page(self):
        assert self.feed.refresh()
        assert self.login().status_code == 302
        return self.browser.get("/").text


def part(page, name):
    return re.search(rf'id="{name}"[^>]*>(.*?)</section>', page, re.DOTALL).group(1)


def test_every_route_needs_a_login_unless_it_is_named_public():
    """US-E4, DA-T2."""
    house = House()
    for rule in house.app.url_map.iter_rules():
        url = re.sub(r"<[^>]+>", "1", rule.rule)
        for method in rule.methods - {"OPTIONS"}:
            answer = house.app.test_client().open(url, method=method)
            if rule.endpoint in PUBLIC:
                assert answer.status_code in {200, 400, 404}, rule
            else:
                refused = answer.status_code in {401, 400} or answer.location == "/login"
                assert refused, (rule, method, answer.status_code)
    assert house.app.test_client().get("/no/such/page").status_code == 401
    assert sorted(PUBLIC) == ["auth.login", "health.healthz", "static"]


def test_a_login_without_csrf_token_is_refused_and_never_reaches_the_daemon():
    house = House()
    assert house.browser.post("/login", data=PASSWORD).status_code == 400
    assert house.gateway.asked == []


def test_the_right_password_lets_in_and_a_wrong_one_says_no_more_than_that():
    """US-P1c."""
    house = House()
    wrong_password, wrong_name = house.login(password="no"), house.login(name="nobody")
    assert wrong_password.status_code == wrong_name.status_code == 403
    hidden = r'value="[^"]+"'
    assert re.sub(hidden, "", wrong_password.text) == re.sub(hidden, "", wrong_name.text)
    assert "no such account" not in wrong_name.text
    answer = house.login()
    assert answer.location == "/"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_the_sixth_try_within_a_minute_is_refused():
    """US-P1c."""
    house = House()
    codes = [house.login(password="no").status_code for _ in range(6)]
    assert codes == [403] * 5 + [429]
    assert house.browser.get("/login").status_code == 200


def test_logging_out_also_ends_a_copy_of_the_cookie():
    """US-P1d."""
    house = House()
    page = house.page()
    thief = house.app.test_client()
    thief.set_cookie("pyros", house.browser.get_cookie("pyros").value)
    assert thief.get("/snapshot.json").status_code == 200
    token = re.search(r'name="csrf_token" value="([^"]+)"', page).group(1)
    assert house.browser.post("/logout").status_code == 400
    assert house.browser.post("/logout", data={"csrf_token": token}).location == "/login"
    assert thief.get("/snapshot.json").status_code == 401


def test_a_session_ends_with_the_night_however_busy():
    house = House()
    house.page()
    house.clock.run(until=stage.at(12 * 3600 - 1))
    assert house.browser.get("/snapshot.json").status_code == 200
    house.clock.run(until=stage.at(12 * 3600))
    assert house.browser.get("/snapshot.json").status_code == 401


def test_a_forged_session_is_no_session():
    house, other = House(), House()
    other.app.secret_key = "another key that is long enough to be one"
    other.login()
    house.browser.set_cookie("pyros", other.browser.get_cookie("pyros").value)
    assert house.browser.get("/snapshot.json").status_code == 401


def test_a_one_time_token_lets_in_once(tmp_path):
    file = tmp_path / "token"
    file.write_text("noether correct-horse-battery-staple\n")
    house = House(token_file=file)
    assert house.app.test_client().get("/login?token=wrong-horse-battery-staple").status_code == 403
    first = house.browser.get("/login?token=correct-horse-battery-staple")
    assert first.location == "/"
    assert "noether" in house.browser.get("/").text
    assert not file.exists()
    assert house.app.test_client().get("/login?token=correct-horse-battery-staple").status_code == 403


def test_guessing_one_time_tokens_is_limited_too(tmp_path):
    house = House(token_file=tmp_path / "none")
    codes = [house.browser.get("/login?token=").status_code for _ in range(6)]
    assert codes == [403] * 5 + [429]


def test_every_answer_carries_the_headers_that_keep_strangers_scripts_out():
    house = House()
    house.page()
    for url in ("/", "/login", "/healthz", "/nowhere", "/snapshot.json", "/static/page.js"):
        answer = house.browser.get(url)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert house.browser.get("/").headers["Cache-Control"] == "no-store"


def test_a_host_name_that_was_not_agreed_upon_is_refused():
    house = House(trusted_hosts=("127.0.0.1",))
    assert house.browser.get("/healthz", base_url="http://127.0.0.1:8080").status_code == 200
    assert house.browser.get("/healthz", base_url="http://evil.example").status_code == 401


def test_behind_a_proxy_the_cookie_is_for_https_alone():
    house = House(behind_proxy=True)
    cookie = house.browser.get("/login").headers["Set-Cookie"]
    assert cookie.startswith("__Host-pyros=")
    assert "Secure" in cookie


def test_the_page_gives_the_five_answers_without_any_script():
    """DA-E1, AL-T1, MO-T2."""
    page = House().page()
    assert "<strong>SAFE</strong>" in part(page, "verdict")
    assert "GRB 261123A" in part(page, "now")
    assert "04:47:30" in part(page, "now")
    assert "AT 2026abc g r i" in part(page, "now")
    alert = part(page, "alert")
    assert "GRB 261123A" in alert
    assert "3 min 12 s ago" in alert
    assert "+52.0 s" in alert
    assert "no answer in 1 s" in page
    assert "18 of 18 actors up" in page
    assert "/images/41.png" in page
    assert page.count("<h1") == 1
    assert not re.search(r"<script(?![^>]*src)|\son\w+=|\sstyle=|https?://(?!www\.w3\.org)", page)


def test_an_old_reading_is_called_stale_and_an_old_verdict_counts_for_nothing():
    """MO-T2."""
    house = House()
    assert ", stale" not in part(house.page(), "verdict")
    house.gateway.now = stage.at(3600)
    house.feed.refresh()
    page = house.browser.get("/").text
    assert 'data-fresh="no"' in part(page, "verdict")
    assert "treat as unsafe" in part(page, "verdict")
    assert page.count("1 h 00 min ago, stale") >= 4


def test_with_an_empty_observatory_the_page_still_stands():
    """DA-T1."""
    house = House(states={})
    house.gateway.has_image_rows = False
    page = house.page()
    for words in ("NO VERDICT", "No alert", "No image yet", "No word from the supervisor", "Nothing is placed"):
        assert words in page


def test_a_daemon_that_is_away_is_said_loudly_and_nothing_breaks():
    house = House()
    house.page()
    house.gateway.away = True
    house.clock.run(until=stage.at(30))
    assert not house.feed.refresh()
    page = house.browser.get("/")
    assert page.status_code == 200
    assert re.search(r'<div id="away" role="alert">', page.text)
    assert "for 30 s" in page.text
    assert house.browser.get("/snapshot.json").json["quiet_s"] == pytest.approx(30)
    assert house.browser.get("/images/41.png").status_code == 503
    assert house.login(house.app.test_client()).status_code == 503
    assert house.browser.get("/healthz").json == {"web": "up", "daemon": "away"}


def test_hostile_text_in_any_state_stays_text():
    house = House()
    for states in house.gateway.states.values():
        for number, state in enumerate(states):
            states[number] = msgspec.convert(poisoned(msgspec.to_builtins(state)), type(state), strict=True)
    house.page()
    house.feed.take(101, EVIL, ActorFailed(actor=EVIL, epoch=1, cause=EVIL, message=EVIL))
    page, snapshot = house.browser.get("/").text, house.browser.get("/snapshot.json").json
    for text in (page, *snapshot["parts"].values()):
        for tag, attributes in tags_of(text):
            assert not [name for name, _ in attributes if name.startswith("on")]
            assert tag != "script" or dict(attributes)["src"].startswith("/static/")
            assert tag != "img" or dict(attributes)["src"].startswith("/images/")
    assert page.count("&lt;script&gt;alert(1)") > 10
    assert "{{7*7}}" in page


def tags_of(text):
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, attributes))
    parser.feed(text)
    return found


def poisoned(value):
    """Every free text of a state replaced by an attack; words of a closed list, dates and tags stay."""
    free = {"why", "name", "problem", "station", "last_file", "filter", "strategy", "sequence", "next_sequence"}
    free |= {"locked_by", "step", "trigger", "actor", "last_fault", "device", "night", "source", "label"}
    if isinstance(value, dict):
        return {k: EVIL if k in free and isinstance(v, str) else poisoned(v) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return value


def test_a_part_that_cannot_be_drawn_does_not_take_the_page_with_it():
    house = House()
    naive = stage.alert_row(times={"received": stage.NOW.replace(tzinfo=None)})
    house.page()
    house.feed.take(101, "alert_manager", AlertManagerState(notices=1, accepted=1, alerts=[naive]))
    page = house.browser.get("/")
    assert "<strong>SAFE</strong>" in page.text
    assert "cannot be drawn" in page.text
    assert "Traceback" not in page.text


def test_previews_come_through_the_librarian_in_chunks_once():
    house = House()
    house.page()
    first = house.browser.get("/images/41.png")
    assert first.data == house.gateway.image
    assert first.mimetype == "image/png"
    asked = len(house.gateway.asked)
    assert house.browser.get("/images/41.png").data == first.data
    assert len(house.gateway.asked) == asked
    house.gateway.image = b"<html>not a picture</html>"
    assert house.browser.get("/images/42.png").status_code == 404


def test_an_event_redraws_only_the_parts_it_concerns():
    house = House()
    house.feed.refresh()
    subscription = house.feed.hub.join()
    subscription._turn.rest = lambda: None
    house.feed.turn()
    subscription.take()
    house.feed.take(101, "monitor", SafetyVerdict(level="UNSAFE", reasons=["rain at mast"], at=stage.NOW))
    house.feed.take(102, "majordome", MajordomeState(mode="closing", why="rain", since=stage.NOW))
    house.feed.turn()
    chunks = {c.split("\n")[0]: c for c in subscription.take() if c.startswith("event")}
    assert "rain at mast" in chunks["event: SafetyVerdict"]
    assert '"unsafe":"UNSAFE: rain at mast"' in chunks["event: SafetyVerdict"]
    assert '"devices"' not in chunks["event: SafetyVerdict"]
    assert {name for name in PARTS if f'"{name}":"' in chunks["event: MajordomeState"]} == {"now", "timeline", "plan"}


def test_after_a_gap_the_tabs_are_told_to_reload_once_the_snapshot_is_there():
    house = House()
    house.feed.turn()
    house.clock.run(until=stage.at(2))
    subscription = house.feed.hub.join()
    subscription._turn.rest = lambda: None
    house.feed.take(101, "plc", stage.plc())
    house.feed.take(107, "plc", stage.plc())
    house.feed.turn()
    assert any(chunk.startswith("event: Reload") for chunk in subscription.take())


def test_when_every_stream_is_taken_the_next_one_is_asked_to_come_back():
    house = House(streams=0)
    house.page()
    answer = house.browser.get("/events")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")


def test_the_web_process_asks_only_readers_questions():
    house = House()
    house.page()
    house.browser.get("/images/41.png")
    assert {to for to, _ in house.gateway.asked} <= {"gateway", "librarian", "user_manager"}
    assert {type(message).kind for _, message in house.gateway.asked} == {"query"}
