"""A case as text, as JSON and as one HTML file; nothing that an event says becomes part of the page's own language."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import orjson
import pytest

from streamproc.contract.decisions import Link, Reason
from streamproc.explain import Gathered, UnknownSubjectError, explain
from tests.telling.events import HOUR, NOW, campaign, community, decision, in_round, label, seen

HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{ 7*7 }}{% raw %}&amp;\u202e"""


def gathered(**more: Any) -> Gathered:
    states = [campaign(ago_ms=3 * HOUR, state="suspected"), campaign(), campaign("c2", state="suspected")]
    decisions = [decision(f"a{n}") for n in range(25)] + [decision("a1", "observe", 3 * HOUR)]
    rounds = [seen((community(),), (in_round(), in_round("c2")), ago_ms=ago_ms) for ago_ms in (HOUR, 3 * HOUR)]
    told: dict[str, Any] = {
        "now_ms": NOW, "enforcements": decisions, "campaigns": states, "labels": [label("a1")], "rounds": rounds,
    }  # fmt: skip
    return Gathered("a test", **(told | more))


class Page(HTMLParser):
    """The elements of a page, and the text outside of style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_campaigns_case_says_the_same_in_all_three_forms() -> None:
    case = explain("c1", gathered())
    text, page, data = case.text(), Page(case.html()).text, orjson.dumps(case.to_dict()).decode()
    for said in (
        "90 % of the accounts first used the shared templates", "organisations", "enforcing would limit 25 members",
        "05:00 UTC to 2027-01-15 07:00 UTC its members were served 47 requests, and 3 more were turned away",
        "near-1", "community of the last 72 hours", "0.40 below the threshold", "00aa", "c2", "a19",
    ):  # fmt: skip
        assert said in text
        assert said in page
        assert said in data
    assert "and 5 more" in text
    assert case.to_dict()["told"]["campaign"]["state"] == "confirmed"


def test_an_accounts_case_tells_its_campaign_and_names_no_other_account() -> None:
    case = explain("a1", gathered())
    for form in (case.text(), case.html(), orjson.dumps(case.to_dict()).decode()):
        assert "a course" in form
        assert "c1" in form
        assert "12 accounts" in form or '"outsiders":12' in form
        assert not re.search(r"\ba(?:0|2\d?)\b|near-1", form)
    assert [step["action"] for step in case.to_dict()["told"]["account"]["steps"]] == ["observe", "throttle"]


def test_an_account_without_a_campaign_has_its_own_reasons() -> None:
    why = Reason(signal="habits", family="behaviour", log10_lr=0.0, text="The account's last day is unlike others")
    alone = decision("a9", "observe", campaign=None, reasons=(why,))
    case = explain("a9", gathered(enforcements=[alone]))
    assert case.campaign is None
    assert "The account's last day is unlike others" in case.text()
    assert "The account's last day is unlike others" in Page(case.html()).text


def test_who_was_left_alone_is_said_to_be_unknown() -> None:
    with pytest.raises(UnknownSubjectError, match="nothing was decided about 'a77'"):
        explain("a77", gathered())


def test_the_page_needs_nothing_else() -> None:
    for subject in ("c1", "a1"):
        elements = Page(explain(subject, gathered()).html()).elements
        assert {tag for tag, _ in elements}.isdisjoint({"script", "link", "img", "iframe", "a", "form", "object"})
        assert all(not {"src", "href", "style"} & set(attributes) for _, attributes in elements)
        assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
        assert [tag for tag, _ in elements].count("style") == 1


def hostile(event: Any) -> Any:
    """The event with every text that is no code of the contract, and every text inside of it, replaced."""
    codes = {"kind", "action", "mode", "state", "family", "families", "short_of", "label", "v"}

    def fill(value: Any, name: str = "") -> Any:
        if isinstance(value, msgspec.Struct):
            return type(value)(**{field: fill(getattr(value, field), field) for field in value.__struct_fields__})
        if name in codes or not isinstance(value, (str, tuple, dict)):
            return value
        if isinstance(value, str):
            return HOSTILE
        if isinstance(value, dict):
            return dict.fromkeys([HOSTILE], 0.5)
        return tuple(fill(one) for one in value)

    return fill(event)


def test_hostile_text_in_any_field_stays_text() -> None:
    made = gathered(
        enforcements=[hostile(decision())],
        campaigns=[hostile(campaign(predecessor="x", merged_into="x")), hostile(campaign("c2", 2 * HOUR))],
        labels=[hostile(label("a1", "vetted", program="p"))],
        rounds=[hostile(seen((community(),), (in_round(),)))],
    )
    made.campaigns.append(msgspec.structs.replace(made.campaigns[0], campaign="c9", state="suspected"))
    clean = {tag for subject in ("a1", "c1") for tag, _ in Page(explain(subject, gathered()).html()).elements}
    page = Page(explain(HOSTILE, made).html())
    assert {tag for tag, _ in page.elements} <= clean
    assert page.text.count(HOSTILE) >= 12
    assert "49" not in page.text.replace(HOSTILE, "")


def test_a_link_may_hold_any_field() -> None:
    links = (Link(field="tools_fp", value="bb", accounts=2),)
    assert "bb (2)" in explain("c1", gathered(campaigns=[campaign(links=links)])).text()
