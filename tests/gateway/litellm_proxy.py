"""A real LiteLLM proxy as a process, from an environment of its own, with our object in its configuration."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import orjson
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streamproc.fingerprint import Fingerprinter, Peppers
from tests.gateway.events import event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from streamproc.contract.decisions import Action, Kind

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / ".cache" / "litellm" / "bin" / "litellm"
MISSING = None if (PROGRAM.parent.parent / ".complete").exists() else "no LiteLLM here: scripts/litellm-environment"
MASTER = "sk-" + secrets.token_hex(32)
IDENTITY = "identity-pepper-0"
CONTENT = "content-pepper-00"
# The README's lines are what runs here.
SHOWN = re.findall(r"```yaml\n(litellm_settings:.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
CALLBACKS: str = yaml.safe_load(SHOWN[0])["litellm_settings"]["callbacks"]
FINGERPRINTER = Fingerprinter(Peppers(IDENTITY.encode(), CONTENT.encode(), 3))

# Who a key belongs to is the operator's to say; here the key says it: sk-USER or sk-USER.TEAM.
AUTH = """
from fastapi import HTTPException
from litellm.proxy._types import UserAPIKeyAuth

async def who(request, api_key):
    if not api_key.startswith("sk-"):
        raise HTTPException(status_code=401, detail="no such key")
    user, _, team = api_key[3:].partition(".")
    rpm = 1 if user == "limited" else 1_000_000
    few = {"model_rpm_limit": {"chat": 1}} if user == "few" else {}
    return UserAPIKeyAuth(api_key=api_key, user_id=user, team_id=team or None, rpm_limit=rpm, metadata=few)
"""

CONFIG = """
model_list:
  - {{model_name: chat, litellm_params: {{model: openai/m, api_base: "{api}/v1", api_key: none}}}}
  - {{model_name: spare, litellm_params: {{model: openai/m, api_base: "{api}/v1", api_key: none}}}}
  - {{model_name: claude, litellm_params: {{model: anthropic/claude-x, api_base: "{api}", api_key: none}}}}
  - {{model_name: gemini, litellm_params: {{model: gemini/g, api_base: "{api}/v1beta/models/g", api_key: none}}}}
  - {{model_name: embed, litellm_params: {{model: openai/e, api_base: "{api}/v1", api_key: none}}}}
litellm_settings:
  callbacks: {callbacks}
  num_retries: 0
  fallbacks: [{{chat: [spare]}}]
general_settings:
  custom_auth: auth.who
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def now_ms() -> int:
    return int(time.time() * 1000)


def pseudonym(kind: str, name: str) -> str:
    return FINGERPRINTER.identity(kind, name)


def decision(user: str, action: Action = "suspend", *, kind: Kind = "account", **more: Any) -> tuple[str, bytes]:
    """What the worker would say of somebody of that raw name."""
    name = pseudonym(kind, user)
    return f"{kind}:{name}", event(name, action, now_ms() - 1000, kind=kind, **more)


async def produce(address: str, topic: str, *decisions: tuple[str, bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address, linger_ms=1) as producer:
        for key, value in decisions:
            await producer.send(topic, value, key=key.encode())
        await producer.flush()


@dataclass
class Proxy:
    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    folder: Path
    kafka: str
    session: aiohttp.ClientSession | None = None

    async def post(
        self, path: str, body: dict[str, Any], user: str = "alice", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        assert self.session is not None
        told = {"Authorization": f"Bearer sk-{user}", **{name.replace("_", "-"): v for name, v in headers.items()}}
        async with self.session.post(f"http://127.0.0.1:{self.port}{path}", json=body, headers=told) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read()

    async def ask(self, user: str = "alice", text: str = "What is a queue?", **more: Any) -> int:
        """Return the status of a chat request."""
        return (await self.post("/v1/chat/completions", chat(text, **more), user))[0]

    async def metric(self, series: str) -> float:
        assert self.session is not None
        async with self.session.get(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
            rows = (line.rpartition(" ") for line in (await answer.text()).splitlines())
        return next(float(value) for name, _, value in rows if name == f"streamproc_gateway_{series}")

    async def wait(self, done: Callable[[], Awaitable[bool]], within_s: float = 20) -> None:
        deadline = time.monotonic() + within_s
        while not await done():
            assert time.monotonic() < deadline, self.log()
            await asyncio.sleep(0.01)

    def log(self) -> str:
        return (self.folder / "litellm.log").read_text()[-6000:]


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": text}], **more}


@contextmanager
def proxy(
    folder: Path,
    api_port: int,
    kafka: str,
    callbacks: str = CALLBACKS,
    **more: str,
) -> Iterator[Proxy]:
    """Yield a proxy that answers."""
    (folder / "auth.py").write_text(AUTH)
    (folder / "config.yaml").write_text(CONFIG.format(api=f"http://127.0.0.1:{api_port}", callbacks=callbacks))
    port, metrics = free_port(), free_port()
    told = {
        **os.environ, "PYTHONPATH": str(ROOT), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR",
        "KAFKA_BOOTSTRAP_SERVERS": kafka, "IDENTITY_PEPPER": IDENTITY, "CONTENT_PEPPER": CONTENT, "PEPPER_EPOCH": "3",
        "LITELLM_MASTER_KEY": MASTER, "HTTP_HOST": "127.0.0.1", "GATEWAY_HTTP_PORT": str(metrics),
        "ANTHROPIC_API_BASE": f"http://127.0.0.1:{api_port}", "ANTHROPIC_API_KEY": "none",
        "APPEAL_URL": "https://example.org/{decision}", **more,
    }  # fmt: skip
    command = [str(PROGRAM), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--telemetry", "0"]
    with (folder / "litellm.log").open("ab") as out:
        process = subprocess.Popen(command, env=told, cwd=folder, stdout=out, stderr=out)
    made = Proxy(process, port, metrics, folder, kafka)
    try:
        _until_alive(made)
        yield made
    finally:
        made.process.terminate()
        try:
            made.process.wait(15)
        except subprocess.TimeoutExpired:
            made.process.kill()
            made.process.wait()


def _until_alive(made: Proxy) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", made.port), timeout=1).close()
        except OSError:
            assert made.process.poll() is None, made.log()
            assert time.monotonic() < deadline, made.log()
            time.sleep(0.1)
        else:
            return


def play(made: Proxy, story: Callable[[Proxy], Awaitable[None]]) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            made.session = session
            await story(made)

    asyncio.run(run())


class Events:
    """The request events of a topic, as they come; one's own are found by account."""

    def __init__(self, address: str, topic: str = "requests") -> None:
        self._consumer = AIOKafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest")
        self._seen: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def of(self, user: str, n: int = 1, within_s: float = 10) -> list[dict[str, Any]]:
        """Return the first `n` events of an account, or what there is when the time is over."""
        name = pseudonym("account", user)
        deadline = time.monotonic() + within_s
        while len(found := [one for one in self._seen if one["account"] == name]) < n and time.monotonic() < deadline:
            await self._read()
        return found

    async def all(self, n: int, within_s: float = 10) -> list[dict[str, Any]]:
        """Return all events once there are `n`, or what there is when the time is over."""
        deadline = time.monotonic() + within_s
        while len(self._seen) < n and time.monotonic() < deadline:
            await self._read()
        return self._seen

    async def _read(self) -> None:
        for records in (await self._consumer.getmany(timeout_ms=100)).values():
            self._seen += [orjson.loads(record.value) for record in records]
