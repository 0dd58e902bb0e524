"""A real Envoy under load with and without being asked: what authorisation adds, and how soon a verdict is obeyed.

    python -m benchmarks.envoy [seconds [requests a second [bytes of a prompt]]]

Both halves of the load go through the same Envoy in turns of a few seconds, half of it by a route where ext_authz is
switched off. Requests go out at a steady rate, whatever becomes of those before, and one that finds no connection free
has its time run while it waits: none hides behind a slow one.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, cast

import orjson
import uvloop

from streamproc import broker
from tests.fingerprint.talk import DIALECTS
from tests.gateway.proxies import CHAT, World, free_port
from tests.gateway.test_envoy import ask
from tests.gateway.test_limiter import create

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS, PER_S, PROMPT_BYTES = 30, 1000, 2000
TURN_S = 2.5
CONNECTIONS = 64
CHANGES = 100
ACCOUNTS = tuple(f"account-{n}" for n in range(200))
CHANGED = tuple(f"changed-{n}" for n in range(CHANGES))
WORDS = (
    "please",
    "explain",
    "how",
    "the",
    "moon",
    "pulls",
    "at",
    "the",
    "sea",
    "and",
    "why",
    "a",
    "day",
    "has",
    "tides",
)

# A model that answers at once is Envoy itself; a header chooses the route that nobody is asked about.
MODEL = """
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: stand_in
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            response_headers_to_add: [{{header: {{key: content-type, value: application/json}}}}]
            virtual_hosts:
            - name: stand_in
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, direct_response: {{status: 200, body: {{inline_string: '{answer}'}}}}}}]
  clusters:"""
UNASKED = """routes:
              - match: {prefix: /, headers: [{name: x-unasked, present_match: true}]}
                route: {cluster: model}
                typed_per_filter_config:
                  envoy.filters.http.ext_authz:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
                    disabled: true
              - {match: {prefix: /}, route: {cluster: model}}"""
LOGGED = """- name: envoy.access_loggers.http_grpc
            filter: {header_filter: {header: {name: x-unasked, present_match: true, invert_match: true}}}"""


class Connection(asyncio.Protocol):
    """One kept connection: a request out, a whole answer in."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._due_s = 0.0
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be free."""
        self._transport = cast("asyncio.Transport", transport)
        self._load.free.append(self)

    def send(self, request: bytes, due_s: float) -> None:
        """Send a request that was due at this time."""
        self._due_s = due_s
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take in the answer; when it is whole, be free again."""
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if not end or len(body) < length:
            return
        self._got = b""
        self._load.answered(self, self._due_s, int(head[9:12]))


