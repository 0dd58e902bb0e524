"""Accounts' own days: which are looked at in a round, and the features that River's trees score.

An account taken over, or a key that leaked, shows a day unlike other accounts' days.  It is a reason to look, never to
act: such an account is observed, no more.
"""

from __future__ import annotations

import numpy as np

from streamproc.contract import combine
from streamproc.contract.decisions import Reason
from streamproc.core.arrays import Bools, Floats, Ints, Numbers
from streamproc.core.campaigns.accounts import AccountTable
from streamproc.core.campaigns.habits import Habits, scaled
from streamproc.core.campaigns.ladder import Claim
from streamproc.core.campaigns.view import View
from streamproc.core.policy import HabitsPolicy
from streamproc.core.uses import FAILED, MISSING_TURNS, SITTING

HOUR_MS = 3_600_000
SIGNAL = "habits"


def unusual(
    view: View, rows: Ints, round_number: int, accounts: AccountTable, habits: Habits, policy: HabitsPolicy
) -> dict[int, Claim]:
    """Claims, by account key, on those of the accounts at `rows` whose day in the shortest view is unlike others'.

    Within the budget all are looked at; beyond it those with the smallest key of account and round.
    """
    keys = accounts.key[rows]
    drawn = combine(keys, np.full(keys.size, round_number + 1, np.uint64))
    rows = rows[np.lexsort((keys, drawn))[: policy.budget]]
    rows = rows[np.argsort(accounts.key[rows])]
    scores = np.round(habits.observe(scaled(features(view, rows))), 4)
    strange = np.flatnonzero(scores >= policy.threshold)  # NaN, while the trees warm up, is not
    return {
        int(accounts.key[row]): Claim(accounts.ids[row], "unusual", None, "observe", float(score))
        for row, score in zip(rows[strange].tolist(), scores[strange].tolist(), strict=True)
    }


def reason(score: float, threshold: float) -> Reason:
    """The one reason that an observed account has which is in no campaign."""
    text = (
        f"The account's last day is unlike other accounts' days ({score:.2f} of 1): taken over, or a key that leaked?"
    )
    return Reason(signal=SIGNAL, family="behaviour", log10_lr=0.0, observed=score, expected=threshold, text=text)


def features(view: View, rows: Ints) -> Floats:
    """The raw features (m, 8) of the accounts at `rows` in the order of `habits.FEATURES`, NaN where missing."""
    index = np.full(view.requests.size, -1, np.int64)
    index[rows] = np.arange(rows.size)
    uses = np.flatnonzero(index[view.account] >= 0)
    of_use = index[view.account[uses]]
    requests = np.bincount(of_use, minlength=rows.size)
    hours = np.unique(of_use * (1 << 16) + (view.ts_ms(uses) - view.start_ms) // HOUR_MS) >> 16
    turns, flags = view.column("turns", uses), view.column("flags", uses)
    tok_in, tok_out = view.column("tok_in", uses), view.column("tok_out", uses)
    pairs = index[view.pair_account]
    return np.stack(
        [
            requests.astype(np.float64),
            np.bincount(hours, minlength=rows.size).astype(np.float64),
            _mean(tok_in, tok_in >= 0, of_use, rows.size),
            _mean(tok_out, tok_out >= 0, of_use, rows.size),
            _mean(flags & FAILED > 0, np.ones(uses.size), of_use, rows.size),
            _mean(turns > 0, turns != MISSING_TURNS, of_use, rows.size),
            _mean(flags & SITTING > 0, np.ones(uses.size), of_use, rows.size),
            np.bincount(pairs[pairs >= 0], minlength=rows.size) / np.maximum(requests, 1),
        ],
        axis=1,
    )


def _mean(values: Numbers | Bools, known: Bools | Floats, of_use: Ints, n: int) -> Floats:
    """Mean of `values` where they are `known`, by account, NaN where none is."""
    count = np.bincount(of_use, weights=known, minlength=n)
    total = np.bincount(of_use, weights=values * known, minlength=n)
    mean: Floats = np.divide(total, count, out=np.full(n, np.nan), where=count > 0)
    return mean
