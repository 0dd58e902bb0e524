"""A real LiteLLM proxy over HTTP: every request has its event, no client can hide, and verdicts are obeyed."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest

from streamproc.contract.decisions import Limit
from tests.gateway.litellm_proxy import Events, Proxy, chat, decision, play, produce, pseudonym
from tests.gateway.model_api import ENDLESS, FAILING, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.gateway.conftest import LiteLlm

QUESTION = "What is a queue?"
MESSAGES: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": QUESTION}],
}
CONTENTS: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": QUESTION}]}]}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", chat(QUESTION)),
    "chat-streamed": ("/v1/chat/completions", chat(QUESTION, stream=True)),
    "responses": ("/v1/responses", {"model": "chat", "input": QUESTION}),
    "responses-streamed": ("/v1/responses", {"model": "chat", "input": QUESTION, "stream": True}),
    "messages": ("/v1/messages", MESSAGES),
    "messages-streamed": ("/v1/messages", {**MESSAGES, "stream": True}),
    "generate": ("/v1beta/models/gemini:generateContent", CONTENTS),
    "generate-streamed": ("/v1beta/models/gemini:streamGenerateContent?alt=sse", CONTENTS),
}
CHANGES = 20
_numbers = count()


def tell(litellm: LiteLlm, story: Callable[[Proxy, Events], Awaitable[None]]) -> None:
    async def told(proxy: Proxy) -> None:
        async with Events(litellm.kafka) as events:
            await story(proxy, events)
        assert await proxy.metric("failures_total") == 0, proxy.log()

    play(litellm.proxy, told)


async def enforce(litellm: LiteLlm, proxy: Proxy, *decisions: tuple[str, bytes]) -> None:
    """Say it, and wait until it is known there: what was said last, in a topic of one partition, is obeyed."""
    last = f"last-{next(_numbers)}"
    await produce(litellm.kafka, "enforcement", *decisions, decision(last))
    await proxy.wait(lambda: is_refused(proxy, last))


async def is_refused(proxy: Proxy, user: str) -> bool:
    return await proxy.ask(user) == 403


# -- observed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_api_makes_one_event_with_its_answer(litellm: LiteLlm, form: str) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        path, body = FORMS[form]
        user = f"form-{form}"
        assert (await proxy.post(path, body, user))[0] == 200
        (event,) = await events.of(user)
        assert event["status"] == 200
        assert (event["tok_in"], event["tok_out"]) == (11, 5)
        assert event["stream"] is ("streamed" in form)
        assert ("ttft_ms" in event) is ("streamed" in form)
        assert event["duration_ms"] > 0
        assert event["key"] == pseudonym("key", event_key(user))
        assert event["ip"] == pseudonym("ip", "127.0.0.1")
        assert event["quota_rpm"] == 1_000_000
        assert "error" not in event
        assert ("signature_out_fp" in event) is form.startswith("messages")
        await proxy.post("/v1/chat/completions", chat(QUESTION), f"{user}-too")
        (other,) = await events.of(f"{user}-too")
        assert event["template_fp"] == other["template_fp"]
        if not form.startswith("responses"):  # whose chain is the server's
            assert event["response_fp"] == other["response_fp"]

    tell(litellm, story)


def event_key(user: str) -> str:
    """Return what LiteLLM has of a key: its hash."""
    from hashlib import sha256  # noqa: PLC0415 - LiteLLM's own, nowhere else used

    return sha256(f"sk-{user}".encode()).hexdigest()


@pytest.mark.parametrize("stream", [False, True])
def test_a_next_turn_continues_what_the_server_keeps(litellm: LiteLlm, stream: bool) -> None:  # noqa: FBT001
    async def story(proxy: Proxy, events: Events) -> None:
        user = f"kept-{stream}"
        body = {"model": "chat", "input": QUESTION, "stream": stream}
        _, _, first = await proxy.post("/v1/responses", body, user)
        if stream:
            done = next(line for line in first.splitlines() if b"response.completed" in line and b"data:" in line)
            name = orjson.loads(done.partition(b"data:")[2])["response"]["id"]
        else:
            name = orjson.loads(first)["id"]
        await proxy.post("/v1/responses", {**body, "input": "And?", "previous_response_id": name}, user)
        one, two = await events.of(user, 2)
        assert one["response_fp"] == two["prefix_fp"]

    tell(litellm, story)


def test_a_reasoning_signature_is_known_again(litellm: LiteLlm) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        thought = {"type": "thinking", "thinking": "hm", "signature": SIGNATURE}
        answer = {"role": "assistant", "content": [thought, {"type": "text", "text": "A queue is a line."}]}
        history = [*MESSAGES["messages"], answer, {"role": "user", "content": "And?"}]
        await proxy.post("/v1/messages", {**MESSAGES, "stream": True}, "signed")
        await proxy.post("/v1/messages", {**MESSAGES, "messages": history}, "signed")
        one, two = await events.of("signed", 2)
        assert one["signature_out_fp"] == two["signature_fp"]
        assert one["response_fp"] == two["prefix_fp"]

    tell(litellm, story)


@pytest.mark.parametrize("form", FORMS)
def test_no_log_hides_nothing(litellm: LiteLlm, form: str) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        path, body = FORMS[form]
        await proxy.post(path, {**body, "no-log": True}, f"quiet-{form}")
        (event,) = await events.of(f"quiet-{form}")
        assert event["template_fp"]

    tell(litellm, story)


def test_the_redaction_header_blanks_nothing(litellm: LiteLlm) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        for form, (path, body) in FORMS.items():
            await proxy.post(path, body, f"red-{form}", x_litellm_enable_message_redaction="1")
            await proxy.post(path, body, f"plain-{form}")
            (red,), (plain,) = await events.of(f"red-{form}"), await events.of(f"plain-{form}")
            names = ("template_fp", "request_fp", "n_messages", "tok_out", "refused")
            assert [red[name] for name in names] == [plain[name] for name in names]
            assert form.startswith("responses") or red["response_fp"] == plain["response_fp"]

    tell(litellm, story)


def test_ids_that_a_client_chooses_make_no_event_a_duplicate(litellm: LiteLlm) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        forged = {"x_litellm_call_id": "mine", "x_litellm_trace_id": "mine", "x_litellm_session_id": "mine"}
        body = chat(QUESTION, litellm_session_id="mine", litellm_call_id="mine", litellm_trace_id="mine", id="mine")
        for user in ("ids-a", "ids-a", "ids-b"):
            assert (await proxy.post("/v1/chat/completions", body, user, **forged))[0] == 200
        seen = [*await events.of("ids-a", 2), *await events.of("ids-b")]
        assert len({event["id"] for event in seen}) == 3
        assert all(len(event["id"]) == 32 for event in seen)

    tell(litellm, story)


def test_two_at_once_with_the_same_forged_ids_keep_their_own_answers(litellm: LiteLlm) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        path, _ = FORMS["chat-streamed"]
        bodies = [chat(QUESTION, stream=True), chat(FAILING)]
        users = ("twin-a", "twin-b")
        await asyncio.gather(
            *(proxy.post(path, body, user, x_litellm_call_id="x") for body, user in zip(bodies, users, strict=True))
        )
        (good,), (bad,) = await events.of("twin-a"), await events.of("twin-b")
        assert (good["status"], good["tok_out"]) == (200, 5)
        assert (bad["status"], bad["error"]) == (500, "other")

    tell(litellm, story)


def test_the_account_is_the_keys_whatever_the_client_writes(litellm: LiteLlm) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        forged = {
            "user": "victim", "user_id": "victim", "proxy_server_request": {"streamproc_id": "x", "body": {}},
            "metadata": {"user_api_key_user_id": "victim", "requester_ip_address": "8.8.8.8"},
            "litellm_metadata": {"user_api_key_user_id": "victim", "requester_ip_address": "8.8.8.8"},
        }  # fmt: skip
        await proxy.post("/v1/chat/completions", chat(QUESTION, **forged), "liar.team")
        (event,) = await events.of("liar")
        assert event["org"] == pseudonym("org", "team")
        assert event["session"] == pseudonym("session", "victim")
        assert event["ip"] == pseudonym("ip", "127.0.0.1")
        assert event["template_fp"]
        assert await events.of("victim", within_s=0.3) == []

    tell(litellm, story)


def test_a_stream_that_the_client_cuts_off_ends_in_an_event(litellm: LiteLlm) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        assert proxy.session is not None
        url = f"http://127.0.0.1:{proxy.port}/v1/chat/completions"
        headers = {"Authorization": "Bearer sk-cutter"}
        cut = litellm.api.cut
        async with proxy.session.post(url, json=chat(ENDLESS, stream=True), headers=headers) as answer:
            assert await answer.content.read(20)
            answer.close()
        short = aiohttp.ClientTimeout(total=0.01)  # gone before the first word
        with pytest.raises(TimeoutError):
            await proxy.session.post(url, json=chat(ENDLESS, stream=True), headers=headers, timeout=short)
        one, two = await events.of("cutter", 2)
        for event in (one, two):
            assert event["error"] == "cancelled"
            assert event["template_fp"]
        await proxy.wait(lambda: reached_nothing(proxy))
        assert litellm.api.cut >= cut + 1  # our hook keeps no stream of the model's open

    tell(litellm, story)


async def reached_nothing(proxy: Proxy) -> bool:
    return await proxy.metric("underway_requests") == 0


def test_what_fails_behind_has_an_event_with_its_status(litellm: LiteLlm) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        assert (await proxy.post("/v1/chat/completions", chat(FAILING), "failing"))[0] == 500
        assert (await proxy.post("/v1/chat/completions", {"model": "nowhere", "messages": []}, "failing"))[0] == 400
        one, two = await events.of("failing", 2)
        assert (one["status"], one["error"]) == (500, "other")
        assert (two["status"], two["error"]) == (400, "invalid")

    tell(litellm, story)


@pytest.mark.parametrize("stream", [False, True])
def test_a_pass_through_route_has_an_event_of_its_request_and_obeys(litellm: LiteLlm, stream: bool) -> None:  # noqa: FBT001
    async def story(proxy: Proxy, events: Events) -> None:
        user, path = f"through-{stream}", "/anthropic/v1/messages"
        forged = {"proxy_server_request": {"headers": {}, "body": {}, "url": "http://x/"}, "metadata": {"headers": {}}}
        body = {**MESSAGES, "stream": stream, **forged}
        assert (await proxy.post(path, body, user))[0] == 200
        (event,) = await events.of(user)
        assert event["template_fp"]
        assert (event["model"], event["stream"]) == ("claude", stream)
        assert "tok_out" not in event  # the answer goes by without a hook
        await enforce(litellm, proxy, decision(user))
        status, headers, _ = await proxy.post(path, body, user)
        assert (status, headers["x-should-retry"]) == (403, "false")
        assert [one.get("error") for one in await events.of(user, 2)] == [None, "suspended"]

    tell(litellm, story)


def test_what_litellm_refuses_itself_has_an_event_that_is_not_ours(litellm: LiteLlm) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        assert [await proxy.ask("limited") for _ in range(2)] == [200, 429]
        assert [one.get("error") for one in await events.of("limited", 2)] == [None, "rate_limited"]
        assert await events.of("limited", 3, within_s=0.3) == await events.of("limited", 2)

    tell(litellm, story)


def test_a_request_that_litellm_begins_again_with_another_model_is_one(litellm: LiteLlm) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        assert [await proxy.ask("few") for _ in range(3)] == [200, 200, 200]
        seen = await events.of("few", 3)
        assert [(one["status"], one["tok_out"]) for one in seen] == [(200, 5)] * 3
        assert await events.of("few", 4, within_s=0.3) == seen
        await proxy.wait(lambda: reached_nothing(proxy))

    tell(litellm, story)


def test_who_has_no_key_and_who_does_not_chat_has_no_event(litellm: LiteLlm) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        assert proxy.session is not None
        url = f"http://127.0.0.1:{proxy.port}/v1/chat/completions"
        async with proxy.session.post(url, json=chat(QUESTION), headers={"Authorization": "Bearer x"}) as answer:
            assert answer.status == 401
        assert (await proxy.post("/v1/embeddings", {"model": "embed", "input": QUESTION}, "embedder"))[0] == 200
        assert await events.of("embedder", within_s=0.3) == []

    tell(litellm, story)


# -- obeyed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_suspended_account_is_refused_in_every_form_and_the_refusal_is_an_event(litellm: LiteLlm, form: str) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        path, body = FORMS[form]
        user = f"bad-{form}"
        await enforce(litellm, proxy, decision(user))
        asked = litellm.api.asked
        status, headers, raw = await proxy.post(path, body, user)
        assert (status, headers["x-should-retry"]) == (403, "false")
        assert litellm.api.asked == asked
        error = orjson.loads(raw)["error"]
        assert error["type"] == "permission_error"
        assert error["message"].startswith("Access is suspended")
        told = error["provider_specific_fields"]
        assert told["code"] == "account_suspended"
        assert told["appeal"] == f"https://example.org/{told['decision']}"
        assert (orjson.loads(raw).get("type") == "error") is form.startswith("messages")
        (event,) = await events.of(user)
        assert (event["status"], event["error"]) == (403, "suspended")
        assert event["template_fp"]
        assert await events.of(user, 2, within_s=0.3) == [event]

    tell(litellm, story)


def test_throttle_restrict_verify_and_shadow(litellm: LiteLlm) -> None:
    async def story(proxy: Proxy, events: Events) -> None:
        await enforce(
            litellm, proxy,
            decision("slow", "throttle", limit=Limit(requests_per_min=1)),
            decision("bare", "restrict"), decision("doubted", "verify"), decision("shady", mode="shadow"),
            decision("team-x", kind="org"), decision(event_key("keyed.team-y"), kind="key"),
        )  # fmt: skip
        assert await proxy.ask("slow") == 200
        status, headers, raw = await proxy.post("/v1/chat/completions", chat(QUESTION), "slow")
        assert status == 429
        assert 1 <= int(headers["retry-after"]) <= 60
        assert "x-should-retry" not in headers
        assert orjson.loads(raw)["error"]["provider_specific_fields"]["code"] == "rate_restricted"
        assert [event.get("error") for event in await events.of("slow", 2)] == [None, "blocked"]

        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
        assert await proxy.ask("bare") == 200
        assert await proxy.ask("bare", tools=[tool]) == 403
        assert await proxy.ask("free", tools=[tool]) == 200

        for stream in (False, True):
            status, headers, _ = await proxy.post("/v1/chat/completions", chat(QUESTION, stream=stream), "doubted")
            assert (status, headers["x-streamproc-step-up"]) == (200, "required")
        assert "x-streamproc-step-up" not in (await proxy.post("/v1/chat/completions", chat(QUESTION), "free"))[1]

        before = await proxy.metric('shadow_checks_total{action="suspend"}')
        assert await proxy.ask("shady") == 200
        assert await proxy.metric('shadow_checks_total{action="suspend"}') == before + 1
        assert await proxy.ask("anybody.team-x") == 403
        assert await proxy.ask("keyed.team-y") == 403
        assert await proxy.ask("keyed.team-z") == 200
        status, *_ = await proxy.post("/v1/embeddings", {"model": "embed", "input": QUESTION}, "anybody.team-x")
        assert status == 403

    tell(litellm, story)


def test_a_verdict_is_obeyed_within_a_second(litellm: LiteLlm, capsys: pytest.CaptureFixture[str]) -> None:
    async def story(proxy: Proxy, _events: Events) -> None:
        delays = sorted(await asyncio.gather(*(obeyed_s(litellm, proxy, n) for n in range(CHANGES))))
        with capsys.disabled():
            print(  # noqa: T201 - a measurement
                f"\nLiteLLM: from Kafka to the first refusal, {CHANGES} changes: "
                f"p50 {delays[CHANGES // 2] * 1000:.0f} ms, longest {delays[-1] * 1000:.0f} ms"
            )
        assert delays[-1] <= 1.0

    tell(litellm, story)


async def obeyed_s(litellm: LiteLlm, proxy: Proxy, n: int) -> float:
    user = f"swift-{n}"
    await asyncio.sleep(n * 0.17)
    await produce(litellm.kafka, "enforcement", decision(user))
    began = time.monotonic()
    while await proxy.ask(user) == 200:
        assert time.monotonic() < began + 10, proxy.log()
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def test_the_log_names_nobody(litellm: LiteLlm) -> None:
    async def story(proxy: Proxy, _events: Events) -> None:
        await enforce(litellm, proxy, decision("nameless-1"))
        assert await proxy.ask("nameless-1") == 403
        log = proxy.log()
        assert "nameless-1" not in log
        assert pseudonym("account", "nameless-1") not in log

    tell(litellm, story)
