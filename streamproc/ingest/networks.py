"""Class and country of an address, from lists of networks in a folder. The project ships none, and works without.

| file (`.csv`, `.csv.gz`, `.csv.zst`) | columns | what it says |
| --- | --- | --- |
| `class_cidrs` | cidr, class | the class itself: residential, mobile, business, hosting, vpn |
| `vpn_cidrs` | cidr | vpn |
| `cloud_cidrs`, `datacenter_cidrs*`, `hosting_cidrs*` | cidr | hosting |
| `asn_cidrs` with `hosting_asns` | cidr, asn; asn, list | hosting, or vpn where the list says so |
| `country_cidrs` | cidr, country | the country |

An earlier row counts before a later one; within a file the narrowest network does.
"""

from __future__ import annotations

import csv
import io
import ipaddress
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from streamproc.ingest.record import RULES
from streamproc.lines import InputError, open_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Networks", "Ranges", "rows_of"]

# Beginning of a file's name, the column that has the value ("" for none), the value where there is no column.
LISTS: Final = (
    ("class_cidrs", "class", ""),
    ("vpn_cidrs", "", "vpn"),
    ("cloud_cidrs", "", "hosting"),
    ("datacenter_cidrs", "", "hosting"),
    ("hosting_cidrs", "", "hosting"),
    ("asn_cidrs", "asn", ""),
    ("country_cidrs", "country", ""),
)
COUNTRY: Final = "country_cidrs"
ASNS: Final = "hosting_asns"
SUFFIXES: Final = (".csv", ".csv.gz", ".csv.zst")
REMEMBERED: Final = 65_536  # addresses


class Ranges:
    """Networks with a value each, as ranges that do not overlap: one search finds an address's."""

    def __init__(self, networks: list[tuple[int, int, str]]) -> None:
        """`networks` are (first, last, value) with both ends in, nested or apart as networks are."""
        self.starts: list[int] = []
        self.values: list[str] = []
        open_: list[tuple[int, str]] = []  # (last, value) of the networks around the present place, the widest first
        for first, last, value in sorted(networks, key=lambda one: (one[0], -one[1])):
            self._close(open_, first)
            self._begin(first, value)
            open_.append((last, value))
        self._close(open_, None)

    def _close(self, open_: list[tuple[int, str]], before: int | None) -> None:
        """End the networks whose last address lies below `before`; what is around each goes on behind it."""
        while open_ and (before is None or open_[-1][0] < before):
            last, _ = open_.pop()
            self._begin(last + 1, open_[-1][1] if open_ else "")

    def _begin(self, at: int, value: str) -> None:
        if self.starts and self.starts[-1] == at:
            self.values[-1] = value
        elif not self.values or self.values[-1] != value:
            self.starts.append(at)
            self.values.append(value)

    def find(self, address: int) -> str:
        """The value of the narrowest network that holds the address, empty where none does."""
        at = bisect_right(self.starts, address)
        return self.values[at - 1] if at else ""


class Networks:
    """All lists of a folder.

    Raises:
        InputError: a list that cannot be read: file, line and reason.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"--networks: {folder} is no folder")
        files = {file.name: file for file in sorted(folder.iterdir()) if file.name.endswith(SUFFIXES)}
        self._asns = _asns(files)
        self._layers: list[tuple[str, dict[int, Ranges]]] = []
        self.gives: set[str] = set()  # fields
        for start, column, value in LISTS:
            chosen = [name for name in files if name.startswith(start)]
            if chosen:
                self.gives.add("country" if start == COUNTRY else "asn_class")
                self._layers.append((start, _ranges([files[name] for name in chosen], column, value)))
        if not self.gives:
            known = ", ".join(start for start, _, _ in LISTS)
            raise InputError(
                f"--networks: no list in {folder}: files are named {known} and end in .csv, .csv.gz, .csv.zst"
            )
        self.look = lru_cache(REMEMBERED)(self._look)

    def _look(self, address: str) -> dict[str, str]:
        """`asn_class` and `country` of an address, as far as the lists tell; nothing for what is no address."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return {}
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        told: dict[str, str] = {}
        for start, by_version in self._layers:
            value = by_version[parsed.version].find(int(parsed)) if parsed.version in by_version else ""
            field, value = ("country", value) if start == COUNTRY else ("asn_class", self._class(start, value))
            if value:
                told.setdefault(field, value)
        if "asn_class" in self.gives:
            told.setdefault("asn_class", "unknown")
        return told

    def _class(self, start: str, value: str) -> str:
        return self._asns.get(value, "") if start == "asn_cidrs" else value


def rows_of(file: Path, *columns: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with their line numbers.

    Raises:
        InputError: it cannot be read, or lacks one of `columns`.
    """
    with open_lines(file) as raw, io.TextIOWrapper(raw, "utf-8", newline="") as lines:
        try:
            reader = csv.DictReader(lines)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{file}: no column {missing[0]}")
            for row in reader:
                yield reader.line_num, row
        except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{file}: {error}") from error


def _ranges(files: list[Path], column: str, value: str) -> dict[int, Ranges]:
    found: dict[int, list[tuple[int, int, str]]] = {}
    for file in files:
        for line, row in rows_of(file, "cidr", *filter(None, (column,))):
            try:
                network = ipaddress.ip_network((row["cidr"] or "").strip(), strict=False)
            except ValueError as error:
                raise InputError(f"{file}:{line}: {error}") from None
            own = (row[column] or "").strip() if column else value
            if column == "asn":
                own = own.upper().removeprefix("AS")
            if column in ("class", "country"):
                rule = RULES["asn_class" if column == "class" else column]
                own = rule(own) or ""
                if not own:
                    raise InputError(f"{file}:{line}: {row[column]!r} is no {column}")
            first = int(network.network_address)
            found.setdefault(network.version, []).append((first, first + network.num_addresses - 1, own))
    return {version: Ranges(networks) for version, networks in found.items()}


def _asns(files: dict[str, Path]) -> dict[str, str]:
    """Number of an autonomous system -> its class; hosting counts before vpn where lists name it twice."""
    found: dict[str, str] = {}
    for name, file in files.items():
        if name.startswith(ASNS):
            for _, row in rows_of(file, "asn"):
                said = "vpn" if row.get("list") == "vpn" else "hosting"
                number = (row["asn"] or "").strip().upper().removeprefix("AS")
                found[number] = "hosting" if "hosting" in (said, found.get(number)) else "vpn"
    return found
