"""Prefix and response are chained: an honest next turn carries what the last response was given."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamproc.fingerprint import Fingerprinter, Peppers
from tests.fingerprint.talk import DIALECTS, Json, Said, framed, sse

PRINTER = Fingerprinter(Peppers(identity=b"stays" * 8, content=b"rotates" * 8))
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)


def event_of(dialect: str, system: str, said: Said, answer: str, *, parts: bool, cuts: int) -> Json:
    """The event of one exchange; `cuts` > 0 streams the answer in that many pieces, fed 7 bytes at a time."""
    spoken = DIALECTS[dialect]
    request = PRINTER.request(spoken.path, (), orjson.dumps(spoken.ask(system, said, parts)))
    response = PRINTER.response(request)
    assert response is not None
    if cuts:
        size = -(-len(answer) // cuts)
        raw = spoken.wire(spoken.events([answer[at : at + size] for at in range(0, len(answer), size)]))
    else:
        raw = orjson.dumps(spoken.whole(answer))
    for at in range(0, len(raw), 7):
        response.feed(raw[at : at + 7])
    return PRINTER.finish(request, response, id="1", ts_ms=1, account="a")


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    system=WORDS,
    said=st.lists(WORDS, min_size=1, max_size=4),
    answers=st.lists(WORDS, min_size=4, max_size=4),
    parts=st.booleans(),
    cuts=st.integers(0, 3),
)
def test_an_honest_next_turn_matches(
    dialect: str, system: str, said: list[str], answers: list[str], *, parts: bool, cuts: int
) -> None:
    history: Said = []
    last = None
    for ask, answer in zip(said, answers, strict=False):
        history.append(("user", ask))
        event = event_of(dialect, system, history, answer, parts=parts, cuts=cuts)
        assert event.get("prefix_fp") == last
        last = event["response_fp"]
        history.append(("assistant", f" {answer}\n"))
        parts = not parts


@pytest.mark.parametrize("dialect", DIALECTS)
def test_another_answer_or_another_history_does_not_match(dialect: str) -> None:
    first = event_of(dialect, "s", [("user", "a")], "one", parts=False, cuts=0)
    changed = event_of(dialect, "s", [("user", "a"), ("assistant", "two"), ("user", "b")], "c", parts=False, cuts=0)
    moved = event_of(dialect, "s", [("user", "x"), ("assistant", "one"), ("user", "b")], "c", parts=False, cuts=0)
    assert len({first["response_fp"], changed["prefix_fp"], moved["prefix_fp"]}) == 3


def test_state_that_the_server_keeps_is_chained_by_the_response_id() -> None:
    request = PRINTER.request("/v1/responses", (), {"input": "a"})
    reply = orjson.dumps({"id": "resp_1", "status": "completed", "output": []})
    first = PRINTER.finish(request, reply, id="1", ts_ms=1, account="a")
    second = PRINTER.request("/v1/responses", (), {"input": "b", "previous_response_id": "resp_1"})
    assert second.event["prefix_fp"] == first["response_fp"]


def test_a_conversation_that_the_server_keeps_is_chained_by_its_own_id() -> None:
    ask = {"input": "a", "conversation": {"id": "conv_1"}}
    reply = orjson.dumps({"id": "resp_1", "status": "completed", "output": []})
    first = PRINTER.finish(PRINTER.request("/v1/responses", (), ask), reply, id="1", ts_ms=1, account="a")
    second = PRINTER.request("/v1/responses", (), {"input": "b", "conversation": "conv_1"})
    assert second.event["prefix_fp"] == first["response_fp"]


def test_a_history_that_is_sent_beside_a_previous_id_does_not_break_the_chain() -> None:
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    reply = orjson.dumps({"id": "resp_2", "status": "completed", "output": []})
    mixed = PRINTER.request("/v1/responses", (), {"input": said, "previous_response_id": "resp_1"})
    event = PRINTER.finish(mixed, reply, id="1", ts_ms=1, account="a")
    after = PRINTER.request("/v1/responses", (), {"input": "d", "previous_response_id": "resp_2"})
    assert after.event["prefix_fp"] == event["response_fp"]
    before = PRINTER.request("/v1/responses", (), {"input": "a", "store": True})
    first = PRINTER.finish(before, reply.replace(b"resp_2", b"resp_1"), id="1", ts_ms=1, account="a")
    assert event["prefix_fp"] == first["response_fp"]


def test_tools_in_converse_are_part_of_the_chain_and_signatures_come_back() -> None:
    ask: Json = {"messages": [{"role": "user", "content": [{"text": "weather?"}]}]}
    call = {"toolUse": {"toolUseId": "t1", "name": "get", "input": {"city": "Ulm", "days": 2}}}
    thought = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "Sig=="}}}
    events: list[Json] = [
        {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "Sig=="}}},
        {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t1", "name": "get"}}},
        {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '{"days": 2,'}}},
        {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '"city":"Ulm"}'}}},
        {"stopReason": "tool_use"},
    ]
    path = "/model/anthropic.claude-v1%3A0/converse-stream"
    asked = PRINTER.request(path, (), ask)
    assert (asked.event["model"], asked.event["stream"]) == ("anthropic.claude-v1:0", True)
    first = PRINTER.finish(asked, framed(events), id="1", ts_ms=1, account="a")
    whole = {"output": {"message": {"role": "assistant", "content": [thought, call]}}, "stopReason": "tool_use"}
    same = PRINTER.finish(asked, orjson.dumps(whole), id="1", ts_ms=1, account="a")
    assert (same["response_fp"], same["signature_out_fp"]) == (first["response_fp"], first["signature_out_fp"])
    result = {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"json": {"rain": True}}]}}]}
    again = {"messages": [*ask["messages"], {"role": "assistant", "content": [thought, call]}, result]}
    second = PRINTER.request(path, (), again)
    assert second.event["prefix_fp"] == first["response_fp"]
    assert second.event["signature_fp"] == first["signature_out_fp"]


def test_tool_calls_and_their_results_are_part_of_the_chain() -> None:
    ask = {"messages": [{"role": "user", "content": "weather?"}]}
    call = {"type": "tool_use", "id": "t1", "name": "get", "input": {"city": "Ulm", "days": 2}}
    pieces = ['{"days":', ' 2, "city":"Ulm"}']
    said = [{"type": "content_block_start", "index": 0, "content_block": {**call, "input": {}}}] + [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}}
        for piece in pieces
    ]
    first = PRINTER.finish(PRINTER.request("/v1/messages", (), ask), sse(said), id="1", ts_ms=1, account="a")
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "rain"}]}
    again = {"messages": [*ask["messages"], {"role": "assistant", "content": [call]}, result]}
    assert PRINTER.request("/v1/messages", (), again).event["prefix_fp"] == first["response_fp"]


def test_a_signature_comes_back_as_it_went_out() -> None:
    reply = {"content": [{"type": "thinking", "thinking": "hm", "signature": "Sig=="}, {"type": "text", "text": "b"}]}
    request = PRINTER.request("/v1/messages", (), {"messages": [{"role": "user", "content": "a"}]})
    first = PRINTER.finish(request, orjson.dumps(reply), id="1", ts_ms=1, account="a")
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": reply["content"]}]
    second = PRINTER.request("/v1/messages", (), {"messages": [*history, {"role": "user", "content": "c"}]})
    assert second.event["signature_fp"] == first["signature_out_fp"]
    assert second.event["prefix_fp"] == first["response_fp"]
