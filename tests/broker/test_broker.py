from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streamproc import broker

if TYPE_CHECKING:
    from pathlib import Path

needs_kafka = pytest.mark.skipif(broker.available() is not None, reason=broker.available() or "")


def listening(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def gone_within(address: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while listening(address):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


async def partitions(address: str, topic: str) -> int:
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        return len(await producer.partitions_for(topic))


async def write(address: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        await producer.send_and_wait(topic, value)


async def first_of(address: str, topic: str) -> bytes:
    async with AIOKafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        return bytes((await asyncio.wait_for(consumer.getone(), 20)).value)


def test_the_embedded_broker_has_the_partitions_asked_for_and_ends_with_its_block() -> None:
    with broker.embedded({"one": 1, "seven": 7}) as address, broker.embedded({"one": 2}) as other:
        assert asyncio.run(partitions(address, "one")) == 1
        assert asyncio.run(partitions(address, "seven")) == 7
        assert asyncio.run(partitions(other, "one")) == 2
        asyncio.run(write(address, "one", b"hello"))
        assert asyncio.run(first_of(address, "one")) == b"hello"
    assert gone_within(address, 1)
    assert gone_within(other, 1)


def test_the_embedded_broker_starts_at_once() -> None:
    start = time.monotonic()
    with broker.embedded({"one": 1}):
        assert time.monotonic() - start < 2


def test_a_topic_without_partitions_is_refused() -> None:
    with pytest.raises(broker.BrokerError, match="topic none: 0 partitions"), broker.embedded({"none": 0}):
        pass


OWNER = """
import sys, time
from pathlib import Path
from streamproc import broker
with {made} as address:
    print(address, flush=True)
    time.sleep(60)
"""


def killed_owner(made: str, value: bytes) -> str:
    """Have a process make a broker, write to it, kill the owner, so that it cleans nothing up; return the address."""
    command = [sys.executable, "-c", OWNER.format(made=made)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        address = owner.stdout.readline().strip()
        asyncio.run(write(address, "one", value))
        owner.kill()
    return address


def test_the_embedded_broker_dies_with_a_killed_owner() -> None:
    assert gone_within(killed_owner("broker.embedded({'one': 1})", b"gone"), 5)


@needs_kafka
def test_a_real_kafka_keeps_its_data_and_dies_with_a_killed_owner(tmp_path: Path) -> None:
    address = killed_owner(f"broker.kafka(Path({str(tmp_path / 'k')!r}))", b"from before")
    assert gone_within(address, 10)
    port = int(address.partition(":")[2])
    with broker.kafka(tmp_path / "k", port) as again:
        assert again == address
        assert asyncio.run(first_of(again, "one")) == b"from before"
        taken = pytest.raises(broker.BrokerError, match=f"port {port} is taken")
        with taken, broker.kafka(tmp_path / "other", port):
            pass
    assert not listening(address)


def test_without_java_the_reason_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    reason = broker.available()
    assert reason is not None
    assert "no Java 17 or newer" in reason
    assert "apt-get install openjdk-17-jre-headless" in reason
    with pytest.raises(broker.BrokerError, match="no Java 17 or newer"), broker.kafka(tmp_path):
        pass


def test_a_java_that_is_too_old_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "no Java 17 or newer" in (broker.available() or "")
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\" 2023-10-17' >&2\n")
    broker._java_version.cache_clear()
    monkeypatch.setenv("KAFKA_LIBS", str(tmp_path))
    assert "no jars of Kafka" in (broker.available() or "")
    (tmp_path / f"kafka_2.13-{broker.KAFKA_VERSION}.jar").touch()
    assert broker.available() is None


def test_by_hand_it_runs_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-m", "streamproc.broker", "embedded", "one:1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        word, address = process.stdout.readline().split()
        assert word == "READY"
        assert listening(address)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
    assert gone_within(address, 1)


def test_by_hand_a_mistake_is_one_line_and_exit_code_2() -> None:
    command = [sys.executable, "-m", "streamproc.broker", "embedded", "one"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 2
    assert done.stderr == "one: a topic is given as NAME:PARTITIONS\n"
