"""What memory holds, said in the contract's words: enforcement and campaign events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamproc.contract import decisions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamproc.core.campaigns.memory import Campaign, Standing
    from streamproc.core.policy import LadderPolicy, Policy

ROUND, WATCH, LABEL = 0, 1, 2  # kinds of decision: the last three bits of `seq`
LINK_FIELD = "template_fp"


def seq_of(ts_ms: int, kind: int) -> int:
    """The sequence number of a decision at `ts_ms`."""
    return ts_ms * 8 + kind


def enforcement(
    ts_ms: int, kind: int, standing: Standing, evidence: tuple[decisions.Reason, ...], policy: Policy
) -> decisions.Enforcement:
    """The event that says what is in force for an account from `ts_ms` on."""
    subject = decisions.Subject(id=standing.name)
    seq = seq_of(ts_ms, kind)
    released = standing.action == "release"
    return decisions.Enforcement(
        id=decisions.enforcement_id(f"account:{standing.name}", seq, standing.action, policy.version),
        ts_ms=ts_ms,
        seq=seq,
        subject=subject,
        action=standing.action,
        mode=policy.mode,
        limit=_limit(standing, policy.ladder),
        expires_ms=None if released else standing.expires_ms,
        campaign=standing.campaign,
        score=standing.score,
        reasons=() if released else evidence,
        policy=policy.version,
    )


def campaign_event(ts_ms: int, campaign: Campaign, policy: Policy, kind: int = ROUND) -> decisions.Campaign:
    """The event that says how a campaign stands at `ts_ms`."""
    return decisions.Campaign(
        campaign=campaign.id,
        seq=seq_of(ts_ms, kind),
        ts_ms=ts_ms,
        state=campaign.state,
        first_seen_ms=campaign.first_seen_ms,
        members=len(campaign.members),
        exchanges=campaign.exchanges,
        leaked_before_action=campaign.leaked,
        log10_lr=campaign.log10_lr,
        families=campaign.families,
        evidence=campaign.evidence,
        links=link_events(campaign.links),
        capabilities=campaign.capabilities,
        predecessor=campaign.predecessor,
        merged_into=campaign.merged_into,
        blind=campaign.blind,
        policy=policy.version,
    )


def link_events(links: Iterable[tuple[str, int]]) -> tuple[decisions.Link, ...]:
    """What holds accounts together, as (value, accounts), in the contract's words."""
    return tuple(decisions.Link(field=LINK_FIELD, value=value, accounts=accounts) for value, accounts in links)


def _limit(standing: Standing, ladder: LadderPolicy) -> decisions.Limit | None:
    if standing.action == "throttle":
        rate = ladder.mixed_requests_per_min if standing.mixed else ladder.throttle_requests_per_min
        return decisions.Limit(requests_per_min=rate, tokens_per_min=ladder.throttle_tokens_per_min)
    if standing.action == "restrict":
        return decisions.Limit(capabilities=ladder.restrict_capabilities)
    return None
