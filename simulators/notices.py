"""Notices of our own making, in the form of the streams that a night meets: `render(form, ...)` gives VOEvent 2.0.

The forms follow what SVOM, Swift and Fermi send: the same identifiers, parameters and places of the position; the
texts, contacts and secondary numbers are ours. SVOM's T0 stands in `Alert_Seq_T0`; a GRM notice has no position, in
an MXT or XRT notice the time of observation is that of the X-ray exposure, later than T0 (which XRT never tells).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape, quoteattr

_FERMI_EPOCH = datetime(2001, 1, 1, tzinfo=UTC)
_TJD_ZERO = datetime(1968, 5, 24, tzinfo=UTC)
EXPOSURE_AFTER_T0 = timedelta(seconds=90)
_NAMESPACES = (
    'xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xsi:schemaLocation="http://www.ivoa.net/xml/VOEvent/v2.0 http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd"'
)
_AUTHOR = "<Author><shortName>simulated</shortName></Author>"
_CONCEPT = "<Concept>process.variation.burst;em.gamma</Concept>"


@dataclass(frozen=True)
class Burst:
    """What a notice is about: instants, position in ICRS degrees, error radius in degrees, the mission's identifier."""

    t0: datetime
    sent: datetime
    ra_deg: float
    dec_deg: float
    error_deg: float
    trigger_id: str


@dataclass(frozen=True)
class Form:
    """How one stream's notice looks."""

    packet_type: int
    ivorn: Callable[[Burst], str]
    what: Callable[[Burst, int], str]
    instrument: str
    frame: str
    located: bool = True
    exposure_time: bool = False
    cites: tuple[tuple[str, Callable[[Burst], str]], ...] = ()
    role: str = "observation"


def _param(name: str, value: object, unit: str = "", ucd: str = "") -> str:
    extra = (f" unit={quoteattr(unit)}" if unit else "") + (f" ucd={quoteattr(ucd)}" if ucd else "")
    return f"<Param name={quoteattr(name)} value={quoteattr(str(value))}{extra}/>"


def _group(name: str, *params: str) -> str:
    return f"<Group name={quoteattr(name)}>" + "".join(params) + "</Group>"


def _flags(name: str, *, true: tuple[str, ...] = (), false: tuple[str, ...] = ()) -> str:
    return _group(name, *(_param(flag, "true") for flag in true), *(_param(flag, "false") for flag in false))


def _stamp(when: datetime, digits: int = 2) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f")[: 20 + digits]


# -- SVOM ------------------------------------------------------------------------------------------------------------


def _svom_ivorn(kind: str) -> Callable[[Burst], str]:
    return lambda burst: f"ivo://org.svom/fsc#{burst.trigger_id}_{kind}"


def _svom(level: str, instrument: str, *extra: str) -> Callable[[Burst, int], str]:
    def what(burst: Burst, packet_type: int) -> str:
        window_end = burst.t0 + timedelta(seconds=5.1)
        identity = _group(
            "Svom_Identifiers",
            _param("Notice_Level", level, ucd="meta.id"),
            _param("Burst_Id", burst.trigger_id, ucd="meta.id"),
            _param("Alert_Seq_T0", _stamp(burst.t0, 3) + "Z", ucd="time.start"),
        )
        detection = _group(
            "Detection_Info",
            _param("SNR", "17.30", "sigma", "stat.snr"),
            _param("Timescale", "5.1", "s", "time.interval"),
            _param("Time_Window_Start", _stamp(burst.t0, 3) + "Z", ucd="time.start"),
            _param("Time_Window_End", _stamp(window_end, 3) + "Z", ucd="time.end"),
            *extra,
        )
        head = (_param("Packet_Type", packet_type, ucd="meta.id"), _param("Pkt_Ser_Num", 1, ucd="meta.id"))
        slew = _group("Satellite_Info", _param("Slew_Status", "not-requested", ucd="meta.code.status"))
        return "".join((*head, _param("Instrument", instrument, ucd="instr"), identity, detection, slew))

    return what


_ENERGY = (
    _param("Lower_Energy_Bound", 8, "keV", "em.energy"),
    _param("Upper_Energy_Bound", 120, "keV", "em.energy"),
    _param("Trigger_Type", "CRT", ucd="instr.param"),
)


# -- Swift -----------------------------------------------------------------------------------------------------------


def _swift_ivorn(kind: str) -> Callable[[Burst], str]:
    return lambda burst: f"ivo://nasa.gsfc.gcn/SWIFT#{kind}_Pos_{burst.trigger_id}-{_serial(burst)}"


