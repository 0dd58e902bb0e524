"""A stand-in for a pager: prints every alert that Alertmanager sends it, a JSON object a line, until it is stopped.

To try the stack out, in the place of the service that wakes people: `python pager.py [PORT]`. It takes one notification
at a time, so that no two lines run together.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

PORT = 9099


class Pager(BaseHTTPRequestHandler):
    """POST /page and /ticket: Alertmanager's webhook. GET: 200, it is there."""

    def do_POST(self) -> None:
        """Print each alert of one notification."""
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in told["alerts"]:
            said = {"kind": self.path.strip("/"), "status": alert["status"], **alert["labels"], **alert["annotations"]}
            print(json.dumps(said), flush=True)
        self._answer()

    def do_GET(self) -> None:
        """Say that it is there."""
        self._answer()

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing of requests: the alerts are what is printed."""


if __name__ == "__main__":
    HTTPServer(("", int(sys.argv[1]) if len(sys.argv) > 1 else PORT), Pager).serve_forever()
