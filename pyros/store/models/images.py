"""Tables of what was observed: images and the sources found in them."""

from __future__ import annotations

from typing import ClassVar

from peewee import AutoField, BooleanField, CharField, Check, FloatField, ForeignKeyField, IntegerField, TextField

from pyros.store.models.alerts import Alert
from pyros.store.models.columns import JsonField, Row, UtcDateTimeField, one_of, position, within
from pyros.store.models.observations import FRAME_KINDS, Plan, Sequence

DETECTION_VERDICTS = ("candidate", "confirmed", "known", "moving", "artefact")


class Image(Row):
    """One frame on disk."""

    id = AutoField(help_text="row number")
    file = CharField(max_length=1000, unique=True, help_text="path of the FITS file, relative to the image folder")
    preview = CharField(max_length=1000, default="", help_text="path of the preview, relative; empty: none yet")
    plan = ForeignKeyField(Plan, null=True, on_delete="RESTRICT", help_text="the plan it was taken for, if any")
    sequence = ForeignKeyField(Sequence, null=True, on_delete="RESTRICT", help_text="the sequence, if any")
    alert = ForeignKeyField(Alert, null=True, on_delete="RESTRICT", help_text="the alert, if any")
    camera = CharField(help_text="name of the camera")
    filter_name = CharField(column_name="filter", default="", help_text="name of the filter; empty: none known")
    kind = CharField(help_text="light, dark, bias or flat")
    number = IntegerField(default=0, help_text="number of the frame within its plan, from 0")
    start = UtcDateTimeField(index=True, help_text="instant at which the shutter opened")
    exposure_s = FloatField(help_text="length of the exposure, seconds")
    partial = BooleanField(default=False, help_text="whether the exposure was cut short")
    ra_deg = FloatField(null=True, help_text="ICRS right ascension of the field's centre, degrees")
    dec_deg = FloatField(null=True, help_text="ICRS declination of the field's centre, degrees")
    datasum = CharField(help_text="FITS DATASUM of the pixels")
    quality = JsonField(default=dict, help_text="measured: fwhm_arcsec, zero_point, limiting_mag, problems …")

    class Meta:
        """What no row may break."""

        constraints: ClassVar = [
            one_of("image", "kind", FRAME_KINDS),
            within("image", "exposure_s", "exposure_s >= 0"),
            within("image", "number", "number >= 0"),
            Check("file <> ''", "image_file_named"),
            *position("image"),
        ]


class Detection(Row):
    """A source found in an image that the catalogue does not know."""

    id = AutoField(help_text="row number")
    image = ForeignKeyField(Image, on_delete="RESTRICT", help_text="the image it was found in")
    alert = ForeignKeyField(Alert, null=True, on_delete="RESTRICT", help_text="the alert it was searched for, if any")
    ra_deg = FloatField(help_text="ICRS right ascension, degrees")
    dec_deg = FloatField(help_text="ICRS declination, degrees")
    position_error_arcsec = FloatField(null=True, help_text="standard error of the position, arcseconds")
    mag = FloatField(null=True, help_text="magnitude in the image's filter")
    mag_err = FloatField(null=True, help_text="standard error of the magnitude")
    snr = FloatField(help_text="signal-to-noise ratio")
    verdict = CharField(default="candidate", help_text="candidate, confirmed, known, moving or artefact")
    reason = TextField(default="", help_text="why the verdict")

    class Meta:
        """What no row may break."""

        constraints: ClassVar = [
            one_of("detection", "verdict", DETECTION_VERDICTS),
            within("detection", "position_error_arcsec", "position_error_arcsec >= 0"),
            within("detection", "mag_err", "mag_err >= 0"),
            within("detection", "snr", "snr >= 0"),
            *position("detection"),
        ]
