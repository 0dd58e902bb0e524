"""Evaluation: decisions held against the truth of a made-up stream.

Words as in the glossary: an account is acted on from a decision of throttle or above, in shadow as well; a campaign's
request *leaked* when its account was not acted on at that moment; an honest account acted on at any time is *hurt*.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import orjson

from streamproc.lines import InputError, open_lines

if TYPE_CHECKING:
    from streamproc.contract.decisions import Enforcement

HOUR_MS = 3_600_000
NEVER_MS = 1 << 62
STOPPING = frozenset({"throttle", "restrict", "suspend"})  # throttle or above
PER_ACCOUNTS = 2000  # hurt accounts are stated per so many honest ones

Decision: TypeAlias = "Mapping[str, Any] | Enforcement"
Event: TypeAlias = "Mapping[str, Any] | tuple[str, int, str]"
Span: TypeAlias = tuple[int, int]  # [from, to) in event time


@dataclass(slots=True)
class OfCampaign:
    """What became of one campaign of the truth."""

    name: str
    members: int = 0
    found: int = 0  # members ever acted on
    missed: list[str] = field(default_factory=list)  # the other members, by account
    exchanges: int = 0  # its requests
    leaked: int = 0  # those of them made while the account was not acted on
    first_ms: int | None = None  # event time of its first request
    half_ms: int | None = None  # when half of its members had been acted on

    @property
    def leaked_share(self) -> float:
        """Leaked over all its requests; 0 when it made none."""
        return self.leaked / self.exchanges if self.exchanges else 0.0

    @property
    def recall(self) -> float:
        """Members acted on over all members."""
        return self.found / self.members if self.members else 0.0

    @property
    def hours_to_half(self) -> float | None:
        """Hours from its first request until half of its members had been acted on; None when they never were."""
        if self.half_ms is None or self.first_ms is None:
            return None
        return max(self.half_ms - self.first_ms, 0) / HOUR_MS


@dataclass(slots=True)
class Evaluation:
    """How the decisions on one stream stand against its truth."""

    campaigns: dict[str, OfCampaign]
    honest: dict[str, int]  # lawful accounts by kind
    hurt: dict[str, int]  # of them acted on, by kind; kinds without any are left out
    false_campaigns: list[str]  # campaigns as decided whose accounts acted on are mostly honest
    acted_on: int  # accounts acted on, whoever they are
    unknown: int  # of them accounts that the truth does not name

    @property
    def precision(self) -> float | None:
        """Members among the accounts acted on; None when there were none."""
        found = sum(one.found for one in self.campaigns.values())
        return found / self.acted_on if self.acted_on else None

    @property
    def recall(self) -> float | None:
        """Members acted on among all members; None when the stream has no campaign."""
        members = sum(one.members for one in self.campaigns.values())
        return sum(one.found for one in self.campaigns.values()) / members if members else None

    @property
    def leaked_share(self) -> float | None:
        """Leaked requests of all campaigns over all of their requests; None when they made none."""
        exchanges = sum(one.exchanges for one in self.campaigns.values())
        return sum(one.leaked for one in self.campaigns.values()) / exchanges if exchanges else None

    @property
    def hurt_per_2000(self) -> float:
        """Honest accounts hurt per 2,000 honest accounts."""
        return PER_ACCOUNTS * sum(self.hurt.values()) / max(sum(self.honest.values()), 1)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        whole = {
            "leaked_share": self.leaked_share,
            "recall": self.recall,
            "precision": self.precision,
            "hurt_per_2000": self.hurt_per_2000,
        }
        campaigns = {
            name: asdict(one)
            | {"leaked_share": one.leaked_share, "recall": one.recall, "hours_to_half": one.hours_to_half}
            for name, one in self.campaigns.items()
        }
        return whole | asdict(self) | {"campaigns": campaigns}

    def text(self) -> str:
        """A summary of some lines."""
        lines = [line for name, one in self.campaigns.items() for line in _campaign_lines(name, one)]
        if not self.campaigns:
            lines.append("no campaign in the truth")
        hurt = sum(self.hurt.values())
        by_kind = ", ".join(f"{count} {kind}" for kind, count in self.hurt.items())
        lines.append(
            f"honest accounts hurt: {hurt} of {sum(self.honest.values()):,} "
            f"({self.hurt_per_2000:.2f} in 2,000){': ' + by_kind if by_kind else ''}"
        )
        if self.precision is not None:
            lines.append(f"precision: {self.precision:.1%} of {self.acted_on:,} accounts acted on")
        if self.unknown:
            lines.append(f"acted on, but not in the truth: {self.unknown:,} accounts")
        lines.append(f"false campaigns: {len(self.false_campaigns)} {' '.join(self.false_campaigns)}".rstrip())
        return "\n".join(lines)


def evaluate(
    truth: Iterable[Mapping[str, Any]],
    decisions: Iterable[Decision],
    events: Iterable[Event],
    campaign_requests: Iterable[Mapping[str, Any]] | None = None,
) -> Evaluation:
    """Hold `decisions` against `truth` (a line an account) over `events`, given in any order.

    Decisions are enforcement events as objects or as JSON; only those about accounts count.  Of events `id`,
    `ts_ms` and `account` are read; tuples of the three do as well.  `campaign_requests` are lines of the side file:
    of an account with requests there only these count as the campaign's, of any other those from `from_ms` on.

    Raises:
        KeyError: a line lacks a field that is read.
    """
    members, honest = _told(truth)
    spans, by_campaign = _acted_on(decisions)
    campaigns: dict[str, OfCampaign] = {}
    for account, line in members.items():
        one = campaigns.setdefault(line["campaign"], OfCampaign(line.get("name") or line["campaign"]))
        one.members += 1
        one.found += account in spans
        if account not in spans:
            one.missed.append(account)
    _count_requests(campaigns, members, spans, events, campaign_requests)
    for name, one in campaigns.items():
        one.half_ms = _half_ms([a for a, line in members.items() if line["campaign"] == name], spans)
    hurt = Counter(honest[account] for account in spans if account in honest)
    return Evaluation(
        campaigns=campaigns,
        honest=dict(sorted(Counter(honest.values()).items())),
        hurt=dict(sorted(hurt.items())),
        false_campaigns=sorted(
            name for name, accounts in by_campaign.items() if 2 * sum(a in members for a in accounts) < len(accounts)
        ),
        acted_on=len(spans),
        unknown=sum(account not in members and account not in honest for account in spans),
    )


def evaluate_files(events: Path, truth: Path, decisions: Path) -> Evaluation:
    """Evaluate files of JSON Lines; the side file is looked for beside the truth (`truth.requests.jsonl`).

    Raises:
        InputError: a file cannot be read, or a line is not JSON or lacks a field that is read.
    """
    stem, dot, suffix = truth.name.partition(".")
    side = truth.with_name(f"{stem}.requests{dot}{suffix}")
    return evaluate(
        _lines(truth, ("account", "kind", "name")),
        _lines(decisions, ("ts_ms", "seq", "subject", "action")),
        _lines(events, ("id", "ts_ms", "account"), strict=False),
        _lines(side, ("id",)) if side.exists() else None,
    )


def _lines(path: Path, needed: tuple[str, ...], *, strict: bool = True) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file; lines that are none or lack a field are passed over unless `strict`."""
    with open_lines(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
                good = isinstance(row, dict) and all(name in row for name in needed)
            except orjson.JSONDecodeError:
                good = False
            if good:
                yield row
            elif strict:
                raise InputError(f"{path}:{number}: is not a JSON object with {', '.join(needed)}")


def _told(truth: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """Truth lines of campaigns' accounts, and the kind of every honest account."""
    members: dict[str, Mapping[str, Any]] = {}
    honest: dict[str, str] = {}
    for line in truth:
        if line["kind"] == "campaign":
            members[line["account"]] = line
        else:
            honest[line["account"]] = line["name"]
    return members, honest


def _acted_on(decisions: Iterable[Decision]) -> tuple[dict[str, list[Span]], dict[str, set[str]]]:
    """When each account was acted on, and the accounts acted on by campaign.

    A decision holds until it expires or until the next one about the account.
    """
    of_account: dict[str, list[tuple[int, int, str, int]]] = defaultdict(list)
    by_campaign: dict[str, set[str]] = defaultdict(set)
    for decision in decisions:
        line: Any = decision if isinstance(decision, Mapping) else msgspec.to_builtins(decision)
        if line["subject"]["kind"] != "account":
            continue
        expires_ms = line.get("expires_ms")
        end_ms = NEVER_MS if expires_ms is None else expires_ms
        account = line["subject"]["id"]
        of_account[account].append((line["ts_ms"], line["seq"], line["action"], end_ms))
        if line["action"] in STOPPING and line.get("campaign"):
            by_campaign[line["campaign"]].add(account)
    spans = {account: _spans(sorted(said)) for account, said in of_account.items()}
    return {account: found for account, found in spans.items() if found}, by_campaign


def _spans(said: list[tuple[int, int, str, int]]) -> list[Span]:
    """Spans of throttle or above from (ts_ms, seq, action, end_ms) in order; a decision ends the one before it."""
    nexts = [ts_ms for ts_ms, _, _, _ in said[1:]] + [NEVER_MS]
    return [
        (ts_ms, min(end_ms, next_ms))
        for (ts_ms, _, action, end_ms), next_ms in zip(said, nexts, strict=True)
        if action in STOPPING
    ]


def _count_requests(
    campaigns: dict[str, OfCampaign],
    members: Mapping[str, Mapping[str, Any]],
    spans: Mapping[str, list[Span]],
    events: Iterable[Event],
    campaign_requests: Iterable[Mapping[str, Any]] | None,
) -> None:
    """Count each campaign's requests and those that leaked."""
    ids = {line["id"] for line in campaign_requests or ()}
    told: dict[str, list[int]] = defaultdict(list)  # requests by account: those named, where any is
    plain: dict[str, list[int]] = defaultdict(list)
    for event in events:
        key, ts_ms, account = event if isinstance(event, tuple) else (event["id"], event["ts_ms"], event["account"])
        if account in members:
            (told if key in ids else plain)[account].append(ts_ms)
    for account, line in members.items():
        from_ms = line.get("from_ms") or 0
        times = told.get(account) or [ts_ms for ts_ms in plain.get(account, ()) if ts_ms >= from_ms]
        one = campaigns[line["campaign"]]
        one.exchanges += len(times)
        one.leaked += sum(not any(start <= ts_ms < end for start, end in spans.get(account, ())) for ts_ms in times)
        if times:
            one.first_ms = min(times) if one.first_ms is None else min(one.first_ms, *times)


def _half_ms(members: list[str], spans: Mapping[str, list[Span]]) -> int | None:
    """When half of `members` had been acted on; None when they never were."""
    starts = sorted(spans[account][0][0] for account in members if account in spans)
    needed = (len(members) + 1) // 2
    return starts[needed - 1] if len(starts) >= needed else None


def _campaign_lines(name: str, one: OfCampaign) -> list[str]:
    hours = one.hours_to_half
    half = "never" if hours is None else f"{hours:.1f} hours after its first request"
    found = f"{one.found:,} of {one.members:,} members acted on ({one.recall:.1%}), half of them {half}"
    return [
        f"campaign {name} ({one.name}): {found}",
        f"  leaked {one.leaked:,} of {one.exchanges:,} exchanges ({one.leaked_share:.1%})",
    ]
