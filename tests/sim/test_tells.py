"""No single account gives a member away: classifiers on an account's own features do no better than chance."""

import functools
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize
from scipy.stats import rankdata

from streamproc.sim.scenario import Stream, simulate

Floats = npt.NDArray[np.float64]
START_MS = 1_772_409_600_000
NAMED = {
    "plan": ("free", "pro", "team", "api"),
    "asn_class": ("residential", "mobile", "business", "hosting", "vpn"),
    "email_class": ("public", "disposable", "corporate", "education"),
    "pathway": ("api", "web", "cloud-a", "cloud-b"),
    "country": ("US", "IN", "GB", "DE", "BR", "JP"),
    "ua": (
        "python-sdk",
        "node-sdk",
        "browser",
        "coding-cli",
        "ide-plugin",
        "python-httpx",
        "python-requests",
        "go-http",
    ),
    "ua_version": ("4.9", "4.7", "4.5", "4.3"),
    "model": ("m-large-3", "m-medium-3", "m-small-3"),
    "lang": ("en", "de", "fr", "es"),
    "region": ("us-east", "us-west", "eu-west", "eu-central"),
}
PRESENT = (
    "org",
    "payer",
    "device",
    "session",
    "program",
    "system_fp",
    "tools_fp",
    "schema_fp",
    "max_tokens",
    "temperature",
)
NUMBERS = (
    "tok_in",
    "tok_out",
    "tok_reasoning",
    "tok_cached",
    "duration_ms",
    "n_tools",
    "n_messages",
    "temperature",
    "max_tokens",
)


