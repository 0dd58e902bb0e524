"""Replay against a plain loop that only parses: `orjson.loads` of every line of the same file, in the same run.

    python benchmarks/replay.py [--accounts N] [--days D] [--repeats N]

Prints CPU microseconds an event and the ratio to the loop: reading alone (bytes to uses), with slots but no rounds,
and with everything on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from streamproc.core import policy
from streamproc.core.engine import Engine
from streamproc.replay import CHUNK
from streamproc.sim.scenario import simulate_to

SCENARIO, SEED = "quiet_pool", 7


def main() -> None:
    """Make the stream, time each way through it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--accounts", type=int, default=15_000)
    parser.add_argument("--days", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        print(f"{SCENARIO}, seed {SEED}, {options.accounts:,} accounts x {options.days} days", file=sys.stderr)
        simulate_to(
            path, Path(folder) / "truth.jsonl", SCENARIO, seed=SEED, accounts=options.accounts, days=options.days
        )
        lines = path.read_bytes().splitlines()
    print(f"{len(lines):,} events of {sum(map(len, lines)) / len(lines):,.0f} bytes")
    loop = best(lambda: parse(lines), options.repeats)
    show("orjson.loads and drop", loop, loop, len(lines))
    for name, work in WAYS.items():
        show(name, best(lambda work=work: work(lines), options.repeats), loop, len(lines))  # type: ignore[misc]


def parse(lines: list[bytes]) -> None:
    """The loop that everything is held against."""
    for line in lines:
        orjson.loads(line)


def read(lines: list[bytes]) -> None:
    """The accounts reducer alone."""
    accounts = Engine(policy.default()).accounts[0]
    for start in range(0, len(lines), CHUNK):
        values = lines[start : start + CHUNK]
        accounts.observe(values, range(start, start + len(values)))


def slots(lines: list[bytes]) -> None:
    """Both reducers, no rounds."""
    engine = Engine(policy.default())
    engine.campaigns._round = lambda _end_ms, _output: engine.campaigns.running.clear()  # type: ignore[assignment,method-assign] # noqa: SLF001
    run(engine, lines)


def everything(lines: list[bytes]) -> None:
    """Both reducers, rounds, watchlist, decisions."""
    run(Engine(policy.default()), lines)


def run(engine: Engine, lines: list[bytes]) -> None:
    """All lines through an engine."""
    for start in range(0, len(lines), CHUNK):
        values = lines[start : start + CHUNK]
        engine.observe(0, values, range(start, start + len(values)))
    engine.flush()


WAYS: dict[str, Callable[[list[bytes]], None]] = {
    "read into uses": read,
    "with slots, rounds off": slots,
    "everything on": everything,
}


def best(work: Callable[[], None], repeats: int) -> float:
    """Least CPU seconds of `repeats` runs."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def show(name: str, seconds: float, loop: float, events: int) -> None:
    """One row of the table."""
    print(f"{name:<24} {seconds / events * 1e6:7.2f} us an event   {seconds / loop:5.2f} x", flush=True)


if __name__ == "__main__":
    main()
