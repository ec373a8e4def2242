"""What the notices of each mission mean: a table of facts, and one function that reads a VOEvent by it.

A stream is found by the authority and stream of the IVORN, never by the text after the `#` (Swift's later segments,
for one, carry other numbers there). Within it the packet type says which instrument speaks and what its radius means.
Facts are from the missions' own pages and from real notices; where they differ, the notices count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

import msgspec

from pyros.actors.alert_manager.notice import NINETY, ONE_SIGMA, R90, Notice
from pyros.actors.alert_manager.voevent import Voevent, instant, number

GBM_SYSTEMATIC_DEG = 3.7
"""Connaughton et al. 2015 (ApJS 216, 32): the core of GBM's systematic error, which its notices leave out."""
GBM_CLASSES = (
    "error", "unreliable location", "local particles", "below horizon", "GRB", "soft gamma repeater",
    "generic transient", "distant particles", "solar flare", "Cyg X-1", "SGR 1806-20", "GRO J0422+32",
    *("unassigned",) * 7, "terrestrial gamma-ray flash",
)  # fmt: skip
"""By `Most_Likely_Index`, as the flight software numbers them."""


class Packet(msgspec.Struct, frozen=True):
    """One packet type of a stream."""

    kind: str
    instrument: str = ""
    error_meaning: str = ""
    acted_upon: bool = False
    trusted: bool = True
    """Whether a position of this type may be pointed at."""
    t0: str = "ISOTime"
    """Where the burst's instant stands: `ISOTime`, or a Param when ISOTime is an exposure's; empty: nowhere."""
    systematic_deg: float = 0.0


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """One mission's way of writing."""

    mission: str
    identity: tuple[str, ...]
    """Params that may hold the trigger's identifier, the first one present counts."""
    modulus: int = 0
    """Identifiers are equal modulo this number."""
    significance: tuple[str, ...] = ()
    """Params that may hold it; the first above 0 counts (0 stands for "not computed")."""
    packets: dict[str, Packet] = {}
    flags: dict[str, tuple[str, str]] = {}
    """Param to (value that raises the flag, flag)."""
    first_test_trigger: int = 0
    """Numeric identifiers from here on are tests (0: none are)."""
    test_prefix: str = ""


def _bat(kind: str, *, acted_upon: bool = True) -> Packet:
    return Packet(kind, "BAT", NINETY, acted_upon)


def _swift_exposure(kind: str, instrument: str, *, acted_upon: bool = True) -> Packet:
    """Swift's narrow-field instruments write the start of their own exposure as ISOTime."""
    return Packet(kind, instrument, NINETY, acted_upon, t0="")


def _gbm(kind: str, *, acted_upon: bool = True, trusted: bool = True) -> Packet:
    return Packet(kind, "GBM", ONE_SIGMA, acted_upon, trusted, systematic_deg=GBM_SYSTEMATIC_DEG)


def _eclairs(kind: str, *, acted_upon: bool = True) -> Packet:
    return Packet(kind, "ECLAIRs", NINETY, acted_upon)


def _mxt(kind: str) -> Packet:
    return Packet(kind, "MXT", R90, acted_upon=True, t0="Svom_Identifiers/Alert_Seq_T0")


