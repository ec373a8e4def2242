"""A camera: exposing, reading out, and a frame safely on disk; the last guard before its shutter opens.

Takes `Expose` (answered `Exposed` when the file is safe), `Halt`, `Poll`; emits `ShutterOpened` and `CameraState`. The
frame comes over in the camera's own transfer thread, which writes the file too; a halt ends the procedure and drops the
frame, the exposure itself is ended by `camera:<name>.brake`. When it dies the frame under way is lost, and said to be.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from pyros.actors.analyzer.frame import FrameError, FrameHeader, estimate_wcs, write_frame
from pyros.actors.devices import guard
from pyros.actors.devices.base import DeviceActor
from pyros.actors.devices.brake import BrakeLine
from pyros.actors.environment import Environment
from pyros.actors.kernel import Context, Outside, Procedure, Sleep
from pyros.actors.observation_leftovers import frame_file
from pyros.config import Camera as CameraSettings
from pyros.hardware.errors import Braked, DeviceError, DeviceFault
from pyros.hardware.interfaces import Camera as CameraDriver
from pyros.hardware.interfaces import CameraReading
from pyros.hardware.interfaces import CameraState as AscomState
from pyros.hardware.urls import open_camera
from pyros.messages.base import Failed, Refused
from pyros.messages.devices import CameraState, Expose, Exposed, Halt, ShutterOpened, TelescopeState
from pyros.messages.night import MonitorState
from pyros.sky import coordinates

LOOK_S = 0.5
LONGEST_READOUT_S = 30.0
SURELY_SEEN_S = 1.0
"""An exposure at least this long must show in the camera's state when it has begun."""
OF_THE_SKY = frozenset({"light", "flat"})
UNDER_WAY = frozenset({AscomState.WAITING, AscomState.EXPOSING, AscomState.READING, AscomState.DOWNLOAD})
_DOING = {AscomState.IDLE: "idle", AscomState.EXPOSING: "exposing", AscomState.ERROR: "error"}


