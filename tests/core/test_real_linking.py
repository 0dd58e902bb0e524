"""Linking on real data: posts of two election and protest campaigns, against counts made by brute force.

The reference counts two accounts as a pair when they shared the same object at most `window_s` apart, for at least
`min_objects` objects.  Ties know no window, so a component stands for an object and the span of `window_s` that
begins with one of its posts: two accounts share a component just when they share the object within the window.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from streamproc.core.arrays import rank_within
from streamproc.core.campaigns.ties import tie
from streamproc.core.campaigns.view import count_pairs, gather
from tests.core.streams import block_of, small_policy

if TYPE_CHECKING:
    from scipy import sparse

    from streamproc.core.arrays import Ints
    from streamproc.core.campaigns.view import View

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
REFERENCE = FIXTURES / "coordination_reference.jsonl"
pytestmark = pytest.mark.skipif(not REFERENCE.exists(), reason="no ../shared/fixtures beside the project")

EVERYTHING = msgspec.structs.replace(  # nothing is too rare, too common or sampled
    small_policy().ties, min_holders=1, max_holders=10**9, sampled_holders=10**9
)
BLOCKS = 7


def reference() -> list[dict[str, Any]]:
    if not REFERENCE.exists():
        return []
    return [json.loads(line) for line in REFERENCE.read_text().splitlines()]


@cache
def posts(file: str, column: str) -> tuple[Ints, Ints, Ints]:
    """(account, object, t_s) of every row with the object, in order of object and time."""
    with gzip.open(FIXTURES / f"{file}.csv.gz", "rt", newline="") as lines:
        rows = [(row["account"], row[column], row["t_s"]) for row in csv.DictReader(lines) if row[column]]
    account, object_, t_s = np.array(rows, np.int64).T
    order = np.lexsort((t_s, object_))
    return account[order], object_[order], t_s[order]


def view_of(rows: Ints, components: Ints) -> View:
    """A view of several blocks, as the slots of a stream would give it."""
    uses = np.stack([rows, components], axis=1).astype(np.int32)
    blocks = [
        block_of(part.tolist(), start_ms=at, end_ms=at + 1) for at, part in enumerate(np.array_split(uses, BLOCKS))
    ]
    return gather(blocks, int(np.max(rows)) + 1, int(np.max(components)) + 1)


def shared_objects(account: Ints, object_: Ints, t_s: Ints, window_s: int) -> sparse.csr_array:
    """For each pair of accounts, the objects that both shared at most `window_s` apart; symmetric."""
    span = int(np.max(t_s)) + window_s + 1
    moment = object_ * span + t_s
    ends = np.searchsorted(moment, moment + window_s, side="right")
    component = np.repeat(np.arange(moment.size), ends - np.arange(moment.size))
    post = component + rank_within(component)
    holder, node = np.unique(account * (int(np.max(object_)) + 1) + object_, return_inverse=True)  # (account, object)
    view = view_of(node[post], component)
    graph = tie(view, np.arange(holder.size, dtype=np.uint64), msgspec.structs.replace(EVERYTHING, min_shared=1))
    of_holder = (holder // (int(np.max(object_)) + 1)).astype(np.int32)
    pairs = graph.shared.tocoo()
    ends_of = [of_holder[graph.accounts[side]] for side in (pairs.row, pairs.col)]
    accounts = int(np.max(account)) + 1
    return count_pairs(ends_of[0], ends_of[1], (accounts, accounts))


def groups(shared: sparse.csr_array, min_objects: int) -> dict[str, int]:
    """How many pairs share enough objects, and what they come to as connected groups."""
    linked = shared >= min_objects
    degree = np.diff(linked.indptr)
    _, label = connected_components(linked, directed=False)
    sizes = np.bincount(label[degree > 0])
    return {
        "pairs": linked.nnz // 2,
        "accounts": int(np.count_nonzero(degree)),
        "groups": int(np.count_nonzero(sizes)),
        "largest_group": int(np.max(sizes)),
    }


@pytest.mark.parametrize(
    "row", [pytest.param(row, id="-".join(map(str, list(row.values())[:4]))) for row in reference()]
)
def test_pairs_and_groups_equal_the_brute_force_counts(row: dict[str, Any]) -> None:
    shared = shared_objects(*posts(row["file"], row["object"]), row["window_s"])
    assert groups(shared, row["min_objects"]) == {
        name: row[name] for name in ("pairs", "accounts", "groups", "largest_group")
    }


@pytest.mark.parametrize(
    ("file", "column"), [("coordination_russian", "object"), ("coordination_german", "image_phash")]
)
def test_ties_of_a_whole_file_equal_every_pair_counted(file: str, column: str) -> None:
    """Without a window: what a round does with templates, on real objects, with the policy's own limits."""
    account, object_, _ = posts(file, column)
    limits = msgspec.structs.replace(small_policy().ties, max_holders=60, sampled_holders=10**9)
    graph = tie(view_of(account, object_), np.arange(np.max(account) + 1, dtype=np.uint64), limits)
    holders: dict[int, set[int]] = {}
    for one, thing in zip(account.tolist(), object_.tolist(), strict=True):
        holders.setdefault(thing, set()).add(one)
    most = max(60, int(limits.max_holders_share * np.unique(account).size))
    counts: Counter[tuple[int, int]] = Counter()
    for held in holders.values():
        if limits.min_holders <= len(held) <= most:
            counts.update(combinations(sorted(held), 2))
    expected = {pair: count for pair, count in counts.items() if count >= limits.min_shared}
    pairs = graph.shared.tocoo()
    said = zip(graph.accounts[pairs.row].tolist(), graph.accounts[pairs.col].tolist(), pairs.data.tolist(), strict=True)
    assert {(a, b): count for a, b, count in said if a < b} == expected
    assert len(expected) > 100
