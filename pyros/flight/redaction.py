"""What is never recorded: the one place that decides it. Pure."""

from __future__ import annotations

from typing import Any

SECRETS = frozenset({"password", "password_hash", "token", "secret", "api_key", "private_key"})
"""Names of fields of messages, and of columns in what they carry (`Commit`, `Rows`), whose values are secret."""
HIDDEN = "(not recorded)"


def redacted(value: Any) -> Any:
    """Return builtins (dicts, lists, scalars) with the value of every secret key replaced, at any depth."""
    if isinstance(value, dict):
        return {key: HIDDEN if key in SECRETS and item else redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value


def without_addresses(settings: dict[str, Any]) -> dict[str, Any]:
    """Return dumped settings with the couriers' URLs cut to their host: their paths may let anybody post."""
    courier = settings.get("courier") or {}
    places = [{**place, "url": _host_of(str(place.get("url", "")))} for place in courier.get("destination", [])]
    return redacted({**settings, "courier": {**courier, "destination": places}})


def _host_of(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"
