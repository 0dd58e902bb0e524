"""`streamproc ingest` as a process: files, the report, dead letters, wrong options; and POSTs over a real socket."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest
import zstandard

from streamproc import broker
from streamproc.ingest import otlp_protobuf
from streamproc.ingest.record import Json
from tests.ingest.world import ENVIRONMENT, RECORDS, VALID, span, talk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

COMMAND = [sys.executable, "-m", "streamproc.cli", "ingest"]
WORDS = [{"role": "user", "content": "Please grade this answer and explain your reasoning step by step."}]


def ingest(*arguments: Any, given: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **ENVIRONMENT, **more}
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, input=given, env=environment, capture_output=True, check=False, timeout=60)


def lines(*records: Any) -> bytes:
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


def many(n: int) -> bytes:
    record = RECORDS["kong"][0]
    return lines(
        *(
            record | {"request": record["request"] | {"id": f"r{at}"}, "started_at": 1795565427100 + at}
            for at in range(n)
        )
    )


def test_a_file_in_any_packing_gives_the_same_bytes_every_time(tmp_path: Path) -> None:
    plain = many(1200) + b"not json\n" + lines(*talk("kong", WORDS, "Seven."))
    (tmp_path / "log.jsonl").write_bytes(plain)
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(plain[:5000]) + gzip.compress(plain[5000:]))
    (tmp_path / "log.jsonl.zst").write_bytes(zstandard.compress(plain[:5000]) + zstandard.compress(plain[5000:]))
    outputs = []
    for name in ("log.jsonl", "log.jsonl", "log.jsonl.gz", "log.jsonl.zst"):
        done = ingest("--format", "kong", "--input", tmp_path / name, "--output", tmp_path / "out.jsonl")
        assert done.returncode == 0, done.stderr
        outputs.append((tmp_path / "out.jsonl").read_bytes())
    outputs.append(ingest("--format", "kong", "--input", "-", "--output", "-", given=plain).stdout)
    assert len(set(outputs)) == 1
    events = [orjson.loads(line) for line in outputs[0].splitlines()]
    assert len({event["id"] for event in events}) == len(events) == 1201
    assert ingest("--check", tmp_path / "out.jsonl").returncode == 0


def test_the_report_counts_and_dead_letters_are_kept(tmp_path: Path) -> None:
    out, dead = tmp_path / "out.jsonl.gz", tmp_path / "dead.jsonl"
    given = lines(*RECORDS["litellm"], {"startTime": 1795565427}, 7) + b"{\n\n" + b"x" * (17 * 2**20) + b"\n"
    given += lines(RECORDS["litellm"][0] | {"startTime": None}, *talk("litellm", WORDS, "Seven."))
    done = ingest(
        "--format", "litellm", "--input", "-", "--output", out, "--dead", dead, "--report", "json", given=given
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = orjson.loads(done.stdout)
    refused = {"not_json": 1, "not_object": 1, "no_account": 1, "no_time": 1, "too_large": 1}
    assert (report["events"], report["refused"], report["hidden_content"]) == (2, refused, 1)
    assert report["fields"]["tok_in"] == 1.0
    assert report["fields"]["template_fp"] == 0.5
    assert report["blind"]["core_size"] == ["template_fp"]
    assert len(gzip.decompress(out.read_bytes()).splitlines()) == 2
    letters = [orjson.loads(line) for line in dead.read_bytes().splitlines()]
    assert {letter["reason"] for letter in letters} == set(refused)
    assert max(len(letter["value"]) for letter in letters) == 65_536
    told = done.stderr.decode()
    assert "events: 2; records refused: 5" in told
    assert "blind: every statistic" in told
    assert "grade this" not in told


WRONG = [
    ([], "--format says what wrote"),
    (["--format", "kong"], "give one of --input, --from-topic and --listen"),
    (["--format", "kong", "--input", "-", "--listen", "localhost:0"], "give one of"),
    (["--format", "kong", "--input", "missing.jsonl", "--output", "-"], "missing.jsonl: No such file"),
    (["--format", "kong", "--input", "-", "--output", "-", "--report", "json"], "both write to standard output"),
    (["--format", "apim", "--listen", "localhost:0", "--output", "-"], "logs a request in two records"),
    (["--format", "kong", "--listen", "somewhere", "--output", "-"], "'somewhere' is not host:port"),
    (["--format", "kong", "--listen", "0.0.0.0:0", "--output", "-"], "INGEST_TOKEN: 0.0.0.0 can be reached by others"),
    (["--format", "kong", "--input", "-", "--map", "missing.toml"], "missing.toml: No such file"),
    (["--format", "kong", "--input", "-", "--networks", "missing"], "missing: No such file"),
    (["--format", "kong", "--input", "-", "--accounts", "missing.csv"], "missing.csv: No such file"),
    (["--check", "missing.jsonl"], "missing.jsonl: No such file"),
]


@pytest.mark.parametrize(("arguments", "why"), WRONG)
def test_what_cannot_be_done_is_said_in_one_line(arguments: list[str], why: str) -> None:
    done = ingest(*arguments)
    last = done.stderr.decode().splitlines()[-1]
    assert done.returncode == 2
    assert why in last


def test_secrets_are_asked_for(tmp_path: Path) -> None:
    done = ingest("--format", "kong", "--input", "-", "--output", tmp_path / "x", IDENTITY_PEPPER="")
    assert (done.returncode, b"IDENTITY_PEPPER, CONTENT_PEPPER: set both" in done.stderr) == (2, True)


def test_a_file_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    packed = gzip.compress(many(2000))
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    done = ingest("--format", "kong", "--input", tmp_path / "cut.jsonl.gz", "--output", tmp_path / "out.jsonl")
    assert done.returncode == 2
    assert b"cut.jsonl.gz: " in done.stderr.splitlines()[-1]
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) >= 500


def test_the_check_ends_with_2_and_names_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(lines({"v": 1, "account": "ok-1"}, {"v": 1, "account": "ann@example.org"}))
    done = ingest("--check", path)
    assert done.returncode == 2
    assert b"events.jsonl:2: account: holds an @" in done.stderr
    assert b"ann@" not in done.stderr


# -- over HTTP -----------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(
    *arguments: Any, host: str = "127.0.0.1", **more: str
) -> AsyncGenerator[tuple[str, aiohttp.ClientSession]]:
    """A listening ingest's address, and a session; told to stop at the end, it must do so well."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--listen", f"{host}:0", *map(str, arguments), env={**os.environ, **ENVIRONMENT, **more},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        said = b""
        while not (found := re.search(rb"listening on \S+:(\d+)", said)):
            line = await asyncio.wait_for(process.stderr.readline(), 20)
            assert line, said
            said += line
        async with aiohttp.ClientSession() as session:
            yield f"http://127.0.0.1:{int(found[1])}", session
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0, await process.stderr.read()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def written(path: Path) -> list[Json]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_litellms_posts_are_taken_in_all_their_forms(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    record = RECORDS["litellm"][0]
    some = [record | {"startTime": 1795565427.1 + at} for at in range(6)]

    async def story() -> None:
        async with listening("--format", "litellm", "--output", out) as (url, session):
            for body, status, counts in (
                (orjson.dumps(some[:2]), 200, {"events": 2, "refused": 0}),
                (lines(*some[2:4]), 200, {"events": 2, "refused": 0}),
                (orjson.dumps(some[4]), 200, {"events": 1, "refused": 0}),
                (orjson.dumps(some[5], option=orjson.OPT_INDENT_2), 200, {"events": 1, "refused": 0}),
                (lines(some[0]) + b"{\n", 200, {"events": 1, "refused": 1}),
                (b"[]", 200, {"events": 0, "refused": 0}),
                (b"", 200, {"events": 0, "refused": 0}),
                (b"{", 400, None),
                (b"x" * (17 * 2**20), 413, None),
            ):
                async with session.post(f"{url}/", data=io.BytesIO(body)) as answer:
                    assert answer.status == status
                    if counts is not None:
                        assert await answer.json() == counts
            assert len(written(out)) == 7, "answered, so it is there"
            async with session.get(f"{url}/healthz") as answer:
                assert answer.status == 200
            async with session.get(f"{url}/metrics") as answer:
                said = await answer.text()
            assert "streamproc_ingest_events_total 7.0" in said
            assert 'streamproc_ingest_refused_records_total{reason="not_json"} 2.0' in said
            assert 'streamproc_ingest_field_events_total{field="ua"} 7.0' in said

    asyncio.run(story())
    assert len({event["id"] for event in written(out)}) == 6


def test_otlp_is_taken_in_json_and_protobuf_and_tests_of_the_connection(tmp_path: Path) -> None:
    service = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason=otlp_protobuf.INSTALL
    )
    out, said = tmp_path / "out.jsonl", tmp_path / "map.toml"
    said.write_text('[fields]\naccount = "x-account"\n')
    good = span({"x-account": "acme", "gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})
    nameless = span({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})
    packed = service.ExportTraceServiceRequest()
    for account in ("acme", ""):
        one = packed.resource_spans.add().scope_spans.add().spans.add(start_time_unix_nano=1795565427100000000)
        for key, value in (("gen_ai.request.model", "m"), ("x-account", account)):
            one.attributes.add(key=key).value.string_value = value
    protobuf, json = {"Content-Type": "application/x-protobuf"}, {"Content-Type": "application/json"}

    async def story() -> None:
        async with listening("--format", "otlp", "--output", out, "--map", said) as (url, session):

            async def post(body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
                async with session.post(f"{url}/v1/traces", data=body, headers=headers) as answer:
                    return answer.status, await answer.read()

            test = json | {"X-Test-Connection": "true"}
            assert await post(b'{"resourceSpans":[]}', test) == (200, b"{}")
            assert await post(b"", test) == (200, b"{}")
            assert await post(orjson.dumps(good), json) == (200, b"{}")
            zipped = gzip.compress(orjson.dumps(good))
            assert await post(zipped, json | {"Content-Encoding": "gzip"}) == (200, b"{}")
            status, body = await post(orjson.dumps(nameless), json)
            assert (status, orjson.loads(body)["partialSuccess"]["rejectedSpans"]) == (200, "1")
            status, body = await post(packed.SerializeToString(), protobuf)
            answer = service.ExportTraceServiceResponse.FromString(body)
            assert (status, answer.partial_success.rejected_spans) == (200, 1)
            assert await post(b"", protobuf) == (200, b"")
            assert (await post(b"\xff\xff", protobuf))[0] == 400
            assert (await post(b"{", json))[0] == 400
            assert (await post(b"a", {"Content-Type": "text/plain"}))[0] == 415

    asyncio.run(story())
    events = written(out)
    assert len(events) == 3
    for event in events:
        VALID.validate(event)


def test_without_the_token_nothing_is_taken(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    async def story() -> None:
        arguments = ("--format", "litellm", "--output", out)
        token = {"INGEST_TOKEN": "s3cret"}
        async with listening(*arguments, host="0.0.0.0", **token) as (url, session):  # noqa: S104 - meant
            for shown, status in ((None, 401), ("Bearer wrong", 401), ("Bearer s3cret", 200)):
                headers = {"Authorization": shown} if shown else {}
                async with session.post(url, data=orjson.dumps(RECORDS["litellm"]), headers=headers) as answer:
                    assert answer.status == status

    asyncio.run(story())
    assert len(written(out)) == 1


def test_a_sender_is_told_to_come_again_while_the_brokers_are_away() -> None:
    body = orjson.dumps(RECORDS["litellm"])

    async def story() -> None:
        with ExitStack() as brokers:
            address = brokers.enter_context(broker.embedded({"requests": 1}))
            more = {"KAFKA_BOOTSTRAP_SERVERS": address}
            async with listening("--format", "litellm", **more) as (url, session):
                async with session.post(url, data=body) as answer:
                    assert (answer.status, await answer.json()) == (200, {"events": 1, "refused": 0})
                brokers.close()
                async with session.post(url, data=body) as answer:
                    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")

    asyncio.run(story())
