"""A stand-in for the model's makers, over HTTP: answers in every form of API, whole or as a stream that is one."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = ("A ", "queue ", "is ", "a ", "line.")
SIGNATURE = "c2lnbmVkIHJlYXNvbmluZw=="
ENDLESS = "never stop"  # a prompt that is answered by a stream without an end
FAILING = "fail now"  # one that is answered by 500
USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


class ModelApi:
    """Counts what it is asked; `port` is where."""

    def __init__(self) -> None:
        self.port = 0
        self.asked = 0
        self.cut = 0  # streams whose reader went away

    def application(self) -> web.Application:
        made = web.Application()
        made.router.add_post("/v1/chat/completions", self._chat)
        made.router.add_post("/v1/responses", self._responses)
        made.router.add_post("/v1/messages", self._messages)
        made.router.add_post("/{path:.*}", self._generate)
        made.router.add_post("/v1/embeddings", self._embeddings)
        return made

    async def _begin(self, request: web.Request) -> tuple[dict[str, Any], str]:
        self.asked += 1
        body = await request.read()
        text = body.decode()
        if FAILING in text:
            raise web.HTTPInternalServerError(text='{"error":{"message":"out of order","type":"server_error"}}')
        return orjson.loads(body), text

    async def _stream(self, request: web.Request, events: list[tuple[str, Any]], *, endless: int = -1) -> web.Response:
        """Send the events one by one; `endless` is the one that is repeated for ever."""
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        at = 0
        try:
            while at < len(events):
                name, value = events[at]
                head = f"event: {name}\n" if name else ""
                data = value if isinstance(value, str) else orjson.dumps(value).decode()
                await answer.write(f"{head}data: {data}\n\n".encode())
                await asyncio.sleep(0.02 if at == endless else 0)
                at += at != endless
        except ConnectionError:
            self.cut += 1
        return answer  # type: ignore[return-value]

    async def _chat(self, request: web.Request) -> web.Response:
        body, text = await self._begin(request)
        head = {"id": f"chatcmpl-{self.asked}", "created": 1, "model": "m"}
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE})
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": word} for word in WORDS)]
        chunk = {**head, "object": "chat.completion.chunk"}
        events: list[tuple[str, Any]] = [
            ("", {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}) for delta in deltas
        ]
        events.append(("", {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append(("", {**chunk, "choices": [], "usage": USAGE}))
        return await self._stream(request, [*events, ("", "[DONE]")], endless=2 if ENDLESS in text else -1)

    async def _responses(self, request: web.Request) -> web.Response:
        body, _ = await self._begin(request)
        said = {"type": "output_text", "text": "".join(WORDS), "annotations": []}
        item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [said]}
        usage = {"input_tokens": 11, "output_tokens": 5, "total_tokens": 16}
        whole = {
            "id": f"resp_{self.asked}", "object": "response", "created_at": 1, "status": "completed", "model": "m",
            "output": [item], "usage": usage, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
            "previous_response_id": body.get("previous_response_id"), "error": None,
        }  # fmt: skip
        if not body.get("stream"):
            return web.json_response(whole)
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        begun = {**whole, "status": "in_progress", "output": [], "usage": None}
        events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
        events += [{"type": "response.output_text.delta", **place, "delta": word} for word in WORDS]
        events.append({"type": "response.completed", "response": whole})
        numbered = [(event["type"], {**event, "sequence_number": n}) for n, event in enumerate(events)]
        return await self._stream(request, numbered)

    async def _messages(self, request: web.Request) -> web.Response:
        body, _ = await self._begin(request)
        text = {"type": "text", "text": "".join(WORDS)}
        thought = {"type": "thinking", "thinking": "hm", "signature": SIGNATURE}
        usage = {"input_tokens": 11, "output_tokens": 5}
        whole = {
            "id": f"msg_{self.asked}", "type": "message", "role": "assistant", "model": "m", "usage": usage,
            "content": [thought, text], "stop_reason": "end_turn", "stop_sequence": None,
        }  # fmt: skip
        if not body.get("stream"):
            return web.json_response(whole)
        begun = {**whole, "content": [], "stop_reason": None, "usage": {"input_tokens": 11, "output_tokens": 1}}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": begun}]
        blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
            ({"type": "thinking", "thinking": ""}, [
                {"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": SIGNATURE},
            ]),
            ({"type": "text", "text": ""}, [{"type": "text_delta", "text": word} for word in WORDS]),
        ]  # fmt: skip
        for n, (block, deltas) in enumerate(blocks):
            events.append({"type": "content_block_start", "index": n, "content_block": block})
            events += [{"type": "content_block_delta", "index": n, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": n})
        ending = {"stop_reason": "end_turn", "stop_sequence": None}
        events += [{"type": "message_delta", "delta": ending, "usage": {"output_tokens": 5}}, {"type": "message_stop"}]
        return await self._stream(request, [(event["type"], event) for event in events])

    async def _generate(self, request: web.Request) -> web.Response:
        await self._begin(request)

        def said(text: str, **more: Any) -> dict[str, Any]:
            candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0, **more}
            counts = {"promptTokenCount": 11, "candidatesTokenCount": 5, "totalTokenCount": 16}
            return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "m", "responseId": "r1"}

        if not request.match_info["path"].endswith(":streamGenerateContent"):
            return web.json_response(said("".join(WORDS), finishReason="STOP"))
        return await self._stream(request, [*(("", said(w)) for w in WORDS), ("", said("", finishReason="STOP"))])

    async def _embeddings(self, request: web.Request) -> web.Response:
        await self._begin(request)
        data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.5]}]
        return web.json_response({"object": "list", "data": data, "model": "m", "usage": USAGE})


@contextmanager
def serving() -> Iterator[ModelApi]:
    """Yield a model API that answers, in a thread of its own."""
    api = ModelApi()
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.port = int(runner.addresses[0][1])
        ready.set()
        await stop.wait()
        await runner.cleanup()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        assert ready.wait(10)
        yield api
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
