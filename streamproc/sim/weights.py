"""Fitting the scorecard, its thresholds and probabilities on made-up traffic, and writing them into the policy.

`python -m streamproc.sim.weights` records streams of every kind, fits, and replaces all of the policy file from the
line `[score]` on; what stands above is the operator's and stays as it is, byte for byte.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamproc.core import policy as policies
from streamproc.core.arrays import Bools, Floats, Ints, Singles
from streamproc.core.campaigns.judge import carry_on, mean_carried
from streamproc.core.campaigns.null import FrozenNull, LawfulNull, Which
from streamproc.core.campaigns.scorecard import DECIMALS, Scorecard
from streamproc.core.campaigns.scorecard_fit import balanced, fit_weights
from streamproc.core.campaigns.statistics import FAMILIES, NAMES
from streamproc.sim import recording as recordings_of
from streamproc.sim.recording import CAMPAIGN_ABOVE, LAWFUL_BELOW, Recording, ViewRecord
from streamproc.sim.scenario import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SEEDS = tuple(range(101, 107))
ACCOUNTS, DAYS = 2500, 4.0
MARGIN = 0.43  # log10, one natural logit: what a threshold leaves above the highest lawful score
MIN_ORGANISATIONS = 8  # communities of fewer are never hit, so they set no threshold
FOLDS = 3  # of seeds, for scores that a fit has not seen
RIDGE = 1e-3  # of the two probabilities' fits
NEWTON_STEPS = 50
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Options:
    """What is chosen before a fit, and not by it."""

    null: Which = "cautious"
    margin: float = MARGIN
    carry: tuple[float, ...] = (0.15, 0.8)  # a quick memory and a long one
    start: float = -1.0  # what an account carries that was never seen
    outside: float = -2.0  # what a round outside any community counts
    cap: float = 3.0  # of every family, log10
    penalty: float = 0.005
    left_out: tuple[str, ...] = ("size", "fresh", "elicitation")  # get no weight: new kinds are found better without
    winsorised: float = 0.05  # part of the lawful values on either side that is drawn in for the null
    # Statistics held against lawful communities of every size.
    unconditional: tuple[str, ...] = ("size", "devoted", "tokens", "shared_client")


@dataclass(frozen=True, slots=True)
class Model:
    """A null and a scorecard."""

    frozen: FrozenNull
    card: Scorecard


@dataclass(frozen=True, slots=True)
class Fit:
    """All that `make weights` writes into the policy."""

    model: Model
    options: Options
    thresholds: tuple[tuple[float, ...], ...]
    campaign: tuple[float, float]
    member: tuple[float, float, float]
    seeds: tuple[int, ...]
    figures: str


@dataclass(frozen=True, slots=True)
class ScoredView:
    """A recorded view under a model; arrays are by community."""

    view: ViewRecord
    z: Floats  # (n, statistics)
    log10_lr: Floats  # (n,)
    carried: Floats  # (n, memories)
    eligible: Bools  # (n,) all but the threshold that a hit needs

    @property
    def lawful(self) -> Bools:
        """Communities of lawful users that could be hit."""
        return self.eligible & (self.view.campaign_share < LAWFUL_BELOW)

    @property
    def campaign(self) -> Bools:
        """Communities of a campaign."""
        return self.view.campaign_share > CAMPAIGN_ABOVE


def fit(recordings: Sequence[Recording], leave_out: str | None = None, options: Options | None = None) -> Fit:
    """Fit on `recordings`, those of the kind `leave_out` not among them.

    Thresholds and probabilities come from scores that the scoring weights have not seen: each fold of seeds is
    scored by a fit on the others.

    Raises:
        ValueError: there are fewer than two seeds.
    """
    options = options or Options()
    used = [one for one in recordings if one.scenario != leave_out]
    seeds = tuple(sorted({one.seed for one in used}))
    if len(seeds) < 2:  # noqa: PLR2004 - a fold and the rest
        raise ValueError("a fit needs at least two seeds")
    unseen: list[tuple[Recording, list[ScoredView]]] = []
    for fold in range(min(FOLDS, len(seeds))):
        held = set(seeds[fold::FOLDS])
        model = fit_model([one for one in used if one.seed not in held], options)
        unseen += [(one, score(one, model, options)) for one in used if one.seed in held]
    views = 1 + max(view.column for one in used for view in one.views)
    highest = np.array([np.max([peak(scored, column) for _, scored in unseen], axis=0) for column in range(views)])
    thresholds = tuple(map(tuple, np.round(highest + options.margin, DECIMALS).tolist()))
    model = fit_model(used, options)
    return Fit(
        model, options, thresholds,
        _campaign_probability(unseen), _member_probability(used), seeds, _figures(used, unseen, highest, thresholds),
    )  # fmt: skip


def fit_model(recordings: Sequence[Recording], options: Options) -> Model:
    """The frozen null of the lawful communities of `recordings`, and weights by what the online null says of all."""
    frozen = _frozen(recordings, options)
    z, label, group = _samples(recordings, frozen, options)
    caps = np.full(len(FAMILIES), options.cap)
    weights, intercept = fit_weights(z, label, balanced(label, group), caps, penalty=options.penalty)
    weights = np.round(weights, DECIMALS)
    return Model(frozen, Scorecard(weights, round(intercept, DECIMALS), caps))


def _frozen(recordings: Sequence[Recording], options: Options) -> FrozenNull:
    """The null of the lawful communities, of winsorised values: a few wild ones must not set a deviation.

    Some statistics have the same moments at every size: size given size would say nothing.
    """
    views = [view for one in recordings for view in one.views]
    lawful = [view.campaign_share < LAWFUL_BELOW for view in views]
    values = np.concatenate([view.values[chosen] for view, chosen in zip(views, lawful, strict=True)])
    sizes = np.concatenate([view.sizes[chosen] for view, chosen in zip(views, lawful, strict=True)])
    tail = options.winsorised
    values = np.clip(values, *np.nanquantile(values, [tail, 1 - tail], axis=0))
    found = FrozenNull.fit(values, sizes)
    mean, deviation = found.mean.copy(), found.deviation.copy()
    at = [NAMES.index(name) for name in options.unconditional]
    mean[:, at], deviation[:, at] = np.nanmean(values[:, at], axis=0), np.nanstd(values[:, at], axis=0)
    return FrozenNull(mean, deviation)


def _samples(recordings: Sequence[Recording], frozen: FrozenNull, options: Options) -> tuple[Floats, Bools, Ints]:
    """Statistics (n, statistics) of communities that could be hit, which are campaigns, and the stream of each."""
    z, label, group = [], [], []
    for number, one in enumerate(recordings):
        nulls = _nulls(one, frozen, options)
        for view in one.views:
            stands = _standardise(view, nulls)
            share = view.campaign_share
            could = view.organisations >= MIN_ORGANISATIONS
            kept = could & ((share < LAWFUL_BELOW) | (share > CAMPAIGN_ABOVE))
            z.append(stands[kept])
            label.append(share[kept] > CAMPAIGN_ABOVE)
            group.append(np.full(int(kept.sum()), number))
    rows = np.concatenate(z)
    rows[:, [NAMES.index(name) for name in options.left_out]] = 0.0
    return rows, np.concatenate(label), np.concatenate(group)


def _nulls(recording: Recording, frozen: FrozenNull, options: Options) -> list[LawfulNull]:
    return [LawfulNull(frozen, options.null) for _ in range(1 + max(view.column for view in recording.views))]


def _standardise(view: ViewRecord, nulls: Sequence[LawfulNull]) -> Floats:
    """As the judge does it: a round is held against what the rounds before it taught."""
    null = nulls[view.column]
    stands = null.standardise(view.values, view.sizes)
    null.learn(view.values, view.sizes)
    return stands


def score(recording: Recording, model: Model, options: Options) -> list[ScoredView]:
    """The recording's views as the judge would score them, one after the other."""
    nulls = _nulls(recording, model.frozen, options)
    carried = np.full((len(nulls), len(recording.kinds), len(options.carry)), options.start, np.float32)
    known = np.zeros((len(nulls), len(recording.kinds)), np.bool_)
    scored = []
    for view in recording.views:
        scores = model.card.score(z := _standardise(view, nulls))
        speaks = scores.families > 0
        beside = np.delete(speaks, FAMILIES.index("identity"), axis=1).any(axis=1)
        eligible = (view.organisations >= MIN_ORGANISATIONS) & (speaks.sum(axis=1) > 1) & beside
        mean = _carry(view, carried[view.column], known[view.column], scores.log10_lr, options)
        scored.append(ScoredView(view, z, scores.log10_lr, mean, eligible))
    return scored


