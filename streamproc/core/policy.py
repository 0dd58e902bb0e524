"""The policy: every threshold by name, read from TOML and checked before anything starts."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Iterator
from importlib import resources
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from streamproc.contract.errors import PolicyError
from streamproc.core.campaigns.null import FrozenNull
from streamproc.core.campaigns.scorecard import Scorecard

Count = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Hours = Annotated[int, Meta(ge=1, le=24 * 365)]
MOST_VIEW_HOURS = 24 * 49  # a block counts milliseconds in 32 bits


class TimePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Slots, rounds and views, in seconds and hours of event time."""

    slot_s: Count
    lateness_s: Count
    round_slots: Count
    future_s: Count
    future_accounts: Count
    view_hours: tuple[Hours, ...]


class ComponentsPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How near values are taken together, and how many are kept."""

    radius: Annotated[int, Meta(ge=0, le=16)]
    kept_values: Count
    new_values_per_account_day: Count
    capacity: Count


class TiesPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which components tie accounts, and how many they must share."""

    min_shared: Count
    min_holders: Count
    max_holders: Count
    max_holders_share: Share
    sampled_holders: Count


class CommunitiesPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Smallest community and the constant of the Potts model, in shared components a pair."""

    min_accounts: Count
    resolution: Positive


class CoresPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which components belong to a community."""

    min_holders: Count
    min_share: Share
    min_lift: Positive
    min_requests: Count


class ScorePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The scorecard: weights by statistic, caps by family, and the memories that carry it from round to round.

    Each of `carry` is a memory of its own; `thresholds` has a row for each view with one for each memory.
    """

    null: Literal["frozen", "running", "cautious"]
    carry: tuple[Share, ...]
    thresholds: tuple[tuple[float, ...], ...]
    start: float
    outside: float
    intercept: float
    weights: dict[str, Annotated[float, Meta(ge=0)]]
    caps: dict[str, Positive]


class ConfirmPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a suspected campaign needs to be confirmed, and how it is followed."""

    rounds: Count
    min_families: Count
    min_organisations: Count
    max_new_per_day: Count
    min_overlap: Share
    live_hours: Hours


class MembersPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which accounts belong to a campaign, which are mixed, and what the watchlist needs."""

    min_requests: Count
    min_components: Count
    min_share: Share
    min_exclusivity: Share
    mixed_below: Share
    mixed_min_requests: Count
    mixed_min_components: Count
    watch_min_requests: Count
    watch_min_components: Count
    watch_min_share: Share
    watch_delay_s: Count
    watch_days: Count


class LadderPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long each rung holds, and when an account is suspended."""

    observe_hours: Hours
    throttle_hours: Hours
    restrict_hours: Hours
    suspend_hours: Hours
    suspend_after_hits: Count
    throttle_requests_per_min: Positive
    mixed_requests_per_min: Positive
    throttle_tokens_per_min: Positive
    restrict_capabilities: tuple[str, ...]


class HabitsPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """River's half-space trees over accounts' own days, which raise `observe` only."""

    seed: Whole
    budget: Count
    threshold: Share


class CapsPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Most that is kept of each thing."""

    accounts: Count
    duplicates: Count
    campaigns: Count


class ExemptPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Vetted programmes and accounts: observed at most."""

    programs: tuple[str, ...]
    accounts: tuple[str, ...]


class ProbabilityPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Logistic fits: P(campaign | log10_lr) and P(member | core share, ln core requests)."""

    campaign: tuple[float, float]
    member: tuple[float, float, float]


class FitPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where weights, null, threshold and probabilities came from."""

    date: str
    seeds: tuple[int, ...]
    figures: str


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All thresholds of one deployment."""

    name: Annotated[str, Meta(min_length=1, max_length=32)]
    mode: Literal["shadow", "enforce"]
    time: TimePolicy
    components: ComponentsPolicy
    ties: TiesPolicy
    communities: CommunitiesPolicy
    cores: CoresPolicy
    score: ScorePolicy
    confirm: ConfirmPolicy
    members: MembersPolicy
    ladder: LadderPolicy
    habits: HabitsPolicy
    caps: CapsPolicy
    exempt: ExemptPolicy
    probability: ProbabilityPolicy
    fit: FitPolicy
    null: dict[str, dict[str, list[float]]]
    version: str = ""


def parse(text: bytes) -> Policy:
    """The policy written in TOML `text`.

    Raises:
        PolicyError: the text is no TOML, or a key is missing, unknown or out of range.
    """
    try:
        table = tomllib.loads(text.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyError("file", f"is not TOML: {error}") from error
    try:
        policy = msgspec.convert(table, Policy, strict=True)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise PolicyError(path.strip("`.") or "file", reason) from error
    _check(policy)
    digest = hashlib.sha256(text).hexdigest()[:12]
    return msgspec.structs.replace(policy, version=f"{policy.name}-{digest}")


def default() -> Policy:
    """The policy that ships with the package."""
    return parse(default_text())


def default_text() -> bytes:
    """The TOML text of the policy that ships with the package."""
    return resources.files("streamproc").joinpath("policy.toml").read_bytes()


def _check(policy: Policy) -> None:
    """What no single value shows: numbers that belong together, tables that must name what exists."""
    hours, time = policy.time.view_hours, policy.time
    round_s = time.round_slots * time.slot_s
    if not hours or list(hours) != sorted(hours, reverse=True) or hours[0] > MOST_VIEW_HOURS:
        raise PolicyError("time.view_hours", f"must be one or more, the longest first, {MOST_VIEW_HOURS} at most")
    if any(hour * 3600 % round_s for hour in hours):
        raise PolicyError("time.view_hours", "must each be whole rounds (slot_s x round_slots)")
    if not policy.score.carry:
        raise PolicyError("score.carry", "must have a memory at least")
    if [len(row) for row in policy.score.thresholds] != [len(policy.score.carry)] * len(hours):
        raise PolicyError("score.thresholds", "must be a row for each of time.view_hours with one for each score.carry")
    for path, number in _numbers(msgspec.to_builtins(policy)):
        if not math.isfinite(number):
            raise PolicyError(path, "must be a finite number")
    Scorecard.from_tables(policy.score.weights, policy.score.intercept, policy.score.caps)
    FrozenNull.from_dict(policy.null)


def _numbers(table: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a nested table with the path of the key it stands under."""
    if isinstance(table, dict):
        for key, value in table.items():
            yield from _numbers(value, f"{path}.{key}" if path else key)
    elif isinstance(table, list | tuple):
        for value in table:
            yield from _numbers(value, path)
    elif isinstance(table, float):
        yield path, table
