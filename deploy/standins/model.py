"""A stand-in for a model API: answers chat requests in OpenAI's and Anthropic's form with a few made-up words.

To try the gateway out, in the place of the model's own service: `python model.py [PORT]`. It keeps nothing.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 8000
WORDS = "This is a stand-in: no model was asked."


def openai(words_in: int) -> dict[str, Any]:
    """An answer of POST /v1/chat/completions."""
    message = {"role": "assistant", "content": WORDS}
    return {
        "id": "chatcmpl-standin",
        "object": "chat.completion",
        "model": "standin",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": words_in, "completion_tokens": 8, "total_tokens": words_in + 8},
    }


def anthropic(words_in: int) -> dict[str, Any]:
    """An answer of POST /v1/messages."""
    return {
        "id": "msg_standin",
        "type": "message",
        "role": "assistant",
        "model": "standin",
        "content": [{"type": "text", "text": WORDS}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": words_in, "output_tokens": 8},
    }


ANSWERS = {"/v1/chat/completions": openai, "/v1/messages": anthropic}


class Model(BaseHTTPRequestHandler):
    """POST: an answer in the path's form, whole whether a stream was asked for or not. GET: 200, it is there."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer, with a word of the request counted as a token."""
        words_in = len(self.rfile.read(int(self.headers.get("Content-Length", 0))).split())
        answer = ANSWERS.get(self.path)
        self._send(*((200, answer(words_in)) if answer else (404, {"error": {"message": "no such path"}})))

    def do_GET(self) -> None:
        """Say that it is there."""
        self._send(200, {"object": "list", "data": [{"id": "standin", "object": "model"}]})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing of requests."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1]) if len(sys.argv) > 1 else PORT), Model).serve_forever()
