"""The fields of a request event that anything here reads, with what is valid in each: the one table of them.

msgspec reads the types as its rules, for a whole message and for one field alone.  Limits follow the schema;
where the schema names none, numbers end where a column's 64 bits do.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

MOST_MS = 2**53  # beyond, JSON's numbers are no longer exact
MOST_WHOLE = 2**63 - 1

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Time: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_MS)]
Whole: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_WHOLE)]
Text32: TypeAlias = Annotated[str, Meta(max_length=32)]
Text64: TypeAlias = Annotated[str, Meta(max_length=64)]
Rate: TypeAlias = Annotated[float, Meta(gt=0, le=1)]
Status: TypeAlias = Annotated[int, Meta(ge=100, le=599)]
Patterns: TypeAlias = Annotated[tuple[str, ...], Meta(max_length=8)]

# `elicits` left out, which is not the empty list: there the classifier looked and saw nothing.
NO_PATTERNS = ("",)


class RequestEvent(msgspec.Struct, gc=False, frozen=True):
    """A request event's fields in the order of the columns; a default stands for a missing field."""

    v: Literal[1]
    id: Id
    ts_ms: Time
    account: Id
    org: Text64 = ""
    signup_ms: Time = -1
    program: Text32 = ""
    pathway: Text32 = ""
    status: Status = -1
    error: str = ""
    tok_in: Whole = -1
    tok_out: Whole = -1
    n_assistant: Whole = -1
    template_fp: Text32 = ""
    task_class: str = ""
    elicits: Patterns = NO_PATTERNS
    ua: Text64 = ""
    ua_version: Text32 = ""
    tls_fp: Text64 = ""
    sample_rate: Rate = 1.0
    pepper_epoch: Whole = 0


# What a required field must be, in the words of the dead letter.
REQUIRED = {
    "v": "the number 1",
    "id": "a string of 1 to 64 characters",
    "ts_ms": "a whole number from 0 to 2**53",
    "account": "a string of 1 to 64 characters",
}

# By code, in the order of the schema; 0 stands for a missing value.
ERRORS = (
    "",
    "rate_limited",
    "overloaded",
    "blocked",
    "suspended",
    "refused_by_policy",
    "invalid",
    "cancelled",
    "other",
)
TASK_CLASSES = (
    "unknown",
    "code",
    "agentic",
    "tool_use",
    "reasoning",
    "chat",
    "data",
    "writing",
    "vision",
    "grading",
    "other",
)
# By bit, in the order of the schema.
ELICITS = (
    "reasoning_trace",
    "answer_rationale",
    "grading",
    "reward",
    "preference_pair",
    "refusal_probe",
    "rewrite",
    "self_description",
)
ERROR_CODES = {name: code for code, name in enumerate(ERRORS)}
TASK_CLASS_CODES = {name: code for code, name in enumerate(TASK_CLASSES)}
ELICITS_BITS = {name: 1 << bit for bit, name in enumerate(ELICITS)}
