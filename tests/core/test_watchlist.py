"""The watchlist: what it counts, when it decides, and that chunks cannot matter."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.core import policy as policies
from streamproc.core.campaigns import written
from streamproc.core.campaigns.memory import Campaign, Watch
from streamproc.core.campaigns.reducer import Campaigns
from streamproc.core.campaigns.view import gather
from streamproc.core.campaigns.watchlist import Watched, WatchHit, Watchlist, WatchState, begin
from streamproc.core.uses import ENFORCED
from tests.core.streams import HOUR_MS, block_of, small_policy, table_of, uses_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamproc.core.arrays import Keys, Rows

START, FROM, TO = 1000, 2000, 3000
CORE = [0xF0F0_0000_0000_0001, 0x0F0F_1111_0000_0002, 0x00FF_2222_0000_0003]  # the components of campaign 0
OTHER = [0xAAAA_3333_0000_0004, 0x5555_4444_0000_0005]  # and of campaign 1
OWN = 0x1234_5678_9ABC_DEF0
ROWS = 6
FRESH = 10_000  # an account key that the table does not know


def campaign(name: str, values: list[int]) -> Campaign:
    made = Campaign(id=name, first_seen_ms=0)
    made.watch = Watch(np.sort(np.array(values, np.uint64)), np.arange(len(values)), 10**15)
    return made


def find(values: Keys) -> Rows:
    return np.array([CORE.index(value) if value in CORE else -1 for value in values.tolist()], np.int32)


class Listed:
    """A list of two campaigns; `base` are the view's (row, component) uses, components 0-2 being CORE."""

    def __init__(self, base: list[tuple[int, int]] | None = None, settled: set[int] | None = None) -> None:
        self.table = table_of(ROWS)
        view = gather([block_of(sorted(base or [(0, 5)]))], ROWS, 7)
        watched = [(campaign("c0", CORE), 0.9), (campaign("c1", OTHER), 0.5)]
        self.state = begin((START, FROM, TO), watched, view, self.table.key, find, settled or set())
        self.list = Watchlist(self.state, 8, small_policy().members)

    def check(
        self, *uses: tuple[int, int, int], flags: int = 1, vetted: Sequence[bool] = ()
    ) -> list[tuple[int, int, str]]:
        """`uses` are (account, ts_ms, template); answers (account, ts_ms, campaign) of each hit."""
        rows: list[dict[str, Any]] = [
            {"account": account, "ts_ms": ts_ms, "template": template, "flags": flags}
            for account, ts_ms, template in uses
        ]
        taken = uses_of(rows)
        shown = np.array(vetted or [False] * len(uses), np.bool_)
        return [(hit.account, hit.ts_ms, hit.campaign.id) for hit in self.list.check(taken, taken.ts_ms, shown)]


def test_two_uses_of_two_core_components_are_a_hit() -> None:
    listed = Listed()
    assert listed.check((FRESH, FROM, CORE[0])) == []
    assert listed.check((FRESH, FROM + 5, CORE[1])) == [(FRESH, FROM + 5, "c0")]
    assert listed.check((FRESH, FROM + 6, CORE[2])) == [], "said once"


@pytest.mark.parametrize(
    "templates",
    [
        (CORE[0], CORE[0], CORE[0]),  # one component
        (CORE[0], OTHER[0]),  # of different campaigns
        (OWN, OWN, CORE[0], CORE[1]),  # half of it is its own
        (OWN, OWN),
        (0, 0),
    ],
)
def test_less_is_none(templates: tuple[int, ...]) -> None:
    listed = Listed()
    assert listed.check(*((FRESH, FROM + n, template) for n, template in enumerate(templates))) == []


def test_a_share_of_six_in_ten_is_enough() -> None:
    templates = (OWN, OWN, CORE[0], CORE[0], CORE[1])
    assert Listed().check(*((FRESH, FROM + n, template) for n, template in enumerate(templates))) == [
        (FRESH, FROM + 4, "c0")
    ]


@pytest.mark.parametrize(("ts_ms", "hit"), [(FROM - 1, False), (FROM, True), (TO - 1, True), (TO, False)])
def test_it_decides_within_its_span_and_counts_from_its_start(ts_ms: int, *, hit: bool) -> None:
    listed = Listed()
    assert listed.check((FRESH, START, CORE[0])) == []
    assert bool(listed.check((FRESH, ts_ms, CORE[1]))) == hit


def test_values_near_a_kept_one_are_watched_too() -> None:
    near = [value ^ 0b111 for value in CORE]
    assert Listed().check((FRESH, FROM, near[0]), (FRESH, FROM + 1, near[1])) == [(FRESH, FROM + 1, "c0")]
    far = [value ^ 0x1FF for value in CORE]
    assert Listed().check((FRESH, FROM, far[0]), (FRESH, FROM + 1, far[1])) == []


def test_what_an_enforcement_turned_away_is_no_hit() -> None:
    listed = Listed()
    assert listed.check((FRESH, FROM, CORE[0]), (FRESH, FROM + 1, CORE[1]), flags=ENFORCED) == []