def _serial(burst: Burst) -> int:
    """Three digits that differ between notices sent at different times."""
    return 100 + int(burst.sent.timestamp()) % 900


def _swift_bat(burst: Burst, packet_type: int) -> str:
    return "".join((
        *_gcn_head(burst, packet_type, "Segment_Num", 0),
        _param("Burst_Inten", 5210, "cts", "phot.count;em.gamma.soft"),
        _param("Burst_Peak", 310, "cts", "phot.count;em.gamma.soft"),
        _param("Integ_Time", "1.024", "sec", "time.interval"),
        _param("Trig_Index", 148),
        _param("Soln_Status", "0x3"),
        _param("Misc_flags", "0x0"),
        _param("Rate_Signif", "14.20", "sigma", "stat.snr"),
        _param("Image_Signif", "10.80", "sigma", "stat.snr"),
        _param("Coords_Type", 1, "dn"),
        _param("Coords_String", "source_object"),
        _flags(
            "Solution_Status",
            true=("Point_Source", "GRB_Identified", "Target_Rate_Trig"),
            false=(
                "Target_of_Interest", "Target_Imag_Trig", "Def_NOT_a_GRB", "Hi_Bkg_Level", "Lo_Image_Signif",
                "VERY_Lo_Image_Signif", "Target_in_Flt_Catalog", "Target_in_Gnd_Catalog", "Target_in_Blk_Catalog",
                "StarTrack_Lost_Lock", "Near_Bright_Star", "Src_Removed_from_OnBoard", "Converted_SubThresh",
                "Spatial_Prox_Match", "Temporal_Prox_Match", "Test_Submission",
            ),
        ),
        _flags("Misc_Flags", true=("Flt_Generated",), false=(*_GROUND_FLAGS, "ImTrig_during_ST_LoL", "Gnd_Generated")),
    ))  # fmt: skip


_GROUND_FLAGS = ("Values_Out_of_Range", "TOO_Generated", "Updated_Notice", "SERS_Generated", "CRC_Error")


def _swift_xrt(burst: Burst, packet_type: int) -> str:
    return "".join((
        *_gcn_head(replace(burst, t0=burst.t0 + EXPOSURE_AFTER_T0), packet_type, "Segment_Num", 0),
        _param("Burst_Inten", "2.40e-10", "erg/cm2/sec", "em.X-ray"),
        _param("Det_Signif", "9.00", "sigma", "stat.snr"),
        _param("Soln_Status", "0x0"),
        _param("Misc_flags", "0x0"),
        _flags(
            "Solution_Status",
            false=("Cosmic_Ray", "Def_NOT_a_GRB", "Target_in_Gnd_Catalog", "Spatial_Prox_Match", "Temporal_Prox_Match",
                   "Test_Submission"),
        ),
        _flags("Misc_Flags", true=("Flt_Generated",), false=(*_GROUND_FLAGS, "Target_in_Blk_Catalog", "Gnd_Generated")),
        _param("Coords_Type", 1, "dn"),
        _param("Coords_String", "source_object"),
    ))  # fmt: skip


def _gcn_head(burst: Burst, packet_type: int, sequence_name: str, sequence: int) -> tuple[str, ...]:
    midnight = burst.t0.replace(hour=0, minute=0, second=0, microsecond=0)
    return (
        _param("Packet_Type", packet_type),
        _param("Pkt_Ser_Num", 1),
        _param("TrigID", burst.trigger_id, ucd="meta.id"),
        _param(sequence_name, sequence, ucd="meta.id.part"),
        _param("Burst_TJD", (burst.t0 - _TJD_ZERO).days, "days", "time"),
        _param("Burst_SOD", f"{(burst.t0 - midnight).total_seconds():.2f}", "sec", "time"),
    )


# -- Fermi -----------------------------------------------------------------------------------------------------------


def fermi_trigger_id(t0: datetime) -> str:
    """Return the identifier that Fermi gives a trigger: whole seconds of mission time (leap seconds of 2017 on)."""
    return str(int((t0 - _FERMI_EPOCH).total_seconds()) + 5)


def _fermi_ivorn(kind: str, sequence: int) -> Callable[[Burst], str]:
    def ivorn(burst: Burst) -> str:
        return f"ivo://nasa.gsfc.gcn/Fermi#{kind}{_stamp(burst.t0)}_{burst.trigger_id}_{sequence}-{_serial(burst)}"

    return ivorn


