"""What becomes of requests by the verdicts in force, as one table for every proxy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from streamproc.contract.decisions import Limit
from tests.gateway.events import SECRET
from tests.gateway.proxies import CHAT, MESSAGES

if TYPE_CHECKING:
    from streamproc.contract.decisions import Action

TOOLS = {CHAT: [{"type": "function", "function": {"name": "f"}}], MESSAGES: [{"name": "f", "input_schema": {}}]}
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Case:
    """A decision about the account `name`, a request of it, and what must come of that."""

    name: str
    status: int
    action: Action | None = None
    more: dict[str, Any] = field(default_factory=dict)
    path: str = CHAT
    tools: bool = False
    accept: str = "*/*"
    headers: dict[str, str] = field(default_factory=dict)  # of a refusal, those that the client gets
    error: str = ""  # the `error` of its event
    code: str = ""
    step_up: bool = False
    times: int = 1  # the last of so many requests is meant
    needs_body: bool = False

    def body(self, *, stream: bool = False) -> bytes:
        said = [{"role": "user", "content": f"Say hello to the world, {self.name}."}]
        asked = {"model": "m", "max_tokens": 9, "stream": stream, "messages": said}
        return orjson.dumps(asked | ({"tools": TOOLS[self.path]} if self.tools else {}))


NO_RETRY = {"x-should-retry": "false"}
SLOW = {"limit": Limit(requests_per_min=1)}
CASES = (
    Case("nothing", 200),
    Case("nothing-anthropic", 200, path=MESSAGES),
    Case("observed", 200, "observe"),
    Case("verified", 200, "verify", step_up=True),
    Case("shadowed", 200, "suspend", {"mode": "shadow"}),
    Case("released", 200, "release"),
    Case("slow-first", 200, "throttle", SLOW),
    Case("slow", 429, "throttle", SLOW, error="blocked", code="rate_restricted", times=3),
    Case("slow-anthropic", 429, "throttle", SLOW, MESSAGES, error="blocked", code="rate_restricted", times=3),
    Case("no-tools", 403, "restrict", tools=True, headers=NO_RETRY, error="blocked", code="capability_restricted",
         needs_body=True),
    Case("no-tools-unasked", 200, "restrict"),
    Case("suspended", 403, "suspend", headers=NO_RETRY, error="suspended", code="account_suspended"),
    Case("suspended-anthropic", 403, "suspend", {}, MESSAGES, headers=NO_RETRY, error="suspended",
         code="account_suspended"),
    Case("suspended-problem", 403, "suspend", {}, MESSAGES, accept=PROBLEM, headers=NO_RETRY, error="suspended",
         code="account_suspended"),
)  # fmt: skip
ACCOUNTS = tuple(case.name for case in CASES)
DECISIONS = tuple((case.name, case.action, case.more) for case in CASES if case.action)


def check_refusal(case: Case, headers: dict[str, str], body: bytes) -> None:
    """The refusal has the case's headers, and a body in the shape that the client asked for."""
    assert case.headers.items() <= headers.items()
    if case.status == 429:
        assert 1 <= int(headers["retry-after"]) <= 60
    told = orjson.loads(body)
    if case.accept == PROBLEM:
        assert headers["content-type"] == PROBLEM
        assert told["type"] == f"urn:streamproc:problem:{case.code}"
        assert told["status"] == case.status
    else:
        assert headers["content-type"].startswith("application/json")
        assert told.get("type") == ("error" if case.path == MESSAGES else None)
        told = told["error"]
        assert told["code"] == case.code
    assert told["appeal"] == f"https://example.org/{told['decision']}"
    assert SECRET not in body.decode()
