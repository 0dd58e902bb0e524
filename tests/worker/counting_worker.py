"""A worker for tests: counts the numbers that it reads, keeps its counts in snapshots, and logs each run.

    counting_worker.py TOPIC LOG [--state URL] [--slow SECONDS]

Brokers and group come from KAFKA_*. With --state the topic is kept: commits wait for snapshots.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faust.types import TP

from streamproc import settings
from streamproc.worker.launch import launch, make_app
from streamproc.worker.state import StateStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamproc.worker.runs import RunApp

SNAPSHOT_EVERY_RUNS = 4


class CountKeeper:
    """Per partition: the next offset, how many numbers, and their sum."""

    app: RunApp

    def __init__(self, url: str | None) -> None:
        self.store = StateStore(url) if url else None
        self.state: dict[TP, list[int]] = {}

    async def claim(self, partitions: set[TP]) -> Mapping[TP, int]:
        self.state.clear()
        if self.store is not None:
            for tp in partitions:
                saved = self.store.load(f"counts-{tp.partition}")
                if saved is not None:
                    self.state[tp] = json.loads(saved)
        return {tp: state[0] for tp, state in self.state.items()}

    async def settle(self) -> None:
        for tp in list(self.state):
            self.save(tp)

    def save(self, tp: TP) -> None:
        if self.store is not None:
            state = self.state[tp]
            self.store.save(f"counts-{tp.partition}", state[0], json.dumps(state).encode())
            self.app.covered(tp, state[0])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("topic")
    parser.add_argument("log", type=Path)
    parser.add_argument("--state")
    parser.add_argument("--slow", type=float, default=0.0)
    options = parser.parse_args()
    keeper = CountKeeper(options.state)
    app = keeper.app = make_app(settings.read(), keeper=keeper)
    log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    @app.agent(app.run_topic(options.topic, kept=options.state is not None))
    async def count(stream: Any) -> None:
        runs = 0
        async for event in stream.noack().events():
            run = event.value
            tp = TP(options.topic, run.partition)
            state = keeper.state.setdefault(tp, [0, 0, 0])
            fresh = run.since(state[0])
            await asyncio.sleep(options.slow)
            if fresh is not None:
                numbers = [int(value) for value in fresh.values]
                if -1 in numbers:
                    raise ValueError("a poisoned record")
                state[:] = [fresh.next_offset, state[1] + len(numbers), state[2] + sum(numbers)]
            line = [os.getpid(), run.partition, run.first_offset, run.next_offset, *state]
            os.write(log, (json.dumps(line) + "\n").encode())
            runs += 1
            if runs % SNAPSHOT_EVERY_RUNS == 0:
                keeper.save(tp)
            event.ack()

    return launch(app)


if __name__ == "__main__":
    sys.exit(main())