SWIFT = Stream(
    mission="Swift",
    identity=("TrigID",),
    modulus=1 << 24,
    significance=("Image_Signif", "Rate_Signif", "Det_Signif"),
    packets={
        "60": _bat("trigger", acted_upon=False), "61": _bat("initial"), "62": _bat("other", acted_upon=False),
        "63": _bat("other", acted_upon=False), "67": _swift_exposure("update", "XRT"),
        "71": _swift_exposure("other", "XRT", acted_upon=False), "81": _swift_exposure("update", "UVOT"),
        "82": _bat("test"), "83": Packet("other"), "84": _bat("other", acted_upon=False),
        "89": _swift_exposure("other", "UVOT", acted_upon=False), "97": _bat("initial"),
    },
    flags={
        "Solution_Status/StarTrack_Lost_Lock": ("true", "star_tracker_lost"),
        "Misc_Flags/ImTrig_during_ST_LoL": ("true", "star_tracker_lost"),
        "Solution_Status/Target_in_Flt_Catalog": ("true", "catalogue_source"),
        "Solution_Status/Target_in_Gnd_Catalog": ("true", "catalogue_source"),
        "Solution_Status/Target_in_Blk_Catalog": ("true", "catalogue_source"),
        "Misc_Flags/Target_in_Blk_Catalog": ("true", "catalogue_source"),
        "Solution_Status/Cosmic_Ray": ("true", "not_a_grb"),
        "Solution_Status/GRB_Identified": ("false", "not_identified"),
    },
)  # fmt: skip
FERMI = Stream(
    mission="Fermi",
    identity=("TrigID",),
    significance=("Data_Signif", "Burst_Signif", "Trig_Signif", "Trigger_Signif", "Image_Test_Stat"),
    packets={
        "110": _gbm("trigger", acted_upon=False, trusted=False), "111": _gbm("initial"), "112": _gbm("update"),
        "115": _gbm("final"), "119": _gbm("test"),
        "120": Packet("initial", "LAT", ONE_SIGMA, acted_upon=True),
        "121": Packet("update", "LAT", ONE_SIGMA, acted_upon=True),
        "122": Packet("final", "LAT", ONE_SIGMA, acted_upon=True), "124": Packet("test", "LAT"),
        "128": Packet("final", "LAT", NINETY, acted_upon=True),
        "131": _gbm("subthreshold", acted_upon=False, trusted=False),
    },
    flags={"Trigger_ID/Target_in_Blk_Catalog": ("true", "catalogue_source")},
)  # fmt: skip
SVOM = Stream(
    mission="SVOM",
    identity=("Svom_Identifiers/Burst_Id",),
    significance=("Detection_Info/SNR",),
    packets={
        "201": Packet("trigger", "GRM", trusted=False), "202": _eclairs("initial"),
        "203": _eclairs("catalogue", acted_upon=False), "204": _eclairs("update"), "205": _eclairs("update"),
        "209": _mxt("update"), "210": _mxt("update"), "219": _eclairs("retraction", acted_upon=False),
    },
)  # fmt: skip
OTHERS = {
    "nasa.gsfc.gcn/INTEGRAL": Stream(mission="INTEGRAL", identity=("TrigID",), modulus=1 << 16),
    "nasa.gsfc.gcn/GECAM": Stream(mission="GECAM", identity=("Trigger_Number",), first_test_trigger=10**8),
    "nasa.gsfc.gcn/MAXI": Stream(mission="MAXI", identity=("TrigID", "EVENT_ID_NUM")),
    "nasa.gsfc.gcn/CALET": Stream(mission="CALET", identity=("TrigID",)),
    "nasa.gsfc.gcn/KONUS": Stream(mission="Konus", identity=("TrigID",)),
    "nasa.gsfc.gcn/IPN": Stream(mission="IPN", identity=("TrigID",)),
    "nasa.gsfc.gcn/AGILE": Stream(mission="AGILE", identity=("TrigID",)),
    "nasa.gsfc.gcn/MOA": Stream(mission="MOA", identity=("Event_ID", "TrigID")),
    "nasa.gsfc.gcn/SNEWS": Stream(mission="SNEWS", identity=("TrigID",)),
    "nasa.gsfc.gcn/SK_SN": Stream(mission="Super-Kamiokande", identity=("TrigID",)),
    "nasa.gsfc.gcn/AMON": Stream(
        mission="IceCube",
        identity=("AMON_ID",),
        significance=("signalness",),
        packets={kind: Packet(name, "IceCube", NINETY) for kind, name in
                 {"158": "initial", "169": "initial", "173": "initial", "174": "initial", "176": "initial"}.items()},
    ),
    "gwnet/LVC": Stream(
        mission="LVK",
        identity=("GraceID",),
        packets={"150": Packet("initial"), "151": Packet("initial"), "152": Packet("update"),
                 "163": Packet("initial"), "164": Packet("retraction")},
        test_prefix="MS",
    ),
    "KM3NeT_Neutrino": Stream(mission="KM3NeT", identity=("Event_Name", "TrigID")),
    "einstein_probe/wxt": Stream(mission="Einstein Probe", identity=("id",)),
    "gaia.cam.uk/alerts": Stream(mission="Gaia", identity=("Name", "name")),
    "voevent.4pisky.org/GAIA": Stream(mission="Gaia", identity=("Name", "name")),
    "voevent.4pisky.org/ASASSN": Stream(mission="ASAS-SN", identity=("id_assn", "id_other")),
}  # fmt: skip
STREAMS: dict[str, Stream] = {
    "nasa.gsfc.gcn/swift": SWIFT,
    "nasa.gsfc.gcn/fermi": FERMI,
    "org.svom/fsc": SVOM,
} | {name.lower(): stream for name, stream in OTHERS.items()}
"""By the lower-case IVORN up to the `#` (one mission once wrote its name in two ways)."""

