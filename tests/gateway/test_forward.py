"""HTTP forward-auth by the same table of cases: a real NGINX where there is one, others by what they send."""

from __future__ import annotations

import asyncio
import gzip
import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.fingerprint.test_events import VALID
from tests.gateway.cases import ACCOUNTS, CASES, DECISIONS, Case, check_refusal
from tests.gateway.proxies import CHAT, PRINTER, World, free_port, pseudonym

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = Path(__file__).resolve().parents[2] / "deploy" / "nginx" / "nginx.conf"
CLIENTS = "203.0.113.9"
BEFORE = "198.51.100.1, " + CLIENTS  # a client that says it had proxies of its own before it

Reply = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Proxy:
    """What a proxy sends to `/v1/auth` about a POST: its method, where to, and whether it hands over the body."""

    name: str
    method: str
    headers: dict[str, str]
    hands_body: bool


PROXIES = (
    Proxy("traefik", "GET", {"X-Forwarded-Method": "POST", "X-Forwarded-Uri": "{path}", "X-Forwarded-Proto": "https",
                             "X-Forwarded-Host": "api.example.org"}, hands_body=True),
    Proxy("caddy", "GET", {"X-Forwarded-Method": "POST", "X-Forwarded-Uri": "{path}"}, hands_body=False),
    Proxy("apisix", "POST", {"X-Forwarded-Method": "POST", "X-Forwarded-Uri": "{path}", "X-Forwarded-Proto": "https",
                             "X-Forwarded-Host": "api.example.org"}, hands_body=True),
)  # fmt: skip


class Shared:
    """One world for the tests of this module."""

    def __init__(self, runner: asyncio.Runner, world: World, nginx_port: int) -> None:
        self.run, self.world, self.nginx_port = runner.run, world, nginx_port

    def ask(self, url: str, method: str, headers: dict[str, str], body: bytes) -> Reply:
        async def asked() -> Reply:
            async with self.world.session.request(
                method, url, data=io.BytesIO(body) if body else None, headers=headers
            ) as answer:
                told = {name.lower(): value for name, value in answer.headers.items()}
                return answer.status, told, await answer.read()

        return self.run(asked())

    def by(self, proxy: Proxy, account: str, path: str, body: bytes, accept: str = "*/*", query: str = "") -> Reply:
        """What a proxy is told about a client's request."""
        headers = {name: value.format(path=path) for name, value in proxy.headers.items()}
        headers |= {"X-Account-Id": account, "X-Forwarded-For": BEFORE, "Accept": accept, "User-Agent": "curl/8.1"}
        url = f"http://127.0.0.1:{self.world.http_port}/v1/auth{query}"
        return self.ask(url, proxy.method, headers, body if proxy.hands_body else b"")

    def last_event(self, account: str, count: int) -> dict[str, Any]:
        found = self.run(self.world.events(count, account))[-1]
        VALID.validate(found)
        return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    async def begin() -> World:
        accounts = tuple(f"{proxy}-{name}" for proxy in ("traefik", "caddy", "apisix", "nginx") for name in ACCOUNTS)
        world = await World(tmp_path_factory.mktemp("forward"), accounts).__aenter__()
        world.start_authz(AUTHZ_GRPC="off")
        await world.wait(world.ready)
        decisions = [
            (f"{proxy}-{name}", action, more)
            for proxy in ("traefik", "caddy", "apisix", "nginx")
            for name, action, more in DECISIONS
        ]
        await world.decide(*decisions)
        await world.entered(len(decisions))
        return world

    with asyncio.Runner() as runner:
        world = runner.run(begin())
        try:
            yield Shared(runner, world, free_port())
        finally:
            runner.run(world.__aexit__())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)
def test_a_proxy_is_told_what_is_in_force(shared: Shared, proxy: Proxy, case: Case) -> None:
    account = f"{proxy.name}-{case.name}"
    answers = [shared.by(proxy, account, case.path, case.body(), case.accept) for _ in range(case.times)]
    status, headers, body = answers[-1]
    blind = case.needs_body and not proxy.hands_body
    assert status == (200 if blind else case.status)
    assert headers.get("x-streamproc-step-up") == ("required" if case.step_up else None)
    event = shared.last_event(account, case.times)
    assert ("template_fp" in event) is proxy.hands_body
    assert "headers_fp" not in event  # the proxy's order, not the client's
    assert event["ua"] == "curl"
    assert event["ip"] == PRINTER.identity("ip", CLIENTS)
    if status != 200:
        check_refusal(case, headers, body)
        assert (event["status"], event["error"]) == (case.status, case.error)


def test_the_answers_side_comes_as_lines(shared: Shared) -> None:
    status, headers, _ = shared.by(PROXIES[0], "joined", CHAT, Case("x", 200).body(), query="?answer=later")
    assert status == 200
    sides = [
        {"id": headers["x-streamproc-id"], "status": 200, "duration_ms": 31.5, "ttft_ms": 4, "tok_in": 9, "tok_out": 2},
        {"id": headers["x-streamproc-id"], "status": 500},
        {"id": "another's", "status": 200},
        {"id": "x", "status": "200"},
        "none",
    ]
    lines = b"\n".join(map(orjson.dumps, sides))
    url = f"http://127.0.0.1:{shared.world.http_port}/v1/answers"
    answer = shared.ask(url, "POST", {}, lines + b"\n{")
    assert orjson.loads(answer[2]) == {"joined": 1, "unknown": 2, "bad": 3}
    event = shared.last_event("joined", 1)
    assert {"status": 200, "duration_ms": 31.5, "ttft_ms": 4, "tok_in": 9, "tok_out": 2}.items() <= event.items()