class Load:
    """Requests at a steady rate, whatever becomes of those before."""

    def __init__(self, port: int, prompt_bytes: int) -> None:
        self.free: deque[Connection] = deque()
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._port = port
        self._prompt_bytes = prompt_bytes
        self._times: list[float] = []
        self._statuses: set[int] = set()
        self._sent = 0

    async def connect(self) -> None:
        """Open the connections."""
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)

    async def run(self, seconds: float, per_s: int, header: str = "") -> list[float]:
        """Return how long each request took, in seconds; every one was answered with a 200."""
        self._times, count = [], int(seconds * per_s)
        requests = [self._request(header) for _ in range(count)]
        start = time.perf_counter()
        for number, request in enumerate(requests):
            if (ahead := start + number / per_s - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            due_s = time.perf_counter()  # a timer's lateness is nobody's but this program's
            if self.free:
                self.free.popleft().send(request, due_s)
            else:
                self._waiting.append((request, due_s))
        deadline = time.perf_counter() + 10
        while len(self._times) < count and time.perf_counter() < deadline:  # noqa: ASYNC110 - a plain list is watched
            await asyncio.sleep(0.01)
        assert len(self._times) == count, f"{count - len(self._times)} requests were not answered"
        assert self._statuses == {200}, self._statuses
        return self._times

    def answered(self, connection: Connection, due_s: float, status: int) -> None:
        """Count an answer, and send what waits."""
        self._times.append(time.perf_counter() - due_s)
        self._statuses.add(status)
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self.free.append(connection)

    def _request(self, header: str) -> bytes:
        self._sent += 1
        account = ACCOUNTS[self._sent % len(ACCOUNTS)]
        words = " ".join(WORDS[(self._sent + n) % len(WORDS)] for n in range(self._prompt_bytes // 5))
        body = orjson.dumps(DIALECTS["openai_chat"].ask("Be kind.", [("user", words)], False))  # noqa: FBT003
        head = (
            f"POST {CHAT} HTTP/1.1\r\nhost: models\r\nauthorization: Bearer sk-{account}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{header}\r\n"
        )
        return head.encode() + body


async def measure(world: World, seconds: float, per_s: int, prompt_bytes: int) -> None:
    """Print all of it."""
    answer = orjson.dumps({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 5}}).decode()
    authz = world.start_authz()
    proxy = world.start_envoy(
        ("\n  clusters:", MODEL.format(port=world.model.port, answer=answer)),
        ("routes: [{match: {prefix: /}, route: {cluster: model, timeout: 600s}}]", UNASKED),
        ("- name: envoy.access_loggers.http_grpc", LOGGED),
    )
    await world.wait(world.ready)
    await world.wait(world.envoy_ready)
    load = Load(world.envoy_port, prompt_bytes)
    await load.connect()
    with_it: list[float] = []
    without: list[float] = []
    await load.run(1, per_s)  # connections, caches
    begun = time.perf_counter()
    used = dict.fromkeys((authz.pid, proxy.pid, os.getpid()), 0.0)
    while len(with_it) < seconds * per_s:
        without += await load.run(TURN_S, per_s, "x-unasked: 1\r\n")
        used = {pid: before - used_s(pid) for pid, before in used.items()}
        with_it += await load.run(TURN_S, per_s)
        used = {pid: before + used_s(pid) for pid, before in used.items()}
    print(
        f"{len(with_it):,} requests of {prompt_bytes:,} B at {per_s:,}/s, each way, {time.perf_counter() - begun:.0f} s"
    )
    for name, at in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        asked, plain = (sorted(times)[int(len(times) * at)] * 1e3 for times in (with_it, without))
        print(f"{name}: {asked:.2f} ms asked, {plain:.2f} ms not: {asked - plain:+.2f} ms")
    allowed = await world.envoy_stat("http.models.ext_authz.failure_mode_allowed")
    print(f"all answered; {allowed} let through unasked")
    server, envoys, ours = (share / len(with_it) * 1e6 for share in used.values())
    print(f"CPU time an asked request: server {server:.0f} us, Envoy {envoys:.0f} us, this load {ours:.0f} us")
    joined = await world.metric('answers_total{join="joined"}')
    dropped = await world.metric('requests_total{fate="dropped"}')
    print(f"answers' sides joined: {joined:,.0f}, events dropped: {dropped:,.0f}")
    delays = sorted([await obeyed_s(world, account) for account in CHANGED])
    print(f"decision on Kafka -> first 403: p50 {delays[CHANGES // 2] * 1e3:.1f} ms, p99 {delays[-2] * 1e3:.1f} ms")


async def obeyed_s(world: World, account: str) -> float:
    """Return how long it takes from a decision's arrival at the broker to the first refusal."""
    await world.decide((account, "suspend", {}))
    start = time.monotonic()
    while (await ask(world, account, CHAT, b"{}"))[0] != 403:
        assert time.monotonic() < start + 10
    return time.monotonic() - start


def used_s(pid: int) -> float:
    """Return the CPU time of a process so far, of Linux's 100 ticks a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def play(address: str, folder: Path, seconds: float, per_s: int, prompt_bytes: int) -> None:
    """Measure before a broker."""
    await create(address, "enforcement")
    await create(address, "requests")
    async with World(folder, (*ACCOUNTS, *CHANGED), address=address, collects=False) as world:
        await world.model.stop()
        world.model.port = free_port()
        await measure(world, seconds, per_s, prompt_bytes)


def main(arguments: Sequence[str]) -> None:
    """Measure before a real Kafka."""
    told = [float(one) for one in arguments]
    seconds, per_s, prompt_bytes = told + [SECONDS, PER_S, PROMPT_BYTES][len(told) :]
    with tempfile.TemporaryDirectory() as folder, broker.kafka(Path(folder) / "kafka") as address:
        uvloop.run(play(address, Path(folder), seconds, int(per_s), int(prompt_bytes)))


if __name__ == "__main__":
    main(sys.argv[1:])
