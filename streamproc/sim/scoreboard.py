"""The scoreboard: how well each kind of campaign is found, by weights that never saw it, beside plain baselines.

`python -m streamproc.sim.scoreboard` fits without each kind in turn, runs the real engine over streams of seeds that
no fit has seen, and writes docs/SCOREBOARD.md and docs/scoreboard.json.  With `--only obeyed` it plays the streams
with gateways that obey and writes that section alone.  Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import datetime as dt
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from streamproc.core import policy as policies
from streamproc.core.engine import Engine
from streamproc.core.policy import Policy
from streamproc.sim import baselines, chart, scoreboard_obeyed, weights
from streamproc.sim.evaluate import HOUR_MS, PER_ACCOUNTS, Evaluation, evaluate
from streamproc.sim.figures import mean_of, number, table, wilson
from streamproc.sim.processes import each
from streamproc.sim.recording import Recording, head_of
from streamproc.sim.scenario import SCENARIOS, Stream, simulate

FIRST_SEED = 301  # fits use seeds from 101 on, and options were chosen by looking at 201 to 203
SEEDS, CONTROLS = 5, 20
QUICK_SEEDS, QUICK_CONTROLS = 2, 4
CALIBRATION_SEEDS = 2  # of the fit's, a kind: thresholds of the baselines
CHUNK = 2000
CONTROL = "control"
UNSEEN, SHIPPED = "never saw it", "shipped, in-sample"
JUDGES = (UNSEEN, SHIPPED, *baselines.BASELINES)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One stream to be judged by each of the judges."""

    kind: str
    seed: int
    accounts: int
    days: float
    policies: dict[str, bytes]  # judge -> text of its policy
    thresholds: baselines.Thresholds


def judge(task: Task) -> list[Row]:
    """A row for each judge of one stream: its evaluation, the campaigns it raised and when."""
    stream = simulate(task.kind, seed=task.seed, accounts=task.accounts, days=task.days)
    events = [(event["id"], event["ts_ms"], event["account"]) for event in stream.events]
    rows = []
    for name, text in task.policies.items():
        decisions, raised = run(stream, policies.parse(text))
        rows.append(_row(task, name, evaluate(stream.truth, decisions, events, stream.campaign_requests), raised))
    table = baselines.Table.of(stream)
    for name, baseline in baselines.BASELINES.items():
        said = baseline(table, task.thresholds)
        rows.append(_row(task, name, evaluate(stream.truth, said, events, stream.campaign_requests), {}))
    return rows


def run(stream: Stream, policy: Policy) -> tuple[list[Any], dict[str, int]]:
    """Decisions of the engine on a stream, and when each campaign that it raised was confirmed."""
    engine = Engine(policy)
    lines = [orjson.dumps(event) for event in stream.events]
    decisions: list[Any] = []
    raised: dict[str, int] = {}
    outputs = (
        engine.observe(0, lines[at : at + CHUNK], range(at, min(at + CHUNK, len(lines))))
        for at in range(0, len(lines), CHUNK)
    )
    for output in (*outputs, engine.flush()):
        decisions += output.enforcements
        for campaign in output.campaigns:
            if campaign.state == "confirmed":
                raised.setdefault(campaign.campaign, campaign.ts_ms)
    return decisions, raised


def _row(task: Task, name: str, found: Evaluation, raised: Mapping[str, int]) -> Row:
    hours = [one.hours_to_half for one in found.campaigns.values()]
    firsts = [one.first_ms for one in found.campaigns.values() if one.first_ms is not None]
    return {
        "kind": task.kind,
        "seed": task.seed,
        "judge": name,
        "leaked_share": found.leaked_share,
        "recall": found.recall,
        "precision": found.precision,
        "hours_to_half": hours[0] if hours else None,
        "hours_to_confirm": [round((ts_ms - min(firsts)) / HOUR_MS, 2) for ts_ms in raised.values()] if firsts else [],
        "members": sum(one.members for one in found.campaigns.values()),
        "exchanges": sum(one.exchanges for one in found.campaigns.values()),
        "honest": found.honest,
        "hurt": found.hurt,
        "raised": len(raised),
        "false_campaigns": len(found.false_campaigns),
    }


