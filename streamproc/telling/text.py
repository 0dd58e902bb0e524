"""An account of a campaign or an account as plain text, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamproc.telling import words
from streamproc.telling.evidence import weighed_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamproc.telling.accounts import AccountTold, Step
    from streamproc.telling.campaigns import CampaignTold, Member
    from streamproc.telling.evidence import LabelTold, Weighed

__all__ = ["account_lines", "campaign_lines", "evidence_lines", "member_lines"]

SHOWN_LINKS = 6
SHOWN_MEMBERS = 20


def account_lines(told: AccountTold) -> list[str]:
    """The account of an account."""
    lines = [f"{told.kind} {told.id}", f"  {told.standing}", "  decided:"]
    for step in told.steps:
        lines += _step_lines(step)
    lines += _label_lines(told.labels)
    if told.campaign is None and told.evidence:
        lines += ["  because:", *evidence_lines(told.evidence, "    ")]
    return lines


def campaign_lines(told: CampaignTold) -> list[str]:
    """The account of a campaign."""
    leaked = f"of which {told.leaked:,} ({words.percent(told.leaked_share)})"
    lines = [
        f"campaign {told.id}: {told.state}, {words.count(told.members, 'member')}",
        f"  {told.state}: {told.what}",
        f"  first request {words.stamp(told.first_seen_ms)}, {told.age} before {words.stamp(told.now_ms)}",
        f"  {words.count(told.exchanges, 'exchange')}, {leaked} were served before its account was acted on",
    ]
    lines += [f"  takes over from {told.predecessor}"] * (told.predecessor is not None)
    lines += [f"  is now part of {told.merged_into}"] * (told.merged_into is not None)
    lines.append("  course:")
    lines += [f"    {words.stamp(moment.ts_ms)}  {moment.what}; {words.count(moment.members, 'member')}, "
              f"{words.count(moment.exchanges, 'exchange')}" for moment in told.course]  # fmt: skip
    lines += _label_lines(told.labels)
    lines.append(f"  evidence {told.log10_lr:+.2f}, {told.likelier} (decimal logarithm of the likelihood ratio):")
    lines += evidence_lines(told.evidence, "    ")
    lines += [f"  {told.last_round.evidence}"] if told.last_round else []
    lines += _seen_lines(told)
    lines.append(f"  enforcing: {told.cut_off.what}")
    lines += [f"    {told.last_round.what}"] if told.last_round else []
    lines += [
        f"    {rung.action:<9} {rung.shadow:>6,} in shadow {rung.enforce:>6,} enforced"
        for rung in told.cut_off.rungs
        if rung.shadow or rung.enforce
    ]
    return lines + _outsider_lines(told) + _look_alike_lines(told)


def evidence_lines(evidence: Iterable[Weighed], indent: str = "") -> list[str]:
    """A line a signal: weight, family, sentence."""
    return [f"{indent}{one.log10_lr:+6.2f}  {one.family:<9}  {weighed_text(one)}" for one in evidence]


def member_lines(members: Sequence[Member]) -> list[str]:
    """The first members, and how many more there are."""
    if not members:
        return []
    lines = [f"  members ({len(members):,}):"]
    lines += [
        f"    {one.id}  {one.action}, {one.mode}, {f'until {one.ends}' if one.in_force else 'not in force'}, "
        f"probability {one.probability:.2f}"
        for one in members[:SHOWN_MEMBERS]
    ]
    more = len(members) - SHOWN_MEMBERS
    return [*lines, f"    and {more:,} more"] if more > 0 else lines


def _step_lines(step: Step) -> list[str]:
    limit = f" ({step.limit})" if step.limit else ""
    ends = f", until {step.ends}" if step.ends else ""
    campaign = step.campaign or "none"
    return [
        f"    {words.stamp(step.ts_ms)}  {step.what}{limit}{ends}",
        f"        {step.mode}, campaign {campaign}, probability {step.probability:.2f}, decision {step.id}",
    ]


def _label_lines(labels: Iterable[LabelTold]) -> list[str]:
    return [
        f"  {words.stamp(one.ts_ms)}  {one.who} said: {one.what}"
        f"{f' ({one.program})' if one.program else ''}, for: {one.why}"
        for one in labels
    ]


def _seen_lines(told: CampaignTold) -> list[str]:
    """What they share and ask for, and what could not be seen."""
    lines = []
    if told.links:
        shared = ", ".join(f"{link.value} ({link.accounts})" for link in told.links[:SHOWN_LINKS])
        lines.append(f"  shared templates (accounts): {shared}")
    if told.asks_for:
        lines.append(f"  asks for: {', '.join(f'{name} {words.percent(share)}' for name, share in told.asks_for)}")
    for one in told.blind:
        fields = f" (needs {', '.join(one.fields)})" if one.fields else ""
        lines.append(f"  blind to {one.what}: {one.signal}{fields}")
    return lines


def _outsider_lines(told: CampaignTold) -> list[str]:
    last = told.last_round
    if last is None or not last.outsiders:
        return []
    lines = [f"  not held to be members: {words.count(last.outsiders, 'account')} that use its templates, the nearest:"]
    return lines + [
        f"    {one.account}  {words.count(one.requests, 'request')} for {one.components} of its templates, "
        f"{words.percent(one.share)} of its traffic; {words.percent(one.exclusive)} of their users are members"
        for one in last.nearest
    ]


def _look_alike_lines(told: CampaignTold) -> list[str]:
    lines = ["  look-alikes that were not acted on:"]
    for one in told.look_alikes:
        lines.append(
            f"    {one.log10_lr:+.2f}  {one.what}{f' {one.campaign}' if one.campaign else ''}: "
            f"{words.count(one.accounts, 'account')}, {words.count(one.shared, 'template')} in common"
        )
        lines.append(f"           {one.why}{f' {one.against}' if one.against else ''}")
    if not told.look_alikes:
        lines.append("    none")
    return [*lines, f"    {told.not_told}"] if told.not_told else lines
