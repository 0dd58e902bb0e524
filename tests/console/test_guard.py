"""Who may write, and what other sites' pages may not have a browser do."""

from __future__ import annotations

import pytest

from streamproc.console.guard import SESSION_S, Guard, is_cross_site, local_path
from tests.console.service import TOKEN

NOW_S = 1_800_000_000.0


def test_a_session_begins_with_the_token_and_ends_with_its_time_or_with_another_token() -> None:
    guard = Guard(TOKEN, ())
    cookie = guard.sign_in(TOKEN, "ana ü", NOW_S)
    assert cookie is not None
    session = guard.session(cookie, NOW_S + SESSION_S - 1)
    assert session is not None
    assert session.who == "ana ü"
    assert guard.session(cookie, NOW_S + SESSION_S) is None
    assert Guard("another-token-of-length", ()).session(cookie, NOW_S) is None
    assert Guard(None, ()).session(cookie, NOW_S) is None


@pytest.mark.parametrize(
    ("token", "who"), [("", "ana"), (TOKEN + "x", "ana"), (TOKEN, ""), (TOKEN, "a" * 65), (TOKEN, "a\nb"), (TOKEN, " ")]
)
def test_another_token_or_no_name_begins_nothing(token: str, who: str) -> None:
    assert Guard(TOKEN, ()).sign_in(token, who, NOW_S) is None
    assert Guard(None, ()).sign_in(token, who, NOW_S) is None


def test_a_name_with_a_token_of_its_own_is_nobody_elses() -> None:
    own = (("ana", "token-of-ana-0001"), ("ben", "token-of-ben-0001"))
    guard = Guard(TOKEN, (), own)
    assert guard.sign_in(TOKEN, "ana", NOW_S) is None
    assert guard.sign_in("token-of-ben-0001", "ana", NOW_S) is None
    assert guard.sign_in("token-of-ana-0001", "cleo", NOW_S) is None
    session = guard.session(guard.sign_in("token-of-ana-0001", "ana", NOW_S), NOW_S)
    assert session is not None
    assert session.who == "ana"
    assert guard.sign_in(TOKEN, "cleo", NOW_S) is not None
    alone = Guard(None, (), own)
    assert alone.writable
    assert alone.sign_in("", "cleo", NOW_S) is None
    cookie = alone.sign_in("token-of-ben-0001", "ben", NOW_S)
    assert alone.session(cookie, NOW_S) is not None
    assert Guard(None, (), own[1:]).session(cookie, NOW_S) is None  # a token that goes ends all sessions


@pytest.mark.parametrize("cookie", [None, "", ".", "x.y", "ä.ö", "\udcff.\udcff", "W10.", "eyJ9." + "0" * 64])
def test_a_cookie_that_nobody_signed_is_none(cookie: str | None) -> None:
    assert Guard(TOKEN, ()).session(cookie, NOW_S) is None


def test_a_cookie_that_was_changed_is_none() -> None:
    guard = Guard(TOKEN, ())
    cookie = guard.sign_in(TOKEN, "ana", NOW_S) or ""
    for at in range(len(cookie)):
        changed = cookie[:at] + ("A" if cookie[at] != "A" else "B") + cookie[at + 1 :]
        assert guard.session(changed, NOW_S) is None


def test_a_form_is_of_one_session_one_subject_and_one_label() -> None:
    guard = Guard(TOKEN, ())
    ana, ben = (guard.session(guard.sign_in(TOKEN, who, NOW_S), NOW_S) for who in ("ana", "ben"))
    assert ana is not None
    assert ben is not None
    made, mark = guard.form(ana, "account", "a1")
    assert guard.is_ours(ana, mark, made, "account", "a1")
    assert not guard.is_ours(ben, mark, made, "account", "a1")
    assert not guard.is_ours(ana, mark, made, "account", "a2")
    assert not guard.is_ours(ana, mark, made, "accounta", "1")
    assert not guard.is_ours(ana, mark, "0" * 32, "account", "a1")
    assert not guard.is_ours(ana, "", made, "account", "a1")
    assert guard.form(ana, "account", "a1")[0] != made


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost:8321", True), ("127.0.0.1", True), ("[::1]:80", True), ("Console.Example.org", True),
        ("evil.example", False), ("localhost.evil.example:8321", False), ("", False), ("localhost:8321:80", False),
    ],
)  # fmt: skip
def test_only_its_own_names_lead_to_it(host: str, known: bool) -> None:  # noqa: FBT001
    assert Guard(TOKEN, ("console.example.org",)).knows_host(host) is known


@pytest.mark.parametrize(
    ("headers", "cross"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Origin": "http://localhost:1", "Host": "localhost:1"}, False),
        ({"Origin": "http://localhost:2", "Host": "localhost:1"}, True),
        ({"Origin": "null", "Host": "localhost:1"}, True),
    ],
)
def test_a_request_that_another_site_had_sent_is_known(headers: dict[str, str], cross: bool) -> None:  # noqa: FBT001
    assert is_cross_site(headers) is cross


@pytest.mark.parametrize(
    ("path", "led"),
    [
        ("/campaign?id=c1", "/campaign?id=c1"), ("/", "/"), ("", "/"),
        ("//evil.example", "/"), ("/\\evil.example", "/"),
        ("https://evil.example", "/"), ("/a\r\nSet-Cookie: x=1", "/"), ("javascript:alert(1)", "/"),
    ],
)  # fmt: skip
def test_a_sign_in_leads_to_our_own_pages_alone(path: str, led: str) -> None:
    assert local_path(path) == led