class Camera(DeviceActor):
    """See the module's docstring."""

    def __init__(self, context: Context, environment: Environment, line: BrakeLine, settings: CameraSettings) -> None:
        super().__init__(context, environment)
        self._camera_settings = settings
        self._camera = open_camera(
            settings.url, self.clock, self.lease, device=self.name, journal=environment.device_journal
        )
        line.fit(self._camera.brake)
        self._transfer = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{self.name}-transfer")
        self._reading: CameraReading | None = None
        self._until: datetime | None = None
        self._last_file = ""
        self._fetching = False

    @property
    def device(self) -> CameraDriver:
        """The camera's driver."""
        return self._camera

    def read(self) -> None:
        """See `DeviceActor.read`; while a frame comes over, the camera is asked nothing else."""
        if not self._fetching:
            self._reading = self._camera.state()

    def connected(self) -> None:
        """Set the cooler as configured, and end an exposure that no incarnation of ours waits for any more."""
        if self._camera_settings.cooler_c is not None:
            self._camera.set_cooler(True, self._camera_settings.cooler_c)
        if not self.busy_with and self._camera.camera_state in UNDER_WAY:
            self._camera.brake()

    def on_stop(self) -> None:
        """Let the link and the transfer thread go."""
        super().on_stop()
        self._transfer.shutdown(wait=False, cancel_futures=True)

    # -- exposing ----------------------------------------------------------------------------------------------------

    def on_expose(self, message: Expose) -> Procedure | Refused:
        """Check everything once more, then open the shutter (or take a dark or bias behind it)."""
        refusal = self._refuse(message, self.settings.night.pointing_before_s)
        return self._expose(message) if refusal is None else refusal

    def _refuse(self, message: Expose, early_s: float = 0.0) -> Refused | None:
        if message.frame in OF_THE_SKY:
            refusal = guard.refuse_exposure(self.seen(), message.sequence_id, early_s)
        else:
            refusal = guard.refuse_calibration(self.seen(), message.sequence_id)
        return None if refusal is None else Refused(reason=f"exposure refused: {refusal}")

    def _left_s(self) -> float:
        """Seconds until the night begins, where it is so near that the command may wait for it; else 0."""
        monitor = self.latest(MonitorState)
        if monitor is None or monitor[0].begins is None:
            return 0.0
        left_s = (monitor[0].begins - self.clock.now()).total_seconds()
        return left_s if 0.0 < left_s <= self.settings.night.pointing_before_s else 0.0

    def _expose(self, message: Expose) -> Procedure:
        if message.frame in OF_THE_SKY and self._left_s() > 0.0:
            yield Sleep(self._left_s() + 0.001)
            refusal = self._refuse(message)
            if refusal is not None:
                return refusal
        start = self.clock.now()
        try:
            exposed = yield from self._take(message, start)
            self.complaint = ""
        except Braked as error:
            return Refused(reason=f"aborted: {error}")
        except DeviceError as error:
            self.complain(error)
            return Failed(reason=str(error))
        except ValueError as error:
            return Refused(reason=f"exposure refused: {error}")
        except (OSError, FrameError) as error:
            reason = str(error).replace(f"{self.environment.images}/", "")  # files in messages are relative
            self.complaint = f"{self.name}: the frame could not be written: {reason}"
            return Failed(reason=self.complaint)
        finally:
            self._until = None
            self.show()
        self.poll_in(0.0)
        return exposed

    def _take(self, message: Expose, start: datetime) -> Procedure:
        if not self._camera.connected:
            self.poll()
        self._camera.start_exposure(message.exposure_s, message.frame in OF_THE_SKY)
        self._until = start + timedelta(seconds=message.exposure_s)
        self._announce(message, start)
        yield Sleep(message.exposure_s + self._camera_settings.readout_s)
        yield from self._wait_for_image()
        file = self._file(message, start)
        header = self._header(message, start)
        self._fetching = True
        try:
            datasum = yield Outside(self._transfer.submit(self._fetch, file, header))
        finally:
            self._fetching = False
        self._last_file = file
        return Exposed(
            file=file,
            datasum=datasum,
            camera=self.name,
            filter=message.filter,
            frame=message.frame,
            start=start,
            end=start + timedelta(seconds=message.exposure_s),
            exposure_s=message.exposure_s,
        )

    def _announce(self, message: Expose, start: datetime) -> None:
        self.read()
        self.well()
        over = self.clock.now() >= start + timedelta(seconds=message.exposure_s)  # as may be on a scaled clock
        if message.exposure_s >= SURELY_SEEN_S and self._reading is not None and not over:
            self._see_begun(self._reading)
        self.show()
        self.publish(
            ShutterOpened(
                camera=self.name,
                sequence_id=message.sequence_id,
                plan_id=message.plan_id,
                start=start,
                exposure_s=message.exposure_s,
            )
        )

    def _see_begun(self, reading: CameraReading) -> None:
        """Raise `DeviceFault` unless the camera is at work; an image that is ready already is none of this exposure."""
        state = "done at once" if reading.image_ready else reading.state.name
        if reading.image_ready or reading.state not in UNDER_WAY:
            raise DeviceFault(self.name, "startexposure", f"the camera took the command, but it is {state}")

    def _wait_for_image(self) -> Procedure:
        deadline_s = self.clock.monotonic_s() + self.clock.at_least_real(LONGEST_READOUT_S, 10.0)
        while not self._camera.image_ready:
            if self.clock.monotonic_s() > deadline_s:
                self._camera.brake()  # else the camera stays busy with a frame that nobody will fetch
                raise DeviceFault(self.name, "ImageReady", f"no image {LONGEST_READOUT_S:g} s after the readout's end")
            yield Sleep(self.clock.at_least_real(LOOK_S, 0.05))
        return None

    def _fetch(self, file: str, header: FrameHeader) -> str:
        """Download and write; in the transfer thread. Returns the DATASUM."""
        pixels = self._camera.download()
        path = self.environment.images / file
        path.parent.mkdir(parents=True, exist_ok=True)
        self.environment.before_write(path)
        return write_frame(path, pixels, header)

    def _file(self, message: Expose, start: datetime) -> str:
        monitor = self.latest(MonitorState)
        night = monitor[0].night if monitor is not None else f"{start:%Y-%m-%d}"
        camera = self.name.removeprefix("camera:")
        return frame_file(night, camera, message.sequence_id, message.plan_id, start, message.number)

    def _header(self, message: Expose, start: datetime) -> FrameHeader:
        site, target, settings = self.environment.site, message.target, self._camera_settings
        telescope = self.latest(TelescopeState, "telescope")
        pointing = telescope[0] if telescope is not None and telescope[0].ra_deg is not None else None
        place = (pointing.ra_deg, pointing.dec_deg) if pointing and message.frame == "light" else (None, None)
        airmass = wcs = None
        if place[0] is not None and place[1] is not None:
            altitude_deg = coordinates.altaz(site, place[0], place[1], start).altitude_deg
            airmass = coordinates.airmass(altitude_deg) if altitude_deg > 1 else None
            scale_arcsec = settings.field_arcmin * 60 / settings.pixels
            wcs = estimate_wcs(place[0], place[1], (settings.pixels, settings.pixels), scale_arcsec)
        return FrameHeader(
            started_at=start,
            exposure_s=message.exposure_s,
            image_type=message.frame,
            camera=self.name,
            filter=message.filter or None,
            object=target.name if target else None,
            ra_deg=place[0],
            dec_deg=place[1],
            airmass=airmass,
            gain_e_adu=settings.gain_e_per_adu,
            read_noise_e=settings.read_noise_e,
            ccd_temperature_c=self._reading.ccd_temperature_c if self._reading else None,
            site=site.name,
            latitude_deg=site.latitude_deg,
            longitude_deg=site.longitude_deg,
            height_m=site.height_m,
            trigger_id=(target.trigger or None) if target else None,
            wcs=wcs,
        )

    def on_halt(self, message: Halt) -> None:
        """Give up what runs; the brake ends the exposure, and the next look shows it."""
        self.abort(message.cause)
        self.poll_in(self.clock.at_least_real(LOOK_S, 0.05))
        self.show()

    def state(self) -> CameraState:
        """Return what the camera said last."""
        reading = self._reading
        if reading is None:
            return CameraState(link=self.link, problem=self.trouble)
        return CameraState(
            link=self.link,
            doing=_DOING.get(reading.state, "reading"),  # type: ignore[arg-type]
            until=self._until,
            ccd_temperature_c=reading.ccd_temperature_c,
            cooler_on=reading.cooler_on,
            last_file=self._last_file,
            problem=self.trouble,
            read_at=reading.read_at,
        )