def _carry(view: ViewRecord, carried: Singles, known: Bools, log10_lr: Floats, options: Options) -> Floats:
    """Move on in place what accounts carry; returns the mean of each community (n, memories).

    An account that the table had forgotten begins anew.
    """
    here = view.present
    new = here[~known[here]]
    carried[new] = options.start
    known[:] = False
    known[here] = True
    inside = view.community >= 0
    now = np.full(here.size, options.outside, np.float32)
    now[inside] = log10_lr[view.community[inside]]
    moved = carried[here]
    carry_on(moved, now, np.array(options.carry, np.float32))
    carried[here] = moved
    return mean_carried(moved[inside], view.community[inside], view.sizes.size)


def peak(scored: Iterable[ScoredView], column: int) -> Floats:
    """The highest that a lawful community of view number `column` ever carried, by memory; -inf if there was none."""
    tops = [one.carried[one.lawful].max(axis=0, initial=-np.inf) for one in scored if one.view.column == column]
    return np.max(tops, axis=0)


def confirmed_ms(scored: Iterable[ScoredView], thresholds: Sequence[Sequence[float]]) -> float:
    """When a campaign's communities had been hit in two rounds; infinite when they were not."""
    hits = sorted(
        {
            one.view.ts_ms
            for one in scored
            if np.any(one.campaign & one.eligible & (one.carried > thresholds[one.view.column]).any(axis=1))
        }
    )
    return hits[1] if len(hits) > 1 else np.inf


