"""The pages over HTTP: a console on the embedded broker, asked as browsers and others ask."""

from __future__ import annotations

import asyncio
import http.client
import re
import urllib.parse
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from streamproc import broker
from streamproc.console.guard import HEADERS
from tests.console.service import TOKEN, TOPICS, Console, console, message, now, send
from tests.telling.events import campaign, decision, label
from tests.telling.test_case import HOSTILE, Page, hostile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message
    from pathlib import Path

NASTY = HOSTILE[:60]  # an id has 64 characters at most
PLAIN = ["/", "/campaigns", "/campaigns?state=confirmed", "/campaign?id=c1", "/campaign?id=c1&page=2",
         "/subject?kind=account&id=a1", "/search?q=a", "/search?q=nobody", "/sign-in"]  # fmt: skip


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    with broker.embedded(TOPICS) as address:
        members = [now(decision(f"a{n:03}" if n else "a1", mode="enforce" if n % 2 else "shadow")) for n in range(70)]
        events = [now(campaign()), now(campaign("c2", state="suspected")), now(label("a1", "confirmed")), *members]
        nasty = [now(hostile(campaign("c3"))), now(hostile(decision("b1"))), now(hostile(label("b1")))]
        subject = {"campaign": NASTY, "subject": {"kind": "account", "id": NASTY}, "id": NASTY}
        for event in nasty:
            topic, _, value = message(event)
            row = orjson.loads(value)
            row |= {name: text for name, text in subject.items() if name in row}
            row |= {"why": NASTY, "who": NASTY, "program": NASTY[:32]} if topic == "labels" else {}
            key = NASTY if topic == "campaigns" else f"account:{NASTY}"
            events.append((topic, key.encode(), orjson.dumps(row)))
        send(address, (event if isinstance(event, tuple) else message(event) for event in events))
        yield address


