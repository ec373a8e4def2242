"""What people and satellites do during a night of kills: requests, notices, and the operator at the latch."""

from __future__ import annotations

import random
import time
from datetime import timedelta

from kill_stage import Stage

from pyros.messages.base import Done
from pyros.messages.devices import ResetLatch
from pyros.messages.people import Account, AddUser, OpenProgramme, SubmitRequest, Submitted
from pyros.messages.store import Committed
from pyros.sky.coordinates import sidereal_time_deg
from pyros.sky.site import Site
from simulators.notices import render

USER, PROGRAMME = "astronomer", "kills"
GRANT_S = 300 * 3600.0
EXPOSURE_S = 8.0
RESET_COIL = 3


class People:
    """What was accepted from them is kept here: it must never be lost."""

    def __init__(self, stage: Stage, rng: random.Random):
        self.stage, self.rng = stage, rng
        self.entered = False
        self.requests: dict[int, str] = {}
        self.sent: dict[str, float] = {}
        """IVORN of every notice that was handed over, and when (monotonic seconds)."""
        self.latencies: list[float] = []
        self.resets = 0
        self._numbers = 0

    # -- requests ----------------------------------------------------------------------------------------------------

    def come_in(self) -> None:
        """Bring in the astronomer and the programme, once; a daemon that dies over it is asked again."""
        if self.entered:
            return
        user = AddUser(name=USER, email="a@example.org", role="observer", password_hash="!")
        programme = OpenProgramme(name=PROGRAMME, title="Short exposures", user=USER, grant_s=GRANT_S)
        replies = [self.stage.ask("user_manager", user), self.stage.ask("routine_manager", programme)]
        self.entered = isinstance(replies[0], Account) and isinstance(replies[1], Committed | Done)

    def submit(self, count: int) -> None:
        """Ask for short exposures near the meridian; note what was accepted."""
        sidereal_deg = sidereal_time_deg(Site(), self.stage.clock.now())
        for _ in range(count):
            self._numbers += 1
            name = f"request {self._numbers}"
            request = SubmitRequest(
                user=USER,
                programme=PROGRAMME,
                name=name,
                target_name=f"field {self._numbers}",
                ra_deg=(sidereal_deg + self.rng.uniform(-25, 40)) % 360,
                dec_deg=self.rng.uniform(5, 60),
                priority=self.rng.randint(20, 80),
                moon_separation_deg=0.0,
                filter=self.rng.choice(["g", "r", "i"]),
                exposure_s=EXPOSURE_S,
                count=self.rng.randint(2, 4),
            )
            reply = self.stage.ask("routine_manager", request)
            if isinstance(reply, Submitted):
                self.requests[reply.request_id] = name

    # -- notices -----------------------------------------------------------------------------------------------------

    def send_notice(self, *, interesting: bool) -> str:
        """Hand a notice over to the daemon's listener and return its IVORN; uninteresting: its error is wide."""
        self._numbers += 1
        now = self.stage.clock.now()
        ra_deg = (sidereal_time_deg(Site(), now) + self.rng.uniform(-10, 30)) % 360
        form, error_deg = ("swift_bat", 0.05) if interesting else ("fermi_gbm_flt", 8.0)
        number = str(900_000 + self._numbers) if interesting else str(700_000_000 + self._numbers)
        xml = render(form, now - timedelta(seconds=20), now, ra_deg, self.rng.uniform(10, 50), error_deg, number)
        ivorn = xml.partition(b'ivorn="')[2].partition(b'"')[0].decode()
        assert ivorn not in self.sent
        sent_s = time.monotonic()
        assert self.stage.broker.send(xml) == 1, "nobody listens to the broker"
        self.sent[ivorn] = sent_s
        return ivorn

    def acknowledged(self) -> list[str]:
        """Return the IVORNs of every notice that was acknowledged, as the broker has it."""
        return [answer.ivorn for answer in list(self.stage.broker.answers) if answer.role == "ack"]

    def learn_latency(self, ivorn: str) -> None:
        """Note how long an acknowledgement takes, real seconds, so that a kill can come before it."""
        if self.stage.broker.answered(ivorn, 2.0) == "ack":
            self.latencies.append(time.monotonic() - self.sent[ivorn])

    # -- the operator ------------------------------------------------------------------------------------------------

    def reset_latch(self) -> None:
        """Reset the PLC's latch once the dome is shut: by an order, or by the button at the PLC itself."""
        if not self.stage.latched() or self.stage.dome() != "closed":
            return
        if self.rng.random() < 0.5:
            self.stage.plc.pulse(RESET_COIL)
        elif not isinstance(self.stage.ask("plc", ResetLatch(operator="harness")), Done):
            return
        self.resets += 1
