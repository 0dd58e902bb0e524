"""What runs beside another program's work: verdicts come in, events go out, and it ends with its process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streamproc import broker, settings
from streamproc.gateway.background import Background
from streamproc.gateway.verdicts import Subjects
from tests.gateway.litellm_proxy import free_port, now_ms
from tests.gateway.test_limiter import decision, produce
from tests.gateway.test_post import arrived, event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOPICS = {"requests": 1, "enforcement": 1}


@contextmanager
def begun(address: str, **more: str) -> Iterator[Background]:
    made = Background(settings.read({"KAFKA_BOOTSTRAP_SERVERS": address, **more}))
    made.start()
    try:
        yield made
    finally:
        made.stop()


def until(done: Callable[[], object], within_s: float = 15) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_verdicts_are_known_as_it_begins_and_followed_and_events_are_sent_before_the_end() -> None:
    with broker.embedded(TOPICS) as address:
        asyncio.run(produce(address, "enforcement", decision("a1")))
        with begun(address) as made:
            assert made.wait_ready(15)
            assert made.why_not_ready() is None
            assert made.verdicts.verdict(Subjects(account="a1"), now_ms()) is not None
            asyncio.run(produce(address, "enforcement", decision("a2")))
            until(lambda: made.verdicts.verdict(Subjects(account="a2"), now_ms()))
            made.post.send(event("a1", 0))
            made.stop()
            made.stop()
        assert len(asyncio.run(arrived(address, 1))) == 1


def test_each_process_of_a_program_shows_its_metrics_on_a_port_of_its_own() -> None:
    port = free_port()
    with broker.embedded(TOPICS) as address:
        more = {"GATEWAY_HTTP_PORT": str(port), "HTTP_HOST": "127.0.0.1"}
        with begun(address, **more), begun(address, **more):
            until(lambda: answers(port) and any(answers(port + n) for n in range(1, 5)))


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return b"streamproc_gateway_ready" in answer.read()
    except OSError:
        return False


def test_without_brokers_it_is_not_ready_and_ends_all_the_same() -> None:
    with begun("127.0.0.1:9") as made:
        assert not made.wait_ready(0.3)
        assert made.why_not_ready() is not None
        began = time.monotonic()
        made.stop()
        assert time.monotonic() - began < 5


def test_what_fails_is_begun_again_and_counted() -> None:
    with broker.embedded(TOPICS) as address:
        made = Background(settings.read({"KAFKA_BOOTSTRAP_SERVERS": address}))
        run, failures = made.reader.run, ["once"]

        async def failing() -> None:
            if failures:
                raise ArithmeticError(failures.pop())
            await run()

        made.reader.run = failing  # type: ignore[method-assign]
        made.start()
        assert made.wait_ready(15)
        assert made.metrics.value("gateway_failures_total") == 1
        made.stop()


def test_a_process_that_ends_sends_what_waits_first() -> None:
    code = (
        "import sys; from streamproc import settings; from streamproc.gateway.background import Background;"
        "made = Background(settings.read({'KAFKA_BOOTSTRAP_SERVERS': sys.argv[1]})); made.start(); made.wait_ready(15);"
        "[made.post.send({'account': 'a', 'ts_ms': n, 'id': str(n)}) for n in range(1200)]"
    )
    with broker.embedded(TOPICS) as address:
        subprocess.run([sys.executable, "-c", code, address], check=True, timeout=60)
        assert len(asyncio.run(arrived(address, 1200))) == 1200