_UNKNOWN = Stream(mission="", identity=("TrigID",))
_OTHER_PACKET = Packet("other", trusted=False)
_TEST_PARAMS = ("Test_Submission", "Test_Notice", "Test", "InternalTest")
_NO_POSITION = "unavailable/inappropriate"


def stream_of(ivorn: str) -> str:
    """Return authority and stream of an IVORN, such as `nasa.gsfc.gcn/SWIFT`."""
    return ivorn.removeprefix("ivo://").partition("#")[0]


def interpret(event: Voevent) -> Notice:
    """Read a VOEvent as its mission means it. Never raises: what does not fit is in `problems`."""
    params = event.params
    name = stream_of(event.ivorn)
    stream = STREAMS.get(name.lower(), _UNKNOWN)
    packet_type = params.get("Packet_Type", "")
    packet = stream.packets.get(packet_type, _OTHER_PACKET)
    problems = list(event.problems)
    trigger = _trigger(stream, params, problems)
    flags = _flags(stream, packet, params)
    classification, probability = _classification(stream, packet, params)
    retraction = packet.kind == "retraction" or _says(params, "Def_NOT_a_GRB", "Retraction") or _takes_back(event)
    test = event.role == "test" or packet.kind == "test" or _is_test_trigger(stream, trigger)
    ra_deg, dec_deg, error_deg = _position(event, problems)
    t0 = _t0(event, packet)
    return Notice(
        ivorn=event.ivorn,
        stream=name,
        role=event.role,
        kind="retraction" if retraction else packet.kind,
        mission=stream.mission,
        instrument=packet.instrument or params.get("Instrument", ""),
        trigger=trigger,
        packet_type=packet_type,
        serial=_serial(params),
        t0=t0,
        observed_at=event.isotime if packet.t0 != "ISOTime" else None,
        sent=event.sent,
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        error_deg=error_deg,
        error_meaning=packet.error_meaning if error_deg is not None else "",
        systematic_deg=packet.systematic_deg,
        position_trusted=_is_trusted(packet, error_deg, flags, classification),
        significance=next((value for key in stream.significance if (value := number(params.get(key)) or 0) > 0), None),
        classification=classification,
        class_probability=probability,
        flags=flags,
        retraction=retraction,
        test=test or _says(params, *_TEST_PARAMS),
        acted_upon=packet.acted_upon and not retraction,
        citations=tuple(citation.ivorn for citation in event.citations),
        problems=problems,
    )


