"""The map file: what an operator keeps elsewhere than a format does. Checked at the start, key by key.

[fields]        # field = where the record has it; a slash steps into an object; several are tried in turn
account = "request/headers/x-account"
plan = ["request/headers/x-plan", "consumer/plan"]

[constants]     # what every record of this source has
region = "eu-west"

[values.plan]   # what the record says = what the event is to say
"Tier 2" = "pro"
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from streamproc.ingest.record import IDENTITIES, RULES, Field, Json, text
from streamproc.lines import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from streamproc.ingest.record import Rule

__all__ = ["Mapping", "read"]

MOST_PATHS: Final = 16


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a map file says: fields that replace the format's, constants, and values to say otherwise."""

    fields: tuple[Field, ...] = ()
    constants: Json = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)

    def over(self, fields: tuple[Field, ...]) -> tuple[Field, ...]:
        """The format's table with this file's places instead of its own."""
        own = {one.name for one in self.fields}
        return (*self.fields, *(one for one in fields if one.name not in own))

    def rules(self) -> dict[str, Rule]:
        """What is valid in each field, after its values were said otherwise."""
        return RULES | {name: _after(table, RULES[name]) for name, table in self.values.items()}


def _after(table: dict[str, str], rule: Rule) -> Rule:
    def said(value: Any) -> Any:
        return rule(table.get(str(value).lower() if isinstance(value, bool) else text(value) or "", value))

    return said


def read(path: Path | None) -> Mapping:
    """The mapping of a file; of no file, the empty one.

    Raises:
        InputError: it cannot be used: which key, and why.
    """
    if path is None:
        return Mapping()
    try:
        said = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: no TOML: {error}") from error
    try:
        _known(said, ("fields", "constants", "values"), "")
        return Mapping(
            tuple(Field(name, _paths(name, value)) for name, value in _table(said, "fields").items()),
            {name: _constant(name, value) for name, value in _table(said, "constants").items()},
            {name: _values(name, value) for name, value in _table(said, "values").items()},
        )
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _table(said: Json, name: str) -> Json:
    table = said.get(name, {})
    if not isinstance(table, dict):
        raise ValueError(f"{name}: must be a table")  # noqa: TRY004 - one kind of error for the file
    _known(table, tuple(RULES), f"{name}.")
    return table


def _known(table: Json, names: tuple[str, ...], where: str) -> None:
    for name in table:
        if name.endswith("_fp") and name not in names:
            raise ValueError(f"{where}{name}: fingerprints are made here and never taken over")
        if name not in names:
            raise ValueError(f"{where}{name}: no such field: one of {', '.join(names)}")


def _paths(name: str, value: Any) -> tuple[str, ...]:
    paths = [value] if isinstance(value, str) else value
    good = isinstance(paths, list) and 0 < len(paths) <= MOST_PATHS
    if not good or not all(isinstance(one, str) and one.strip("/") for one in paths):
        raise ValueError(f"fields.{name}: must be a place such as 'request/headers/x-account', or a list of them")
    return tuple(paths)


def _constant(name: str, value: Any) -> Any:
    if name in IDENTITIES:
        raise ValueError(f"constants.{name}: an identity that all records share says nothing")
    valid = RULES[name](value)
    if valid is None:
        raise ValueError(f"constants.{name}: {value!r} is not valid there")
    return valid


def _values(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, (str, int, float, bool)) for one in value.values()):
        raise ValueError(f"values.{name}: must be a table of what a record says = what the event is to say")
    for one in value.values():
        if RULES[name](one) is None:
            raise ValueError(f"values.{name}: {one!r} is not valid there")
    return value
