"""The scoreboard's section on gateways that obey: which streams, what came of each, and the section's words.

Everything else on the scoreboard holds decisions against traffic that goes on as if nobody obeyed them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamproc.core import policy as policies
from streamproc.sim.figures import number, span_of, table
from streamproc.sim.obeyed import obey
from streamproc.sim.processes import each
from streamproc.sim.scenario import simulate

SEEDS, QUICK_SEEDS = 2, 1
DAYS = 12.0  # longer than a suspension, which is where an account may come back
BEHIND = 2  # parts of the page: its head, and the campaigns
TITLE = "## When gateways obey"
WORDS = (
    "The other sections hold decisions against traffic that goes on as if nobody obeyed them; here gateways do. Each "
    "kind is judged by the policy that never saw it, in mode enforce. A suspended account is served nothing, a "
    "throttled one what its decision's limit lets pass; what is refused reaches the engine as a gateway tells it. "
    "*Served*: share of the campaign's requests that passed: of all, of those from the day after its confirmation on, "
    "and on the worst of these days. Honest accounts and requests count where they were really refused. *Comes back*: "
    "played once more with an operator who gives up an account at its third refusal and has a fresh one, as old as the "
    "first was, in its place six hours later, for as long as the stream lasts. Means, and in brackets the least and "
    "the most of the streams. What made-up traffic does not show: nobody tries again or slows down, and requests of "
    "accounts that are restricted pass."
)
COLUMNS = (
    "kind", "confirmed", "served, of all", "served, from the day after", "on the worst day",
    "honest accounts refused anything, in 2,000", "honest requests refused, in 100,000",
    "comes back: served, from the day after", "accounts used for each at first", "requests served an account used",
)  # fmt: skip
SHARES = ("share", "share_after", "worst_after")
RATES = ("refused_accounts_per_2000", "refused_per_100000")
COMES_BACK = ("again_share_after", "again_accounts", "again_served_an_account")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Played:
    """One stream to be played, and the text of the policy that never saw its kind."""

    kind: str
    seed: int
    accounts: int
    policy: bytes


def play_one(task: Played) -> Row:
    """The row of one stream."""
    stream = simulate(task.kind, seed=task.seed, accounts=task.accounts, days=DAYS)
    policy = policies.parse(task.policy)
    again = obey(stream, policy, comes_back=True)
    more = (again.share_after, again.used / max(again.accounts, 1), again.served_an_account)
    row = {"kind": task.kind, "seed": task.seed} | obey(stream, policy).to_dict()
    return row | dict(zip(COMES_BACK, more, strict=True))


def play_all(
    unseen: Mapping[str, bytes], seeds: Sequence[int], accounts: int, jobs: int, say: Callable[[str], None]
) -> list[Row]:
    """The rows of every kind in `unseen` (its policy's text), a stream a seed."""
    todo = [Played(kind, seed, accounts, text) for kind, text in unseen.items() for seed in seeds]
    return list(_told(each(play_one, todo, jobs), say))


def _told(rows: Iterator[Row], say: Callable[[str], None]) -> Iterator[Row]:
    for row in rows:
        shares = ", ".join(number(row[name]) for name in SHARES)
        say(f"{row['kind']} {row['seed']} with gateways that obey: served {shares}")
        yield row


def section(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """The section as Markdown, from its heading on, without a line's end."""
    lines: list[Sequence[str]] = [COLUMNS]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        chosen = [row for row in rows if row["kind"] == kind]
        cells = [_cell(chosen, name, 3) for name in SHARES] + [_cell(chosen, name, 2) for name in RATES]
        confirmed = sum(row["confirmed_day"] is not None for row in chosen)
        cells += [_cell(chosen, name, digits) for name, digits in zip(COMES_BACK, (3, 1, 1), strict=True)]
        lines.append([kind, f"{confirmed} of {len(chosen)}", *cells])
    made = (
        f"Played on {about['date']} at commit {about['commit']}: {about['seeds']} seeds a kind from "
        f"{about['first_seed']} on, {about['accounts']:,} lawful accounts, {about['days']:g} days."
    )
    return "\n\n".join([TITLE, f"{WORDS} {made}", table(lines)])


def _cell(rows: Sequence[Row], name: str, digits: int) -> str:
    return span_of([row[name] for row in rows if row[name] is not None]).text(digits)


def replaced(page: str, new: str) -> str:
    """The scoreboard's page with the section `new` in the place of the one it has, or behind that on campaigns."""
    parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    own = [part.startswith(f"{TITLE}\n") for part in parts]
    at = own.index(True) if any(own) else BEHIND
    parts[at : at + any(own)] = [new]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