def _campaign_probability(unseen: Sequence[tuple[Recording, list[ScoredView]]]) -> tuple[float, float]:
    """P(campaign | log10_lr) over the communities of streams as they come."""
    rows = [(one.log10_lr[kept], one.campaign[kept]) for _, views in unseen for one in views for kept in [_told(one)]]
    x = np.concatenate([log10_lr for log10_lr, _ in rows])[:, None]
    y = np.concatenate([label for _, label in rows])
    a, b = logistic(x, y)
    return a, b


def _told(one: ScoredView) -> Bools:
    """Communities that could be hit and are clearly lawful or clearly a campaign."""
    return one.lawful | (one.eligible & one.campaign)


def _member_probability(recordings: Sequence[Recording]) -> tuple[float, float, float]:
    """P(member | core share, ln core requests) over the accounts of campaigns' communities."""
    rows = np.concatenate([one.members for one in recordings])
    x = np.stack([rows[:, 0], np.log(np.maximum(rows[:, 1], 1))], axis=1)
    a, b, c = logistic(x, rows[:, 2] > 0)
    return a, b, c


def logistic(x: Floats, y: Bools) -> tuple[float, ...]:
    """Intercept and slopes of a logistic regression of `y` (n,) on `x` (n, k), with a slight ridge, by Newton's steps.

    Rounded to four decimals.
    """
    design = np.column_stack([np.ones(len(x)), x])
    at = np.zeros(design.shape[1])
    ridge = RIDGE * max(len(x), 1) * np.eye(design.shape[1])
    ridge[0, 0] = 0.0
    for _ in range(NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ at, -40, 40)))
        gradient = design.T @ (y - p) - ridge @ at
        hessian = (design * (p * (1 - p) + 1e-12)[:, None]).T @ design + ridge
        step = np.linalg.solve(hessian, gradient)
        at = at + step
        if np.abs(step).max() < TOLERANCE:
            break
    return tuple(np.round(at, DECIMALS).tolist())


