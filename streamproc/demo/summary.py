"""What the demo found, held against the truth, for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from streamproc.demo.telling import WIDTH, number
from streamproc.sim.evaluate import HOUR_MS
from streamproc.telling.evidence import weigh
from streamproc.telling.text import evidence_lines

if TYPE_CHECKING:
    from streamproc.contract.decisions import Campaign
    from streamproc.demo.play import Played
    from streamproc.sim.evaluate import Evaluation

__all__ = ["summary"]

CONFIRMED: Final = ("confirmed", "contained")
LEAST_SHOWN: Final = 0.05  # of a signal's evidence


def summary(played: Played, evaluation: Evaluation) -> str:
    """Return what was found, for a terminal of 80 columns."""
    heard = played.heard
    found = {name: states for name, states in heard.campaigns.items() if _confirmed(states) is not None}
    parts = [_found_lines(name, states) for name, states in found.items()] or [["No campaign was confirmed."]]
    parts.append(_truth_lines(evaluation))
    rate = f"{played.events / played.seconds:,.0f} a second"
    parts.append([f"{played.events:,} events through Kafka and the worker in {played.seconds:.0f} s: {rate}"])
    only_suspected = len(heard.campaigns) - len(found)
    if only_suspected:
        parts[-1].append(f"Suspected and never confirmed, so observed at most: {number(only_suspected, 'campaign')}")
    return "\n" + "\n\n".join("\n".join(lines) for lines in parts)


def _confirmed(states: list[Campaign]) -> Campaign | None:
    """Return a campaign's first event in which it is confirmed, None if it never is."""
    return next((event for event in states if event.state in CONFIRMED), None)


def _found_lines(name: str, states: list[Campaign]) -> list[str]:
    first, last, confirmed = states[0], states[-1], _confirmed(states)
    assert confirmed is not None
    lines = [
        f"Campaign {name}: {last.state}, {last.members} members",
        f"  suspected  {_age(first)} after its first request",
        f"  confirmed  {_age(confirmed)} after its first request",
        f"  evidence   {confirmed.log10_lr:+.2f} when confirmed (log10 of the likelihood ratio):",
    ]
    for line in evidence_lines(weigh(reason for reason in confirmed.evidence if abs(reason.log10_lr) >= LEAST_SHOWN)):
        text = line.strip().replace(" %", "\N{NO-BREAK SPACE}%")
        head = len(text) - len(text.split(maxsplit=2)[2])
        lines += textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent=" " * (head + 4))
    return lines


def _age(event: Campaign) -> str:
    return f"{(event.ts_ms - event.first_seen_ms) / HOUR_MS:.1f} hours"


def _truth_lines(evaluation: Evaluation) -> list[str]:
    lines = ["Held against the truth:"]
    for one in evaluation.campaigns.values():
        missed = one.members - one.found
        of = f"{one.leaked:,} of {one.exchanges:,} exchanges ({one.leaked_share:.1%})"
        lines += [
            f"  members    {one.found:,} of {one.members:,} found and stopped, {missed:,} missed",
            f"  leaked     {of}, before the account was stopped",
        ]
    if not evaluation.campaigns:
        lines.append("  members    there was no campaign")
    hurt, honest = sum(evaluation.hurt.values()), sum(evaluation.honest.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in evaluation.hurt.items())
    lines.append(f"  hurt       {hurt:,} of {honest:,} honest accounts{': ' + kinds if kinds else ''}")
    if evaluation.false_campaigns:
        lines.append(f"  false      {', '.join(evaluation.false_campaigns)}: campaigns mostly of honest accounts")
    return lines
