"""The value of one environment variable, read: each function returns what a text means.

Each raises ValueError with what would be right, without the value where that may be a secret.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

MODES: Final = ("shadow", "enforce")
REDIS_SCHEMES: Final = ("redis://", "rediss://", "unix://")
MOST_SUBJECTS: Final = 100_000_000
MOST_PER_MIN: Final = 1e9
MOST_EPOCH: Final = 2**31
LEAST_PEPPER_BYTES: Final = 16
LEAST_TOKEN_CHARS: Final = 16
MOST_NAME_CHARS: Final = 64
DECISION: Final = "{decision}"  # what stands for a decision's id in APPEAL_URL
NO_GRPC: Final = "off"

Place: TypeAlias = tuple[str, ...]  # where a proxy says something: a header's name, or a metadata namespace and keys


def text(value: str) -> str:
    """Any text but none."""
    if not value:
        raise ValueError("must not be empty")
    return value


def optional(value: str) -> str | None:
    """Any text, None for none."""
    return value or None


def servers(value: str) -> tuple[str, ...]:
    """host:port,..."""
    found = tuple(part.strip() for part in value.split(",") if part.strip())
    for server in found:
        host, colon, port = server.rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 2**16) or "/" in server:
            raise ValueError(f"{server!r} is not host:port; several are separated by commas")
    if not found:
        raise ValueError("give at least one host:port")
    return found


def topic(value: str) -> str:
    """A topic's name."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", value) or value in (".", ".."):
        raise ValueError(f"{value!r} is no topic name: letters, digits, dot, underscore and dash, at most 249")
    return value


def file(value: str) -> Path | None:
    """A file that is there, None for none."""
    if not value:
        return None
    if not Path(value).is_file():
        raise ValueError(f"there is no file {value!r}")
    return Path(value)


def port(value: str) -> int:
    """A port, 0 for any free one."""
    if not (value.isdecimal() and int(value) < 2**16):
        raise ValueError(f"{value!r} is no port: 1 to 65535, or 0 for any free one")
    return int(value)


def port_or_none(value: str) -> int | None:
    """A port, None for none."""
    return port(value) if value else None


def count(value: str) -> int:
    """A number of partitions or copies."""
    if not (value.isdecimal() and 0 < int(value) <= 10_000):  # noqa: PLR2004 - far above any real topic
        raise ValueError(f"{value!r} is not a number from 1 to 10000")
    return int(value)


def seconds(value: str) -> float:
    """A span of up to a day."""
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:  # noqa: PLR2004 - a day; false for NaN too
        raise ValueError(f"{value!r} is not a number of seconds above 0 and up to 86400")
    return seconds


def subjects(value: str) -> int:
    """A number of things held in memory."""
    if not (value.isdecimal() and 0 < int(value) <= MOST_SUBJECTS):
        raise ValueError(f"{value!r} is not a number from 1 to {MOST_SUBJECTS}")
    return int(value)


def pepper(value: str) -> bytes:
    """A secret key, empty for none."""
    pepper = value.encode()
    if pepper and len(pepper) < LEAST_PEPPER_BYTES:
        raise ValueError(f"must have {LEAST_PEPPER_BYTES} bytes or more")
    return pepper


def token(value: str) -> str | None:
    """A secret word, None for none."""
    if value and (len(value) < LEAST_TOKEN_CHARS or not value.isascii() or not value.isprintable()):
        raise ValueError(f"must have {LEAST_TOKEN_CHARS} printable ASCII characters or more")
    return value or None


def own_tokens(value: str) -> tuple[tuple[str, str], ...]:
    """Pairs of a person's name and secret word, as `ana:...,ben:...`."""
    found = []
    for part in filter(None, (part.strip() for part in value.split(","))):
        name, _, word = part.partition(":")
        if not 1 <= len(name.strip()) <= MOST_NAME_CHARS or not word:
            raise ValueError("must be name:token, several separated by commas, with names of 64 characters at most")
        token(word)
        found.append((name.strip(), word))
    if len({name for name, _ in found}) < len(found):
        raise ValueError("names somebody twice")
    return tuple(found)


def names(value: str) -> tuple[str, ...]:
    """Hosts' names, separated by commas."""
    found = tuple(part.strip().lower() for part in value.split(",") if part.strip())
    for name in found:
        if not re.fullmatch(r"[a-z0-9.-]+|\[[0-9a-f:.]+\]", name):
            raise ValueError(f"{name!r} is no host's name; several are separated by commas, without ports")
    return found


def epoch(value: str) -> int:
    """A pepper's number."""
    if not (value.isdecimal() and int(value) < MOST_EPOCH):
        raise ValueError(f"{value!r} is not a number from 0 to {MOST_EPOCH - 1}")
    return int(value)


def per_min(value: str) -> float:
    """A rate."""
    try:
        rate = float(value)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= MOST_PER_MIN:  # false for NaN too
        raise ValueError(f"{value!r} is not a number from 0 to {MOST_PER_MIN:.0f}")
    return rate


def redis(value: str) -> str | None:
    """A Redis' URL, None for none."""
    if value and not value.startswith(REDIS_SCHEMES):
        raise ValueError("must begin with redis://, rediss:// or unix://")  # without the value: it may have a password
    return value or None


def appeal(value: str) -> str:
    """An address in which DECISION stands for a decision's id, empty for none."""
    if value and not (value.startswith(("https://", "http://", "mailto:")) and value.isascii() and value.isprintable()):
        raise ValueError(f"{value!r} is no https:, http: or mailto: address")
    if value and DECISION not in value:
        raise ValueError(f"{value!r} must have {DECISION} where the decision's id goes")
    return value


def grpc(value: str) -> str:
    """Where a gRPC server listens, or NO_GRPC."""
    host, colon, port = value.rpartition(":")
    if not (value == NO_GRPC or value.startswith("unix:/") or (host and colon and port.isdecimal())):
        raise ValueError(f"{value!r} is not host:port, unix:/path or {NO_GRPC}")
    return value


def places(value: str) -> tuple[Place, ...]:
    """Places of a request, separated by commas."""
    return tuple(place(part.strip()) for part in value.split(",") if part.strip())


def place(value: str) -> Place:
    """A header's name, or metadata:NAMESPACE/KEY[/KEY...]."""
    namespace, *keys = value.removeprefix("metadata:").split("/")
    if not (all(keys) and namespace and bool(keys) is value.startswith("metadata:")):
        raise ValueError(f"{value!r} is neither a header's name nor metadata:NAMESPACE/KEY[/KEY...]")
    return (namespace, *keys) if keys else (value.lower(),)


def one_of(*allowed: str, case: Callable[[str], str] = str.upper) -> Callable[[str], str]:
    """A parser of one word of several, in the case given."""

    def parse(value: str) -> str:
        if case(value) not in allowed:
            raise ValueError(f"{value!r} is none of {', '.join(allowed)}")
        return case(value)

    return parse


def mode(value: str) -> str | None:
    """A policy's mode, None for none."""
    return one_of(*MODES, case=str.lower)(value) if value else None
