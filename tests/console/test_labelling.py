"""Labels that an analyst may write."""

from __future__ import annotations

from typing import Any

import jsonschema
import msgspec
import pytest

from streamproc.console.labelling import CHOICES, LabellingError, make_label
from streamproc.contract import schemas
from streamproc.core.campaigns.labels import ACCOUNT_RELEASES, EXEMPTING

GOOD: dict[str, Any] = {
    "kind": "account", "subject": "a1", "word": "lawful", "label_id": "l1", "ts_ms": 5, "who": "ana",
    "why": " a course ",
    "program": "",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "word"), [(kind, choice.word) for kind, ones in CHOICES.items() for choice in ones])
def test_every_label_on_offer_is_one_by_the_schema(kind: str, word: str) -> None:
    program = "research" if word == "vetted" else ""
    label = make_label(**{**GOOD, "kind": kind, "word": word, "program": program})
    jsonschema.validate(msgspec.to_builtins(label), schemas.load("label-event"))
    assert (label.why, label.who, label.program) == ("a course", "ana", program)


def test_what_a_label_of_an_account_is_said_to_do_is_what_the_worker_does() -> None:
    offered = {choice.word: choice.effect for choice in CHOICES["account"]}
    assert set(offered) == {*ACCOUNT_RELEASES, "confirmed"}
    assert {
        word for word, effect in offered.items() if "observed at most" in effect or "The same" in effect
    } == EXEMPTING
    assert [word for word, rung in ACCOUNT_RELEASES.items() if rung == "verify"] == ["verified"]
    assert offered["verified"] == "Released from observe or verify. What is stricter stands."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"word": ""}, "Choose"),
        ({"word": "suspended"}, "Choose"),
        ({"kind": "campaign", "word": "vetted", "program": "x"}, "Choose"),
        ({"why": "  "}, "Say why"),
        ({"why": "x" * 513}, "too long"),
        ({"who": ""}, "not as it must be"),
        ({"subject": "a" * 65}, "too long"),
        ({"word": "vetted"}, "Name the programme"),
        ({"program": "research"}, "Name the programme"),
        ({"word": "vetted", "program": "x" * 33}, "too long"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_a_sentence(change: dict[str, Any], said: str) -> None:
    with pytest.raises(LabellingError, match=said):
        make_label(**(GOOD | change))
