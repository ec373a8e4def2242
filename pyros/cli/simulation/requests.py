"""The simulated observatory's users: who they are, and the routine requests of a night, drawn by its seed."""

from __future__ import annotations

import random
import tomllib
from importlib import resources

from pyros.messages.people import OpenProgramme, SubmitRequest

USER = "astronomer"
PROGRAMME = "survey"
GRANT_S = 200 * 3600.0


def programme() -> OpenProgramme:
    """Return the programme that the routine requests belong to, with its observing time."""
    return OpenProgramme(name=PROGRAMME, title="Nearby galaxies, clusters and nebulae", user=USER, grant_s=GRANT_S)


def routine_requests(seed: int, count: int = 60) -> list[SubmitRequest]:
    """Return `count` requests; the same for the same seed."""
    text = resources.files("pyros.cli.simulation").joinpath("requests.toml").read_text("utf-8")
    objects = tomllib.loads(text)["objects"]
    draw = random.Random(f"routine requests {seed}")
    chosen = draw.sample(objects, min(count, len(objects)))
    return [
        SubmitRequest(
            user=USER,
            programme=PROGRAMME,
            name=f"{name} survey",
            target_name=name,
            ra_deg=ra_deg,
            dec_deg=dec_deg,
            priority=draw.randint(20, 80),
            min_altitude_deg=25.0,
            moon_separation_deg=20.0,
            camera="vis",
            filter=draw.choice(["g", "r", "i"]),
            exposure_s=float(draw.choice([30, 60, 60, 90, 120])),
            count=draw.randint(4, 10),
        )
        for name, ra_deg, dec_deg in chosen
    ]
