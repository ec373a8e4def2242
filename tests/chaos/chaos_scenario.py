"""Draws a night of troubles from a seed: its date, its place, and the scenario of what goes wrong in it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pyros.sky.coordinates import sidereal_time_deg
from pyros.sky.night import night_of
from pyros.sky.site import Site

DARK_S = (4.0 * 3600, 8.0 * 3600)
"""Nights are drawn until one's dark time is between so long: short ones, for there are many of them."""
SHORT_DARK_S = (1.5 * 3600, 2.5 * 3600)
BYSTANDERS = ("librarian", "user_manager", "analyzer", "routine_manager", "alert_manager", "listener:vtp")
INSTRUMENTS = ("telescope", "camera:vis", "filter_wheel:vis")
BRAKES = tuple(f"{name}.brake" for name in INSTRUMENTS)
NIGHT = ("scheduler", "observation_manager")
CHAIN = ("plc", "weather:mast", "monitor", "majordome", "archivist")
ACTORS = (*BYSTANDERS, *INSTRUMENTS, *BRAKES, *NIGHT, *CHAIN, *NIGHT, *CHAIN)
"""Who is struck, with the weights of a lottery: the chain and what observes twice."""
DEVICE_FAULTS = ("mute", "hang", "refuse", "disconnect", "garbage", "slow", "lie", "stuck")
FORMS = ("swift_bat", "svom_eclairs", "fermi_gbm_flt")


@dataclass(frozen=True)
class ChaosNight:
    """One night: everything that `pyros night` needs, as its files and options."""

    seed: int
    on: date
    site: Site
    text: str
    troubles: int


class _Script:
    """Collects events; each has its instant, and none is put into the last minutes of the night."""

    def __init__(self, draw: random.Random, site: Site, begins: datetime, ends: datetime) -> None:
        self.draw, self.site = draw, site
        self.first, self.last = begins - timedelta(minutes=30), ends - timedelta(minutes=20)
        self.events: list[tuple[datetime, dict]] = []
        self.troubles = 0

    def instant(self) -> datetime:
        seconds = self.draw.uniform(0, (self.last - self.first).total_seconds())
        return self.first + timedelta(seconds=round(seconds, 3))

    def add(self, at: datetime, **keys) -> None:
        self.events.append((at, keys))

    def text(self) -> str:
        lines = []
        for at, keys in sorted(self.events, key=lambda event: event[0]):
            lines += ["[[event]]", f'at = "{at:%Y-%m-%dT%H:%M:%S.%fZ}"']
            lines += [f"{key} = {_toml(value)}" for key, value in keys.items()]
        return "\n".join(lines) + "\n"


def _toml(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value)


def draw_night(seed: int, *, short: bool = False) -> ChaosNight:
    """Return the night of a seed, or a short one."""
    shortest_s, longest_s = SHORT_DARK_S if short else DARK_S
    draw = random.Random(f"chaos {seed}")
    while True:
        first, days, latitudes = (date(2026, 5, 25), 60, (49, 54)) if short else (date(2026, 1, 1), 365, (-10, 48))
        on = first + timedelta(days=draw.randrange(days))
        site = Site("somewhere", round(draw.uniform(-180, 180), 3), round(draw.uniform(*latitudes), 3), 2000.0)
        night = night_of(site, on)
        if night.begins is not None and shortest_s <= (night.ends - night.begins).total_seconds() <= longest_s:
            break
    script = _Script(draw, site, night.begins, night.ends)
    for make, mean in LOTTERY:
        for _ in range(_count(draw, mean)):
            make(script)
            script.troubles += make is not _burst
    place = f'[override.site]\nname = "{site.name}"\nlongitude_deg = {site.longitude_deg}\n'
    place += f"latitude_deg = {site.latitude_deg}\nheight_m = {site.height_m}\n"
    roof = '[override.dome]\nkind = "roll_off"\n' if draw.random() < ROLL_OFF else ""
    text = f'name = "chaos {seed}"\nseed = {seed}\n{place}{roof}{script.text()}'
    return ChaosNight(seed, on, site, text, script.troubles)


def _count(draw: random.Random, mean: float) -> int:
    """Draw from about a Poisson distribution, never above twice the mean and two."""
    return min(int(2 * mean + 2), sum(draw.random() < mean / 20 for _ in range(20)))


# -- troubles --------------------------------------------------------------------------------------------------------


def _crash(script: _Script) -> None:
    draw = script.draw
    script.add(script.instant(), kind="actor", actor=draw.choice(ACTORS), fault=draw.choice(("raise", "exit")))


def _hang(script: _Script) -> None:
    script.add(script.instant(), kind="actor", actor=script.draw.choice(ACTORS), fault="hang")


def _die_in_start(script: _Script) -> None:
    for_s = {"for_s": round(script.draw.uniform(1, 60), 1)} if script.draw.random() < 0.5 else {}
    script.add(script.instant(), kind="actor", actor=script.draw.choice(ACTORS), fault="die_in_start", **for_s)


