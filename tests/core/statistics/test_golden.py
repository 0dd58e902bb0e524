"""Statistics computed again by brute force in plain Python from the uses themselves."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from streamproc.core.campaigns.statistics import NAMES, STATISTICS, measure

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SEEDS = range(12)


def births(pool: Any, _: Any) -> float:
    first = [min(use.ms for use in member.uses) for member in pool.members]
    return float(max(sum(t <= u <= t + 12 * HOUR_MS for u in first) for t in first) / len(first))


def hours(pool: Any, _: Any) -> float:
    quarter = [Counter(use.ms % DAY_MS // (6 * HOUR_MS) for use in member.uses) for member in pool.members]
    whole = sum(quarter, Counter())
    chi_square = 0.0
    for own in quarter:
        for q in whole:
            expected = own.total() * whole[q] / whole.total()
            chi_square += (own[q] - expected) ** 2 / expected
    return math.log(chi_square / (3 * (len(quarter) - 1)) + 0.05)


def day_evenness(pool: Any, maker: Any) -> float:
    cells = []
    for member in pool.members:
        ages = [(maker.end_ms - 1 - use.ms) // DAY_MS for use in member.uses]
        cells += [ages.count(day) for day in range(max(ages) + 1)]
    return math.log(float(np.var(cells, ddof=1) / np.mean(cells)) + 0.05)


def dispersion(pool: Any, maker: Any) -> float:
    exposure = [max(maker.end_ms - min(use.ms for use in m.uses), HOUR_MS) for m in pool.members]
    count = [len(m.uses) for m in pool.members]
    rate = sum(count) / sum(exposure)
    chi_square = sum((c - rate * e) ** 2 / (rate * e) for c, e in zip(count, exposure, strict=True))
    return math.log(chi_square / (len(count) - 1) + 0.05)


def token_correlation(pool: Any, column: str) -> float:
    cells = defaultdict(list)
    for i, member in enumerate(pool.members):
        for use in member.uses:
            if use.served and getattr(use, column) >= 0:
                logs = math.log(max(getattr(use, column), 1))
                cells[use.core, min(use.turns, 7)].append((i, logs))
    by_member = defaultdict(list)
    for cell in cells.values():
        if len(cell) >= 3:
            mean = sum(x for _, x in cell) / len(cell)
            for i, x in cell:
                by_member[i].append(max(-3.0, min(3.0, x - mean)))
    groups = list(by_member.values())
    n, a = sum(map(len, groups)), len(groups)
    grand = sum(map(sum, groups)) / n
    msb = sum(len(g) * (sum(g) / len(g) - grand) ** 2 for g in groups) / (a - 1)
    msw = sum((x - sum(g) / len(g)) ** 2 for g in groups for x in g) / (n - a)
    n0 = (n - sum(len(g) ** 2 for g in groups) / n) / (a - 1)
    icc = (msb - msw) / (n0 * msw)
    return (icc - 0.15) / math.sqrt((2 / (a - 1) + 2 / (n - a)) / n0**2 + 0.002)


def tokens(pool: Any, _: Any) -> float:
    return (token_correlation(pool, "tok_in") + token_correlation(pool, "tok_out")) / 2


def cover(pool: Any, _: Any) -> float:
    weight = [len(m.uses) / m.all for m in pool.members]
    used = [len({use.core for use in m.uses}) / pool.core for m in pool.members]
    return float(np.average(used, weights=weight))


def core_share(pool: Any, _: Any) -> float:
    shares = [len(m.uses) / m.all for m in pool.members]
    return -math.log(1 - sum(shares) / len(shares) + 0.15)


def devoted_share(pool: Any, _: Any) -> float:
    return -math.log(1 - sum(len(m.uses) / m.all >= 0.7 for m in pool.members) / len(pool.members) + 0.15)


def sittings(pool: Any, _: Any) -> float:
    sitting = [use.sitting for member in pool.members for use in member.uses if use.turns >= 0]
    return -math.log(1 - sum(sitting) / len(sitting) + 0.15)


def earlier_turns(pool: Any, _: Any) -> float:
    turns = [use.turns > 0 for member in pool.members for use in member.uses if use.turns >= 0]
    return math.log(sum(turns) / len(turns) + 0.15)


def client_variety(pool: Any, _: Any) -> float:
    held: dict[int, float] = defaultdict(float)
    for m in pool.members:
        if m.client:
            held[m.client] += len(m.uses) / m.all
    whole = sum(held.values())
    return -sum(w / whole * math.log(w / whole) for w in held.values())


def organisations(pool: Any, _: Any) -> float:
    known = {m.org for m in pool.members if m.org}
    return math.log(len(known) + sum(m.org == 0 for m in pool.members))


BRUTE = {
    f.__name__: f
    for f in (
        births, hours, day_evenness, dispersion, tokens, cover, core_share, devoted_share, sittings, earlier_turns,
        client_variety, organisations,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", BRUTE)
def test_equals_brute_force(name: str, maker: Any, random_people: Any) -> None:
    pools = [random_people(seed, members=6 + seed, core=2 + seed % 4) for seed in SEEDS]
    values = measure(maker().cores(*pools)).values[:, NAMES.index(name)]
    np.testing.assert_allclose(values, [BRUTE[name](pool, maker()) for pool in pools], rtol=1e-9)


def test_shared_client_is_share_over_share(maker: Any, kinds: Any) -> None:
    pool, member, use = kinds
    people = [member([use(0, maker.start_ms)], all=2 if full == 7 else 1, client_full=full) for full in (7, 7, 7, 8, 0)]
    population = [member([], client_full=full) for full in (7, 8, 8, 8, 8, 9, 9, 9, 9, 9, 0)]
    value = measure(maker(population=population).cores(pool(people, 1))).values[0, NAMES.index("shared_client")]
    share = 1.5 / 2.5  # three members with half of their traffic in the core, one with all of it
    assert value == pytest.approx(math.log((share + 0.05) / (1 / 10 + 0.05)))


def test_a_client_that_nobody_shares_is_no_common_tool(maker: Any, kinds: Any) -> None:
    pool, member, use = kinds
    alone = [member([use(0, maker.start_ms)], client_full=1 + i) for i in range(30)]
    tool = [member([use(0, maker.start_ms)], client_full=99) for _ in range(30)]
    value = measure(maker().cores(pool(alone, 1), pool(tool, 1))).values[:, NAMES.index("shared_client")]
    assert value[0] < 0.3
    assert value[1] > 0.5


def test_a_reading_equals_the_sentence_of_its_scale() -> None:
    shown = {s.name: s.show for s in STATISTICS}
    assert shown["births"](0.825) == "82 %"
    assert shown["size"](math.log(61)) == "61"
    assert shown["hours"](math.log(1.2 + 0.05)) == "1.2 times"
    assert shown["client_variety"](math.log(3.4)) == "3.4"
    assert shown["tokens"](-2.04) == "-2.0"
    assert shown["earlier_turns"](math.log(0.42 + 0.15)) == "42 %"
    assert shown["core_share"](-math.log(1 - 0.42 + 0.15)) == "42 %"
