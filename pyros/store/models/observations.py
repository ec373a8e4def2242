"""Tables of what shall be observed: requests, sequences, albums and plans."""

from __future__ import annotations

from typing import ClassVar

from peewee import AutoField, CharField, Check, FloatField, ForeignKeyField, IntegerField, TextField

from pyros.store.lives import statuses
from pyros.store.models.alerts import Alert
from pyros.store.models.columns import Row, UtcDateTimeField, one_of, position, within
from pyros.store.models.people import Programme, User

SEQUENCE_KINDS = ("routine", "alert", "calibration")
FRAME_KINDS = ("light", "dark", "bias", "flat")


class Request(Row):
    """What somebody wants observed: a user, an alert, or the observatory itself (calibrations)."""

    life = "request"
    id = AutoField(help_text="row number")
    name = CharField(help_text="name, for people")
    kind = CharField(help_text="routine, alert or calibration")
    status = CharField(index=True, help_text="life of the request, see docs/lives.md")
    reason = TextField(default="", help_text="why the request has its status")
    user = ForeignKeyField(User, null=True, on_delete="RESTRICT", help_text="who asked; none for the observatory's own")
    programme = ForeignKeyField(Programme, null=True, on_delete="RESTRICT", help_text="for which programme, if any")
    alert = ForeignKeyField(Alert, null=True, on_delete="RESTRICT", help_text="the alert that asked, if any")
    created_at = UtcDateTimeField(help_text="instant at which it was made")

    class Meta:
        """What no row may break."""

        constraints: ClassVar = [
            one_of("request", "kind", SEQUENCE_KINDS),
            one_of("request", "status", statuses("request")),
            Check("kind <> 'routine' OR user_id IS NOT NULL", "request_routine_has_user"),
            Check("(kind = 'alert') = (alert_id IS NOT NULL)", "request_alert_has_alert"),
        ]


class Sequence(Row):
    """One pointing of the telescope with all that is exposed there; what the scheduler places."""

    life = "sequence"
    id = AutoField(help_text="row number")
    request = ForeignKeyField(Request, on_delete="RESTRICT", help_text="the request it belongs to")
    name = CharField(help_text="name, for people")
    kind = CharField(help_text="routine, alert or calibration")
    status = CharField(index=True, help_text="life of the sequence, see docs/lives.md")
    reason = TextField(default="", help_text="why the sequence has its status")
    target_name = CharField(help_text="name of the target")
    ra_deg = FloatField(null=True, help_text="ICRS right ascension, degrees; none only for calibrations")
    dec_deg = FloatField(null=True, help_text="ICRS declination, degrees; none only for calibrations")
    priority = IntegerField(help_text="1 to 100, high is important")
    duration_s = FloatField(help_text="planned length from first shutter to last, seconds")
    overhead_s = FloatField(default=0.0, help_text="least gap before the next sequence, seconds")
    earliest = UtcDateTimeField(null=True, help_text="nothing is exposed before this instant (jd1)")
    latest = UtcDateTimeField(null=True, help_text="nothing is exposed after this instant (jd2)")
    t_preferred = UtcDateTimeField(null=True, help_text="preferred instant of mid-exposure")
    delta_left_s = FloatField(default=0.0, help_text="how far mid-exposure may precede t_preferred, seconds")
    delta_right_s = FloatField(default=0.0, help_text="how far mid-exposure may follow t_preferred, seconds")
    min_altitude_deg = FloatField(help_text="least airless altitude, degrees")
    moon_separation_deg = FloatField(default=0.0, help_text="least distance from the Moon, degrees; 0 = any")
    started_at = UtcDateTimeField(null=True, help_text="instant at which its execution last began")
    ended_at = UtcDateTimeField(null=True, help_text="instant at which its execution last ended")
    exposed_s = FloatField(default=0.0, help_text="exposure time gathered so far, seconds")
    created_at = UtcDateTimeField(help_text="instant at which it was made")

    class Meta:
        """What no row may break."""

        constraints: ClassVar = [
            one_of("sequence", "kind", SEQUENCE_KINDS),
            one_of("sequence", "status", statuses("sequence")),
            within("sequence", "priority", "priority BETWEEN 1 AND 100"),
            within("sequence", "duration_s", "duration_s > 0"),
            within("sequence", "overhead_s", "overhead_s >= 0"),
            within("sequence", "delta_left_s", "delta_left_s >= 0"),
            within("sequence", "delta_right_s", "delta_right_s >= 0"),
            within("sequence", "min_altitude_deg", "min_altitude_deg BETWEEN 0 AND 90"),
            within("sequence", "moon_separation_deg", "moon_separation_deg BETWEEN 0 AND 180"),
            within("sequence", "exposed_s", "exposed_s >= 0"),
            Check("latest >= earliest", "sequence_window_order"),
            Check("kind = 'calibration' OR ra_deg IS NOT NULL", "sequence_has_target"),
            *position("sequence"),
        ]


class Album(Row):
    """What one camera takes during a sequence; the albums of a sequence run side by side."""

    life = "album"
    id = AutoField(help_text="row number")
    sequence = ForeignKeyField(Sequence, on_delete="RESTRICT", help_text="the sequence it belongs to")
    camera = CharField(help_text="name of the camera, as in the configuration")
    status = CharField(help_text="life of the album, see docs/lives.md")
    reason = TextField(default="", help_text="why the album has its status")

    class Meta:
        """What no row may break."""

        indexes: ClassVar = [(("sequence", "camera"), True)]
        constraints: ClassVar = [one_of("album", "status", statuses("album"))]


class Plan(Row):
    """A number of like frames, one after the other, through one filter."""

    life = "plan"
    id = AutoField(help_text="row number")
    album = ForeignKeyField(Album, on_delete="RESTRICT", help_text="the album it belongs to")
    kind = CharField(help_text="light, dark, bias or flat")
    filter_name = CharField(column_name="filter", default="", help_text="name of the filter; empty = as it stands")
    exposure_s = FloatField(help_text="length of one exposure, seconds; 0 only for a bias")
    count = IntegerField(help_text="number of frames wanted")
    done_count = IntegerField(default=0, help_text="number of frames recorded as done; these are never repeated")
    dither_arcsec = FloatField(default=0.0, help_text="step of the pointing between frames, arcseconds; 0 = none")
    status = CharField(help_text="life of the plan, see docs/lives.md")
    reason = TextField(default="", help_text="why the plan has its status")

    class Meta:
        """What no row may break."""

        constraints: ClassVar = [
            one_of("plan", "kind", FRAME_KINDS),
            one_of("plan", "status", statuses("plan")),
            within("plan", "exposure_s", "exposure_s > 0 OR (kind = 'bias' AND exposure_s = 0)"),
            within("plan", "dither_arcsec", "dither_arcsec >= 0"),
            within("plan", "count", "count BETWEEN 1 AND 1000"),
            within("plan", "done_count", "done_count BETWEEN 0 AND count"),
        ]