def unseen_policies(recordings: Sequence[Recording], head: str, kinds: Sequence[str]) -> dict[str, bytes]:
    """By kind, the text of the policy that is fitted without any stream of it."""
    texts = {}
    for kind in kinds:
        _say(f"fitting without {kind}")
        texts[kind] = weights.policy_text(head, weights.fit(recordings, kind), "").encode()
    return texts


def tasks(unseen: Mapping[str, bytes], seeds: Sequence[int], controls: Sequence[int]) -> list[Task]:
    """Every stream with the policies that judge it: the one that never saw its kind, and the shipped one."""
    tables = [
        baselines.Table.of(simulate(kind, seed=seed, accounts=weights.ACCOUNTS, days=weights.DAYS))
        for kind in SCENARIOS
        for seed in weights.SEEDS[:CALIBRATION_SEEDS]
    ]
    thresholds = baselines.calibrate(tables)
    return [
        Task(
            kind, seed, weights.ACCOUNTS, weights.DAYS,
            {UNSEEN: unseen[kind], SHIPPED: policies.default_text()}, thresholds,
        )
        for kind in SCENARIOS
        for seed in (controls if kind == CONTROL else seeds)
    ]  # fmt: skip


def judge_all(todo: Sequence[Task], jobs: int) -> list[Row]:
    """The rows of all tasks, in order of the tasks."""
    return [row for made in each(judge, todo, jobs) for row in _told(made)]


def _told(rows: list[Row]) -> list[Row]:
    for row in rows[:2]:
        _say(
            f"{row['kind']} {row['seed']} ({row['judge']}): leaked {number(row['leaked_share'])}, "
            f"recall {number(row['recall'])}, half after {number(row['hours_to_half'])} h, "
            f"hurt {sum(row['hurt'].values())}, raised {row['raised']}"
        )
    return rows


# The page.

PAGE, RAW, CHART = "SCOREBOARD.md", "scoreboard.json", "scoreboard.svg"

CAMPAIGNS_WORDS = (
    "Each kind by weights, null, threshold and probabilities fitted without any stream of that kind; beside it the "
    "shipped policy, which saw the kind (on other seeds). Means over seeds with Student's 95 % interval. *Leaked*: "
    "share of the campaign's requests made while the account was not acted on. *Hours*: from the campaign's first "
    "request until half of its members were acted on, and in how many streams they were."
)
HURT_WORDS = (
    "Honest accounts at throttle or above at any time, shadow counted, per 2,000 accounts of their kind, over all "
    "streams; in brackets the accounts."
)
STREAM_COLUMNS = (
    "kind", "seed", "judge", "members", "exchanges", "confirmed after, h", "half after, h", "leaked", "recall", "hurt",
)  # fmt: skip


def page(rows: Sequence[Row], about: Mapping[str, Any], obeyed: str) -> str:
    """The scoreboard as Markdown; `obeyed` is its section on gateways that obey."""
    parts = [
        "# Scoreboard",
        _about(about),
        "## Campaigns",
        CAMPAIGNS_WORDS,
        f"![Share of each campaign's requests that leaked, by judge]({CHART})",
        _campaigns(rows, (UNSEEN, SHIPPED)),
        obeyed,
        "## Lawful users",
        HURT_WORDS,
        _hurt(rows),
        "## Streams without a campaign",
        _controls(rows),
        "## Plain baselines on the same streams",
        _baseline_words(about),
        _campaigns(rows, tuple(baselines.BASELINES)),
        "## Every stream",
        _streams(rows),
    ]
    return "\n\n".join(parts) + "\n"


def leaked_chart(rows: Sequence[Row]) -> str:
    """What leaked of each kind under each judge, as SVG."""
    groups = []
    for kind in (name for name in SCENARIOS if name != CONTROL):
        bars = []
        for judge_name in JUDGES:
            shares = [row["leaked_share"] for row in rows if row["kind"] == kind and row["judge"] == judge_name]
            if shares:
                mean = mean_of(shares, 0.0, 1.0)
                bars.append(chart.Bar(judge_name, mean.value, mean.low, mean.high))
        groups.append((kind, bars))
    return chart.draw("Share of each campaign's requests that leaked, by judge", groups)


