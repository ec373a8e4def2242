"""Who may see the page: login, logout, one-time tokens. Everything needs a session unless it is named in `PUBLIC`."""

from __future__ import annotations

import hmac
import secrets
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, redirect, render_template, request, session, url_for
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_wtf import FlaskForm
from werkzeug.exceptions import Unauthorized
from werkzeug.wrappers import Response
from wtforms import PasswordField, StringField
from wtforms.validators import DataRequired, Length

from pyros.client import GatewayError
from pyros.clock import Clock
from pyros.messages import Refused
from pyros.messages.people import Account, Authenticate
from pyros.web.gateway import Gateway

PUBLIC = frozenset({"auth.login", "health.healthz", "static"})
"""Endpoints that need no login."""
SESSION_LIFE = timedelta(hours=12)
"""A night. A session ends then, however busy."""
LOGINS = "5 per minute"
WRONG = "Name or password is not right."
SILENT = "The daemon does not answer, so nobody can log in now. Try again in a moment."


class LoginForm(FlaskForm):
    """Name and password; the CSRF token is the base class's."""

    name = StringField("Name", [DataRequired(), Length(max=200)])
    password = PasswordField("Password", [DataRequired(), Length(max=1000)])


class Sessions:
    """Sessions live in signed cookies; here stands which of them were ended before their time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ended: dict[str, datetime] = {}

    def begin(self, name: str) -> None:
        """Log `name` in, in a session with nothing left of the one before."""
        session.clear()
        session.permanent = True
        until = self._clock.now() + SESSION_LIFE
        session.update(user=name, id=secrets.token_urlsafe(16), until=until.timestamp())

    def end(self) -> None:
        """Log out, also for copies of the cookie."""
        now = self._clock.now()
        with self._lock:
            self._ended = {key: until for key, until in self._ended.items() if until > now}
            self._ended[str(session.get("id"))] = now + SESSION_LIFE
        session.clear()

    def is_alive(self, fields: dict[str, Any]) -> bool:
        """Tell whether a session with these fields is logged in and neither over nor ended."""
        until = fields.get("until")
        if not fields.get("user") or not isinstance(until, float):
            return False
        with self._lock:
            ended = fields.get("id") in self._ended
        return not ended and self._clock.now() < datetime.fromtimestamp(until, UTC)


def spend_token(file: Path | None, offered: str) -> str | None:
    """Return the account that a one-time token logs in, or None; afterwards the token is spent.

    The file holds one line, `NAME TOKEN`, and is the token's life: whoever removes it has used it.
    """
    try:
        name, token = (file.read_text(encoding="utf-8") if file else "").split()
    except (OSError, ValueError):
        return None
    if file is None or len(token) < 16 or not hmac.compare_digest(token.encode(), offered.encode()):
        return None
    try:
        file.unlink()
    except OSError:  # spent in this very moment by somebody else, or not ours to remove
        return None
    return name


def add_login(app: Flask, client: Gateway, sessions: Sessions, token_file: Path | None) -> None:
    """Put login and logout into the app and shut every other door."""
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    pages = Blueprint("auth", __name__)

    @app.before_request
    def let_in_or_not() -> Response | None:
        if request.endpoint in PUBLIC or sessions.is_alive(dict(session)):
            return None
        if request.method == "GET" and request.accept_mimetypes.accept_html and request.endpoint == "views.home":
            return redirect(url_for("auth.login"))
        raise Unauthorized("Log in first.")

    @pages.route("/login", methods=["GET", "POST"])
    @limiter.limit(LOGINS, exempt_when=lambda: request.method != "POST" and "token" not in request.args)
    def login() -> Any:
        if "token" in request.args and request.method == "GET":
            name = spend_token(token_file, request.args["token"])
            if name is None:
                return _login_page("This token has been used or was never good.", 403)
            sessions.begin(name)
            return redirect(url_for("views.home"))
        form = LoginForm()
        if not form.validate_on_submit():
            return _login_page(WRONG if request.method == "POST" else "", 400 if request.method == "POST" else 200)
        return _check(client, sessions, form)

    @pages.post("/logout")
    def logout() -> Response:
        sessions.end()
        return redirect(url_for("auth.login"))

    app.register_blueprint(pages)


def _check(client: Gateway, sessions: Sessions, form: LoginForm) -> Any:
    name, password = str(form.name.data), str(form.password.data)
    try:
        answer = client.ask("user_manager", Authenticate(name=name, password=password))
    except GatewayError:
        return _login_page(SILENT, 503)
    if isinstance(answer, Account):
        sessions.begin(answer.name)
        return redirect(url_for("views.home"))
    return _login_page(WRONG, 403) if isinstance(answer, Refused) else _login_page(SILENT, 503)


def _login_page(problem: str, status: int) -> tuple[str, int]:
    return render_template("login.html", form=LoginForm(), problem=problem), status
