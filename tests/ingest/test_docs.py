"""Every line of the examples is run, and the table of sources is as the code has it."""

from __future__ import annotations

import gzip
import os
import re
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import orjson
import pytest
from confluent_kafka import Consumer, Producer

from streamproc import broker
from tests.ingest.tables import BEGIN, DOCUMENT, END, table
from tests.ingest.world import ENVIRONMENT, RECORDS, VALID, span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(kind, text) for kind, text in FENCED.findall(DOCUMENT.read_text())]
FILES, TOPIC, HTTP = [text for kind, text in BLOCKS if kind == "sh"]
[MAP] = [text for kind, text in BLOCKS if kind == "toml"]


def test_the_table_of_sources_is_the_codes() -> None:
    _, _, rest = DOCUMENT.read_text().partition(BEGIN)
    assert rest.partition(END)[0].strip() == table(), "run: python -m tests.ingest.tables"


def lines(name: str) -> bytes:
    return b"".join(orjson.dumps(record) + b"\n" for record in RECORDS[name])


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    with broker.embedded({"requests": 1, "kong-log": 1, "accounts": 1}) as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the examples' files are, and a command of the name that they use."""
    command = tmp_path / "bin" / "streamproc"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m streamproc.cli "$@"\n')
    command.chmod(0o755)
    (tmp_path / "map.toml").write_text(MAP)
    (tmp_path / "accounts.csv").write_text("account,plan\nacme,pro\n")
    (tmp_path / "kong.jsonl.gz").write_bytes(gzip.compress(lines("kong")))
    for name in ("litellm", "apisix"):
        (tmp_path / f"{name}.jsonl").write_bytes(lines(name))
    attributes = {"x-account": "acme", "gen_ai.request.model": "m", "gen_ai.operation.name": "chat"}
    (tmp_path / "spans.json").write_bytes(orjson.dumps(span(attributes)))
    return tmp_path


def run(script: str, folder: Path, brokers: str) -> subprocess.Popen[bytes]:
    """The lines of an example in a shell of their own group; what it put into the background goes on."""
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    told = {**os.environ, **ENVIRONMENT, "PATH": path, "KAFKA_BOOTSTRAP_SERVERS": brokers, "HTTP_PORT": "0"}
    with (folder / "said").open("ab") as out:
        return subprocess.Popen(
            ["bash", "-e", "-c", script], cwd=folder, env=told, stdout=out, stderr=out, start_new_session=True
        )


def sent(address: str, n: int) -> list[bytes]:
    """The events that the topic of requests has, once there are `n`."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "seen", "auto.offset.reset": "earliest"})
    consumer.subscribe(["requests"])
    found: list[bytes] = []
    deadline = time.monotonic() + 40
    while len(found) < n and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        value = message.value() if message is not None and not message.error() else None
        if value is not None:
            found.append(value)
    consumer.close()
    return found


def test_the_examples_run_as_they_stand(folder: Path, brokers: str) -> None:
    files = run(FILES, folder, brokers)
    assert files.wait(60) == 0, (folder / "said").read_text()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce("kong-log", orjson.dumps(RECORDS["kong"][0]))
    producer.flush(10)
    started = [run(f"{TOPIC}\nwait", folder, brokers), run(f"{HTTP.replace('4318', str(port))}\nwait", folder, brokers)]
    try:
        found = sent(brokers, 3)
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)
    assert len(found) == 3, (folder / "said").read_text()
    for value in found:
        VALID.validate(orjson.loads(value))
    plans = [orjson.loads(value).get("plan") for value in found]
    assert "pro" in plans, "the accounts table of the last example of files"
