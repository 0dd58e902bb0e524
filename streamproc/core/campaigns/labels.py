"""Labels: what an analyst says of an account or a campaign, and what that undoes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamproc import contract
from streamproc.core.campaigns.ladder import RANK
from streamproc.core.campaigns.memory import Standing

if TYPE_CHECKING:
    from streamproc.contract.decisions import Action
    from streamproc.contract.labels import Label
    from streamproc.core.campaigns.memory import Campaign, Memory

# What a label of an account releases: rungs up to this one.  A passed verification never undoes more than verify.
ACCOUNT_RELEASES: dict[str, Action] = {
    "lawful": "suspend",
    "appeal_granted": "suspend",
    "vetted": "suspend",
    "verified": "verify",
}
# Labels that make an account observed at most from then on.
EXEMPTING = {"lawful", "appeal_granted", "vetted"}


def foresee(label: Label, memory: Memory) -> None:
    """Note from when on a label exempts its account or clears its campaign: uses are judged by their own times."""
    if label.subject.kind == "account" and label.label in EXEMPTING:
        memory.exempt[int(contract.key64([label.subject.id])[0])] = label.ts_ms
    if label.subject.kind == "campaign" and label.label != "confirmed":
        memory.cleared[label.subject.id] = label.ts_ms


def apply(label: Label, memory: Memory) -> tuple[list[Standing], list[Campaign]]:
    """Enter a label into memory; returns the standings that it released and the campaigns that it changed."""
    if label.subject.kind == "account":
        return _account(label, memory), []
    campaign = memory.campaigns.get(label.subject.id)
    if campaign is None or campaign.state == "merged":
        return [], []
    if label.label == "confirmed":
        campaign.state = "confirmed"
        campaign.confirmed_ms = label.ts_ms if campaign.confirmed_ms is None else campaign.confirmed_ms
        return [], [campaign]
    campaign.state, campaign.watch, campaign.members = "cleared", None, {}
    released = [_release(memory, key) for key in sorted(memory.standings) if _of(memory.standings[key], campaign)]
    return released, [campaign]


def _account(label: Label, memory: Memory) -> list[Standing]:
    key = int(contract.key64([label.subject.id])[0])
    if label.label == "confirmed":
        memory.exempt.pop(key, None)
        return []
    standing = memory.standings.get(key)
    if standing is None or RANK[standing.action] > RANK[ACCOUNT_RELEASES[label.label]]:
        return []
    return [_release(memory, key)]


def _of(standing: Standing, campaign: Campaign) -> bool:
    return standing.campaign == campaign.id


def _release(memory: Memory, key: int) -> Standing:
    before = memory.standings.pop(key)
    return Standing(before.name, "release", 0, before.campaign, 0, before.score)
