"""The console on a real Kafka: how soon it has read the topics, and how long its pages take.

    python -m benchmarks.console [subjects] [campaigns]

Each subject is in force with the evidence of a campaign of the simulator (twelve signals). Times are of the wall clock,
beside a plain consumer that reads the same topics and does nothing, and beside an answer that needs no work.
"""

from __future__ import annotations

import asyncio
import http.client
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streamproc import broker, settings
from streamproc.contract.decisions import BESIDE, Reason
from streamproc.core.campaigns.statistics import STATISTICS
from streamproc.following import read
from tests.console.service import TOPICS, Console, console, message, now
from tests.telling.events import campaign, decision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUBJECTS = 100_000
CAMPAIGNS = 1_000
ASKED = 100
TEXT = "Of the accounts' requests {0} are for what they have in common, where a tool that they share would stand out"
REASONS = tuple(
    Reason(signal=one.name, family=one.family, log10_lr=0.1, observed=0.5, expected=0.4, text=TEXT + BESIDE + "77 %.")
    for one in STATISTICS[:12]
)


def main(arguments: Sequence[str]) -> None:
    """Fill the topics, and measure on them."""
    subjects = int(arguments[0]) if arguments else SUBJECTS
    campaigns = int(arguments[1]) if len(arguments) > 1 else CAMPAIGNS
    with tempfile.TemporaryDirectory() as folder, broker.kafka(Path(folder) / "kafka") as address:
        size = asyncio.run(fill(address, subjects, campaigns))
        print(f"{subjects:,} subjects of {campaigns:,} campaigns, {size / 2**20:,.0f} MiB")
        plain_s = asyncio.run(read_plainly(address))
        print(f"a plain consumer reads them in {plain_s:.2f} s")
        start = time.monotonic()
        with console(address, Path(folder)) as page:
            page.wait(page.ready, within_s=120)
            took_s = time.monotonic() - start
            ratio = took_s / plain_s
            print(f"ready in {took_s:.2f} s from the start of the process, {ratio:.1f} of the plain consumer's")
            measure(page, subjects)
            print(f"memory {memory_mb(page.process.pid):.0f} MB")


async def fill(address: str, subjects: int, campaigns: int) -> int:
    """Make the topics and put everything into them; returns how many bytes that is."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    made = [NewTopic(topic, parts, 1, topic_configs={"cleanup.policy": "compact"}) for topic, parts in TOPICS.items()]
    await admin.create_topics(made)
    await admin.close()
    size = 0
    async with AIOKafkaProducer(bootstrap_servers=address, linger_ms=20, max_batch_size=900_000) as producer:
        for event in events(subjects, campaigns):
            topic, key, value = message(event)
            size += len(value)
            await producer.send(topic, value, key=key)
        await producer.flush()
    return size


def events(subjects: int, campaigns: int) -> Iterator[Any]:
    """Every campaign with evidence of its own, and every subject in force with its campaign's."""
    evidence = [(*REASONS[1:], Reason(signal=f"s{n}", family="content", log10_lr=n / campaigns, text="own"))
                for n in range(campaigns)]  # fmt: skip
    states = ("confirmed", "suspected", "contained", "dormant")
    for n in range(campaigns):
        yield now(campaign(f"c{n:016x}", state=states[n % 4], evidence=evidence[n], log10_lr=n / campaigns))
    for n in range(subjects):
        of = n % campaigns
        yield now(decision(f"{n:016x}", campaign=f"c{of:016x}", reasons=evidence[of]))


async def read_plainly(address: str) -> float:
    """Return how long a consumer takes that does nothing, in seconds."""
    start = time.monotonic()
    await read(settings.read({"KAFKA_BOOTSTRAP_SERVERS": address}).kafka, list(TOPICS), lambda _record: None)
    return time.monotonic() - start


def measure(page: Console, subjects: int) -> None:
    """Print how long pages take; some of them count anew, which is done once a second."""
    pages = {
        "the first page": "/", "the list of campaigns": "/campaigns", "a campaign": f"/campaign?id=c{4:016x}",
        "an account": f"/subject?kind=account&id={subjects // 2:016x}", "a search": f"/search?q={'0' * 14}",
        "/healthz the same way": "/healthz",
    }  # fmt: skip
    first = ask_s(page, "/")
    print(f"the very first page: {first * 1e3:.1f} ms")
    for name, path in pages.items():
        times = sorted(ask_s(page, path, pause_s=0.05) for _ in range(ASKED))
        print(f"{name}: p50 {times[ASKED // 2] * 1e3:.1f} ms, worst {times[-1] * 1e3:.1f} ms")


def ask_s(page: Console, path: str, pause_s: float = 0.0) -> float:
    """Return how long an answer takes, in seconds."""
    time.sleep(pause_s)
    connection = http.client.HTTPConnection("127.0.0.1", page.port)
    start = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    took_s = time.perf_counter() - start
    assert answer.status == 200, path
    connection.close()
    return took_s


def memory_mb(pid: int) -> float:
    """Return the memory that a process holds, where the system says it."""
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