def _about(about: Mapping[str, Any]) -> str:
    return (
        f"Made on {about['date']} at commit {about['commit']} by `make scoreboard`: {about['seeds']} seeds a kind and "
        f"{about['controls']} without a campaign, from {FIRST_SEED} on; {about['accounts']:,} lawful accounts, "
        f"{about['days']:g} days. All traffic is made up (`streamproc simulate`), and the fit saw other seeds of the "
        f"same generator: on real traffic the figures will differ. Shipped policy: {about['policy']}."
    )


def _baseline_words(about: Mapping[str, Any]) -> str:
    limit = about["thresholds"]
    return (
        f"*volume limit*: {limit['requests_per_day']:.0f} requests a day (the 99.9th percentile of lawful accounts' "
        f"days), the rest of the day is stopped. *shared template*: accounts that use a template which more than "
        f"{limit['accounts_per_template']} accounts share (the best F1 on calibration streams). *half-space trees*: "
        f"River's, over eight features of an account's day, 48 hours from a day that scores above "
        f"{limit['habits_score']:.4f} (the 99.9th percentile of lawful days)."
    )


def _campaigns(rows: Sequence[Row], judges: Sequence[str]) -> str:
    lines = [["kind", "judge", "leaked", "hours to half", "recall", "precision", "honest hurt in 2,000"]]
    for kind in SCENARIOS:
        for name in judges:
            chosen = [row for row in rows if row["kind"] == kind and row["judge"] == name]
            if chosen and kind != CONTROL:
                lines.append([kind, name, *_cells(chosen)])
    return table(lines)


def _cells(rows: Sequence[Row]) -> list[str]:
    half = [row["hours_to_half"] for row in rows if row["hours_to_half"] is not None]
    precise = [row["precision"] for row in rows if row["precision"] is not None]
    hurt = [PER_ACCOUNTS * sum(row["hurt"].values()) / max(sum(row["honest"].values()), 1) for row in rows]
    return [
        mean_of([row["leaked_share"] for row in rows], 0, 1).text(3),
        f"{mean_of(half, 0).text(1)}, {len(half)} of {len(rows)}",
        mean_of([row["recall"] for row in rows], 0, 1).text(3),
        mean_of(precise, 0, 1).text(3),
        mean_of(hurt, 0).text(2),
    ]


def _hurt(rows: Sequence[Row]) -> str:
    honest: Counter[str] = Counter()
    hurt: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        hurt[row["judge"]].update(row["hurt"])
        if row["judge"] == UNSEEN:
            honest.update(row["honest"])
    lines = [["kind of lawful user", "accounts", *JUDGES]]
    for kind in (*sorted(honest), None):
        total = honest.total() if kind is None else honest[kind]
        counts = [hurt[name].total() if kind is None else hurt[name][kind] for name in JUDGES]
        cells = [f"{PER_ACCOUNTS * count / max(total, 1):.2f} ({count})" for count in counts]
        lines.append([kind or "all", f"{total:,}", *cells])
    return table(lines)


def _controls(rows: Sequence[Row]) -> str:
    lines = [["judge", "streams", "with a campaign raised", "share (Wilson's 95 %)", "false campaigns, all streams"]]
    for name in (UNSEEN, SHIPPED):
        own = [row for row in rows if row["judge"] == name]
        controls = [row for row in own if row["kind"] == CONTROL]
        hits = sum(row["raised"] > 0 for row in controls)
        false = sum(row["false_campaigns"] for row in own)
        lines.append(
            [name, str(len(controls)), str(hits), wilson(hits, len(controls)).text(), f"{false} in {len(own)}"]
        )
    return table(lines)


def _streams(rows: Sequence[Row]) -> str:
    lines: list[Sequence[str]] = [STREAM_COLUMNS]
    for row in rows:
        if row["judge"] in {UNSEEN, SHIPPED}:
            after = " ".join(f"{hours:.1f}" for hours in row["hours_to_confirm"]) or "-"
            figures = [number(row[name]) for name in ("hours_to_half", "leaked_share", "recall")]
            whole = [row["kind"], str(row["seed"]), row["judge"], str(row["members"]), f"{row['exchanges']:,}"]
            lines.append([*whole, after, *figures, str(sum(row["hurt"].values()))])
    return table(lines)


