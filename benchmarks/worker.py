"""The worker with everything on against a stock Faust agent that only decodes, both through a real Kafka.

    python benchmarks/worker.py [--accounts N] [--days D] [--stock-events N]

Both find all events waiting for them.  Prints events for each CPU second of the process that reads (start-up not
counted) and their ratio.  Needs Java and Maven, as `streamproc.broker` says.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from streamproc import broker, settings
from streamproc.sim.scenario import simulate_to
from streamproc.worker import topics
from streamproc.worker.feed import feed

SCENARIO, SEED, PARTITIONS = "quiet_pool", 7, 4
STOCK_TOPIC = "requests"
STOCK = """
import sys, faust, orjson
app = faust.App("stock", broker="kafka://" + sys.argv.pop(1), topic_partitions=4, web_enabled=False,
                value_serializer="raw", broker_session_timeout=6.0, broker_heartbeat_interval=1.5)
topic = app.topic("requests", value_serializer="raw")
seen = 0
@app.agent(topic)
async def read(stream):
    global seen
    async for value in stream:
        orjson.loads(value)
        seen += 1
        if seen % 1000 == 0:
            sys.__stdout__.write(f"{seen}\\n"); sys.__stdout__.flush()
app.main()
"""


def main() -> None:
    """Time the worker, then the stock agent, on the same events."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--accounts", type=int, default=5000)
    parser.add_argument("--days", type=float, default=4.0)
    parser.add_argument("--stock-events", type=int, default=60_000)
    options = parser.parse_args()
    if (reason := broker.available()) is not None:
        sys.exit(f"no real Kafka here: {reason}")
    with tempfile.TemporaryDirectory() as name, broker.kafka(Path(name) / "kafka") as address:
        folder = Path(name)
        simulate_to(folder / "e.jsonl", folder / "t", SCENARIO, seed=SEED, accounts=options.accounts, days=options.days)
        lines = (folder / "e.jsonl").read_bytes().splitlines()
        print(f"{SCENARIO}, seed {SEED}: {len(lines):,} events of {sum(map(len, lines)) // len(lines):,} bytes")
        worker = time_worker(address, folder, lines)
        print(f"worker, everything on   {worker:10,.0f} events a CPU second", flush=True)
        stock = time_stock(address, folder, options.stock_events)
        print(f"stock agent, decode     {stock:10,.0f} events a CPU second")
        print(f"ratio                   {worker / stock:10.1f}")


def time_worker(address: str, folder: Path, lines: list[bytes]) -> float:
    """Events a CPU second of `streamproc run`, from its first to all events worked off by both reducers."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": address,
        "KAFKA_PARTITIONS": str(PARTITIONS),
        "KAFKA_SESSION_S": "6",
        "STATE_URL": str(folder / "state"),
        "HTTP_PORT": str(port),
    }
    told = settings.read(environment)
    asyncio.run(topics.ensure(told))
    asyncio.run(feed(told.kafka, told.topics.requests, lines))
    with subprocess.Popen([sys.executable, "-m", "streamproc.cli", "run"], env=environment) as process:
        try:
            wait(lambda: metric(port, "streamproc_events_total") > 0, every_s=0.05)
            first, before = metric(port, "streamproc_events_total"), cpu_s(process.pid)
            wait(lambda: metric(port, "streamproc_events_total") >= len(lines))
            wait(settled(lambda: metric(port, "streamproc_uses_total")))
            return (len(lines) - first) / (cpu_s(process.pid) - before)
        finally:
            process.terminate()


def time_stock(address: str, folder: Path, events: int) -> float:
    """Events a CPU second of the stock agent, between its first thousand and `events`."""
    command = [sys.executable, "-c", STOCK, address, "worker", "-l", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder, text=True) as process:
        try:
            assert process.stdout is not None
            counts = (int(line) for line in process.stdout if line.strip().isdigit())
            first, before = next(counts), cpu_s(process.pid)
            for seen in counts:
                if seen >= events:
                    return (seen - first) / (cpu_s(process.pid) - before)
            raise RuntimeError("the stock agent ended early")
        finally:
            process.kill()


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, user and system (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fetch(port: int, path: str) -> str:
    """A page of the worker's own server, or nothing while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def metric(port: int, name: str) -> float:
    """The sum of a metric's series."""
    rows = (line.rpartition(" ") for line in fetch(port, "/metrics").splitlines() if not line.startswith("#"))
    return sum(float(value) for series, _, value in rows if series.partition("{")[0] == name)


def settled(read: Callable[[], float]) -> Callable[[], bool]:
    """Whether a number has stopped to grow for two seconds."""
    last: list[float] = [-1.0, time.monotonic()]

    def done() -> bool:
        now = read()
        if now != last[0]:
            last[:] = [now, time.monotonic()]
        return time.monotonic() - last[1] > 2.0  # longer than a fetch takes

    return done


def wait(done: Callable[[], bool], every_s: float = 0.5, seconds: float = 300.0) -> None:
    """Poll until `done`; a page of metrics costs the worker 3 ms."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError("the worker does not get on")
        time.sleep(every_s)


if __name__ == "__main__":
    main()