@pytest.fixture(scope="module")
def page(brokers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console(brokers, tmp_path_factory.mktemp("console")) as made:
        made.wait(made.ready)
        yield made


class Answer(NamedTuple):
    status: int
    headers: Message
    text: str


def ask(page: Console, method: str, path: str, body: dict[str, str] | None = None, **headers: str) -> Answer:
    """One request; redirects are not followed."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request(method, path, urllib.parse.urlencode(body) if body is not None else None, sent)
    answer = connection.getresponse()
    read = Answer(answer.status, answer.headers, answer.read().decode())
    connection.close()
    return read


def signed_in(page: Console, who: str = "ana") -> str:
    answer = ask(page, "POST", "/sign-in", {"who": who, "token": TOKEN, "next": "/campaign?id=c1"})
    assert (answer.status, answer.headers["Location"]) == (303, "/campaign?id=c1")
    cookie = answer.headers["Set-Cookie"] or ""
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    return cookie.partition(";")[0]


def form_of(page: Console, path: str, cookie: str) -> dict[str, str]:
    shown = ask(page, "GET", path, Cookie=cookie).text
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', shown))


def written(address: str) -> list[dict[str, object]]:
    async def read() -> list[dict[str, object]]:
        async with AIOKafkaConsumer("labels", bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
            (end,) = (await consumer.end_offsets(list(consumer.assignment()))).values()
            rows: list[dict[str, object]] = []
            while len(rows) < end:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    rows += [orjson.loads(record.value) for record in records]
            return rows

    return asyncio.run(read())


@pytest.mark.parametrize("path", [*PLAIN, "/nothing", "/campaign?id=c9", "/style.css", "/metrics"])
def test_every_answer_keeps_other_sites_out(page: Console, path: str) -> None:
    answer = ask(page, "GET", path)
    for name, value in HEADERS.items():
        if (path, name) != ("/style.css", "Cache-Control"):
            assert answer.headers[name] == value
    assert "<script" not in answer.text
    assert "style=" not in answer.text


@pytest.mark.parametrize("path", PLAIN)
def test_a_page_can_be_found_ones_way_in_without_seeing_it(page: Console, path: str) -> None:
    shown = Page(ask(page, "GET", path).text)
    tags = [tag for tag, _ in shown.elements]
    assert (tags.count("main"), tags.count("h1"), tags.count("header"), tags.count("footer")) == (1, 1, 1, 1)
    assert dict(shown.elements)["html"] == {"lang": "en"}
    ids = [attributes["id"] for _, attributes in shown.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    named = [attributes["aria-labelledby"] for _, attributes in shown.elements if "aria-labelledby" in attributes]
    assert set(named) <= set(ids)
    for tag, attributes in shown.elements:
        if tag in {"section", "nav"}:
            assert {"aria-label", "aria-labelledby", "role"} & set(attributes)
        if tag == "th":
            assert attributes.get("scope") in {"row", "col"}


def test_the_first_page_tells_what_goes_on(page: Console) -> None:
    shown = Page(ask(page, "GET", "/").text).text
    for said in ("Confirmed: 2 campaigns", "Suspected: 1 campaign", "Read to the topics' end", "throttled"):
        assert said in shown
    assert "Confirmed campaigns" in ask(page, "GET", "/campaigns?state=confirmed").text


def test_a_campaigns_members_are_paged_and_each_leads_to_its_account(page: Console) -> None:
    first, second = (ask(page, "GET", f"/campaign?id=c1&page={n}").text for n in (1, 2))
    assert "page 1 of 2" in first
    assert "page 2 of 2" in second
    members = [re.findall(r"/subject\?kind=account&amp;id=(a\d+)", one) for one in (first, second)]
    assert len(set(members[0]) | set(members[1])) == 70
    assert "35 members are limited by gateways; 35 more would be" in first


def test_an_id_is_searched_for_whole_or_by_its_beginning(page: Console) -> None:
    whole = ask(page, "GET", "/search?q=a1")
    assert (whole.status, whole.headers["Location"]) == (303, "/subject?kind=account&id=a1")
    assert ask(page, "GET", "/search?q=c1").headers["Location"] == "/campaign?id=c1"
    assert ask(page, "GET", "/search?q=a00").text.count("/subject?") == 9
    assert "Nothing:" in ask(page, "GET", "/search?q=nobody").text
    assert ask(page, "GET", "/subject?kind=account&id=nobody").status == 404


def test_hostile_text_in_any_field_stays_text_on_every_page(page: Console) -> None:
    clean = {tag for path in PLAIN for tag, _ in Page(ask(page, "GET", path).text).elements}
    quoted = urllib.parse.quote(NASTY)
    paths = ["/", "/campaigns", f"/campaign?id={quoted}", f"/subject?kind=account&id={quoted}",
             f"/search?q={quoted[:9]}", f"/sign-in?next={quoted}", f"/campaigns?state={quoted}"]  # fmt: skip
    seen = 0
    for path in paths:
        answer = ask(page, "GET", path)
        shown = Page(answer.text)
        assert answer.status == 200
        assert {tag for tag, _ in shown.elements} <= clean
        assert not [name for _, attributes in shown.elements for name in attributes if name.startswith("on")]
        seen += shown.text.count(NASTY)
    assert seen >= 10


def test_a_label_is_written_by_who_is_signed_in_with_a_reason(page: Console, brokers: str) -> None:
    cookie = signed_in(page)
    before = len(written(brokers))
    form = form_of(page, "/subject?kind=account&id=a1", cookie)
    answer = ask(page, "POST", "/label", {**form, "label": "lawful", "why": "a course"}, Cookie=cookie)
    assert (answer.status, answer.headers["Location"]) == (303, "/subject?kind=account&id=a1&said=lawful")
    (said,) = written(brokers)[before:]
    assert (said["subject"], said["label"]) == ({"kind": "account", "id": "a1"}, "lawful")
    assert (said["who"], said["why"], said["id"]) == ("ana", "a course", form["label_id"])
    page.wait(lambda: "a course" in ask(page, "GET", "/subject?kind=account&id=a1&said=lawful").text)
    assert "Written: lawful." in ask(page, "GET", "/subject?kind=account&id=a1&said=lawful").text


def test_nothing_is_written_by_who_may_not_or_from_elsewhere(page: Console, brokers: str) -> None:
    cookie, other = signed_in(page), signed_in(page, "ben")
    before = len(written(brokers))
    form = form_of(page, "/campaign?id=c1", cookie) | {"label": "confirmed", "why": "seen"}
    tries = [
        (403, form, {}),
        (403, form, {"Cookie": "streamproc-console=x.y"}),
        (403, form, {"Cookie": other}),
        (403, form, {"Cookie": cookie, "Sec_Fetch_Site": "cross-site"}),
        (403, form, {"Cookie": cookie, "Origin": "https://evil.example"}),
        (421, form, {"Cookie": cookie, "Host": "evil.example"}),
        (403, form | {"id": "c2"}, {"Cookie": cookie}),
        (403, form | {"mark": ""}, {"Cookie": cookie}),
        (400, form | {"kind": "org"}, {"Cookie": cookie}),
        (400, form | {"why": " "}, {"Cookie": cookie}),
        (400, form | {"label": "verified"}, {"Cookie": cookie}),
    ]
    for status, body, headers in tries:
        assert ask(page, "POST", "/label", body, **headers).status == status
    assert ask(page, "GET", "/label", Cookie=cookie).status == 405
    assert ask(page, "GET", "/", Host="evil.example").status == 421
    assert ask(page, "GET", "/metrics", Host="console:8321").status == 200
    assert len(written(brokers)) == before


def test_a_wrong_token_begins_no_session_and_takes_its_time(page: Console) -> None:
    answer = ask(page, "POST", "/sign-in", {"who": "eve", "token": "wrong", "next": "/"})
    assert answer.status == 403
    assert answer.headers["Set-Cookie"] is None
    assert "The token is another one" in answer.text
    assert 'console_refusals_total{why="token"} 1.0' in ask(page, "GET", "/metrics").text


def test_signing_out_ends_it(page: Console) -> None:
    cookie = signed_in(page)
    assert "Sign out" in ask(page, "GET", "/", Cookie=cookie).text
    answer = ask(page, "POST", "/sign-out", {}, Cookie=cookie)
    assert 'streamproc-console=""' in (answer.headers["Set-Cookie"] or "")


def test_no_id_and_no_secret_is_logged(page: Console) -> None:
    for path in PLAIN:
        ask(page, "GET", path)
    log = page.log.read_text()
    assert "ready" in log
    for secret in (TOKEN, "a1", "c1", "ana"):
        assert secret not in log


def test_without_a_token_it_is_read_only_and_says_so(brokers: str, tmp_path: Path) -> None:
    with console(brokers, tmp_path, CONSOLE_TOKEN="") as page:
        page.wait(page.ready)
        shown = ask(page, "GET", "/campaign?id=c1").text
        assert "read-only" in shown
        assert 'action="/label"' not in shown
        assert ask(page, "POST", "/sign-in", {"who": "ana", "token": ""}).status == 403
        assert ask(page, "POST", "/label", {"kind": "account", "id": "a1", "label": "lawful"}).status == 403


def test_those_with_tokens_of_their_own_label_by_their_names_alone(brokers: str, tmp_path: Path) -> None:
    own = "token-of-ana-0001"
    with console(brokers, tmp_path, CONSOLE_TOKEN="", CONSOLE_TOKENS=f"ana:{own},ben:token-of-ben-0001") as page:
        page.wait(page.ready)
        for who, token in (("ben", own), ("cleo", own), ("cleo", ""), ("ana", TOKEN)):
            assert ask(page, "POST", "/sign-in", {"who": who, "token": token}).status == 403
        cookie = (ask(page, "POST", "/sign-in", {"who": "ana", "token": own}).headers["Set-Cookie"] or "").partition(
            ";"
        )[0]
        form = form_of(page, "/subject?kind=account&id=a1", cookie)
        assert ask(page, "POST", "/label", form | {"label": "lawful", "why": "hers"}, Cookie=cookie).status == 303
        assert own not in page.log.read_text()
    assert [row["who"] for row in written(brokers) if row["why"] == "hers"] == ["ana"]


def test_when_the_brokers_are_away_what_is_known_stays_and_is_said_to_be_old(tmp_path: Path) -> None:
    with ExitStack() as stopping, ExitStack() as running:
        address = running.enter_context(broker.embedded(TOPICS))
        send(address, [message(now(campaign())), message(now(decision()))])
        page = stopping.enter_context(console(address, tmp_path))
        page.wait(page.ready)
        cookie = signed_in(page)
        form = form_of(page, "/subject?kind=account&id=a1", cookie) | {"label": "lawful", "why": "a course"}
        running.close()
        page.wait(lambda: "The brokers have not answered since" in ask(page, "GET", "/").text)
        assert "Confirmed: 1 campaign" in ask(page, "GET", "/").text
        answer = ask(page, "POST", "/label", form, Cookie=cookie)
        assert (answer.status, "The brokers did not take it" in answer.text) == (503, True)