def _supervisor(script: _Script) -> None:
    fault = script.draw.choice(("raise", "exit", "hang"))
    script.add(script.instant(), kind="actor", actor="supervisor", fault=fault)


def _kill(script: _Script) -> None:
    script.add(script.instant(), kind="process", fault="kill")


def _device(script: _Script) -> None:
    draw = script.draw
    device, fault = draw.choice(INSTRUMENTS), draw.choice(DEVICE_FAULTS)
    script.add(script.instant(), kind="device", device=device, fault=fault, for_s=round(draw.uniform(5, 240), 1))


def _controller(script: _Script) -> None:
    draw = script.draw
    device = draw.choice(("plc", "plc", "plc", "power"))
    fault, for_s = draw.choice(DEVICE_FAULTS), round(draw.uniform(2, 150), 1)
    script.add(script.instant(), kind="device", device=device, fault=fault, for_s=for_s)


def _sensor(script: _Script) -> None:
    draw = script.draw
    fault, for_s = draw.choice(("frozen", "stale", "nan")), round(draw.uniform(30, 1500), 1)
    script.add(script.instant(), kind="sensor", station="mast", fault=fault, for_s=for_s)


def _rain(script: _Script) -> None:
    at = script.instant()
    script.add(at, kind="weather", rain=True)
    script.add(at + timedelta(seconds=round(script.draw.uniform(60, 1200), 1)), kind="weather", rain=False)


def _bad_air(script: _Script) -> None:
    draw, at = script.draw, script.instant()
    bad, good = draw.choice(
        (
            ({"wind_m_s": round(draw.uniform(16, 30), 1)}, {"wind_m_s": 4.0}),
            ({"gust_m_s": round(draw.uniform(21, 35), 1)}, {"gust_m_s": 6.0}),
            ({"humidity_percent": round(draw.uniform(91, 100), 1)}, {"humidity_percent": 40.0}),
        )
    )
    script.add(at, kind="weather", **bad)
    script.add(at + timedelta(seconds=round(draw.uniform(60, 1500), 1)), kind="weather", **good)


def _mains(script: _Script) -> None:
    for_s = round(script.draw.uniform(5, 900), 1)
    script.add(script.instant(), kind="environment", mains=False, for_s=for_s)


def _network(script: _Script) -> None:
    for_s = round(script.draw.uniform(30, 1800), 1)
    script.add(script.instant(), kind="environment", network=False, for_s=for_s)


def _disk(script: _Script) -> None:
    for_s = round(script.draw.uniform(30, 600), 1)
    script.add(script.instant(), kind="environment", disk_full=True, for_s=for_s)


def _centre(script: _Script) -> None:
    for_s = round(script.draw.uniform(60, 7200), 1)
    script.add(script.instant(), kind="environment", centre=script.draw.choice(("IC", "FSC")), up=False, for_s=for_s)


def _clock(script: _Script) -> None:
    script.add(script.instant(), kind="environment", clock_jump_s=round(script.draw.uniform(-20, 20), 3))


def _people(script: _Script) -> None:
    draw, at = script.draw, script.instant()
    order, lift = draw.choice((("pause", "resume"), ("stop", "start"), ("lockdown", "release")))
    script.add(at, kind="operator", command=order)
    script.add(at + timedelta(seconds=round(draw.uniform(30, 1200), 1)), kind="operator", command=lift)


def _burst(script: _Script) -> None:
    draw, at = script.draw, script.instant()
    ra_deg = round((sidereal_time_deg(script.site, at) + draw.uniform(-30, 40)) % 360, 4)
    dec_deg = round(max(-89.0, min(89.0, script.site.latitude_deg + draw.uniform(-25, 25))), 4)
    notices = [
        {"form": form, "delay_s": round(draw.uniform(15, 90), 1), "error_deg": 0.1, "via": "vtp"}
        for form in draw.sample(FORMS, draw.randint(1, 3))
    ]
    script.add(
        at, kind="grb", ra_deg=ra_deg, dec_deg=dec_deg, mag_at_60s=14.0, alpha=1.1, notices=notices
    )  # fmt: skip


ROLL_OFF = 0.2
"""Share of nights under a roof that needs the tube parked."""
LOTTERY = (
    (_crash, 5.0),
    (_hang, 1.0),
    (_die_in_start, 1.2),
    (_supervisor, 0.3),
    (_kill, 0.8),
    (_device, 4.0),
    (_controller, 0.9),
    (_sensor, 0.8),
    (_rain, 0.7),
    (_bad_air, 0.8),
    (_mains, 0.5),
    (_network, 0.4),
    (_disk, 0.6),
    (_centre, 0.5),
    (_clock, 0.4),
    (_people, 0.8),
    (_burst, 1.5),
)
"""What may happen, and how often a night on average."""
