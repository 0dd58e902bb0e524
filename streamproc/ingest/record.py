"""A gateway's record to fields: where each lies is a table of the format's, what is valid in each is the table here.

Nothing here raises on what a record holds: what is not valid counts as left out.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from streamproc.contract.fields import ERRORS, MOST_MS

__all__ = ["IDENTITIES", "REASONS", "RULES", "Content", "Field", "Format", "Json", "Reader", "Refused", "error_rule"]

Json: TypeAlias = dict[str, Any]
Rule: TypeAlias = Callable[[Any], Any]

# Read raw, and never passed on raw. `email` leaves as `email_domain` and `email_class`, `ua` as family and version.
IDENTITIES: Final = ("account", "org", "key", "payer", "device", "session", "ip", "email", "ua")
MOST_WHOLE: Final = 2**53 - 1
_NOBODY: Final = frozenset(
    {"", "-", "null", "none", "nil", "undefined", "unknown", "anonymous", "(null)", "default_user_id"}
)
# What a number of seconds, milliseconds, microseconds or nanoseconds since the epoch lies below (the year 5138).
_UNITS: Final = ((1e11, 1000.0), (1e14, 1.0), (1e17, 1e-3), (1e20, 1e-6))
_MODEL: Final = re.compile(r"[\w./:@-]{1,64}", re.ASCII)
_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9._:/-]{0,31}")
_PRINT: Final = re.compile(r"[A-Za-z0-9_:;|,.-]{1,64}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")

# Why a record has no event: the reason (a metric's label), and what it means.
REASONS: Final = {
    "too_large": "longer than 16 MiB",
    "not_json": "not JSON, or nested too deep",
    "not_object": "JSON, and no object",
    "not_protobuf": "not an OTLP export request",
    "no_account": "says no account: name its place in the map file",
    "no_time": "says no time that could be read",
    "not_a_request": "no request to a model (passed over)",
    "half": "waits for its other half (joined with it)",
}


class Refused(ValueError):  # noqa: N818 - what it says of a record, as everywhere here
    """A record has no event; `reason` is one of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(REASONS[reason])
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Field:
    """Where a field lies: the first path that holds something valid counts; a slash steps into an object."""

    name: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """A request's content for the fingerprints: its path and body, and the response's body.

    `unknown` are fields that the source does not tell, which the body would seem to. `hidden`: the source has taken
    the words out, so that only what was declared beside them tells anything.
    """

    path: str
    body: Json
    response: Json | list[Any] | None = None
    unknown: frozenset[str] = frozenset()
    hidden: bool = False


def _itself(body: Any) -> Iterator[Any]:
    yield from body if isinstance(body, list) else [body]


def _nothing(_record: Json, _told: Json) -> None:
    return None


def _no_content(_record: Json) -> Content | None:
    return None


@dataclass(frozen=True, slots=True)
class Format:
    """How one gateway's records are read.

    `records` takes a parsed message apart; `finish` enters what takes more than one place to know, and may raise
    `Refused`; `own_id` is the place of an id that the gateway mints and no client can choose; `half` tells (id, side)
    of a record that is one of two; `with_content` are the fields that only logged content gives.
    """

    name: str
    fields: tuple[Field, ...]
    records: Callable[[Any], Iterator[Any]] = _itself
    finish: Callable[[Json, Json], None] = _nothing
    content: Callable[[Json], Content | None] = _no_content
    own_id: str = ""
    half: Callable[[Json], tuple[str, str]] | None = None
    derived: tuple[str, ...] = ()  # fields that `finish` gives
    with_content: tuple[str, ...] = ()
    constants: Json = field(default_factory=dict)


class Reader:
    """Reads records by a table of fields."""

    def __init__(self, fields: Iterable[Field], rules: dict[str, Rule] | None = None) -> None:
        rules = RULES if rules is None else rules
        self._steps = [(one.name, rules[one.name], [tuple(path.split("/")) for path in one.paths]) for one in fields]

    def read(self, record: Json) -> Json:
        """The fields that the record holds and that are valid; identities are raw still."""
        told = {}
        for name, rule, paths in self._steps:
            for path in paths:
                value: Any = record
                for key in path:
                    value = value.get(key) if isinstance(value, dict) else None
                    if value is None:
                        break
                if value is not None and (valid := rule(value)) is not None:
                    told[name] = valid
                    break
        return told


# -- what is valid -------------------------------------------------------------------------------------