def test_what_the_view_holds_of_an_account_counts() -> None:
    listed = Listed(base=[(0, 0), (1, 5), (1, 5), (1, 6), (2, 5)])
    keys = [int(key) for key in listed.table.key]
    said = listed.check(*((keys[row], FROM + row, CORE[1]) for row in range(3)))
    assert said == [(keys[0], FROM, "c0")], "row 1 had three uses of its own, row 2 has one core use"


def test_settled_accounts_are_passed_over() -> None:
    assert Listed(settled={FRESH}).check((FRESH, FROM, CORE[0]), (FRESH, FROM + 1, CORE[1])) == []


def test_an_account_is_passed_over_from_the_use_on_that_shows_it_to_be_vetted() -> None:
    uses = [(FRESH, FROM, OWN), (FRESH, FROM + 1, CORE[0]), (FRESH, FROM + 2, CORE[1]), (FRESH, FROM + 3, CORE[2])]
    assert Listed().check(*uses, vetted=[True, False, False, False]) == []
    assert Listed().check(*uses, vetted=[False, False, False, True]) == [(FRESH, FROM + 2, "c0")]
    listed = Listed()
    said = [listed.check(use, vetted=[use is uses[0]]) for use in uses]
    assert said == [[]] * 4


def test_a_list_of_nothing_says_nothing() -> None:
    view = gather([block_of([(0, 0)])], ROWS, 7)
    empty = Watchlist(begin((0, 0, 10), [], view, table_of(ROWS).key, find, set()), 8, small_policy().members)
    uses = uses_of([{"account": 1, "ts_ms": 5, "template": CORE[0]}])
    assert empty.check(uses, uses.ts_ms, np.zeros(1, np.bool_)) == []


USE = st.tuples(st.integers(0, 4), st.sampled_from([*CORE, OTHER[0], OWN, 0]))


@settings(max_examples=200)
@given(st.lists(st.tuples(USE, st.booleans()), max_size=30), st.lists(st.integers(0, 30), max_size=5), st.booleans())
def test_chunks_and_restarts_do_not_matter(
    uses: list[tuple[tuple[int, int], bool]],
    cuts: list[int],
    restart: bool,  # noqa: FBT001
) -> None:
    base = [(0, 0), (1, 5), (1, 5), (2, 1), (2, 5), (3, 5)]
    whole, pieces = Listed(base), Listed(base)
    keys = [*(int(key) for key in whole.table.key[:4]), FRESH]
    made = [(keys[account], START + 40 * at, template) for at, ((account, template), _) in enumerate(uses)]
    vetted = [shown for _, shown in uses]
    said = []
    for low, high in pairwise([0, *sorted(cuts), len(made)]):
        said += pieces.check(*made[low:high], vetted=vetted[low:high])
        if restart:
            state = written.read(written.write(pieces.state), WatchState)
            pieces.list = Watchlist(state, 8, small_policy().members)
            pieces.state = state
    assert said == whole.check(*made, vetted=vetted)


@given(st.lists(USE, max_size=30))
def test_it_says_what_one_would_count_by_hand(uses: list[tuple[int, int]]) -> None:
    listed = Listed()
    made = [(FRESH + account, FROM + at, template) for at, (account, template) in enumerate(uses)]
    expected, counted = [], dict[int, list[int]]()
    hit: set[int] = set()
    for account, ts_ms, template in made:
        passed = counted.setdefault(account, [])
        passed.append(template)
        core = [one for one in passed if one in CORE]
        if account not in hit and template in CORE and len(set(core)) >= 2 and len(core) >= 0.6 * len(passed):
            hit.add(account)
            expected.append((account, ts_ms, "c0"))
    assert listed.check(*made) == expected


def test_it_knows_who_was_a_member_when_it_began() -> None:
    pool = campaign("c0", CORE)
    pool.joined = {FRESH}
    view = gather([block_of([(0, 5)])], ROWS, 7)
    state = begin((START, FROM, TO), [(pool, 0.9)], view, table_of(ROWS).key, find, set())
    pool.joined.add(FRESH + 1)
    assert state.campaigns[0].joined == {FRESH}
    assert written.read(written.write(state), WatchState).campaigns == state.campaigns


@pytest.mark.parametrize(("joined", "hours"), [({FRESH}, 48), ({FRESH + 1}, 2.25)])
def test_a_member_that_comes_back_is_throttled_for_a_throttles_time_anybody_else_until_the_second_round(
    joined: set[int], hours: float
) -> None:
    policy = policies.default()
    ts_ms = 100 * policy.time.round_slots * policy.time.slot_s * 1000  # as a round's time ends
    hit = WatchHit(FRESH, "a1", ts_ms, Watched("c0", 0.9, (), frozenset(joined)), 3, 0.8)
    standing = Campaigns(policy, 1)._watched_standing(hit)
    assert (standing.expires_ms - ts_ms) / HOUR_MS == hours
    assert (standing.action, standing.campaign) == ("throttle", "c0")
