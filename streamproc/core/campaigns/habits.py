"""Habits: River's half-space trees on eight features of an account's own day, for accounts taken over.

They ask for sparse points and campaigns are dense: they find no campaign, and serve `observe` only.
Tan, Ting and Liu, "Fast anomaly detection for streaming data", IJCAI 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from river import anomaly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamproc.core.arrays import Floats, Ints


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of an account's day; `top` is the raw value that stands at 1, linear or as ln(1 + x)."""

    name: str
    top: float
    log: bool


FEATURES = (
    Feature("requests", 10_000, log=True),
    Feature("active_hours", 24, log=False),
    Feature("tokens_in_mean", 200_000, log=True),
    Feature("tokens_out_mean", 50_000, log=True),
    Feature("failed_share", 1, log=False),
    Feature("turns_share", 1, log=False),
    Feature("sittings_share", 1, log=False),
    Feature("components_per_request", 1, log=False),
)
UNKNOWN = 0.5  # where a feature that is missing stands


def scaled(raw: Floats) -> Floats:
    """Raw features (m, 8) in the order of `FEATURES` brought into [0, 1]; a missing one (NaN) is 0.5."""
    columns = []
    for feature, column in zip(FEATURES, raw.T, strict=True):
        share = np.clip(column, 0, feature.top) / feature.top
        if feature.log:
            share = np.log1p(np.clip(column, 0, feature.top)) / np.log1p(feature.top)
        columns.append(np.where(np.isnan(column), UNKNOWN, share))
    return np.stack(columns, axis=1)


class Habits:
    """Half-space trees over accounts' days; `seed` fixes them.

    They score once `window_size` days were seen.  A day costs some 0.1 ms: the caller holds it to a budget.
    """

    def __init__(self, seed: int, *, n_trees: int = 10, height: int = 8, window_size: int = 2_000) -> None:
        self._make = partial(anomaly.HalfSpaceTrees, n_trees, height, window_size, seed=seed)
        self._trees: Any = self._make()

    def observe(self, features: Floats) -> Floats:
        """Score each account's day, then learn it, in the order given; near 1 is unlike all others.

        `features` has shape (m, 8), finite and within [0, 1]; the scores (m,) are NaN while the first window
        fills.

        Raises:
            ValueError: a feature is not finite or not within [0, 1].
        """
        if features.shape[1:] != (len(FEATURES),) or not np.all((features >= 0) & (features <= 1)):
            raise ValueError(f"habits are (m, {len(FEATURES)}) numbers within [0, 1]")
        scores = np.full(len(features), np.nan)
        for i, row in enumerate(features.tolist()):
            day = dict(enumerate(row))
            if not self._trees._first_window:  # noqa: SLF001 - until then River says 0, which is no score
                scores[i] = self._trees.score_one(day)
            self._trees.learn_one(day)
        return scores

    def snapshot(self) -> dict[str, Ints]:
        """Masses of all nodes, (trees, nodes) each, and [days in the open window, whether one was closed]."""
        nodes = self._trees._tree_nodes  # noqa: SLF001 - River lists the nodes of each tree in a fixed order
        return {
            "last": np.array([[node.r_mass for node in tree] for tree in nodes], np.int64),
            "open": np.array([[node.l_mass for node in tree] for tree in nodes], np.int64),
            "window": np.array([self._trees.counter, not self._trees._first_window], np.int64),  # noqa: SLF001
        }

    def restore(self, state: Mapping[str, Ints]) -> None:
        """Go on from what `snapshot` wrote down; seed and sizes must be those of then.

        Raises:
            ValueError: the trees of then were of another shape.
        """
        trees: Any = self._make()
        self._trees = trees
        if not state["last"].size:
            return
        trees.learn_one(dict.fromkeys(range(len(FEATURES)), UNKNOWN))  # the first day builds them, from the seed
        nodes = trees._tree_nodes  # noqa: SLF001 - see snapshot
        if state["last"].shape != (len(nodes), len(nodes[0])):
            raise ValueError("the snapshot's trees have another shape: seed and sizes must be those of then")
        for tree, last, now in zip(nodes, state["last"].tolist(), state["open"].tolist(), strict=True):
            for node, r_mass, l_mass in zip(tree, last, now, strict=True):
                node.r_mass, node.l_mass = r_mass, l_mass
        trees.counter, closed = (int(x) for x in state["window"])
        trees._first_window = not closed  # noqa: SLF001
