"""The simulated mount: its motion as a function of the clock, and `python -m simulators.mount`.

It points in hour angle and declination of date; slews and settles as `simulators.physics_axes` says, refuses targets
below its horizon limit, stops tracking where a target sets, parks at a fixed altitude and azimuth and starts parked.
"""

from __future__ import annotations

import math
import sys
import threading
from bisect import bisect_right
from enum import Enum

from simulators.faults import SLOWNESS
from simulators.physics_axes import (
    After,
    Motion,
    axes_at,
    is_slewing,
    is_tracking,
    setting_hour_angle_deg,
    slew_to,
    standing,
)
from simulators.physics_frames import altaz_of, hadec_of, wrap_180
from simulators.world import World

PARK_ALT_DEG = 45.0
PARK_AZ_DEG = 0.0
HORIZON_LIMIT_DEG = 5.0
REMEMBERED_MOTIONS = 200
BEFORE_S = -1e12


class SlewAnswer(Enum):
    """What the mount says to a slew, and how LX200 puts it after `:MS#`."""

    ACCEPTED = "0"
    BELOW_HORIZON = "1Object Below Horizon#"
    PARKED = "2Mount is parked, unpark first#"
    BLOCKED = "2Motors are off: emergency stop or local key#"


class SimulatedMount:
    """The mount that stands in a world; it registers itself as `world.mount`.

    Times are seconds of UTC since 1970, angles degrees, coordinates those of date.
    """

    def __init__(self, world: World, name: str = "telescope", horizon_limit_deg: float = HORIZON_LIMIT_DEG) -> None:
        self.world = world
        self.name = name
        self.horizon_limit_deg = horizon_limit_deg
        self.target: tuple[float, float] | None = None
        self._lock = threading.RLock()
        home = hadec_of(PARK_ALT_DEG, PARK_AZ_DEG, world.site.latitude_deg)
        self._motions = [standing(home, BEFORE_S, After.PARK)]
        self.slews: list[tuple[float, float]] = []
        """Beginning and end (settling included) of every slew."""
        self._sync_error = (0.0, 0.0)
        self._held: Motion | None = None
        world.mount = self
        world.faults.listen(name, self._fault_changed)
        world.listen("emergency_stop", self._emergency)

    # -- where it is -------------------------------------------------------------------------------------------------

    def _motion(self, unix_s: float) -> Motion:
        with self._lock:
            index = bisect_right(self._motions, unix_s, key=lambda motion: motion.start_s)
            return self._motions[max(0, index - 1)]

    def axes(self, unix_s: float) -> tuple[float, float]:
        """Hour angle and declination of date where the tube points."""
        ha, dec = axes_at(self._motion(unix_s), unix_s)
        return wrap_180(ha), dec

    def reported(self, unix_s: float) -> tuple[float, float]:
        """Right ascension and declination of date as the mount believes them: corrected by the last sync."""
        ha, dec = self.axes(unix_s)
        ra = self.world.frames.sidereal_deg(unix_s) - ha + self._sync_error[0]
        return ra % 360.0, max(-90.0, min(90.0, dec + self._sync_error[1]))

    def altaz(self, unix_s: float) -> tuple[float, float]:
        """Altitude and azimuth of the tube."""
        return altaz_of(*self.axes(unix_s), self.world.site.latitude_deg)

    def slewing(self, unix_s: float) -> bool:
        """Whether it moves to a target or settles there (or should, and is stuck)."""
        return self._held is not None or is_slewing(self._motion(unix_s), unix_s)

    def tracking(self, unix_s: float) -> bool:
        """Whether it follows the sky."""
        return self._held is None and is_tracking(self._motion(unix_s), unix_s)

    def parked(self, unix_s: float) -> bool:
        """Whether it stands in its park position, locked."""
        return self._motion(unix_s).after is After.PARK and not self.slewing(unix_s)

    def parks_at_s(self, unix_s: float) -> float:
        """When it will stand parked by the motion that is under way then; infinity if that goes elsewhere."""
        motion = self._motion(unix_s)
        on_its_way = self._held is None and motion.after is After.PARK and motion.ready_s > unix_s
        return motion.ready_s if on_its_way else math.inf

    def parking(self, unix_s: float) -> bool:
        """Whether it is on its way to the park position."""
        return (self._held or self._motion(unix_s)).after is After.PARK and self.slewing(unix_s)

    def east_of_pier(self, unix_s: float) -> bool:
        """Side of the pier on which the tube is: east while it looks west of the meridian."""
        return self.axes(unix_s)[0] >= 0.0

    # -- what it does ------------------------------------------------------------------------------------------------

    def slew(self) -> SlewAnswer:
        """Slew to `target` and track it."""
        if self.target is None:
            return SlewAnswer.BELOW_HORIZON
        now_s = self.world.unix_s()
        if self._blocked(now_s):
            return SlewAnswer.BLOCKED
        if self._motion(now_s).after is After.PARK:
            return SlewAnswer.PARKED
        ra, dec = self.target[0] - self._sync_error[0], self.target[1] - self._sync_error[1]
        ha = wrap_180(self.world.frames.sidereal_deg(now_s) - ra)
        if altaz_of(ha, dec, self.world.site.latitude_deg)[0] < self.horizon_limit_deg:
            return SlewAnswer.BELOW_HORIZON
        if self.world.faults.active(self.name) != "lie":
            self._begin((ha, dec), After.TRACK, now_s)
        return SlewAnswer.ACCEPTED

    def park(self) -> None:
        """Go to the park position and stay there until unparked."""
        now_s = self.world.unix_s()
        if not self._blocked(now_s) and self.world.faults.active(self.name) != "lie":
            self._begin(hadec_of(PARK_ALT_DEG, PARK_AZ_DEG, self.world.site.latitude_deg), After.PARK, now_s)

    def unpark(self) -> None:
        """Let slews be accepted again; the mount tracks from where it stands."""
        now_s = self.world.unix_s()
        if self._motion(now_s).after is After.PARK and not self._blocked(now_s):
            self._stand(After.TRACK)

    def stop(self) -> None:
        """Stop a slew where it is; the mount tracks there. A parked mount stays parked."""
        if self.slewing(self.world.unix_s()):
            self._held = None
            self._stand(After.TRACK)

    def set_tracking(self, on: bool) -> None:
        """Follow the sky, or stand; a slew on its way and a parked mount are left as they are."""
        now_s = self.world.unix_s()
        if not self.slewing(now_s) and not self.parked(now_s):
            self._stand(After.TRACK if on else After.HOLD)

    def sync(self) -> bool:
        """Take the target as where the mount points now; False without a target, or more than 5 degrees off."""
        if self.target is None:
            return False
        ha, dec = self.axes(self.world.unix_s())
        ra = self.world.frames.sidereal_deg(self.world.unix_s()) - ha
        error = (wrap_180(self.target[0] - ra), self.target[1] - dec)
        if abs(error[0]) * math.cos(math.radians(dec)) > 5.0 or abs(error[1]) > 5.0:
            return False
        self._sync_error = error
        return True

    # -- inside ------------------------------------------------------------------------------------------------------

    def _blocked(self, now_s: float) -> bool:
        return self.world.emergency_stop.at(now_s) or self.world.local_key.at(now_s)

    def _begin(self, goal: tuple[float, float], after: After, now_s: float) -> None:
        fault = self.world.faults.active(self.name)
        motion = slew_to(
            self.axes(now_s),
            goal,
            now_s,
            after,
            ha_limit_deg=setting_hour_angle_deg(goal[1], self.world.site.latitude_deg, self.horizon_limit_deg),
            slowness=SLOWNESS if fault == "slow" else 1.0,
        )
        if fault == "stuck":
            self._held = motion
            self._stand(After.HOLD)
        else:
            self._held = None
            self._add(motion)
            self.slews.append((motion.start_s, motion.ready_s))

    def _stand(self, after: After) -> None:
        now_s = self.world.unix_s()
        axes = self.axes(now_s)
        limit = setting_hour_angle_deg(axes[1], self.world.site.latitude_deg, self.horizon_limit_deg)
        self._add(standing(axes, now_s, after, limit))

    def _add(self, motion: Motion) -> None:
        with self._lock:
            while self._motions and self._motions[-1].start_s >= motion.start_s:
                self._motions.pop()
            self._motions.append(motion)
            if self.slews and self.slews[-1][1] > motion.start_s:
                self.slews[-1] = (self.slews[-1][0], motion.start_s)
            del self._motions[:-REMEMBERED_MOTIONS]
        self.world.mount_changed()

    def _fault_changed(self) -> None:
        """Freeze where it is when `stuck` begins in a motion; go on to the same end when it is over."""
        now_s = self.world.unix_s()
        if self.world.faults.active(self.name) == "stuck":
            if self.slewing(now_s) and self._held is None:
                self._held = self._motion(now_s)
                self._stand(After.HOLD)
        elif self._held is not None:
            held, self._held = self._held, None
            ha_goal = held.ha_end_deg
            if held.after is After.TRACK and self.target is not None:
                ha_goal = self.world.frames.sidereal_deg(now_s) - (self.target[0] - self._sync_error[0])
            self._begin((ha_goal, held.dec_end_deg), held.after, now_s)

    def _emergency(self) -> None:
        if self.world.emergency_stop.at(self.world.unix_s()):
            self._held = None
            if self._motion(self.world.unix_s()).after is not After.PARK or self.slewing(self.world.unix_s()):
                self._stand(After.HOLD)


if __name__ == "__main__":
    from simulators.serve_alone import mount_main

    sys.exit(mount_main(sys.argv[1:]))
