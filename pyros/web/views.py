"""The routes behind the login: the page, its snapshot, its stream of events and the previews."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Flask, Response, abort, current_app, render_template, request, session

from pyros.client import GatewayError
from pyros.web.auth import Sessions
from pyros.web.feed import Feed
from pyros.web.images import Previews, mime_type
from pyros.web.parts import TAGS, payload
from pyros.web.stream import Subscription

RETRY_MS = 2000
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def add_views(app: Flask, feed: Feed, previews: Previews, sessions: Sessions) -> None:
    """Put the page's routes into the app."""
    pages, health = Blueprint("views", __name__), Blueprint("health", __name__)

    @pages.get("/")
    def home() -> str:
        board = feed.memory.board()
        content = payload(current_app.jinja_env, board)
        return render_template("home.html", tags=TAGS, user=session["user"], board=board, **content)

    @pages.get("/snapshot.json")
    def snapshot() -> dict[str, Any]:
        return payload(current_app.jinja_env, feed.memory.board())

    @pages.get("/events")
    def events() -> Response:
        subscription = feed.hub.join()
        if subscription is None:
            return Response("too many open pages\n", 503, {"Retry-After": "10"}, mimetype="text/plain")
        is_gone = request.environ.get("waitress.client_disconnected", lambda: False)
        fields = dict(session)
        chunks = _chunks(subscription, lambda: not is_gone() and sessions.is_alive(fields))
        response = Response(chunks, mimetype="text/event-stream", headers=STREAM_HEADERS)
        response.call_on_close(lambda: feed.hub.leave(subscription))
        return response

    @pages.get("/images/<int:image_id>.png")
    def image(image_id: int) -> Response:
        try:
            content = previews.get(image_id, request.args.get("v", 0, type=int))
        except GatewayError:
            abort(503)
        if content is None:
            abort(404)
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return Response(content, mimetype=mime_type(content), headers=headers)

    @health.get("/healthz")
    def healthz() -> dict[str, Any]:
        board = feed.memory.board()
        return {"web": "up", "daemon": "away" if board.away else "up"}

    app.register_blueprint(pages)
    app.register_blueprint(health)


def _chunks(subscription: Subscription, is_wanted: Callable[[], bool]) -> Iterator[str]:
    yield f"retry: {RETRY_MS}\n\n"
    while not subscription.closed and is_wanted():
        yield from subscription.take()
