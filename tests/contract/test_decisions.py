"""Decisions are written as the schemas say, the same bytes each time."""

from __future__ import annotations

import orjson
import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from streamproc.contract import (
    Campaign,
    Enforcement,
    Limit,
    Link,
    Reason,
    Subject,
    encode,
    enforcement_id,
    schemas,
)

REASON = Reason(signal="template_spread", family="template", log10_lr=1.25, observed=12.0, expected=3.5, text="Twelve.")
ENFORCEMENT = Enforcement(
    id=enforcement_id("account:a1", 8, "throttle", "p-0"),
    ts_ms=1,
    seq=8,
    subject=Subject(id="a1"),
    action="throttle",
    mode="shadow",
    limit=Limit(requests_per_min=2.0),
    expires_ms=100,
    campaign="c1",
    score=0.9,
    reasons=(REASON, replace(REASON, observed=None, expected=None)),
    policy="p-0",
)
CAMPAIGN = Campaign(
    campaign="c1",
    seq=8,
    ts_ms=1,
    state="confirmed",
    first_seen_ms=0,
    members=60,
    exchanges=1000,
    leaked_before_action=10,
    log10_lr=4.5,
    families=("template", "identity"),
    evidence=(REASON,),
    links=(Link(field="template_fp", value="00000000000000ff", accounts=12),),
    capabilities={"code": 0.75, "chat": 0.25},
    predecessor=None,
    merged_into=None,
    blind=("returns",),
    policy="p-0",
)
RELEASE = replace(ENFORCEMENT, action="release", limit=None, expires_ms=None, campaign=None, reasons=())
EVENTS: list[tuple[str, Enforcement | Campaign]] = [
    ("enforcement-event", ENFORCEMENT),
    ("enforcement-event", RELEASE),
    ("enforcement-event", replace(ENFORCEMENT, limit=Limit(capabilities=("tools",)), action="restrict")),
    ("campaign-event", CAMPAIGN),
    ("campaign-event", replace(CAMPAIGN, links=(), evidence=(), families=(), predecessor="c0")),
]


@pytest.mark.parametrize(("name", "event"), EVENTS)
def test_what_is_written_is_valid_and_in_the_schemas_order(name: str, event: Enforcement | Campaign) -> None:
    text = encode(event)
    schema = schemas.load(name)
    written = orjson.loads(text)
    Draft202012Validator(schema).validate(written)
    assert list(written) == list(schema["properties"])
    assert b"\n" not in text
    assert encode(replace(event)) == text


def test_the_bytes_of_a_decision_never_change() -> None:
    assert encode(RELEASE) == (
        b'{"v":1,"id":"ID","ts_ms":1,"seq":8,"subject":{"kind":"account","id":"a1"},"action":"release",'
        b'"mode":"shadow","limit":null,"expires_ms":null,"campaign":null,"score":0.9,"reasons":[],"policy":"p-0"}'
    ).replace(b"ID", RELEASE.id.encode())


def test_a_limit_leaves_out_what_it_does_not_limit() -> None:
    assert orjson.loads(encode(ENFORCEMENT))["limit"] == {"requests_per_min": 2.0}


def test_keys_of_the_compacted_topics() -> None:
    assert ENFORCEMENT.key == "account:a1"
    assert replace(ENFORCEMENT, subject=Subject(kind="org", id="o1")).key == "org:o1"
    assert CAMPAIGN.key == "c1"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_say_is_refused(number: float) -> None:
    events: list[Enforcement | Campaign] = [
        replace(ENFORCEMENT, score=number),
        replace(ENFORCEMENT, reasons=(replace(REASON, observed=number),)),
        replace(ENFORCEMENT, limit=Limit(tokens_per_min=number)),
        replace(CAMPAIGN, log10_lr=number),
        replace(CAMPAIGN, evidence=(replace(REASON, log10_lr=number),)),
        replace(CAMPAIGN, capabilities={"code": number}),
    ]
    for event in events:
        with pytest.raises(ValueError, match="is not finite"):
            encode(event)


def test_ids_are_fixed_and_tell_every_part_apart() -> None:
    assert enforcement_id("account:a1", 8, "throttle", "p-0") == "7cf61bb3c3a03579f84e8d2d20dde960"
    ids = {
        enforcement_id("account:a1", 8, "throttle", "p-0"),
        enforcement_id("account:a", 18, "throttle", "p-0"),
        enforcement_id("account:a18", 8, "throttle", "p-0"),
        enforcement_id("account:a1", 8, "observe", "p-0"),
        enforcement_id("account:a1", 8, "throttlep", "-0"),
    }
    assert len(ids) == 5