def _trigger(stream: Stream, params: Mapping[str, str], problems: list[str]) -> str:
    text = next((params[key] for key in stream.identity if params.get(key)), "")
    if not text and stream.mission:
        problems.append(f"no trigger identifier: {stream.mission} writes it as {' or '.join(stream.identity)}")
    if stream is SVOM and text and not re.fullmatch(r"sb\d{8}", text):
        problems.append(f"Burst_Id {text[:40]!r} is not sb and eight digits")
    if not re.fullmatch(r"[+-]?\d{1,20}", text):
        if stream.modulus and text:
            problems.append(f"{stream.identity[0]} {text[:40]!r} is not a whole number")
        return text[:100]
    return str(int(text) % stream.modulus if stream.modulus else int(text))


def _flags(stream: Stream, packet: Packet, params: Mapping[str, str]) -> tuple[str, ...]:
    found = [flag for key, (value, flag) in stream.flags.items() if params.get(key, "").lower() == value]
    if packet.kind == "catalogue":
        found.append("catalogue_source")
    if packet.kind == "subthreshold":
        found.append("subthreshold")
    if _says(params, "Def_NOT_a_GRB"):
        found.append("not_a_grb")
    return tuple(dict.fromkeys(found))


def _classification(stream: Stream, packet: Packet, params: Mapping[str, str]) -> tuple[str, float | None]:
    """Return what the mission took it for, empty when it does not say, and how sure it is in percent."""
    if stream is SWIFT and "Solution_Status/GRB_Identified" in params:
        return ("GRB" if params["Solution_Status/GRB_Identified"].lower() == "true" else "not identified"), None
    index = number(params.get("Most_Likely_Index"))
    if stream is FERMI and packet.instrument == "GBM" and index is not None:
        known = index.is_integer() and 0 <= index < len(GBM_CLASSES)
        name = GBM_CLASSES[int(index)] if known else f"class {index:g}"
        return name, number(params.get("Most_Likely_Prob"))
    if packet.kind == "catalogue":
        return params.get("Target_Info/Source_Name", "") or "catalogue source", None
    return "", None


def _is_trusted(packet: Packet, error_deg: float | None, flags: tuple[str, ...], classification: str) -> bool:
    """Whether the position may be pointed at, and held against another one."""
    if packet.instrument == "GBM" and classification not in {"", "GRB"}:
        return False
    return packet.trusted and error_deg is not None and error_deg > 0 and "star_tracker_lost" not in flags


def _position(event: Voevent, problems: list[str]) -> tuple[float | None, float | None, float | None]:
    """Return the position, without the zeros that stand for "not known"."""
    error_deg = event.error_deg or None
    if event.ra_deg == 0 and event.dec_deg == 0 and error_deg is None:
        problems.append("no position: (0, 0) without a radius stands for none")
        return None, None, None
    if event.params.get("Coords_String") == _NO_POSITION:
        problems.append(f"no position: Coords_String is {_NO_POSITION}")
        return None, None, None
    if event.error_deg == 0:
        problems.append("error radius is 0, which stands for not known")
    return event.ra_deg, event.dec_deg, error_deg


def _t0(event: Voevent, packet: Packet) -> datetime | None:
    return event.isotime if packet.t0 == "ISOTime" else instant(event.params.get(packet.t0, ""))


def _serial(params: Mapping[str, str]) -> int | None:
    text = params.get("Pkt_Ser_Num", "") or params.get("Rev", "")
    return int(text) if re.fullmatch(r"\d{1,9}", text) else None


def _says(params: Mapping[str, str], *names: str) -> bool:
    """Whether a Param of one of these names, in whatever group, is true."""
    return any(key.rpartition("/")[2] in names and value.lower() in {"true", "1"} for key, value in params.items())


def _takes_back(event: Voevent) -> bool:
    return any(citation.cite == "retraction" for citation in event.citations)


def _is_test_trigger(stream: Stream, trigger: str) -> bool:
    if stream.test_prefix and trigger.startswith(stream.test_prefix):
        return True
    return stream.first_test_trigger > 0 and trigger.isdecimal() and int(trigger) >= stream.first_test_trigger