def text(value: Any) -> str | None:
    """The text of a string or a whole number; of a list (a header that came twice) the first."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def identity(value: Any) -> str | None:
    """A name that is no placeholder."""
    said = text(value)
    return None if said is None or said.lower() in _NOBODY else said


def address(value: Any) -> str | None:
    """An address without its port; of several in a row the last, which the nearest proxy wrote and no client."""
    said = text(value)
    if said is None:
        return None
    said = said.rpartition(",")[2].strip()
    if said.startswith("["):
        said = said[1:].partition("]")[0]
    elif said.count(":") == 1:
        said = said.partition(":")[0]
    try:
        ipaddress.ip_address(said.partition("%")[0])
    except ValueError:
        return None
    return said


def number(value: Any) -> float | None:
    """A finite number >= 0, also one written as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) and 0 <= read <= MOST_WHOLE else None


def whole(value: Any) -> int | None:
    """A whole number >= 0 that JSON keeps exactly."""
    if type(value) is int:
        return value if 0 <= value <= MOST_WHOLE else None
    read = number(value)
    return int(read) if read is not None and read.is_integer() else None


def moment_ms(value: Any) -> int | None:
    """Milliseconds since the epoch, of a number in any usual unit or of ISO 8601 (UTC where it names no zone)."""
    if isinstance(value, str) and not value.isdecimal():
        try:
            read = datetime.fromisoformat(value.strip())
        except ValueError:
            return moment_ms(number(value))
        read = read if read.tzinfo else read.replace(tzinfo=UTC)
        return _within(read.timestamp() * 1000)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    exact = int(value) if isinstance(value, str) and len(value) < 20 else value  # noqa: PLR2004 - digits of 64 bits
    if isinstance(exact, str):
        return None
    return next((_within(exact * factor) for below, factor in _UNITS if 0 <= exact < below), None)


def _within(moment: float) -> int | None:
    return round(moment) if 0 <= moment <= MOST_MS else None


def flag(value: Any) -> bool | None:
    """A truth value, also one written as text."""
    if isinstance(value, bool):
        return value
    return {"true": True, "stream": True, "false": False, "oneshot": False}.get(value) if type(value) is str else None


def status(value: Any) -> int | None:
    """An HTTP status."""
    read = whole(value)
    return read if read is not None and 100 <= read <= 599 else None  # noqa: PLR2004 - the contract's


def slug(value: Any) -> str | None:
    """A short name in small letters, its white space as dashes; what is longer is no name."""
    said = text(value)
    said = "-".join(said.lower().split()) if said is not None else ""
    return said if _SLUG.fullmatch(said) else None


def model(value: Any) -> str | None:
    """A model's name; the last part of a longer one, as of an ARN."""
    said = text(value) or ""
    said = said if len(said) <= 64 else said.rpartition("/")[2]  # noqa: PLR2004 - the contract's
    return said if _MODEL.fullmatch(said) else None


def printed(value: Any) -> str | None:
    """A fingerprint of a connection."""
    said = text(value) or ""
    return said if _PRINT.fullmatch(said) else None


def one_of(*allowed: str) -> Rule:
    """A rule that takes these words alone."""

    def rule(value: Any) -> str | None:
        return value if isinstance(value, str) and value in allowed else None

    return rule


def share(value: Any) -> float | None:
    """A share above 0 and up to 1."""
    read = number(value)
    return read if read is not None and 0 < read <= 1 else None


def _country(value: Any) -> str | None:
    said = (text(value) or "").upper()
    return said if _COUNTRY.fullmatch(said) else None


error_rule: Final = one_of(*ERRORS[1:])

# Field of a record -> what is valid in it. The map file may name these and no others.
RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(IDENTITIES, identity),
    "ip": address,
    "ts_ms": moment_ms,
    "signup_ms": moment_ms,
    "asn_class": one_of("residential", "mobile", "business", "hosting", "vpn", "unknown"),
    "email_class": one_of("public", "disposable", "corporate", "education", "unknown"),
    "country": _country,
    "plan": slug,
    "program": slug,
    "pathway": slug,
    "region": slug,
    "quota_rpm": number,
    "model": model,
    "stream": flag,
    "status": status,
    "error": error_rule,
    "refused": flag,
    "ttft_ms": number,
    "duration_ms": number,
    "tok_in": whole,
    "tok_out": whole,
    "tok_cached": whole,
    "tok_reasoning": whole,
    "n_tools": whole,
    "tls_fp": printed,
    "h2_fp": printed,
    "sample_rate": share,
}
