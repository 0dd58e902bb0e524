"""LiteLLM's proxy with our object and without it, on a real Kafka: what a request pays, how soon a verdict is obeyed.

    scripts/litellm-environment && python -m benchmarks.litellm

Times are of the wall clock; the model behind answers at once, so what is shown is the proxy's own time.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from streamproc import broker
from tests.gateway import litellm_proxy
from tests.gateway.litellm_proxy import Proxy, chat, decision, play, proxy
from tests.gateway.model_api import serving
from tests.gateway.test_limiter import create, produce

if TYPE_CHECKING:
    from collections.abc import Sequence

REQUESTS = 400
WARM = 50
CHANGES = 100
PROMPT = "Explain what a queue is, and why the order of its elements matters. " * 150  # 10 KB

# Our object, with a note of how long each call took.
TIMED = """
from pathlib import Path
from time import perf_counter
from streamproc.gateway.litellm.hooks import Hooks

out = Path("hooks.txt").open("a", buffering=1)

class Timed(Hooks):
    async def async_pre_call_hook(self, *given, **named):
        began = perf_counter()
        try:
            return await super().async_pre_call_hook(*given, **named)
        finally:
            out.write(f"{perf_counter() - began}\\n")

    async def async_post_call_success_hook(self, *given, **named):
        began = perf_counter()
        try:
            return await super().async_post_call_success_hook(*given, **named)
        finally:
            out.write(f"{perf_counter() - began}\\n")

instance = Timed()
"""


def main() -> int:
    """Measure and print, if there is a LiteLLM and a Kafka."""
    reason = litellm_proxy.MISSING or broker.available()
    if reason is not None:
        print(f"skipped: {reason}")
        return 0
    with tempfile.TemporaryDirectory() as name, serving() as api, broker.kafka(Path(name) / "kafka") as kafka:
        folder = Path(name)
        (folder / "timed.py").write_text(TIMED)
        asyncio.run(create(kafka, "enforcement"))
        print(f"{REQUESTS} requests of {len(PROMPT) / 1000:.0f} KB, one after the other:")
        without: list[float] = []
        with_us: list[float] = []
        delays: list[float] = []
        with proxy(folder, api.port, kafka, callbacks="[]") as made:
            play(made, lambda one: answered_s(one, without, "without us"))
        with proxy(folder, api.port, kafka, callbacks="timed.instance") as made:
            play(made, lambda one: answered_s(one, with_us, "with us"))
            play(made, lambda one: obeyed_s(one, delays))
        calls = [float(line) for line in (folder / "hooks.txt").read_text().split()]
    both = [before + after for before, after in zip(calls[::2], calls[1::2], strict=False)][WARM:REQUESTS]
    print(f"our hooks alone {spread(both)}")
    print(f"from Kafka to the first refusal, {CHANGES} changes: {spread(delays)}")
    return 0


async def answered_s(made: Proxy, times: list[float], name: str) -> None:
    """Note how long each answer takes, after some that warm the proxy up, and print what they cost."""
    cpu_s = 0.0
    for n in range(WARM + REQUESTS):
        if n == WARM:
            cpu_s = cpu_of(made.process.pid)
        began = time.perf_counter()
        status, *_ = await made.post("/v1/chat/completions", chat(PROMPT), f"user-{n % 20}")
        assert status == 200, made.log()
        times.append(time.perf_counter() - began)
    del times[:WARM]
    cpu_s = cpu_of(made.process.pid) - cpu_s
    print(f"{name:16s}{spread(times)}, CPU {cpu_s / REQUESTS * 1e3:.2f} ms a request")


def cpu_of(process: int) -> float:
    """Return the CPU seconds that a process has used, by all of its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def obeyed_s(made: Proxy, delays: list[float]) -> None:
    """Note how long it takes from a decision's arrival at the brokers to the first refusal."""
    for n in range(CHANGES):
        await produce(made.kafka, "enforcement", decision(f"new-{n}"))
        began = time.perf_counter()
        while await made.ask(f"new-{n}") == 200:
            assert time.perf_counter() < began + 10, made.log()
        delays.append(time.perf_counter() - began)


def spread(times: Sequence[float]) -> str:
    """Return median and 99th percentile in words."""
    ordered = sorted(times)
    return f"p50 {ordered[len(ordered) // 2] * 1e3:.2f} ms, p99 {ordered[len(ordered) * 99 // 100] * 1e3:.2f} ms"


if __name__ == "__main__":
    sys.exit(main())
