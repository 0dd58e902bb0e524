"""What stays blind, held against the detector's own statistics; and whether events hold raw text."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from streamproc.core import policy
from streamproc.core.campaigns.statistics import STATISTICS
from streamproc.fingerprint import IDENTITIES
from streamproc.ingest.blind import BLINDNESS, NO_TEMPLATE, blind, told
from streamproc.ingest.checking import CONNECTIONS, NAMES, PRINTS, check, raw
from streamproc.ingest.formats import FORMATS
from streamproc.ingest.formats.shared import WORDS
from streamproc.ingest.mapping import Mapping
from streamproc.ingest.record import RULES, Json
from streamproc.ingest.report import Report, expected
from streamproc.replay import replay
from streamproc.sim import scenario
from tests.ingest.world import RECORDS, VALID, events, maker, talk


def test_the_table_of_blindness_is_the_statistics_own() -> None:
    assert {one.name: (one.family, one.fields) for one in STATISTICS} == BLINDNESS


def test_every_field_that_a_format_gives_is_one_of_the_contract() -> None:
    contract = set(VALID.schema["properties"])  # type: ignore[index]
    for one in FORMATS.values():
        named = {field.name for field in one.fields} - {"email", "ua"}
        assert named | set(one.derived) | set(one.with_content) | one.constants.keys() <= contract
    assert set(RULES) - {"email"} <= contract


def test_without_templates_all_is_blind_and_said_so() -> None:
    assert told(blind(lambda name: name != "template_fp")) == [NO_TEMPLATE]
    assert told(blind(lambda name: name not in ("ua", "n_assistant"))) == [
        "blind without n_assistant: sittings (history), earlier_turns (history)",
        "blind without ua: client_variety (identity)",
    ]
    assert told(blind(lambda _: True)) == []


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_what_a_source_gave_is_told_at_the_end_as_at_the_start(name: str) -> None:
    made = maker(name)
    assert events(
        made, *(talk(name, [{"role": "user", "content": "hello there"}], "hi") if name != "envoy" else RECORDS[name])
    )
    said = Report(name).to_dict(made)
    promised = " ".join(expected(FORMATS[name], Mapping(), table=False, networks=set()))
    mapped = {"account"} if name in ("envoy", "otlp") else set()
    always = {"v", "id", "pepper_epoch", *mapped}
    assert [
        field
        for field in said["fields"]
        if field not in always and f"{field}," not in f"{promised.replace(' ', ', ')},"
    ] == []
    assert ("template_fp" in str(said["blind"])) == (name == "envoy")
    assert said["fields"]["account"] == 1.0
    assert any("blind" in line for line in Report(name).lines(made)) == bool(said["blind"])


def test_an_account_seen_only_as_metadata_is_not_raised_above_throttle() -> None:
    """Nor above observe: without a template nothing ties it to a campaign, whatever its pool does."""
    stream = scenario.simulate("sync_pool", seed=5, accounts=1200, days=3)
    pool = sorted(row["account"] for row in stream.truth if row["kind"] == "campaign")
    unseen = set(pool[::4])
    words = {*WORDS, *PRINTS}
    lines = (
        orjson.dumps(
            {name: value for name, value in event.items() if name not in words} if event["account"] in unseen else event
        )
        for event in stream.events
    )
    decided = replay(lines, policy.default()).enforcements
    raised = {event.subject.id for event in decided if event.action in ("throttle", "restrict", "suspend")}
    assert len(raised & set(pool)) > len(pool) // 2, "the pool must be found, or nothing is shown"
    assert not raised & unseen


# -- --check -------------------------------------------------------------------------------------------

GOOD: Json = {"v": 1, "id": "a" * 32, "ts_ms": 1, "account": "0f" * 16, "template_fp": "00ff00ff00ff00ff"}


def test_the_check_knows_every_identity_and_fingerprint_of_the_contract() -> None:
    contract = set(VALID.schema["properties"])  # type: ignore[index]
    assert {name for name in contract if name.endswith("_fp")} == {*PRINTS, *CONNECTIONS}
    assert set(IDENTITIES) | {"id"} == set(NAMES)


def wrong(tmp_path: Path, *lines: Json | bytes) -> list[str]:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join((line if isinstance(line, bytes) else orjson.dumps(line)) + b"\n" for line in lines))
    return [line.removeprefix(f"{path}:") for line in check(path)]


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("template_fp", "Please grade this", "holds white space"),
        ("system_fp", "assistant", "is no hexadecimal fingerprint"),
        ("task_fp", 7, "is no text"),
        ("account", "ann@example.org", "holds an @"),
        ("account", "Ann Lee", "holds white space"),
        ("account", "annlee", "is a word"),
        ("org", "whitlock-and-daughters-2", "is a word"),
        ("ip", "203.0.113.7", "holds a dotted quad"),
        ("ip", "203.0.113.0/24", "holds a dotted quad"),
        ("ip", "2001:db8::1", "is an address"),
        ("email_domain", "mail7.example", "is a domain"),
        ("device", "Ännes", "holds characters"),
        ("tls_fp", "a b", "holds white space"),
    ],
)
def test_raw_text_is_found_with_its_line_and_never_shown(field: str, value: object, why: str, tmp_path: Path) -> None:
    [said] = wrong(tmp_path, GOOD, GOOD | {field: value})
    assert said.startswith(f"2: {field}: {why}")
    assert str(value) not in said


def test_broken_lines_are_told_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    said = wrong(tmp_path, b"{", b"[]", GOOD | {"account": "x y"})
    assert [line.split(":")[0] for line in said] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "value", ["a1", "acct-17", "u-9", "0f" * 16, "4f1c9a", "k_3f", "9d0c27aa", "user-000042", "cred:7f"]
)
def test_opaque_names_pass(value: str) -> None:
    assert raw("name", value) == ""


def test_what_the_project_itself_makes_passes(tmp_path: Path) -> None:
    stream = scenario.simulate("control", seed=3, accounts=60, days=0.5)
    made = [event for name in FORMATS for event in events(maker(name), *RECORDS[name])]
    assert len(stream.events) > 200
    assert wrong(tmp_path, *stream.events, *made) == []
