"""Explaining: what was decided about an account or a campaign, when and why, in words or as data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamproc.contract.decisions import Campaign, Enforcement, Reason
    from streamproc.replay import Replayed

RUNG_TEXT = {
    "observe": "observed: a tag only",
    "verify": "asked for step-up verification",
    "throttle": "throttled",
    "restrict": "restricted: capabilities taken away",
    "suspend": "suspended",
    "release": "released: nothing is in force any more",
}


class UnknownSubjectError(LookupError):
    """Nothing was decided about the subject in this input."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything said of one account or one campaign, oldest first."""

    subject: str
    decisions: tuple[Enforcement, ...]  # of the account
    campaign: tuple[Campaign, ...]  # states of the campaign, or of the one that the account is held to be in

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "subject": self.subject,
            "decisions": msgspec.to_builtins(self.decisions),
            "campaign": msgspec.to_builtins(self.campaign),
        }

    def text(self) -> str:
        """As an on-call engineer reads it."""
        lines = [f"{self.subject}"]
        for event in self.decisions:
            until = f" until {_time(event.expires_ms)}" if event.expires_ms else ""
            lines.append(f"  {_time(event.ts_ms)}  {RUNG_TEXT[event.action]}{until}")
            lines.append(f"      campaign {event.campaign}, probability {event.score:.2f}, {event.mode}, {event.id}")
        if self.campaign:
            lines += _campaign_text(self.campaign)
        return "\n".join(lines)


def explain(subject: str, replayed: Replayed) -> Explanation:
    """What a replay decided about `subject`, an account's or a campaign's id.

    Raises:
        UnknownSubjectError: nothing was.
    """
    decisions = tuple(event for event in replayed.enforcements if event.subject.id == subject)
    named = decisions[-1].campaign if decisions else subject
    campaign = tuple(event for event in replayed.campaigns if event.campaign == named)
    if not decisions and not campaign:
        raise UnknownSubjectError(f"nothing was decided about {subject!r}: no such campaign, or an account left alone")
    return Explanation(subject, decisions, campaign)


def _campaign_text(states: Sequence[Campaign]) -> list[str]:
    last = states[-1]
    lines = [f"campaign {last.campaign}: {last.state}, {last.members} members, {last.exchanges} exchanges"]
    lines.append(f"  first request {_time(last.first_seen_ms)}, {last.leaked_before_action} served before an action")
    for before, after in zip([None, *states], states, strict=False):
        if before is None or before.state != after.state:
            lines.append(f"  {_time(after.ts_ms)}  {after.state} with {after.members} members")
    if last.predecessor:
        lines.append(f"  takes over from {last.predecessor}")
    lines.append(f"  evidence {last.log10_lr:+.2f} (decimal logarithm of the likelihood ratio):")
    lines += [_reason_text(reason) for reason in last.evidence]
    if last.links:
        shared = ", ".join(f"{link.value} ({link.accounts})" for link in last.links[:6])
        lines.append(f"  shared templates (accounts): {shared}")
    if last.blind:
        lines.append(f"  blind for want of a field: {', '.join(last.blind)}")
    return lines


def _reason_text(reason: Reason) -> str:
    return f"    {reason.log10_lr:+6.2f}  {reason.family:<9}  {reason.text}"


def _time(ts_ms: int | None) -> str:
    return "never" if ts_ms is None else datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