# Commands.


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a tool's progress


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    return found.stdout.strip() if found.returncode == 0 else "unknown"


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge streams of every kind and write the scoreboard."""
    chosen = _chosen(arguments)
    head = head_of(policies.default_text().decode())
    recordings = weights.record_all(weights.SEEDS, weights.ACCOUNTS, weights.DAYS, head)
    campaigns = [kind for kind in SCENARIOS if kind != CONTROL]
    unseen = unseen_policies(recordings, head, campaigns if chosen.only else tuple(SCENARIOS))
    del recordings
    made = {"date": dt.datetime.now(dt.UTC).date().isoformat(), "commit": _commit()}
    whole = orjson.loads((chosen.output / RAW).read_bytes()) if chosen.only else _judged(unseen, chosen, made)
    whole["obeyed"] = _obeyed({kind: unseen[kind] for kind in campaigns}, chosen, made)
    _write(chosen.output, whole, only_obeyed=bool(chosen.only))
    return 0


def _chosen(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m streamproc.sim.scoreboard", description=main.__doc__)
    add = parser.add_argument
    add("--seeds", type=int, default=SEEDS, help="streams of each kind (default: %(default)s)")
    add("--controls", type=int, default=CONTROLS, help="without a campaign (default: %(default)s)")
    played = scoreboard_obeyed.SEEDS
    add("--played", type=int, default=played, help="of each kind, with gateways that obey (default: %(default)s)")
    add("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    add("--quick", action="store_true", help="few seeds, to see that it works")
    add("--only", choices=("obeyed",), help="write this section anew and leave the rest as it is")
    add("--output", type=Path, default=Path("docs"), help="folder (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.seeds, chosen.controls, chosen.played = QUICK_SEEDS, QUICK_CONTROLS, scoreboard_obeyed.QUICK_SEEDS
    missing = [name for name in (PAGE, RAW) if not (chosen.output / name).exists()]
    if chosen.only and missing:
        parser.error(f"{chosen.output} has no {' and no '.join(missing)} to write a section into: run without --only")
    return chosen


def _judged(unseen: Mapping[str, bytes], chosen: argparse.Namespace, made: Mapping[str, str]) -> dict[str, Any]:
    seeds = range(FIRST_SEED, FIRST_SEED + chosen.seeds)
    todo = tasks(unseen, seeds, range(FIRST_SEED, FIRST_SEED + chosen.controls))
    about = {
        **made,
        "seeds": chosen.seeds,
        "controls": chosen.controls,
        "accounts": weights.ACCOUNTS,
        "days": weights.DAYS,
        "policy": policies.default().version,
        "thresholds": {name: getattr(todo[0].thresholds, name) for name in baselines.Thresholds.__slots__},
    }
    return {"about": about, "rows": judge_all(todo, chosen.jobs)}


def _obeyed(unseen: Mapping[str, bytes], chosen: argparse.Namespace, made: Mapping[str, str]) -> dict[str, Any]:
    seeds = range(FIRST_SEED, FIRST_SEED + chosen.played)
    about = {
        **made,
        "seeds": chosen.played,
        "first_seed": FIRST_SEED,
        "accounts": weights.ACCOUNTS,
        "days": scoreboard_obeyed.DAYS,
    }
    rows = scoreboard_obeyed.play_all(unseen, seeds, weights.ACCOUNTS, chosen.jobs, _say)
    return {"about": about, "rows": rows}


def _write(folder: Path, whole: Mapping[str, Any], *, only_obeyed: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    obeyed = scoreboard_obeyed.section(**whole["obeyed"])
    if only_obeyed:
        text = scoreboard_obeyed.replaced((folder / PAGE).read_text(encoding="utf-8"), obeyed)
    else:
        text = page(whole["rows"], whole["about"], obeyed)
        (folder / CHART).write_text(leaked_chart(whole["rows"]), encoding="utf-8")
    (folder / PAGE).write_text(text, encoding="utf-8")
    raw = orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (folder / RAW).write_bytes(raw)


if __name__ == "__main__":
    raise SystemExit(main())