def test_a_body_that_is_too_long_is_taken_for_a_part(shared: Shared) -> None:
    body = orjson.dumps({"messages": [{"role": "user", "content": "a very long prompt " * 250_000}]})
    assert shared.by(PROXIES[2], "long", CHAT, body)[0] == 200
    assert "template_fp" not in shared.last_event("long", 1)


def test_a_compressed_body_hides_nothing(shared: Shared) -> None:
    url = f"http://127.0.0.1:{shared.world.http_port}/v1/auth"
    headers = {"X-Account-Id": "folded", "X-Forwarded-Uri": CHAT, "Content-Encoding": "gzip"}
    assert shared.ask(url, "POST", headers, gzip.compress(Case("folded", 200).body()))[0] == 200
    assert shared.last_event("folded", 1)["template_fp"]


def test_what_is_no_refusal_of_ours_is_none(shared: Shared) -> None:
    url = f"http://127.0.0.1:{shared.world.http_port}/v1/refused"
    for told in ("", "{", '{"status":200,"headers":{},"body":{}}'):
        assert shared.ask(url, "GET", {"x-streamproc-refusal": told}, b"")[0] == 400


# -- NGINX -----------------------------------------------------------------------------------------------

needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="no NGINX: apt-get install nginx-light")


@pytest.fixture(scope="module")
def nginx(shared: Shared) -> Shared:
    world = shared.world
    keys = " ".join(f'"Bearer sk-{account}" {account};' for account in world.accounts)
    text = CONFIG.read_text()
    for shipped, ours in (
        ("listen 10080", f"listen 127.0.0.1:{shared.nginx_port}"),
        ("127.0.0.1:8321", f"127.0.0.1:{world.http_port}"),
        ("127.0.0.1:8000", f"127.0.0.1:{world.model.port}"),
        ('"Bearer replace-this-key" replace-this-account;', keys),
        ("worker_processes auto;", "worker_processes 1; daemon off; pid nginx.pid; error_log stderr;"),
        ("access_log answers.log", f"access_log {world.folder}/answers.log"),
        (
            "events {}\nhttp {",
            "events {}\nhttp {\n  map_hash_bucket_size 128;\n  access_log off;\n" + _own_folders(world.folder),
        ),
    ):
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, ours)
    (world.folder / "nginx.conf").write_text(text)
    world._run("nginx", ["nginx", "-p", str(world.folder), "-c", "nginx.conf"], {})

    async def up() -> bool:
        return (await world.get(shared.nginx_port, "/"))[0] == 401

    shared.run(world.wait(up))
    return shared


def _own_folders(folder: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f"  {kind}_temp_path {folder}/{kind};\n" for kind in kinds)


def through(shared: Shared, account: str, path: str, body: bytes, **headers: str) -> Reply:
    named = {"Authorization": f"Bearer sk-{account}", **{name.replace("_", "-"): one for name, one in headers.items()}}
    return shared.ask(f"http://127.0.0.1:{shared.nginx_port}{path}", "POST", named, body)


@needs_nginx
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nginx_obeys_what_is_in_force(nginx: Shared, case: Case) -> None:
    account = f"nginx-{case.name}"
    headers = {"accept": case.accept, "x_account_id": "nginx-nothing", "x_streamproc_step_up": "required"}
    answers = [through(nginx, account, case.path, case.body(), **headers) for _ in range(case.times)]
    status, told, body = answers[-1]
    assert status == (200 if case.needs_body else case.status)
    if status != 200:
        check_refusal(case, told, body)
    else:
        _, passed, sent = nginx.world.model.seen[-1]
        assert sent == case.body()
        assert passed["x-account-id"] == account
        assert passed.get("x-streamproc-step-up") == ("required" if case.step_up else None)


@needs_nginx
def test_the_lines_that_nginx_logs_are_answers_sides(nginx: Shared) -> None:
    assert through(nginx, "nginx-released", CHAT, Case("x", 200).body(stream=True))[0] == 200

    async def joined() -> bool:
        lines = (nginx.world.folder / "answers.log").read_bytes()
        url = f"http://127.0.0.1:{nginx.world.http_port}/v1/answers"
        async with nginx.world.session.post(url, data=io.BytesIO(lines)) as answer:
            return bool(orjson.loads(await answer.read())["joined"])

    nginx.run(nginx.world.wait(joined))
    event = nginx.last_event("nginx-released", 1)
    assert event["status"] == 200
    assert event["duration_ms"] >= 60


@needs_nginx
def test_while_the_server_is_away_nginx_lets_requests_pass(nginx: Shared) -> None:
    nginx.world.kill(nginx.world.processes[0])
    assert through(nginx, "nginx-suspended", CHAT, Case("x", 200).body())[0] == 200
    assert pseudonym("nginx-suspended") not in nginx.world.log()
