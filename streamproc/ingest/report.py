"""What an ingest says of itself: at its start what its source can give, at its end what it gave."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from streamproc.ingest import accounts
from streamproc.ingest.blind import blind, told
from streamproc.ingest.record import REASONS

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from streamproc.ingest.maker import Maker
    from streamproc.ingest.mapping import Mapping
    from streamproc.ingest.record import Format

__all__ = ["Report", "expected"]

ENOUGH: Final = 0.5  # of the events: a statistic whose field is there less often is blind
ALWAYS: Final = ("v", "id", "ts_ms", "account", "pepper_epoch")
BECOMES: Final = {"email": ("email_domain", "email_class"), "ua": ("ua", "ua_version")}


def _given(format_: Format, mapping: Mapping, *, table: bool, networks: AbstractSet[str]) -> set[str]:
    names = {one.name for one in mapping.over(format_.fields)} | set(format_.derived)
    names |= format_.constants.keys() | mapping.constants.keys()
    given = {one for name in names for one in BECOMES.get(name, (name,))}
    given |= set(accounts.GIVES) if table else set()
    return given | (networks if "ip" in given else set())


def expected(format_: Format, mapping: Mapping, *, table: bool, networks: AbstractSet[str]) -> list[str]:
    """What this source can give, and what stays blind: lines for the start."""
    given = _given(format_, mapping, table=table, networks=networks)
    words = set(format_.with_content) - given
    lines = [f"{format_.name} gives {', '.join(sorted(given))}"]
    if words:
        lines.append(f"only where it logs content: {', '.join(sorted(words))}")
        lines += [f"with content, {line}" for line in told(blind(lambda name: name in given | words))]
        lines += [f"without content, {line}" for line in told(blind(lambda name: name in given))]
    else:
        lines.append("it never logs content")
        lines += told(blind(lambda name: name in given))
    if "account" not in given:
        lines.append(f"{format_.name} names no account by itself: [fields] account in the map file must say where")
    return lines


@dataclass(slots=True)
class Report:
    """What became of the records."""

    format: str
    refused: Counter[str] = field(default_factory=Counter)

    def to_dict(self, maker: Maker) -> dict[str, Any]:
        """The report as JSON has it; `fields` are shares of the events."""
        events = maker.events
        shares = {name: round(count / events, 4) for name, count in sorted(maker.fields.items())} if events else {}
        passed = self.refused.get("not_a_request", 0)
        refused = {name: self.refused[name] for name in REASONS if self.refused[name] and name != "not_a_request"}
        return {
            "format": self.format,
            "events": events,
            "refused": refused,
            "passed_over": passed,
            "hidden_content": maker.hidden,
            "fields": shares,
            "blind": {name: list(fields) for name, fields in self._blind(maker).items()} if events else {},
        }

    def lines(self, maker: Maker) -> list[str]:
        """The same in words."""
        said = self.to_dict(maker)
        lines = [f"events: {said['events']:,}; records refused: {sum(said['refused'].values()):,}"]
        lines += [f"refused: {count:,}, {REASONS[name]}" for name, count in said["refused"].items()]
        if said["passed_over"]:
            lines.append(f"passed over as no request to a model: {said['passed_over']:,}")
        if said["hidden_content"]:
            lines.append(
                f"words taken out by the gateway: {said['hidden_content']:,} records without their fingerprints"
            )
        seen = [f"{name} {share:.0%}" for name, share in said["fields"].items() if name not in ALWAYS]
        if seen:
            lines.append(f"fields: {', '.join(seen)}")
            lines += told(self._blind(maker))
        return lines

    @staticmethod
    def _blind(maker: Maker) -> dict[str, tuple[str, ...]]:
        return blind(lambda name: maker.fields[name] > ENOUGH * maker.events)
