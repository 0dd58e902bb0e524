"""Events are the contract's, whatever comes in."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamproc.contract.schemas
from streamproc.fingerprint import Fingerprinter, Peppers
from streamproc.fingerprint.client import client
from streamproc.fingerprint.language import language
from tests.fingerprint.talk import DIALECTS

SCHEMA = Path(streamproc.contract.schemas.__file__).with_name("request-event.schema.json")
VALID = jsonschema.Draft202012Validator(orjson.loads(SCHEMA.read_bytes()))
PRINTER = Fingerprinter(Peppers(identity=b"stays" * 8, content=b"rotates" * 8, epoch=3))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = [
    "messages",
    "role",
    "content",
    "text",
    "type",
    "parts",
    "input",
    "contents",
    "system",
    "tools",
    "function",
    "name",
    "parameters",
    "choices",
    "message",
    "delta",
    "tool_calls",
    "usage",
    "prompt_tokens",
    "output",
    "candidates",
    "temperature",
    "max_tokens",
    "metadata",
    "generationConfig",
    "id",
    "index",
]
NEAR = st.recursive(
    JSON | st.sampled_from(["user", "assistant", "system", "tool_use", "text", "message"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=6),
    max_leaves=25,
)


def finish(path: str, body: Any, reply: Any) -> dict[str, Any]:
    request = PRINTER.request(path, {"User-Agent": "curl/8.1"}, body)
    return PRINTER.finish(request, reply, id="1", ts_ms=1, account="a", ip="192.0.2.7", email_domain="x@Example.org")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_exchange_gives_a_valid_event_with_every_fingerprint(dialect: str) -> None:
    spoken = DIALECTS[dialect]
    said = [("user", "Say hello to the world."), ("assistant", "Hello world."), ("user", "Thank you very much.")]
    asked = spoken.ask("Be kind.", said, False)  # noqa: FBT003 - text as a string, not in parts
    event = finish(spoken.path, asked, orjson.dumps(spoken.whole("You are welcome.")))
    VALID.validate(event)
    wanted = {"template_fp", "system_fp", "task_fp", "request_fp", "prefix_fp", "response_fp", "n_messages", "refused"}
    assert wanted <= set(event)
    assert event["n_assistant"] == 1
    assert event["refused"] is False


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=120, deadline=None)
@given(body=st.dictionaries(st.sampled_from(MEMBERS), NEAR, max_size=6), reply=NEAR)
def test_nothing_that_a_client_sends_raises(dialect: str, body: Any, reply: Any) -> None:
    try:
        raw, answer = orjson.dumps(body), orjson.dumps(reply)
    except TypeError:
        return  # no JSON: lone surrogates or whole numbers beyond 64 bits
    VALID.validate(finish(DIALECTS[dialect].path, raw, answer))


@given(path=st.text(max_size=30), body=st.binary(max_size=60), reply=st.binary(max_size=60))
def test_neither_does_what_is_no_json(path: str, body: bytes, reply: bytes) -> None:
    event = finish(path, body, reply)
    VALID.validate(event)
    assert event["ua"] == "curl"


def test_identities_stay_and_networks_are_coarse() -> None:
    assert (
        PRINTER.identity("ip", "192.0.2.7")
        == PRINTER.identity("ip", "192.0.2.200")
        == PRINTER.identity("ip", "::ffff:192.0.2.9")
    )
    assert PRINTER.identity("ip", "192.0.3.7") != PRINTER.identity("ip", "192.0.2.7")
    assert PRINTER.identity("ip", "2001:db8:1:2::1") == PRINTER.identity("ip", "2001:db8:1:ffff::9")
    assert PRINTER.identity("email_domain", "a@B.org") == PRINTER.identity("email_domain", "b.ORG")
    assert PRINTER.identity("account", "x") != PRINTER.identity("key", "x")
    assert PRINTER.identity("ip", "nowhere") == ""
    with pytest.raises(ValueError, match="no identity"):
        PRINTER.identity("name", "x")


def test_what_a_client_sends_at_length_is_not_remembered() -> None:
    printer = Fingerprinter(Peppers(b"i" * 16, b"c" * 16))
    tracemalloc.start()
    names = {printer.identity("session", f"{n:05d}" + 100_000 * "s") for n in range(500)}
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(names) == 500
    assert held < 5_000_000  # of the 50 MB that were sent


@pytest.mark.parametrize(
    ("identity", "content", "epoch"), [(b"short", b"c" * 16, 0), (b"i" * 16, b"i" * 16, 0), (b"i" * 16, b"c" * 16, -1)]
)
def test_bad_peppers_are_refused(identity: bytes, content: bytes, epoch: int) -> None:
    with pytest.raises(ValueError, match=r"pepper|epoch"):
        Peppers(identity, content, epoch)


def test_tokens_are_counted_as_the_contract_says() -> None:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 25, "output_tokens": 9}
    reply = {"content": [{"type": "text", "text": "x"}], "stop_reason": "refusal", "usage": usage}
    event = finish("/v1/messages", {"messages": [{"role": "user", "content": "x"}]}, orjson.dumps(reply))
    assert (event["tok_in"], event["tok_cached"], event["tok_out"], event["refused"]) == (100, 70, 9, True)


@pytest.mark.parametrize(
    ("header", "family", "version"),
    [
        ("AsyncOpenAI/Python 1.52.0", "openai-python", "1.52.0"),
        ("claude-cli/2.1.4 (external, cli)", "claude-code", "2.1.4"),
        ("Python/3.9 aiohttp/3.7.3", "aiohttp", "3.7.3"),
        ("Mozilla/5.0 (X11) Chrome/151.0.0.0 Safari/537.36", "chrome", "151.0.0.0"),
        ("Anthropic/JS 0.30.1", "anthropic-node", "0.30.1"),
        ("something", "other", ""),
        ("", "", ""),
    ],
)
def test_clients_have_a_family_and_a_version(header: str, family: str, version: str) -> None:
    assert client(header) == (family, version)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is the best way to learn how to swim in the sea?", "en"),
        ("Wie ist das Wetter und was mache ich mit der Zeit, die ich nicht habe?", "de"),
        ("Quelle est la meilleure façon de dire que vous êtes dans le train ?", "fr"),
        ("これはペンですか、それとも鉛筆ですか", "ja"),
        ("请把下面的句子翻译成英文", "zh"),
        ("x = 1", ""),
    ],
)
def test_the_language_is_told_or_left_out(text: str, expected: str) -> None:
    assert language(text) == expected