def _figures(
    recordings: Sequence[Recording],
    unseen: Sequence[tuple[Recording, list[ScoredView]]],
    highest: Floats,
    thresholds: Sequence[Sequence[float]],
) -> str:
    """One line: what the fit came from and how it does on streams that it has not seen."""
    lawful = sum(int(one.lawful.sum()) for _, scored in unseen for one in scored)
    pools = [(one, scored) for one, scored in unseen if one.requests_ms.size]
    found = [(one, confirmed_ms(scored, thresholds)) for one, scored in pools]
    leaked = [float(np.mean(one.requests_ms < at)) for one, at in found]
    tops = ", ".join(f"{top:.2f}" for top in highest.ravel().tolist())
    return (
        f"{len(recordings)} streams; {lawful} lawful communities judged, highest {tops}; by seeds not fitted on "
        f"{sum(np.isfinite(at) for _, at in found)} of {len(pools)} campaigns confirmed, "
        f"{np.mean(leaked) if leaked else 0:.3f} of their requests before"
    )


def policy_text(head: str, found: Fit, date: str) -> str:
    """The policy file: `head` as it is, and the fit below it."""
    options, card = found.options, found.model.card
    lines = [
        head,
        "[score]",
        f'null = "{options.null}" # running: learned online of all communities; frozen: what shipped; cautious: both',
        f"carry = {list(options.carry)} # part of what an account carries that comes from the rounds before, by memory",
        f"thresholds = {list(map(list, found.thresholds))} # carried log10_lr to exceed in one: by view, by memory",
        f"start = {options.start} # what an account carries at first",
        f"outside = {options.outside} # what a round outside any community counts",
        f"intercept = {card.intercept} # natural logits, as the weights",
        "",
        "[score.weights] # per deviation toward the suspicious side; 0 is shown as evidence never",
        *(f"{name} = {weight}" for name, weight in zip(NAMES, card.weights.tolist(), strict=True)),
        "",
        "[score.caps] # most that a family may add or take, log10",
        *(f"{family} = {cap}" for family, cap in zip(FAMILIES, card.caps.tolist(), strict=True)),
        "",
        "[probability]",
        f"campaign = {list(found.campaign)} # logistic in log10_lr",
        f"member = {list(found.member)} # logistic in core share and ln core requests",
        "",
        "[fit]",
        f'date = "{date}"',
        f"seeds = {list(found.seeds)}",
        f'figures = "{found.figures}"',
    ]
    for name, table in found.model.frozen.to_dict().items():
        lines += ["", f"[null.{name}]", f"mean = {table['mean']}", f"deviation = {table['deviation']}"]
    return "\n".join(lines) + "\n"


def record_all(seeds: Sequence[int], accounts: int, days: float, head: str) -> list[Recording]:
    """Recordings of every kind and seed, progress on stderr."""
    made = []
    for seed in seeds:
        for kind in SCENARIOS:
            print(f"recording {kind} {seed}", file=sys.stderr)  # noqa: T201 - a tool's progress
            made.append(recordings_of.record(kind, seed, accounts, days, head))
    return made


def write(path: Path, text: str) -> None:
    """Write `text` beside `path`, then put it in its place."""
    policies.parse(text.encode())
    aside = path.with_name(path.name + ".part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Record, fit and write the policy that ships with the package."""
    parser = argparse.ArgumentParser(prog="python -m streamproc.sim.weights", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="seeds of each kind (default: %(default)s)")
    parser.add_argument("--date", default=dt.datetime.now(dt.UTC).date().isoformat())
    parser.add_argument("--output", type=Path, default=Path(str(resources.files("streamproc") / "policy.toml")))
    chosen = parser.parse_args(arguments)
    head = recordings_of.head_of(policies.default_text().decode())
    seeds = tuple(SEEDS[0] + i for i in range(chosen.seeds))
    found = fit(record_all(seeds, ACCOUNTS, DAYS, head))
    write(chosen.output, policy_text(head, found, chosen.date))
    print(found.figures, file=sys.stderr)  # noqa: T201 - a tool's result
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