def _fermi_alert(burst: Burst) -> str:
    return f"ivo://nasa.gsfc.gcn/Fermi#GBM_Alert_{_stamp(burst.t0)}_{burst.trigger_id}_1-100"


def _fermi_flight(burst: Burst, packet_type: int) -> str:
    return "".join((
        *_gcn_head(burst, packet_type, "Sequence_Num", 46),
        _param("Burst_Inten", 430, "cts", "phot.count"),
        _param("Trig_Timescale", "1.024", "sec", "time.interval"),
        _param("Data_Timescale", "2.048", "sec", "time.interval"),
        _param("Data_Signif", "14.20", "sigma", "stat.snr"),
        _param("Algorithm", 3, "dn"),
        _param("Most_Likely_Index", 4, "dn"),
        _param("Most_Likely_Prob", 96),
        _param("Sec_Most_Likely_Index", 1, "dn"),
        _param("Sec_Most_Likely_Prob", 2),
        _param("Hardness_Ratio", "0.84", ucd="arith.ratio"),
        _flags("Trigger_ID", false=_FERMI_FLAGS),
        _flags("Misc_Flags", true=("Flt_Generated",), false=("Values_Out_of_Range", "Gnd_Generated")),
        _param("Coords_Type", 1, "dn"),
        _param("Coords_String", "source_object"),
    ))  # fmt: skip


_FERMI_FLAGS = (
    "Def_NOT_a_GRB",
    "Target_in_Blk_Catalog",
    "Spatial_Prox_Match",
    "Temporal_Prox_Match",
    "Test_Submission",
)


def _fermi_ground(sequence: int, *, human: bool) -> Callable[[Burst, int], str]:
    def what(burst: Burst, packet_type: int) -> str:
        by = (_param("Human_generated", "true"), _param("Robo_generated", "false")) if human else ()
        flags = (*by, _param("Long_short", "Long"), *(_param(flag, "false") for flag in _FERMI_FLAGS))
        return "".join((
            *_gcn_head(burst, packet_type, "Sequence_Num", sequence),
            _param("Burst_Inten", 0, "cts", "phot.count"),
            _param("Data_Integ", "4.096", "sec", "time.interval"),
            _param("Burst_Signif", "17.90", "sigma", "stat.snr"),
            _param("Algorithm", 41731, "dn"),
            _param("Lo_Energy", 44032, "keV"),
            _param("Hi_Energy", 279965, "keV"),
            _group("Trigger_ID", *flags),
            _flags("Misc_Flags", true=("Gnd_Generated",), false=("Values_Out_of_Range", "Flt_Generated", "CRC_Error")),
            _param("Coords_Type", 1, "dn"),
            _param("Coords_String", "source_object"),
        ))  # fmt: skip

    return what


# -- the forms -------------------------------------------------------------------------------------------------------

_SVOM_FRAME, _GCN_FRAME = "UTC-ICRS-GEO", "UTC-FK5-GEO"
FORMS: dict[str, Form] = {
    "svom_grm": Form(
        201, _svom_ivorn("grm-trigger"), _svom("N1g", "GRM", *_ENERGY[:2]), "GRM", _SVOM_FRAME, located=False
    ),
    "svom_eclairs": Form(
        202, _svom_ivorn("eclairs-wakeup"), _svom("N1e", "ECLAIRs", *_ENERGY), "ECLAIRs", _SVOM_FRAME
    ),
    "svom_mxt": Form(
        209, _svom_ivorn("mxt-initial_qf1"), _svom("N2m", "MXT"), "MXT", _SVOM_FRAME, exposure_time=True,
        cites=(("followup", _svom_ivorn("eclairs-wakeup")),),
    ),
    "svom_retraction": Form(
        219, _svom_ivorn("retraction"), _svom("N3e", "ECLAIRs", *_ENERGY), "ECLAIRs", _SVOM_FRAME,
        cites=(("retraction", _svom_ivorn("eclairs-preliminary")), ("retraction", _svom_ivorn("eclairs-wakeup"))),
    ),
    "swift_bat": Form(61, _swift_ivorn("BAT_GRB"), _swift_bat, "Swift Satellite, BAT Instrument", _GCN_FRAME),
    "swift_xrt": Form(
        67, _swift_ivorn("XRT"), _swift_xrt, "Swift Satellite, XRT Instrument", _GCN_FRAME, exposure_time=True,
        cites=(("followup", lambda burst: f"ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_{burst.trigger_id}-100"),),
    ),
    "fermi_gbm_flt": Form(
        111, _fermi_ivorn("GBM_Flt_Pos_", 46), _fermi_flight, "Fermi Satellite, GBM Instrument", _GCN_FRAME,
        cites=(("followup", _fermi_alert),),
    ),
    "fermi_gbm_gnd": Form(
        112, _fermi_ivorn("GBM_Gnd_Pos_", 56), _fermi_ground(56, human=False), "Fermi Satellite, GBM Instrument",
        _GCN_FRAME, cites=(("followup", _fermi_alert),),
    ),
    "fermi_gbm_fin": Form(
        115, _fermi_ivorn("GBM_Fin_Pos", 0), _fermi_ground(0, human=True), "Fermi Satellite, GBM Instrument",
        _GCN_FRAME, cites=(("followup", _fermi_alert),),
    ),
}  # fmt: skip
"""Every form that can be rendered, by the name that scenarios use."""


