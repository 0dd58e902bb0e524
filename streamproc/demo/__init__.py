"""The demo: made-up traffic with a campaign through Kafka and the real worker, and what was found."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from streamproc import broker
from streamproc.demo.children import PARTITIONS, broker_in, folder_for, worker_in
from streamproc.demo.play import play
from streamproc.demo.summary import summary
from streamproc.demo.telling import DemoError, say
from streamproc.sim import scenario as scenarios
from streamproc.sim.evaluate import evaluate_files

__all__ = ["Demo", "demo"]

INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Demo:
    """What is shown."""

    scenario: str
    seed: int
    accounts: int
    days: float
    keep: Path | None = None  # a folder that stays, with events, truth, decisions and the worker's log


def demo(shown: Demo) -> int:
    """Run the demo; the summary goes to standard output, progress to standard error. Returns the exit code.

    Raises:
        SettingsError: BROKER is neither `embedded` nor `kafka`, or there is no Java for the latter.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with folder_for(shown.keep) as folder:
            sys.stdout.write(f"{_play_in(folder, shown)}\n")
    except (DemoError, broker.BrokerError) as reason:
        say(f"streamproc: {reason}")
        return 1
    except KeyboardInterrupt:
        say("\nstopped; nothing is left behind" if shown.keep is None else "\nstopped")
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _play_in(folder: Path, shown: Demo) -> str:
    """Have all of it happen in a folder; returns the summary."""
    events, truth = folder / "events.jsonl", folder / "truth.jsonl"
    with broker_in(folder) as address, worker_in(folder, address) as port:
        say(f"making {shown.scenario} with seed {shown.seed}: {scenarios.SCENARIOS[shown.scenario]}")
        count = scenarios.simulate_to(
            events, truth, shown.scenario, seed=shown.seed, accounts=shown.accounts, days=shown.days
        )
        played = asyncio.run(play(folder, address, port, count))
    decisions = folder / "decisions.jsonl"
    decisions.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in played.heard.decisions))
    evaluation = evaluate_files(events, truth, decisions)
    if shown.keep is None:
        return summary(played, evaluation)
    again = f"streamproc explain CAMPAIGN --input {events} --partitions {PARTITIONS}"
    return f"{summary(played, evaluation)}\n\nkept in {folder}; to see more: {again}"
