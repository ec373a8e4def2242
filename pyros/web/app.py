"""The Flask app put together: routes, login, headers, and errors without tracebacks."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask, Response, render_template, request
from flask_wtf import CSRFProtect
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from pyros.clock import Clock, WallClock
from pyros.web.auth import SESSION_LIFE, Sessions, add_login
from pyros.web.feed import Feed
from pyros.web.gateway import Gateway
from pyros.web.images import Previews
from pyros.web.parts import add_filters
from pyros.web.views import add_views

_log = logging.getLogger(__name__)

STREAMS = 40
"""Pages that may be open at once; eight of the server's threads stay free for everything else."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the app is reached. `behind_proxy`: one TLS proxy stands before it; cookies are then for https alone."""

    secret_key: str
    token_file: Path | None = None
    behind_proxy: bool = False
    trusted_hosts: tuple[str, ...] = ()
    streams: int = STREAMS


def create_app(client: Gateway, options: Options, clock: Clock | None = None) -> Flask:
    """Return the app; its `Feed` is `app.extensions["feed"]` and has yet to be started."""
    clock = clock or WallClock()
    app = Flask(__name__)
    app.config.from_mapping(_settings(options))
    CSRFProtect(app)
    add_filters(app)
    sessions = Sessions(clock)
    feed = Feed(client, clock, app.jinja_env, options.streams)
    app.extensions["feed"] = feed
    add_login(app, client, sessions, options.token_file)
    add_views(app, feed, Previews(client), sessions)
    app.after_request(_with_headers)
    app.register_error_handler(Exception, _error_page)
    if options.behind_proxy:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)
    return app


def _settings(options: Options) -> dict[str, Any]:
    return {
        "SECRET_KEY": options.secret_key,
        "SESSION_COOKIE_NAME": "__Host-pyros" if options.behind_proxy else "pyros",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": options.behind_proxy,
        "SESSION_REFRESH_EACH_REQUEST": False,
        "PERMANENT_SESSION_LIFETIME": SESSION_LIFE,
        "MAX_CONTENT_LENGTH": 64 << 10,
        "TRUSTED_HOSTS": list(options.trusted_hosts) or None,
        "WTF_CSRF_TIME_LIMIT": SESSION_LIFE.total_seconds(),
        "SEND_FILE_MAX_AGE_DEFAULT": 0,
    }


def _with_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _error_page(error: Exception) -> tuple[str, int, dict[str, str]]:
    """Return one calm page for every refusal and failure; what broke goes to the log."""
    if not isinstance(error, HTTPException):
        _log.error("%s %s broke", request.method, request.path, exc_info=error)
        return render_template("error.html", code=500, name="The page broke", why="The log says why."), 500, {}
    code = error.code or 500
    retry = {"Retry-After": "60"} if code == 429 else {}
    why = "Too many tries; wait a minute." if code == 429 else error.description or ""
    return render_template("error.html", code=code, name=error.name, why=why), code, retry