def trigger_id_for(form: str, t0: datetime, number: int = 1) -> str:
    """Return an identifier as the form's mission would give: SVOM's sbYYMMDDnn, Fermi's mission time, Swift's count."""
    if form.startswith("svom"):
        return f"sb{t0:%y%m%d}{number:02d}"
    return fermi_trigger_id(t0) if form.startswith("fermi") else str(1_400_000 + number)


def render(
    form: str, t0: datetime, sent: datetime, ra_deg: float, dec_deg: float, error_deg: float, trigger_id: str
) -> bytes:
    """Write a notice.

    Parameters
    ----------
    form : str
        One of `FORMS`.
    t0, sent : datetime
        Aware UTC instants of the trigger and of the notice's date.
    ra_deg, dec_deg, error_deg : float
        Position and its error radius, degrees; left out in forms without a position.
    trigger_id : str
        The mission's identifier (see `trigger_id_for`).

    Raises
    ------
    ValueError
        If the form is unknown or a coordinate is out of range.
    """
    if form not in FORMS:
        raise ValueError(f"notice form {form!r} is unknown; use one of {', '.join(FORMS)}")
    if not (0.0 <= ra_deg < 360.0 and -90.0 <= dec_deg <= 90.0 and 0.0 <= error_deg <= 180.0):
        raise ValueError(f"notice at ra {ra_deg}, dec {dec_deg}, error {error_deg} degrees is outside the sky")
    chosen, burst = FORMS[form], Burst(t0, sent, ra_deg, dec_deg, error_deg, trigger_id)
    author = chosen.ivorn(burst).partition("#")[0]
    parts = (
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<voe:VOEvent {_NAMESPACES} role="{chosen.role}" version="2.0" ivorn={quoteattr(chosen.ivorn(burst))}>',
        f"<Who><AuthorIVORN>{escape(author)}</AuthorIVORN><Date>{sent:%Y-%m-%dT%H:%M:%S}</Date>{_AUTHOR}</Who>",
        f"<What>{chosen.what(burst, chosen.packet_type)}</What>",
        _where_when(chosen, burst),
        f"<How><Description>{escape(chosen.instrument)}</Description></How>",
        f'<Why importance="0.9"><Inference probability="0.9">{_CONCEPT}</Inference></Why>',
        _citations(chosen, burst),
        "</voe:VOEvent>\n",
    )
    return "\n".join(part for part in parts if part).encode()


def _where_when(form: Form, burst: Burst) -> str:
    when = burst.t0 + (EXPOSURE_AFTER_T0 if form.exposure_time else timedelta())
    observatory = "GEOLEO" if form.frame == _SVOM_FRAME else "GEOLUN"
    position = (
        '<Position2D unit="deg"><Name1>RA</Name1><Name2>Dec</Name2><Value2>'
        f"<C1>{burst.ra_deg:.4f}</C1><C2>{burst.dec_deg:.4f}</C2></Value2>"
        f"<Error2Radius>{burst.error_deg:.4f}</Error2Radius></Position2D>"
    )
    return (
        f'<WhereWhen><ObsDataLocation><ObservatoryLocation id="{observatory}"/><ObservationLocation>'
        f'<AstroCoordSystem id="{form.frame}"/><AstroCoords coord_system_id="{form.frame}">'
        f'<Time unit="s"><TimeInstant><ISOTime>{_stamp(when, 6)}</ISOTime></TimeInstant></Time>'
        f"{position if form.located else ''}"
        "</AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen>"
    )


def _citations(form: Form, burst: Burst) -> str:
    if not form.cites:
        return ""
    cited = "".join(f'<EventIVORN cite="{how}">{escape(ivorn(burst))}</EventIVORN>' for how, ivorn in form.cites)
    return f"<Citations>{cited}</Citations>"
