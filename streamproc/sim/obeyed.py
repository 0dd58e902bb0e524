"""What a campaign gets when gateways obey: a stream played through gateway and engine, each of which hears the other.

The stream goes through in order of request.  The gateway refuses what is in force against, and the engine is told of
a refused request as a gateway tells it; what the engine decides of a chunk is in force for the requests after it.
An operator may put fresh accounts in the place of refused ones (`successors`).  What made-up traffic cannot show:
nobody tries again, slows down or goes away because of a refusal, and what a request asks of the capabilities that
`restrict` takes: it is served.  Events reach the
engine when the request is made, not when its answer is complete; within the lateness that changes no decision.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import orjson

from streamproc.contract.decisions import Enforcement
from streamproc.contract.errors import PolicyError
from streamproc.core import policy as policies
from streamproc.core.engine import Engine
from streamproc.core.policy import Policy
from streamproc.sim.evaluate import PER_ACCOUNTS, STOPPING
from streamproc.sim.figures import number, table
from streamproc.sim.obeying import Event, Gateway, turned_away
from streamproc.sim.scenario import SCENARIOS, Stream, simulate
from streamproc.sim.successors import Operator

CHUNK = 200  # events handed to the engine at once: some minutes of a stream of 2,500 accounts
DAY_MS = 86_400_000
PER_REQUESTS = 100_000  # refused requests are stated per so many of honest accounts
NOBODY = "nobody"  # in the place of a rung: a request that was not made, for nobody held the place
Decide: TypeAlias = Callable[[Sequence[bytes]], Iterable[Enforcement]]


def play(
    events: Iterable[Event], decide: Decide, chunk: int = CHUNK, operator: Operator | None = None
) -> Iterator[tuple[Event, str | None]]:
    """Each event, as it was planned, with the rung that it was refused by, None where it was served.

    Events are taken in the order given, that of time.  `decide` is told of `chunk` of them at once, as lines; what it
    answers is in force for those after.  With an `operator` another account may make the request, or `NOBODY`.
    """
    gateway = Gateway()
    told: list[bytes] = []
    for event in events:
        made = event if operator is None else operator.ask(event)
        if made is None:
            yield event, NOBODY
            continue
        rung = gateway.refused_by(made)
        if rung is not None and operator is not None:
            operator.hear(event)
        told.append(orjson.dumps(made if rung is None else turned_away(made, rung)))
        if len(told) == chunk:
            gateway.take(decide(told))
            told = []
        yield event, rung
    if told:
        decide(told)


class Detector:
    """The engine under a policy, in mode enforce whatever the policy says, and what it confirmed when."""

    def __init__(self, policy: Policy) -> None:
        self._engine = Engine(msgspec.structs.replace(policy, mode="enforce"))
        self._offset = 0
        self._confirmed: dict[str, int] = {}
        self._acted_on: dict[str, set[str]] = {}

    def decide(self, lines: Sequence[bytes]) -> list[Enforcement]:
        """What the engine decides of the next lines."""
        offsets = range(self._offset, self._offset + len(lines))
        self._offset = offsets.stop
        output = self._engine.observe(0, lines, offsets)
        for campaign in output.campaigns:
            if campaign.state == "confirmed":
                self._confirmed.setdefault(campaign.campaign, campaign.ts_ms)
        for decision in output.enforcements:
            if decision.action in STOPPING and decision.campaign:
                self._acted_on.setdefault(decision.campaign, set()).add(decision.subject.id)
        return output.enforcements

    def confirmed_ms(self, members: AbstractSet[str]) -> int | None:
        """When the first campaign was confirmed of whose accounts acted on half are members; None if none was."""
        true = [ts_ms for name, ts_ms in self._confirmed.items() if self._mostly(members, name)]
        return min(true, default=None)

    def _mostly(self, members: AbstractSet[str], campaign: str) -> bool:
        acted_on = self._acted_on.get(campaign, set())
        return bool(acted_on) and 2 * sum(account in members for account in acted_on) >= len(acted_on)


# What came of it.


@dataclass(slots=True)
class Asked:
    """Requests, and those of them that were served: let pass, whatever the model's side then did."""

    asked: int = 0
    served: int = 0

    @property
    def share(self) -> float | None:
        """Served over asked; None where nothing was asked for."""
        return self.served / self.asked if self.asked else None


@dataclass(slots=True)
class Lawful:
    """Honest accounts of one kind and their requests."""

    accounts: int = 0
    refused_accounts: int = 0  # that met a refusal
    asked: int = 0
    refused: int = 0


