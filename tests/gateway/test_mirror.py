"""The table in a real Redis."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc import settings as told
from streamproc.contract.decisions import Limit
from streamproc.gateway import mirror as module
from streamproc.gateway.metrics import Metrics
from streamproc.gateway.mirror import Mirror
from streamproc.gateway.reading import Reader
from streamproc.gateway.redis_client import Redis
from streamproc.gateway.verdicts import Change, Verdicts
from tests.deploy.tables import OPERATING
from tests.gateway.events import HOUR, event
from tests.gateway.redis_server import PREFIX, RedisServer, needs_redis
from tests.gateway.test_limiter import now_ms

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

pytestmark = needs_redis


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_S", "ASK_EVERY_S"):
        monkeypatch.setattr(module, name, 0.05)
    monkeypatch.setattr(module, "ANSWER_WITHIN_S", 0.5)


class Side:
    """A limiter's table with its mirror; the topic is played by hand."""

    def __init__(self, url: str, most: int = 1000, **more: str) -> None:
        self.metrics = Metrics()
        read = told.read({"REDIS_URL": url, "GATEWAY_MOST_SUBJECTS": str(most), **more})
        self.verdicts = Verdicts(most, 600_000, self._tell)
        self.reader = Reader(read.kafka, "enforcement", self.verdicts, self.metrics)
        self.reader.why_not_ready, self.reader.current = None, True
        self.mirror = Mirror(read.gateway, self.verdicts, self.reader, self.metrics)

    def _tell(self, change: Change) -> None:
        self.mirror.tell(change)

    def take(self, *events: bytes) -> None:
        for one in events:
            self.verdicts.take(one, now_ms())

    def writes(self, write: str) -> float:
        return self.metrics.value("gateway_mirror_writes_total", write=write)

    @property
    def waiting(self) -> float:
        return self.metrics.value("gateway_mirror_waiting_subjects")

    @property
    def equal(self) -> bool:
        return self.metrics.value("gateway_mirror_up") == 1 and not self.mirror._whole_due and not self.waiting

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        task = asyncio.create_task(self.mirror.run())
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(done: Callable[[], bool], within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def recent(name: str, action: Any = "suspend", step: int = 0, ago_ms: int = 60_000, **more: Any) -> bytes:
    return event(name, action, BEGAN - ago_ms, step=step, **more)


BEGAN = now_ms()
NAMES = [f"account:a{n}" for n in (1, 2, 3)]


def test_a_subject_has_a_key_with_its_decision_that_ends_when_that_does(redis_server: RedisServer) -> None:
    async def story() -> None:
        side = Side(redis_server.url)
        side.take(recent("a1", hours=2), recent("quiet", mode="shadow"), recent("freed", "release"))
        async with side.running():
            await until(lambda: side.equal)
            side.take(recent("o 1", "throttle", kind="org", limit=Limit(requests_per_min=3)))
            side.take(recent("k1", "restrict", kind="key", limit=Limit(capabilities=("tools",))))
            await until(lambda: len(redis_server.verdicts()) == 3)
        found = redis_server.verdicts()
        assert found.keys() == {"account:a1", "org:o 1", "key:k1"}
        ends_ms = BEGAN - 60_000 + 2 * HOUR
        held = side.verdicts.newest("account:a1")
        assert held is not None
        assert found["account:a1"] == {"action": "suspend", "id": held.id, "seq": held.seq, "expires_ms": ends_ms}
        assert found["org:o 1"]["limit"] == {"requests_per_min": 3}
        assert found["key:k1"]["limit"] == {"capabilities": ["tools"]}
        left_ms = redis_server.ask("PTTL", f"{PREFIX}account:a1")
        assert ends_ms - now_ms() - 1000 <= left_ms <= ends_ms - BEGAN
        assert side.writes("put") == 3

    asyncio.run(story())


def test_what_is_released_lapses_or_is_forgotten_has_no_key(redis_server: RedisServer) -> None:
    async def story() -> None:
        side = Side(redis_server.url)
        side.take(*(recent(name) for name in ("a1", "a2", "a3", "a4")))
        side.take(recent("short", expires_ms=now_ms() + 600))
        async with side.running():
            await until(lambda: len(redis_server.verdicts()) == 5)
            side.take(recent("a1", "release", step=1), recent("a2", mode="shadow", step=1))
            side.verdicts.take(None, now_ms(), b"account:a3")
            await until(lambda: redis_server.verdicts().keys() == {"account:a4"})
            await until(lambda: not side.waiting)
            assert side.writes("removed") == 3  # nobody had to remove what ended

    asyncio.run(story())


def test_of_several_limiters_the_newest_decision_stays_and_what_was_released_does_not_come_back(
    redis_server: RedisServer,
) -> None:
    async def story() -> None:
        ahead, behind = Side(redis_server.url), Side(redis_server.url)
        ahead.take(recent("a1", "throttle", step=1), recent("a2", "release", step=1))
        async with ahead.running():
            await until(lambda: ahead.equal)
            ahead.take(recent("a3", step=0))
            ahead.take(recent("a3", "release", step=1))
            await until(lambda: ahead.writes("removed") == 1)
            behind.take(recent("a1", "suspend", step=0), recent("a3", step=0))
            async with behind.running():
                await until(lambda: behind.equal)
                assert behind.writes("newer") == 2
                assert {key: told["action"] for key, told in redis_server.verdicts().items()} == {
                    "account:a1": "throttle"
                }
                behind.take(recent("a1", "restrict", step=2))
                await until(lambda: redis_server.verdicts()["account:a1"]["action"] == "restrict")

    asyncio.run(story())


def test_a_redis_that_was_flushed_has_all_of_it_again(redis_server: RedisServer) -> None:
    async def story() -> None:
        side = Side(redis_server.url)
        side.take(*(recent(f"a{n}") for n in range(450)))
        async with side.running():
            await until(lambda: side.equal)
            redis_server.ask("FLUSHALL")
            await until(lambda: len(redis_server.verdicts()) == 450)
            redis_server.ask("SCRIPT", "FLUSH")
            side.take(recent("new"))
            await until(lambda: len(redis_server.verdicts()) == 451)

    asyncio.run(story())


def test_what_changes_while_all_is_written_does_not_wait_for_its_end(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 1)
    monkeypatch.setattr(module, "REST_S", 0.1)

    async def story() -> None:
        side = Side(redis_server.url)
        side.take(*(recent(f"a{n}") for n in range(100)))
        async with side.running():
            await until(lambda: len(redis_server.verdicts()) > 1)
            side.take(recent("new"))
            await until(lambda: "account:new" in redis_server.verdicts())
            assert len(redis_server.verdicts()) < 90
            assert 10 < side.waiting < 100

    asyncio.run(story())


def test_while_redis_is_away_nothing_queues_and_all_of_it_is_there_afterwards(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        side = Side(redis_server.url)
        side.take(*(recent(f"a{n}") for n in range(300)))
        async with side.running():
            await until(lambda: side.equal)
            caplog.clear()
            redis_server.kill()
            await until(lambda: side.metrics.value("gateway_mirror_up") == 0)
            for step in range(1, 5):
                side.take(*(recent(f"a{n}", step=step) for n in range(300)))
                side.take(recent(f"new{step}"))
            assert side.mirror._changed == {}
            side.take(recent("a0", "release", step=7))
            await until(lambda: side.waiting == 304)
            await until(lambda: side.metrics.value("gateway_mirror_behind_seconds") > 0.3)
            redis_server.start()
            await until(lambda: side.equal)
            found = redis_server.verdicts()
            assert len(found) == 303
            assert found["account:a9"]["seq"] == (BEGAN - 60_000) * 8 + 4
            assert side.metrics.value("gateway_mirror_behind_seconds") < 0.3
        levels = [record.levelname for record in caplog.records if record.name == module.__name__]
        assert levels == ["ERROR", "WARNING"]
        assert "a9" not in caplog.text

    asyncio.run(story())


def test_a_redis_that_hangs_holds_nobody_up(redis_server: RedisServer) -> None:
    async def story() -> None:
        side = Side(redis_server.url)
        async with side.running():
            await until(lambda: side.equal)
            redis_server.pause()
            start = time.monotonic()
            side.take(*(recent(f"a{n}") for n in range(500)))
            await asyncio.sleep(0)
            assert time.monotonic() - start < 0.4
            await until(lambda: side.metrics.value("gateway_mirror_up") == 0)
            redis_server.resume()
            await until(lambda: len(redis_server.verdicts()) == 500)

    asyncio.run(story())


def test_what_a_dead_limiter_left_is_removed_once_nobody_can_know_it(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SUSPECT_S", 0.2)
    foreign = f"{PREFIX}note"

    async def story() -> None:
        side = Side(redis_server.url)
        dead = Side(redis_server.url)
        dead.take(recent("a1"), recent("a2"))
        async with dead.running():
            await until(lambda: dead.equal)
        redis_server.ask("SET", "elsewhere:a1", "kept")
        redis_server.ask("SET", foreign, "neither JSON nor ours")
        redis_server.ask("RPUSH", f"{PREFIX}account:list", "1")
        redis_server.ask("RPUSH", "streamproc:gone:account:list", "1")
        side.take(recent("a1", "release", step=1), recent("list"))
        side.reader.current = False
        async with side.running():
            await until(lambda: "account:a1" not in redis_server.verdicts())
            await asyncio.sleep(0.5)
            assert redis_server.verdicts().keys() >= {"account:a2", "account:list"}  # another may have read of a2
            side.reader.current = True
            await until(lambda: redis_server.verdicts().keys() == {"account:list"})
            assert redis_server.ask("GET", "elsewhere:a1") == b"kept"

    asyncio.run(story())


def test_another_limiters_news_are_no_leftovers(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SUSPECT_S", 0.1)

    async def story() -> None:
        ahead, behind = Side(redis_server.url), Side(redis_server.url)
        ahead.take(recent("a1"))
        behind.reader.current = False
        async with ahead.running():
            await until(lambda: ahead.equal)
            async with behind.running():
                await until(lambda: "account:a1" in behind.mirror._suspects)
                behind.take(recent("a1"))
                behind.reader.current = True
                await until(lambda: not behind.mirror._suspects)
                assert redis_server.verdicts().keys() == {"account:a1"}
                assert behind.writes("removed") == 0

    asyncio.run(story())


def test_more_changes_than_subjects_become_one_writing_of_all(redis_server: RedisServer) -> None:
    async def story() -> None:
        side = Side(redis_server.url, most=50)
        async with side.running():
            await until(lambda: side.equal)
            side.take(*(recent(f"a{n}") for n in range(200)))  # the table forgets most of them
            assert len(side.mirror._changed) <= 50
            await until(lambda: side.equal)
            await until(lambda: len(redis_server.verdicts()) == len(side.verdicts))

    asyncio.run(story())


def test_a_value_is_as_the_documents_show_it() -> None:
    (row,) = re.findall(r"`streamproc:verdict:<kind>:<id>` \| `(.*?)` \|", OPERATING.read_text())
    assert orjson.loads(module._encode(module._decode(row))) == orjson.loads(row)
    assert told.read({}).gateway.redis_prefix + "verdict:" == PREFIX


def test_what_somebody_has_changed_in_redis_is_put_right_and_nothing_was_behind(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WHOLE_EVERY_S", 0.3)
    monkeypatch.setattr(module, "AT_ONCE", 1)
    monkeypatch.setattr(module, "REST_S", 0.1)

    async def story() -> None:
        side = Side(redis_server.url)
        side.take(recent("a1"), recent("a2"), recent("a3"))
        async with side.running():
            await until(lambda: side.equal)
            redis_server.ask("DEL", f"{PREFIX}account:a1")
            redis_server.ask("SET", f"{PREFIX}account:a2", "{}")
            waited = []

            def right() -> bool:
                waited.append(side.waiting)
                return all(held and "seq" in held for held in map(redis_server.verdicts().get, NAMES))

            await until(right)
            assert set(waited) == {0}

    asyncio.run(story())


def test_a_prefix_is_taken_literally(redis_server: RedisServer) -> None:
    async def story() -> None:
        side = Side(redis_server.url, REDIS_PREFIX="a*[b]?:")
        redis_server.ask("SET", "axx[b]y:verdict:account:a9", "of somebody else")
        side.take(recent("a1", "release", step=1))
        redis_server.ask("SET", "a*[b]?:verdict:account:a1", "{}")
        async with side.running():
            await until(lambda: redis_server.ask("EXISTS", "a*[b]?:verdict:account:a1") == 0)
        assert side.mirror._suspects == {}

    asyncio.run(story())


@settings(max_examples=60)
@given(seqs=st.lists(st.integers(1, 9), min_size=1, max_size=20), batch=st.integers(1, 5))
def test_in_any_order_and_batches_the_largest_seq_holds(shared_redis: RedisServer, seqs: list[int], batch: int) -> None:
    """An even seq is a release."""

    def row(seq: int) -> module._Row:
        applies = module._Told("suspend", "e1", seq, now_ms() + HOUR)
        return module._Row("account:a1", applies if seq % 2 else module._Nothing(seq))

    async def story() -> None:
        side = Side(shared_redis.url)
        async with Redis.from_url(shared_redis.url) as client:
            apply = client.register_script(module.APPLY)
            for at in range(0, len(seqs), batch):
                await side.mirror._send(apply, [row(seq) for seq in seqs[at : at + batch]])

    shared_redis.ask("FLUSHALL")
    asyncio.run(story())
    held = shared_redis.verdicts().get("account:a1")
    assert (held and held["seq"]) == (max(seqs) if max(seqs) % 2 else None)
