"""Who asks, what waits for its answer, and what Envoy's messages say; without a network."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.contract.decisions import Limit
from streamproc.fingerprint import Request
from streamproc.gateway.answers import PASS, Asked
from streamproc.gateway.authz import later
from streamproc.gateway.authz.callers import Presented, caller
from streamproc.gateway.authz.core import Checked
from streamproc.gateway.authz.service import run
from streamproc.gateway.authz.waiting import Waiting
from streamproc.gateway.decoding import decode
from streamproc.gateway.observer import Caller, Exchange
from streamproc.gateway.verdicts import Subjects
from streamproc.settings import SettingsError, read
from tests.gateway.events import NOW, event

JWT = "envoy.filters.http.jwt_authn"


def exchange(name: str, began_s: float = 0.0) -> Exchange:
    return Exchange(name, NOW, Caller(), Request({}), Asked(subjects=Subjects()), None, began_s)


def presented(*headers: tuple[str, str], metadata: dict[str, Any] | None = None) -> Presented:
    return Presented(method="POST", path="/", headers=list(headers), peer="192.0.2.1", metadata=metadata or {})


# -- who asks ---------------------------------------------------------------------------------------------

AUTHZ = read(
    {
        "AUTHZ_ACCOUNT": f"metadata:{JWT}/payload/sub, X-Account-Id",
        "AUTHZ_ORG": "x-org-id",
        "AUTHZ_ADDRESS": "x-real-ip",
    }
).authz


@pytest.mark.parametrize(
    ("headers", "metadata", "account"),
    [
        ([("X-Account-ID", " a1 ")], {}, "a1"),
        ([("x-account-id", "a1")], {JWT: {"payload": {"sub": "a2"}}}, "a2"),
        ([("x-account-id", "a1")], {JWT: {"payload": {"sub": 7}}}, "a1"),
        ([("x-account-id", "a1")], {JWT: {"payload": "sub"}}, "a1"),
        ([("x-account-id", "forged"), ("x-account-id", "a1")], {}, "a1"),
        ([], {}, ""),
    ],
)
def test_the_first_place_that_says_it_tells_the_account(
    headers: list[tuple[str, str]], metadata: dict[str, Any], account: str
) -> None:
    assert caller(AUTHZ, presented(*headers, metadata=metadata)).account == account


@pytest.mark.parametrize("header", [("Authorization", "Bearer sk-1"), ("x-api-key", "sk-1"), ("api-key", " sk-1 ")])
def test_a_key_is_the_same_whatever_header_it_is_in(header: tuple[str, str]) -> None:
    found = caller(AUTHZ, presented(header, ("x-org-id", "o1")))
    assert (found.key, found.org, found.ip) == ("sk-1", "o1", "192.0.2.1")


def test_an_address_is_the_peers_unless_the_proxy_says_another() -> None:
    assert caller(AUTHZ, presented(("X-Real-IP", "198.51.100.7"))).ip == "198.51.100.7"


def test_without_a_place_for_the_account_it_does_not_start() -> None:
    with pytest.raises(SettingsError, match="AUTHZ_ACCOUNT: name the header"):
        run(read({"IDENTITY_PEPPER": "i" * 16, "CONTENT_PEPPER": "c" * 16}))


# -- what waits -------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["put", "take", "wait"]), st.integers(0, 30)), max_size=60))
def test_every_exchange_leaves_once_and_none_waits_too_long(steps: list[tuple[str, int]]) -> None:
    waiting, now, put, left = Waiting(most=5, most_s=10), 0.0, 0, []
    for step, number in steps:
        if step == "put":
            oldest = waiting.put(exchange(str(put), now))
            put += 1
            left += [oldest.id] if oldest else []
        elif step == "take":
            taken = waiting.take(str(number))
            left += [taken.id] if taken else []
        else:
            now += number
            left += [one.id for one in waiting.over(now)]
            assert all(one.began_s > now - 10 for one in list(waiting._exchanges.values()))
        assert len(waiting) <= 5
    left += [one.id for one in waiting.over(float("inf"))]
    assert sorted(left, key=int) == [str(n) for n in range(put)]


# -- Envoy's messages -------------------------------------------------------------------------------------


def test_tokens_are_read_from_what_envoys_filters_keep() -> None:
    pytest.importorskip("grpc", reason="pip install 'streamproc[envoy]'")
    from streamproc.gateway.authz import envoy  # noqa: PLC0415
    from streamproc.gateway.authz import envoy_pb2 as pb  # noqa: PLC0415

    common = pb.AccessLogCommon()
    body = common.metadata.filter_metadata["envoy.filters.http.json_to_metadata"]
    body.update(
        {"usage.prompt_tokens": 12, "usage.prompt_tokens_details.cached_tokens": 4, "model": "m", "usage.x": 0.5}
    )
    assert orjson.loads(envoy.usage(common.metadata.filter_metadata)) == {
        "usage": {"prompt_tokens": 12, "prompt_tokens_details": {"cached_tokens": 4}}
    }
    stream = common.metadata.filter_metadata["envoy.content_parsers.json"]
    stream.update(
        {"usage": '{"output_tokens":5,"input_tokens":7}', "started": '{"input_tokens":6}', "usageMetadata": "["}
    )
    body.Clear()
    assert orjson.loads(envoy.usage(common.metadata.filter_metadata)) == {
        "usage": {"input_tokens": 7, "output_tokens": 5}, "usageMetadata": {},
    }  # fmt: skip
    counts = common.metadata.filter_metadata["io.envoy.ai_gateway"]
    counts.update({"llm_input_token": 9, "llm_output_token": float("nan"), "llm_cached_input_token": -1})
    common.duration.FromMilliseconds(250)
    assert envoy.answers_side(common) == {"tok_in": 9, "duration_ms": 250.0}


@pytest.mark.parametrize(
    ("per_min", "number", "unit"),
    [
        (600, 600, "MINUTE"),
        (2.5, 2, "MINUTE"),
        (1, 1, "MINUTE"),
        (0.5, 30, "HOUR"),
        (0.0014, 2, "DAY"),
        (1e-9, 1, "DAY"),
    ],
)
def test_a_rate_is_told_in_the_shortest_unit_that_has_a_whole_one(per_min: float, number: int, unit: str) -> None:
    pytest.importorskip("grpc", reason="pip install 'streamproc[envoy]'")
    from streamproc.gateway.authz import envoy  # noqa: PLC0415

    assert envoy.whole_rate(per_min) == (number, unit)


def test_a_throttle_tells_envoys_own_limiter_its_rate() -> None:
    pytest.importorskip("grpc", reason="pip install 'streamproc[envoy]'")
    from google.protobuf import json_format  # noqa: PLC0415

    from streamproc.gateway.authz import envoy  # noqa: PLC0415

    verdict = decode(event("a1", "throttle", limit=Limit(requests_per_min=2.5)), None, NOW, 0)
    told = envoy.response(Checked("id-1", True, PASS, verdict))  # noqa: FBT003 - a row
    assert json_format.MessageToDict(told.dynamic_metadata) == {
        "answer": "pass",
        "id": "id-1",
        "total_limit": {"requests_per_unit": 2, "unit": "MINUTE"},
    }
    assert told.ok_response.headers_to_remove == ["x-streamproc-step-up"]
    verify = replace(PASS, word="verify", headers={"x-streamproc-step-up": "required"})
    verified = envoy.response(Checked("id-2", True, verify))  # noqa: FBT003 - a row
    assert not verified.ok_response.headers_to_remove
    assert verified.ok_response.headers[0].append_action == envoy.OVERWRITE


# -- what is done later -----------------------------------------------------------------------------------


def test_jobs_are_done_in_order_between_others_and_a_failure_stops_none(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    monkeypatch.setattr(later, "MOST_BYTES", 100)
    monkeypatch.setattr(later, "MOST_TURN_S", 0.0)

    def fail() -> None:
        done.append(-1)
        raise ValueError("one job")

    async def story() -> None:
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
        jobs = later.Later()
        for number in range(5):
            jobs.put(partial(done.append, number))
        jobs.put(fail)
        jobs.put(partial(done.append, 6))
        assert done == []
        turns = 0
        while len(done) < 7:
            before = len(done)
            await asyncio.sleep(0)
            turns += 1
            assert len(done) - before <= 1
        assert turns >= 13  # every second one is others'
        assert done == [0, 1, 2, 3, 4, -1, 6]
        assert len(failures) == 1
        jobs.put(partial(done.append, 7), 60)
        jobs.put(partial(done.append, 8), 60)
        assert done[-1] == 7  # more than may be held
        jobs.finish()
        assert done[-1] == 8

    asyncio.run(story())


def test_an_address_that_is_taken_is_said_in_one_line() -> None:
    pytest.importorskip("grpc", reason="pip install 'streamproc[envoy]'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = {
            "IDENTITY_PEPPER": "i" * 16, "CONTENT_PEPPER": "c" * 16, "AUTHZ_ACCOUNT": "x-account-id",
            "AUTHZ_GRPC": address, "HTTP_PORT": "0", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        }  # fmt: skip
        with pytest.raises(SettingsError, match=f"AUTHZ_GRPC: cannot listen on {address}"):
            run(read(told))
