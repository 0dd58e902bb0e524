"""Keyed hashes: HMAC-SHA-256 cut to 128 bits, one key a field, so that no two fields' values can be compared."""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

DIGITS = 32  # hexadecimal: 128 bits, the most the contract holds
LEAST_PEPPER_BYTES = 16
TOO_DEEP = b"deep"  # JSON that is nested deeper than the encoder goes, which none is that has a use
_WHITE = b" \t\n\r\v\f"
_TYPE = re.compile(rb'"type":"[A-Z]+"')


@dataclass(frozen=True, slots=True)
class Peppers:
    """The gateway's secrets: `identity` stays for good, `content` is replaced with each `epoch`.

    Raises:
        ValueError: a pepper is shorter than 16 bytes, both are the same, or the epoch is negative.
    """

    identity: bytes = field(repr=False)
    content: bytes = field(repr=False)
    epoch: int = 0

    def __post_init__(self) -> None:
        if min(len(self.identity), len(self.content)) < LEAST_PEPPER_BYTES:
            raise ValueError(f"a pepper must have {LEAST_PEPPER_BYTES} bytes or more")
        if self.identity == self.content:
            raise ValueError("identity and content need different peppers")
        if self.epoch < 0:
            raise ValueError("the pepper's epoch must be 0 or more")


class Keyed:
    """Hashes under one pepper, a key of its own for each purpose."""

    def __init__(self, pepper: bytes) -> None:
        self._pepper = pepper
        self._begun: dict[str, hmac.HMAC] = {}

    def key(self, purpose: str) -> bytes:
        """The 32-byte key of a purpose."""
        return hmac.digest(self._pepper, b"streamproc.fingerprint/1:" + purpose.encode(), "sha256")

    def begin(self, purpose: str) -> hmac.HMAC:
        """A hash to feed; `done` ends it."""
        begun = self._begun.get(purpose)
        if begun is None:
            begun = self._begun[purpose] = hmac.new(self.key(purpose), None, "sha256")
        return begun.copy()

    def of(self, purpose: str, message: bytes) -> str:
        """The fingerprint of a message, 32 hexadecimal digits."""
        begun = self.begin(purpose)
        begun.update(message)
        return done(begun)


def done(begun: hmac.HMAC) -> str:
    """The fingerprint of what was fed."""
    return begun.hexdigest()[:DIGITS]


def squeezed(text: str) -> bytes:
    """A text's UTF-8 bytes without white space, so that no folding or re-joining of parts changes its hash."""
    return text.encode("utf-8", "surrogatepass").translate(None, _WHITE)


def framed(message: bytes) -> bytes:
    """A message with its length before it, so that two in a row cannot be read as two others."""
    return len(message).to_bytes(8, "little") + message


def canonical(value: Any) -> bytes:
    """JSON with sorted keys; JSON that comes as text (arguments of tool calls) is read first."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return squeezed(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as reason:
        return TOO_DEEP if "Recursion" in str(reason) else _unsorted(value)


def canonical_text(value: Any) -> str:
    """The canonical JSON as text, for what an API has as a value and another as text."""
    return canonical(value).decode("utf-8", "replace")


def canonical_schema(value: Any) -> bytes:
    """The canonical JSON of a schema, its types in lower case: generateContent's `STRING` means `string`."""
    written = canonical(value)
    return _TYPE.sub(lambda found: found[0].lower(), written) if b'"type":"' in written else written


def _unsorted(value: Any) -> bytes:
    """What a body that was parsed elsewhere may hold beside JSON: lone surrogates, whole numbers beyond 64 bits."""
    try:
        return repr(value).encode("utf-8", "surrogatepass")
    except RecursionError:
        return TOO_DEEP


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """The /24 of an IPv4 address or the /48 of an IPv6 one, as text; empty for what is no address."""
    try:
        parsed = ipaddress.ip_address(address.strip().strip("[]").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    width = 24 if parsed.version == 4 else 48  # noqa: PLR2004 - the version's name
    return str(ipaddress.ip_network((parsed, width), strict=False))