def features_of(events: list[dict[str, Any]]) -> dict[str, float]:
    """Features of one account, from its own events only."""
    ts = np.sort(np.array([e["ts_ms"] for e in events], dtype=np.float64))
    gaps = np.diff(ts) / 1000.0 if len(ts) > 1 else np.array([86_400.0])
    hours = np.bincount(((ts // 3_600_000) % 24).astype(int), minlength=24) / len(ts)
    used = hours[hours > 0]
    active_days = len(np.unique(ts // 86_400_000))
    row = {
        "per_day": len(ts) / active_days,
        "gap_mean": float(np.log1p(gaps.mean())),
        "gap_cv": float(gaps.std() / max(gaps.mean(), 1e-9)),
        "gap_median": float(np.log1p(np.median(gaps))),
        "hours_entropy": float(-(used * np.log(used)).sum()),
        "hour_sin": float((hours * np.sin(np.arange(24) / 12 * np.pi)).sum()),
        "hour_cos": float((hours * np.cos(np.arange(24) / 12 * np.pi)).sum()),
        "first_seen": (ts[0] - START_MS) / 3.6e6,
        "signup_age": float(np.log1p((ts[0] - events[0]["signup_ms"]) / 3.6e6)),
        "single_shot": float(np.mean([e["n_assistant"] == 0 for e in events])),
        "elicits": float(np.mean(["elicits" in e for e in events])),
        "templates": len({e["template_fp"] for e in events}) / len(events),
        "tasks": len({e["task_fp"] for e in events}) / len(events),
        "ips": len({e["ip"] for e in events}) / len(events),
        "errors": float(np.mean([e["status"] != 200 for e in events])),
        "refused": float(np.mean([e["refused"] for e in events])),
        "new_model": float(np.mean([e["model"] == "m-large-4" for e in events])),
        "stream": float(events[0]["stream"]),
        "quota": float(events[0]["quota_rpm"]),
    }
    for name in NUMBERS:
        values = np.log1p(np.array([e.get(name, -0.5) for e in events], dtype=np.float64))
        row[f"{name}_mean"], row[f"{name}_sd"] = float(values.mean()), float(values.std())
    for name in ("code", "agentic", "tool_use", "reasoning", "grading", "data"):
        row[f"class_{name}"] = float(np.mean([e["task_class"] == name for e in events]))
    for name in ("id", "account", "key", "template_fp"):
        row[f"length_{name}"] = float(len(events[0][name]))
    for name in PRESENT:
        row[f"has_{name}"] = float(np.mean([name in e for e in events]))
    for name, choices in NAMED.items():
        for value in choices:
            row[f"{name}={value}"] = float(events[0][name] == value)
    return row


def table(events: list[dict[str, Any]], truth: list[dict[str, Any]]) -> tuple[list[str], Floats, Floats]:
    """Return feature names, [accounts, features] of members and lone workers, and 1.0 for a member."""
    wanted = {t["account"]: float(t["kind"] == "campaign") for t in truth if t["name"] in ("pool-1", "lone_worker")}
    by_account: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["account"] in wanted:
            by_account[event["account"]].append(event)
    rows = [features_of(by_account[account]) for account in sorted(by_account)]
    names = sorted(rows[0])
    return (
        names,
        np.array([[r[n] for n in names] for r in rows]),
        np.array([wanted[a] for a in sorted(by_account)]),
    )


def auc(scores: Floats, labels: Floats) -> float:
    """Area under the ROC curve from ranks, ties at their mean."""
    ranks, ones = rankdata(scores), labels > 0.5
    n1, n0 = int(ones.sum()), int((~ones).sum())
    return float((ranks[ones].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def fit(x: Floats, y: Floats, penalty: float) -> Floats:
    """Logistic regression with an L2 penalty; classes weighted alike. Last weight: intercept."""
    x1 = np.column_stack([x, np.ones(len(x))])
    sign = 2.0 * y - 1.0
    weight = np.where(y > 0.5, 0.5 / y.mean(), 0.5 / (1.0 - y.mean())) / len(y)
    ridge = np.append(np.full(x.shape[1], penalty), 0.0)

    def loss(w: Floats) -> tuple[float, Floats]:
        margin = sign * (x1 @ w)
        value = (weight * np.logaddexp(0.0, -margin)).sum() + 0.5 * (ridge * w * w).sum()
        slope = -weight * sign / (1.0 + np.exp(np.clip(margin, -500, 500)))
        return float(value), x1.T @ slope + ridge * w

    found: Floats = minimize(loss, np.zeros(x1.shape[1]), jac=True, method="L-BFGS-B").x
    return found


def logistic(x: Floats, y: Floats, unseen: Floats) -> Floats:
    """Scores of unseen rows by a strongly penalised logistic regression."""
    weights = fit(x, y, penalty=0.1)
    return np.asarray(np.column_stack([unseen, np.ones(len(unseen))]) @ weights)


def stumps(x: Floats, y: Floats, unseen: Floats, *, rounds: int = 60, step: float = 0.15) -> Floats:
    """Scores of unseen rows by gradient boosting of one-feature thresholds: sees what is not linear."""
    cuts = np.quantile(x, np.linspace(0.04, 0.96, 24), axis=0)
    above = (x[:, None, :] > cuts[None]).reshape(len(x), -1).astype(np.float64)
    above_unseen = (unseen[:, None, :] > cuts[None]).reshape(len(unseen), -1).astype(np.float64)
    size = above.sum(axis=0)
    target = np.where(y > 0.5, 0.5 / y.mean(), -0.5 / (1.0 - y.mean()))
    sign, weight = np.sign(target), np.abs(target)
    usable = (size >= 5) & (size <= len(x) - 5)
    score, score_unseen = np.zeros(len(x)), np.zeros(len(unseen))
    for _ in range(rounds):
        slope = weight * sign / (1.0 + np.exp(sign * score))
        total = slope @ above
        mean_above = total / np.maximum(size, 1)
        mean_below = (slope.sum() - total) / np.maximum(len(x) - size, 1)
        gain = np.where(usable, size * mean_above**2 + (len(x) - size) * mean_below**2, -1.0)
        best = int(np.argmax(gain))
        score += 4.0 * step * np.where(above[:, best] > 0, mean_above[best], mean_below[best])
        score_unseen += 4.0 * step * np.where(above_unseen[:, best] > 0, mean_above[best], mean_below[best])
    return score_unseen


CLASSIFIERS = {"logistic": logistic, "stumps": stumps}


def cross_validated_auc(x: Floats, y: Floats, classifier: str, *, folds: int = 5) -> float:
    """AUC of scores that each come from a fit that never saw the account; folds are averaged."""
    rng = np.random.Generator(np.random.PCG64(7))
    kept = x[:, x.std(axis=0) > 0]
    z = (kept - kept.mean(axis=0)) / kept.std(axis=0)
    fold = np.empty(len(y), dtype=np.int64)
    for label in (0.0, 1.0):
        rows = np.flatnonzero(y == label)
        fold[rows] = rng.permutation(len(rows)) % folds
    parts = []
    for part in range(folds):
        seen = fold != part
        parts.append(auc(CLASSIFIERS[classifier](z[seen], y[seen], z[~seen]), y[~seen]))
    return float(np.mean(parts))


POOLS = ("sync_pool", "pivot_pool", "slow_drip", "quiet_pool")
SEEDS = range(101, 106)
LIMIT = 0.60


@functools.cache
def stream_of(scenario: str, seed: int) -> Stream:
    return simulate(scenario, seed=seed, accounts=1000)


def aucs_of(streams: list[Stream]) -> dict[str, float]:
    """Mean cross-validated AUC over streams, by classifier."""
    tables = [table(stream.events, stream.truth)[1:] for stream in streams]
    return {name: float(np.mean([cross_validated_auc(x, y, name) for x, y in tables])) for name in CLASSIFIERS}


@pytest.mark.parametrize("scenario", POOLS)
def test_members_look_like_their_lawful_twins(scenario: str) -> None:
    aucs = aucs_of([stream_of(scenario, seed) for seed in SEEDS])
    assert max(aucs.values()) <= LIMIT, aucs


def warmer(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"temperature": event.get("temperature", 1.0) + 0.15}


def wordier(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"tok_out": event["tok_out"] * 13 // 10}


def older(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"signup_ms": event["signup_ms"] - 10 * 86_400_000}


@pytest.mark.parametrize("plant", [warmer, wordier, older])
def test_a_planted_tell_is_seen(plant: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    planted = []
    for seed in SEEDS:
        stream = stream_of("quiet_pool", seed)
        members = {row["account"] for row in stream.truth if row["kind"] == "campaign"}
        events = [plant(event) if event["account"] in members else event for event in stream.events]
        planted.append(Stream(events, stream.truth, []))
    aucs = aucs_of(planted)
    assert max(aucs.values()) > LIMIT, aucs
