"""`ingest --check`: whether a file of request events holds raw text where a pseudonym or a fingerprint belongs."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

from streamproc.ingest.parsing import lines_of, parse
from streamproc.ingest.record import Refused
from streamproc.lines import InputError, open_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["check", "raw"]

NAMES: Final = ("id", "account", "org", "key", "payer", "device", "session", "ip", "email_domain")
PRINTS: Final = (
    "template_fp", "system_fp", "tools_fp", "params_fp", "schema_fp", "task_fp", "request_fp", "prefix_fp",
    "response_fp", "signature_fp", "signature_out_fp", "headers_fp",
)  # fmt: skip
CONNECTIONS: Final = ("tls_fp", "h2_fp")
LEAST_DIGITS: Final = 16  # hexadecimal, of a pseudonym; fewer may spell a word
_HEX: Final = re.compile(r"[0-9a-fA-F]{8,32}")
_CONNECTION: Final = re.compile(r"[A-Za-z0-9_:;|,.-]{1,64}")
_QUAD: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.:=+/-]{1,64}")
_DOMAIN: Final = re.compile(r"\.[A-Za-z]{2,}$")
_WORD: Final = re.compile(r"[A-Za-z]{3,}")
_LETTERS: Final = re.compile(r"[G-Zg-z]")


def check(path: Path) -> Iterator[str]:
    """What is wrong with the file's events, one line each: line number, field, reason, and never the value.

    Raises:
        InputError: the file cannot be read.
    """
    with open_lines(path) as lines:
        try:
            for number, line in enumerate(lines_of(lines), 1):
                try:
                    event = parse(line)
                except Refused as refused:
                    yield f"{path}:{number}: {refused}"
                    continue
                if not isinstance(event, dict):
                    yield f"{path}:{number}: JSON, and no object"
                    continue
                for name, why in _wrong(event):
                    yield f"{path}:{number}: {name}: {why}"
        except (OSError, EOFError) as error:
            raise InputError(f"{path}: {error}") from error


def _wrong(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in event.items():
        kind = "name" if name in NAMES else "print" if name in PRINTS else "connection" if name in CONNECTIONS else ""
        if not kind:
            continue
        why = raw(kind, value) if isinstance(value, str) else "is no text"
        if why:
            yield name, why


def raw(kind: str, value: str) -> str:
    """Why a value looks like raw text, empty if it does not; `kind` is name, print or connection."""
    for wrong, why in (
        (any(one.isspace() for one in value), "holds white space: raw text"),
        ("@" in value, "holds an @: an e-mail address"),
        (bool(_QUAD.search(value)) and kind in ("name", "print"), "holds a dotted quad: an address"),
        (kind in ("name", "print") and _is_address(value), "is an address"),
        (kind == "print" and not _HEX.fullmatch(value), "is no hexadecimal fingerprint"),
        (kind == "connection" and not _CONNECTION.fullmatch(value), "is no fingerprint of a connection"),
        (kind == "name" and not _NAME.fullmatch(value), "holds characters that no pseudonym has"),
        (kind == "name" and bool(_DOMAIN.search(value)), "is a domain or a file's name"),
        (kind == "name" and _is_word(value), "is a word: a raw name"),
    ):
        if wrong:
            return why
    return ""


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return ":" in value and value.count(":") > 1
    return True


def _is_word(value: str) -> bool:
    """Letters alone, or several words in a row; hexadecimal digits and short marks with a number are none."""
    if _HEX.fullmatch(value) and (len(value) >= LEAST_DIGITS or not value.isalpha()):
        return False
    words = _WORD.findall(value)
    alone = bool(words) and not any(one.isdigit() for one in value)
    spoken = [word for word in words if _LETTERS.search(word)]
    return alone or (len(spoken) > 1 and sum(map(len, words)) > len(value) // 2)
