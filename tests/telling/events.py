"""Events of the contract for tests: a campaign, its states, its members' decisions, labels."""

from __future__ import annotations

from typing import Any

from streamproc.contract.decisions import (
    BESIDE,
    Action,
    Campaign,
    Enforcement,
    Limit,
    Link,
    Reason,
    Subject,
    enforcement_id,
)
from streamproc.contract.labels import Label, LabelSubject, Word
from streamproc.contract.rounds import CampaignRound, Community, Outsider, RoundEvent

NOW = 1_800_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
BIRTHS = Reason(
    signal="births", family="synchrony", log10_lr=1.2, observed=0.9, expected=0.4,
    text=f"90 % of the accounts first used the shared templates within the same 12 hours{BESIDE}40 %.",
)  # fmt: skip
PATHWAYS = Reason(
    signal="pathway_variety", family="identity", log10_lr=-0.4, observed=0.0, expected=0.9,
    text=f"The accounts come in by 1.0 pathways (API, web, clouds){BESIDE}2.5.",
)  # fmt: skip


def campaign(name: str = "c1", ago_ms: int = HOUR, **more: Any) -> Campaign:
    ts_ms = NOW - ago_ms
    told: dict[str, Any] = {
        "campaign": name, "seq": ts_ms * 8, "ts_ms": ts_ms, "state": "confirmed", "first_seen_ms": NOW - 2 * DAY,
        "members": 40, "exchanges": 1_000, "leaked_before_action": 250, "log10_lr": 2.0,
        "families": ("synchrony", "identity"), "evidence": (BIRTHS, PATHWAYS),
        "links": (Link(field="template_fp", value="00aa", accounts=39),), "capabilities": {"chat": 0.25, "code": 0.75},
        "predecessor": None, "merged_into": None, "blind": ("tokens", "organisations"), "policy": "p-1",
    }  # fmt: skip
    return Campaign(**(told | more))


def decision(name: str = "a1", action: Action = "throttle", ago_ms: int = HOUR, **more: Any) -> Enforcement:
    ts_ms = NOW - ago_ms
    told: dict[str, Any] = {
        "id": enforcement_id(f"account:{name}", ts_ms * 8, action, "p-1"), "ts_ms": ts_ms, "seq": ts_ms * 8,
        "subject": Subject(id=name), "action": action, "mode": "shadow",
        "limit": Limit(requests_per_min=1.0, tokens_per_min=2000.0) if action == "throttle" else None,
        "expires_ms": None if action == "release" else ts_ms + 2 * DAY, "campaign": "c1", "score": 0.97,
        "reasons": () if action == "release" else (BIRTHS,), "policy": "p-1",
    }  # fmt: skip
    return Enforcement(**(told | more))


def community(**more: Any) -> Community:
    told: dict[str, Any] = {
        "view_hours": 72, "accounts": 30, "organisations": 28, "score": 0.1, "threshold": 0.5, "log10_lr": 0.2,
        "families": ("synchrony",), "short_of": ("score",), "campaign": None, "evidence": (BIRTHS, PATHWAYS),
        "links": (Link(field="template_fp", value="00bb", accounts=20),),
    }  # fmt: skip
    return Community(**(told | more))


def in_round(name: str = "c1", **more: Any) -> CampaignRound:
    told: dict[str, Any] = {
        "campaign": name, "state": "confirmed", "hits": 3, "log10_lr": -0.3, "withheld": False, "served": 47,
        "turned_away": 3, "outsiders": 12,
        "nearest": (Outsider(account="near-1", requests=4, components=2, share=0.57, exclusive=0.5),),
    }  # fmt: skip
    return CampaignRound(**(told | more))


def seen(
    nearest: tuple[Community, ...] = (), campaigns: tuple[CampaignRound, ...] = (), ago_ms: int = HOUR
) -> RoundEvent:
    """A round event."""
    ts_ms = NOW - ago_ms
    return RoundEvent(
        seq=ts_ms * 8, ts_ms=ts_ms, since_ms=ts_ms - 2 * HOUR, until_ms=ts_ms, accounts=2_000, communities=21,
        nearest=nearest, campaigns=campaigns, policy="p-1",
    )  # fmt: skip


def label(subject: str = "a1", word: Word = "lawful", ago_ms: int = HOUR, **more: Any) -> Label:
    told: dict[str, Any] = {
        "v": 1, "id": f"l-{subject}-{ago_ms}", "ts_ms": NOW - ago_ms, "label": word, "who": "ana", "why": "a course",
        "subject": LabelSubject(kind="campaign" if subject.startswith("c") else "account", id=subject),
    }  # fmt: skip
    return Label(**(told | more))