@dataclass(slots=True)
class Obeyed:
    """What came of a stream; all of its campaigns are counted as one."""

    days: list[Asked] = field(default_factory=list)  # of campaigns, by day of 24 hours since their first request
    first_ms: int | None = None  # event time of that request
    confirmed_ms: int | None = None
    accounts: int = 0  # that the campaign began with
    used: int = 0  # that it used in all
    honest: dict[str, Lawful] = field(default_factory=dict)  # by kind of lawful user

    @property
    def confirmed_day(self) -> int | None:
        """The day, from 0, on which the campaign was confirmed; None if it never was."""
        if self.confirmed_ms is None or self.first_ms is None:
            return None
        return (self.confirmed_ms - self.first_ms) // DAY_MS

    @property
    def after(self) -> list[Asked]:
        """The days after that of the confirmation; empty where there was none."""
        day = self.confirmed_day
        return [] if day is None else self.days[day + 1 :]

    @property
    def share(self) -> float | None:
        """Share served of all that the campaign asked for."""
        return _sum(self.days).share

    @property
    def share_after(self) -> float | None:
        """Share served from the day after the confirmation on."""
        return _sum(self.after).share

    @property
    def worst_after(self) -> float | None:
        """The largest share served on a day of those."""
        return max((share for day in self.after if (share := day.share) is not None), default=None)

    @property
    def served_an_account(self) -> float | None:
        """Requests served for each account that the campaign used up; None without a campaign."""
        return sum(day.served for day in self.days) / self.used if self.used else None

    @property
    def refused_accounts_per_2000(self) -> float:
        """Honest accounts that met a refusal, per 2,000 honest accounts."""
        accounts = sum(kind.accounts for kind in self.honest.values())
        return PER_ACCOUNTS * sum(kind.refused_accounts for kind in self.honest.values()) / max(accounts, 1)

    @property
    def refused_per_100000(self) -> float:
        """Requests refused to honest accounts, per 100,000 that they made."""
        asked = sum(kind.asked for kind in self.honest.values())
        return PER_REQUESTS * sum(kind.refused for kind in self.honest.values()) / max(asked, 1)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        names = (
            "share", "share_after", "worst_after", "served_an_account", "refused_accounts_per_2000",
            "refused_per_100000",
        )  # fmt: skip
        return {name: getattr(self, name) for name in ("confirmed_day", *names)} | asdict(self)

    def text(self) -> str:
        """A table by day, one by kind of lawful user that was refused anything, and the shares."""
        days = [["day", "asked", "served", "share"]]
        for at, day in enumerate(self.days):
            mark = " (confirmed)" if at == self.confirmed_day else ""
            days.append([f"{at}{mark}", f"{day.asked:,}", f"{day.served:,}", number(day.share)])
        kinds = [["kind of lawful user", "accounts", "refused anything", "requests", "refused"]]
        for name, kind in self.honest.items():
            if kind.refused:
                figures = (kind.accounts, kind.refused_accounts, kind.asked, kind.refused)
                kinds.append([name, *(f"{one:,}" for one in figures)])
        whole = (
            f"served: {number(self.share)} of all, {number(self.share_after)} from the day after the confirmation on, "
            f"{number(self.worst_after)} on the worst of these days\n"
            f"accounts: {self.accounts:,} at first, {self.used:,} in all, "
            f"{number(self.served_an_account)} requests served for each\n"
            f"honest: {self.refused_accounts_per_2000:.2f} accounts in 2,000 refused anything, "
            f"{self.refused_per_100000:.2f} requests in 100,000 refused"
        )
        return "\n\n".join([table(days), *([table(kinds)] if len(kinds) > 1 else []), whole])


def _sum(days: Sequence[Asked]) -> Asked:
    return Asked(sum(day.asked for day in days), sum(day.served for day in days))


def count(truth: Iterable[Mapping[str, Any]], answers: Iterable[tuple[Event, str | None]]) -> Obeyed:
    """What came of each request, by the truth (a line an account); answers as `play` gives them, in order of time."""
    found = Obeyed()
    kinds = {line["account"]: None if line["kind"] == "campaign" else line["name"] for line in truth}
    for name in sorted({kind for kind in kinds.values() if kind is not None}):
        found.honest[name] = Lawful(sum(kind == name for kind in kinds.values()))
    hurt: set[str] = set()
    for event, rung in answers:
        kind = kinds[event["account"]]
        if kind is None:
            _count_day(found, event["ts_ms"], served=rung is None)
            continue
        lawful = found.honest[kind]
        lawful.asked += 1
        lawful.refused += rung is not None
        if rung is not None and event["account"] not in hurt:
            hurt.add(event["account"])
            lawful.refused_accounts += 1
    return found


def _count_day(found: Obeyed, ts_ms: int, *, served: bool) -> None:
    if found.first_ms is None:
        found.first_ms = ts_ms
    day = (ts_ms - found.first_ms) // DAY_MS
    found.days += [Asked() for _ in range(day + 1 - len(found.days))]
    found.days[day].asked += 1
    found.days[day].served += served


def obey(stream: Stream, policy: Policy, chunk: int = CHUNK, *, comes_back: bool = False) -> Obeyed:
    """Play a stream under a policy, in mode enforce whatever the policy says; equal input gives an equal result.

    Where the campaign `comes_back`, its operator puts fresh accounts in the place of refused ones.
    """
    events = sorted(stream.events, key=lambda event: (event["ts_ms"], event["account"], event["id"]))
    detector = Detector(policy)
    members = {line["account"] for line in stream.truth if line["kind"] == "campaign"}
    operator = Operator(members) if comes_back else None
    found = count(stream.truth, play(events, detector.decide, chunk, operator))
    used = members if operator is None else operator.names
    found.confirmed_ms = detector.confirmed_ms(used)
    found.accounts, found.used = len(members), len(used)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Play one made-up stream through gateways that obey, and tell what was served by day."""
    parser = argparse.ArgumentParser(prog="python -m streamproc.sim.obeyed", description=main.__doc__)
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--days", type=float, default=12.0, help="(default: %(default)s)")
    parser.add_argument("--accounts", type=int, default=2500, help="lawful ones (default: %(default)s)")
    parser.add_argument("--policy", type=Path, help="a policy file; without it the one that ships")
    parser.add_argument("--comes-back", action="store_true", help="refused accounts are replaced by fresh ones")
    chosen = parser.parse_args(arguments)
    try:
        policy = policies.parse(chosen.policy.read_bytes()) if chosen.policy else policies.default()
    except (OSError, PolicyError) as error:
        parser.error(str(error))
    stream = simulate(chosen.scenario, seed=chosen.seed, accounts=chosen.accounts, days=chosen.days)
    print(obey(stream, policy, comes_back=chosen.comes_back).text())  # noqa: T201 - a tool's result
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
