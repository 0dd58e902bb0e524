"""One suite that every statistic passes by standing in the registry."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.core.campaigns.statistics import FAMILIES, NAMES, SIGNS, STATISTICS, Statistic, measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamproc.core.campaigns.cores import Cores

HOUR_MS = 3_600_000
HUGE = 2**31 - 1
# Field of a request event -> column of Cores, and what stands there when it is missing.
COLUMNS = {
    "n_assistant": ("use_turns", -1),
    "tok_in": ("use_tok_in", -1),
    "tok_out": ("use_tok_out", -1),
    "elicits": ("use_elicits", -1),
    "ua": ("member_client", 0),
    "ua_version": ("member_client_full", 0),
    "tls_fp": ("member_client_full", 0),
    "pathway": ("member_pathway", 0),
    "org": ("member_org", 0),
    "signup_ms": ("member_signup_ms", -1),
}
each = pytest.mark.parametrize("statistic", STATISTICS, ids=NAMES)


def blanked(cores: Cores, names: tuple[str, ...], every: int, keep: int) -> Cores:
    """`cores` with the columns of `names` missing but in the first `keep` of `every` rows."""
    changes: dict[str, Any] = {}
    for name in names:
        column, nothing = COLUMNS[name]
        values = getattr(cores, column).copy()
        values[np.arange(values.size) % every >= keep] = nothing
        changes[column] = values
    return replace(cores, **changes)


def finite_or_nan(values: np.ndarray[Any, Any]) -> bool:
    return bool(np.all(np.isfinite(values) | np.isnan(values)))


def test_names_differ_and_families_are_the_contracts() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert {s.family for s in STATISTICS} == set(FAMILIES)
    assert set(np.abs(SIGNS)) == {1.0}


@each
def test_no_community_gives_no_value(statistic: Statistic, maker: Any) -> None:
    assert statistic.compute(maker().cores()).shape == (0,)


@each
def test_one_member_with_one_use_is_no_error(statistic: Statistic, maker: Any, kinds: Any) -> None:
    pool, member, use = kinds
    value = statistic.compute(maker().cores(pool([member([use(0, maker.start_ms)])], 1)))
    assert value.shape == (1,)
    assert value.dtype == np.float64
    assert finite_or_nan(value)


@each
def test_a_community_without_members_is_blind(statistic: Statistic, maker: Any, kinds: Any, random_people: Any) -> None:
    pool = kinds[0]
    for pools in ([pool([], 0)], [random_people(1), pool([], 0)], [pool([], 0), random_people(1)]):
        value = statistic.compute(maker().cores(*pools))
        assert [np.isnan(v) for v in value] == [not p.members for p in pools]


@each
def test_missing_fields_everywhere_blind_it_or_leave_it_alone(
    statistic: Statistic, maker: Any, random_people: Any
) -> None:
    cores = maker().cores(random_people(3), random_people(4))
    without = statistic.compute(blanked(cores, tuple(COLUMNS), 1, 0))
    if statistic.fields:
        assert np.isnan(without).all()
    else:
        assert without.tolist() == statistic.compute(cores).tolist()


@pytest.mark.parametrize("statistic", [s for s in STATISTICS if s.fields], ids=lambda s: s.name)
def test_blind_only_when_over_half_of_the_rows_miss_the_field(
    statistic: Statistic, maker: Any, random_people: Any
) -> None:
    cores = maker().cores(random_people(5, members=20, missing=0.0))
    assert np.isnan(statistic.compute(blanked(cores, statistic.fields, 10, 3))).all()
    assert np.isfinite(statistic.compute(blanked(cores, statistic.fields, 10, 7))).all()


@each
def test_huge_numbers_stay_finite(statistic: Statistic, maker: Any, random_people: Any) -> None:
    pool = random_people(6)
    for i, member in enumerate(pool.members):
        member.all = HUGE
        member.signup_ms = 2**62
        member.org = member.client = member.client_full = member.pathway = 2**64 - 1
        for j, use in enumerate(member.uses):
            use.tok_in, use.tok_out = (HUGE, 0) if (i + j) % 2 else (0, HUGE)
            use.turns = 7
            use.elicits = 255
    assert np.isfinite(statistic.compute(maker().cores(pool))).all()


@each
def test_every_value_new_stays_finite(statistic: Statistic, maker: Any, kinds: Any) -> None:
    pool, member, use = kinds
    people = [
        member(
            [use(2 * i + k, maker.start_ms + 999 * i + k, tok_in=97 * i, tok_out=89 * i) for k in (0, 1)],
            org=3 * i + 1, client=3 * i + 1, client_full=3 * i + 1, pathway=3 * i + 1, signup_ms=i,
        )
        for i in range(30)
    ]  # fmt: skip
    value = statistic.compute(maker().cores(pool(people, 60)))
    assert finite_or_nan(value)
    assert np.isfinite(value).all() or statistic.name == "tokens"  # no cell of three requests: nothing to compare


@each
def test_order_of_communities_permutes_the_values_exactly(statistic: Statistic, maker: Any, random_people: Any) -> None:
    pools = [random_people(seed, members=8 + seed, core=3 + seed) for seed in range(4)]
    people = [member for pool in pools for member in pool.members]
    straight = statistic.compute(maker(population=people).cores(*pools))
    for order in permutations(range(4)):
        turned = statistic.compute(maker(population=people).cores(*(pools[i] for i in order)))
        np.testing.assert_array_equal(turned, straight[list(order)])


@each
def test_an_unrelated_community_changes_nothing(statistic: Statistic, maker: Any, random_people: Any) -> None:
    own, before, after = (random_people(seed, members=9 + seed) for seed in range(3))
    alone = statistic.compute(maker(population=own.members).cores(own))
    among = statistic.compute(maker(population=own.members).cores(before, own, after))
    np.testing.assert_array_equal(among[1:2], alone)


@settings(max_examples=60, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 10**6), max_size=4),
    members=st.integers(1, 12),
    core=st.integers(1, 6),
    missing=st.floats(0, 1),
)
def test_any_pool_gives_finite_values_or_nan(
    seeds: list[int], members: int, core: int, *, missing: float, maker: Any, random_people: Any
) -> None:
    pools = [random_people(seed, members, core, missing=missing) for seed in seeds]
    measures = measure(maker().cores(*pools))
    assert measures.values.shape == (len(pools), len(STATISTICS))
    assert measures.sizes.tolist() == [members] * len(pools)
    assert finite_or_nan(measures.values)


def test_inputs_are_left_as_they_were(maker: Any, random_people: Any) -> None:
    cores, same = (maker().cores(random_people(7), random_people(8)) for _ in range(2))
    measure(cores)
    for field in fields(cores):
        if field.name not in ("population", "start_ms", "end_ms", "n"):
            np.testing.assert_array_equal(getattr(cores, field.name), getattr(same, field.name))


@each
def test_the_sentence_shows_both_numbers(statistic: Statistic) -> None:
    sentence = statistic.sentence(0.25, 0.75)
    shown = [statistic.show(0.25), statistic.show(0.75)]
    assert all(number in sentence for number in shown)
    assert "{" not in sentence
    assert sentence.endswith(".")


# --- the sign: a hand-made pool against its hand-made twin ---

START_MS = 1_750_032_000_000  # a midnight, UTC
LAST_MS = START_MS + 72 * HOUR_MS - 1


def base(kinds: Any) -> Any:
    """Twelve members that do six core requests each over three days, alike in everything."""
    pool, member, use = kinds
    return pool(
        [
            member(
                [
                    use(
                        (i + k) % 4,
                        START_MS + (12 * k + i % 6) * HOUR_MS,
                        tok_in=400 + 37 * ((i * k) % 7),
                        tok_out=800 + 53 * ((i + 2 * k) % 5),
                    )
                    for k in range(6)
                ],
                org=1,
                client=1,
                client_full=1,
                pathway=1,
                signup_ms=START_MS - 90 * 24 * HOUR_MS,
            )
            for i in range(12)
        ],
        4,
    )


def members(name: str, value: Callable[[int], int]) -> Callable[[Any], None]:
    """A change: attribute `name` of member `i` becomes `value(i)`."""

    def apply(pool: Any) -> None:
        for i, member in enumerate(pool.members):
            setattr(member, name, value(i))

    return apply


def uses(name: str, value: Callable[[int, int, Any], Any]) -> Callable[[Any], None]:
    """A change: attribute `name` of use `k` of member `i` becomes `value(i, k, use)`."""

    def apply(pool: Any) -> None:
        for i, member in enumerate(pool.members):
            for k, use in enumerate(member.uses):
                setattr(use, name, value(i, k, use))

    return apply


def fewer_members(pool: Any) -> None:
    del pool.members[8:]


def later_starts(pool: Any) -> None:
    for i, member in enumerate(pool.members):
        del member.uses[: i % 5]


def own_pace(pool: Any) -> None:
    for i, member in enumerate(pool.members):
        member.uses = member.uses * 3 if i % 2 else [member.uses[0]]


def own_hours(i: int, k: int, use: Any) -> int:
    return int(use.ms - use.ms % (24 * HOUR_MS) + 2 * i * HOUR_MS + k)


def own_tokens(i: int, _: int, use: Any) -> int:
    return int(use.tok_in * (i + 1))


def same(_: Any) -> None:
    """The base itself."""


# Statistic -> (what makes the base a pool, what makes it its twin); they differ in one thing only.
TWINS: dict[str, tuple[Callable[[Any], None], Callable[[Any], None]]] = {
    "core_size": (lambda pool: setattr(pool, "core", 9), same),
    "cover": (uses("core", lambda i, _, __: i % 4), same),
    "size": (same, fewer_members),
    "births": (same, later_starts),
    "hours": (same, uses("ms", own_hours)),
    "day_evenness": (same, uses("ms", lambda i, k, use: LAST_MS - i - k if k else use.ms)),
    "sittings": (same, uses("sitting", lambda _, k, __: k % 2 == 0)),
    "earlier_turns": (same, uses("turns", lambda _, k, __: k % 3)),
    "dispersion": (same, own_pace),
    "devoted": (same, members("all", lambda _: 40)),
    "devoted_share": (same, members("all", lambda _: 40)),
    "core_share": (same, members("all", lambda _: 40)),
    "tokens": (same, uses("tok_in", own_tokens)),
    "client_variety": (members("client", lambda i: 1 + i % 4), same),
    "shared_client": (members("client_full", lambda i: 1 + i % 4), same),
    "pathway_variety": (members("pathway", lambda i: 1 + i % 3), same),
    "organisations": (members("org", lambda i: 1 + i), same),
    "fresh": (members("signup_ms", lambda _: LAST_MS - 24 * HOUR_MS), same),
    "elicitation": (uses("elicits", lambda _, k, __: k % 2), same),
}


def test_every_statistic_has_a_pool_and_a_twin() -> None:
    assert sorted(TWINS) == sorted(NAMES)


@each
def test_the_sign_points_at_the_pool(statistic: Statistic, maker: Any, kinds: Any) -> None:
    make_pool, make_twin = TWINS[statistic.name]
    pool, twin = base(kinds), base(kinds)
    make_pool(pool)
    make_twin(twin)
    everybody = [kinds[1]([], client_full=1 + i % 4) for i in range(40)]
    of_pool, of_twin = statistic.compute(maker(population=everybody).cores(pool, twin))
    assert statistic.sign * (of_pool - of_twin) > 0.01
