"""Hand-made communities: plain Python members and uses, turned into the columns that statistics read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from streamproc.core.campaigns.cores import Cores, Population

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_MS = 3_600_000
START_MS = 1_750_032_000_000  # a midnight, UTC
END_MS = START_MS + 72 * HOUR_MS


@dataclass
class Use:
    core: int
    ms: int
    turns: int = 0
    sitting: bool = False
    served: bool = True
    elicits: int = 0
    tok_in: int = 500
    tok_out: int = 900


@dataclass
class Member:
    uses: list[Use]
    all: int | None = None
    org: int = 0
    client: int = 0
    client_full: int = 0
    pathway: int = 0
    signup_ms: int = -1


@dataclass
class Pool:
    """One community: its members, and how many core components it has."""

    members: list[Member]
    core: int = 4


@dataclass
class Maker:
    """Makes `Cores` of pools.  `population` fixes who else is active; otherwise it is the members alone."""

    start_ms: int = START_MS
    end_ms: int = END_MS
    population: Sequence[Member] | None = field(default=None)

    def cores(self, *pools: Pool) -> Cores:
        members = [(c, m) for c, pool in enumerate(pools) for m in pool.members]
        first_core = np.cumsum([0, *(pool.core for pool in pools)])
        uses = [
            (i, int(first_core[c]) + use.core, use)
            for i, (c, m) in enumerate(members)
            for use in sorted(m.uses, key=lambda use: use.ms)
        ]
        holders = [0] * int(first_core[-1])
        for _, core in {(member, core) for member, core, _ in uses}:
            holders[core] += 1
        people = [m for _, m in members] if self.population is None else list(self.population)
        return Cores(
            start_ms=self.start_ms,
            end_ms=self.end_ms,
            n=len(pools),
            population=Population(
                client=_keys(m.client for m in people),
                client_full=_keys(m.client_full for m in people),
                pathway=_keys(m.pathway for m in people),
                org=_keys(m.org for m in people),
                signup_ms=_ints(m.signup_ms for m in people),
            ),
            member_row=np.arange(len(members), dtype=np.int32),
            member_community=_ints(c for c, _ in members),
            member_core=_ints(len(m.uses) for _, m in members),
            member_all=_ints(len(m.uses) if m.all is None else m.all for _, m in members),
            member_org=_keys(m.org for _, m in members),
            member_client=_keys(m.client for _, m in members),
            member_client_full=_keys(m.client_full for _, m in members),
            member_pathway=_keys(m.pathway for _, m in members),
            member_signup_ms=_ints(m.signup_ms for _, m in members),
            use_member=_ints(member for member, _, _ in uses),
            use_core=_ints(core for _, core, _ in uses),
            use_ms=_ints(use.ms for *_, use in uses),
            use_turns=_ints(use.turns for *_, use in uses),
            use_sitting=np.array([use.sitting for *_, use in uses], np.bool_),
            use_served=np.array([use.served for *_, use in uses], np.bool_),
            use_elicits=_ints(use.elicits for *_, use in uses),
            use_tok_in=_ints(use.tok_in for *_, use in uses),
            use_tok_out=_ints(use.tok_out for *_, use in uses),
            core_community=_ints(c for c, pool in enumerate(pools) for _ in range(pool.core)),
            core_component=np.arange(len(holders)),
            core_holders=_ints(holders),
        )


def random_pool(seed: int, members: int = 12, core: int = 5, *, missing: float = 0.1) -> Pool:
    """People of every kind: each value drawn anew, a share of the optional ones missing."""
    rng = np.random.default_rng(seed)

    def maybe(value: int, nothing: int) -> int:
        return nothing if rng.random() < missing else value

    def use() -> Use:
        return Use(
            core=int(rng.integers(core)),
            ms=int(START_MS + rng.integers(72 * HOUR_MS)),
            turns=maybe(int(rng.integers(0, 3)), -1),
            sitting=bool(rng.random() < 0.3),
            served=bool(rng.random() < 0.95),
            elicits=int(rng.random() < 0.2),
            tok_in=maybe(int(rng.lognormal(6, 1)), -1),
            tok_out=maybe(int(rng.lognormal(6, 1)), -1),
        )

    people = []
    for _ in range(members):
        uses = [use() for _ in range(int(rng.integers(2, 20)))]
        people.append(
            Member(
                uses,
                all=len(uses) + int(rng.integers(0, 20)),
                org=maybe(int(rng.integers(1, 9)), 0),
                client=maybe(int(rng.integers(1, 5)), 0),
                client_full=maybe(int(rng.integers(1, 9)), 0),
                pathway=maybe(int(rng.integers(1, 4)), 0),
                signup_ms=maybe(START_MS - int(rng.integers(90 * 24)) * HOUR_MS, -1),
            )
        )
    return Pool(people, core)


def _ints(values: object) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(list(values), np.int64)  # type: ignore[call-overload]


def _keys(values: object) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(list(values), np.uint64)  # type: ignore[call-overload]


@pytest.fixture(scope="session")
def random_people() -> Callable[..., Pool]:
    return random_pool


@pytest.fixture(scope="session")
def maker() -> type[Maker]:
    return Maker


@pytest.fixture(scope="session")
def kinds() -> tuple[type[Pool], type[Member], type[Use]]:
    return Pool, Member, Use
