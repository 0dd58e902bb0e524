"""From a verdict to what the client is told. Pure: whether a throttle's bucket is empty is handed in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from streamproc.fingerprint.prints import CAPABILITIES
from streamproc.gateway.verdicts import Subjects
from streamproc.settings import DECISION

if TYPE_CHECKING:
    from streamproc.gateway.verdicts import Verdict

__all__ = ["MOST_WAIT_S", "PASS", "REASONS", "Answer", "Asked", "answer", "unavailable"]

MOST_WAIT_S: Final = 60  # clients give up on a longer Retry-After instead of waiting
UNAVAILABLE_WAIT_S: Final = 5
PROBLEM: Final = "application/problem+json"
PROBLEM_TYPE: Final = "urn:streamproc:problem:"

Api: TypeAlias = Literal["openai", "anthropic"]


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request, as far as a verdict needs to know it.

    `capabilities` are those that it asks for, `tokens` how many it may cost, `api` and `accept` the form of a refusal.
    """

    subjects: Subjects
    capabilities: tuple[str, ...] = ()
    tokens: Annotated[int, Meta(ge=0, le=2**53)] = 0
    api: Api = "openai"
    accept: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a request: it passes with these headers, or is refused with this status, headers and body.

    `word` is what was done, for a metric's label: "pass", a rung, or "unavailable".
    """

    word: str
    passes: bool
    status: int
    headers: dict[str, str]
    body: dict[str, Any] | None


PASS: Final = Answer("pass", passes=True, status=200, headers={}, body=None)


@dataclass(frozen=True, slots=True)
class _Reason:
    """One kind of refusal: its status, its machine-readable word, each API's type of error, the sentence."""

    status: int
    code: str
    openai: str
    anthropic: str
    text: str
    again: bool  # whether the same request may be sent again


# Rung -> refusal. The rungs that are not here pass.
REASONS: Final = {
    "suspend": _Reason(
        403, "account_suspended", "permission_error", "permission_error",
        "Access is suspended because of how this API is used.", again=False,
    ),
    "restrict": _Reason(
        403, "capability_restricted", "permission_error", "permission_error",
        "A capability that this request asks for is restricted because of how this API is used.", again=False,
    ),
    "throttle": _Reason(
        429, "rate_restricted", "rate_limit_error", "rate_limit_error",
        "The rate of requests is restricted because of how this API is used.", again=True,
    ),
    "unavailable": _Reason(
        503, "verdicts_unavailable", "server_error", "overloaded_error",
        "The service is not ready yet.", again=True,
    ),
}  # fmt: skip


def answer(verdict: Verdict | None, asked: Asked, wait_s: float | None, appeal_url: str) -> Answer:
    """Return what becomes of the request.

    `wait_s` is None while the throttle's buckets have room, else how long until they may.
    """
    if verdict is None or verdict.action == "observe":
        return PASS
    if verdict.action == "verify":
        return Answer("verify", passes=True, status=200, headers={"x-streamproc-step-up": "required"}, body=None)
    if verdict.action == "throttle" and wait_s is None:
        return PASS
    if verdict.action == "restrict" and not _takes_away(verdict, asked):
        return PASS
    return _refusal(verdict.action, asked, wait_s, verdict.id, appeal_url.replace(DECISION, verdict.id))


def unavailable(asked: Asked) -> Answer:
    """Return the refusal of a gateway that fails closed before it knows what is in force."""
    return _refusal("unavailable", asked, UNAVAILABLE_WAIT_S, None, "")


def _takes_away(verdict: Verdict, asked: Asked) -> bool:
    named = verdict.limit.capabilities if verdict.limit is not None else None
    return not set(CAPABILITIES if named is None else named).isdisjoint(asked.capabilities)


def _refusal(word: str, asked: Asked, wait_s: float | None, decision: str | None, appeal: str) -> Answer:
    reason = REASONS[word]
    headers = {"content-type": PROBLEM if _wants_problem(asked.accept) else "application/json"}
    if not reason.again:
        headers["x-should-retry"] = "false"
    elif wait_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(min(wait_s, MOST_WAIT_S))))  # a rate of nothing waits for ever
    reference = {"decision": decision, "appeal": appeal}
    told = {name: value for name, value in reference.items() if value}
    return Answer(word, passes=False, status=reason.status, headers=headers, body=_body(reason, asked, told))


def _body(reason: _Reason, asked: Asked, told: dict[str, str]) -> dict[str, Any]:
    if _wants_problem(asked.accept):
        kind = f"{PROBLEM_TYPE}{reason.code}"
        title = reason.code.replace("_", " ").capitalize()
        return {"type": kind, "title": title, "status": reason.status, "detail": reason.text, **told}
    if asked.api == "anthropic":
        error = {"type": reason.anthropic, "message": reason.text, "code": reason.code}
        return {"type": "error", "error": {**error, **told}}
    return {"error": {"message": reason.text, "type": reason.openai, "param": None, "code": reason.code, **told}}


def _wants_problem(accept: str) -> bool:
    """Whether the client names problem+json, and not as what it refuses (q=0)."""
    for part in accept.lower().split(","):
        kind, *options = (one.strip() for one in part.split(";"))
        if kind == PROBLEM:
            return not any(one.startswith("q=") and not one[2:].strip("0.") for one in options)
    return False
