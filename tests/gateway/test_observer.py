"""An exchange at any gateway: what its event says, by every way in which it can end."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import orjson
import pytest

from streamproc import settings
from streamproc.fingerprint import Fingerprinter
from streamproc.gateway.gate import Gate
from streamproc.gateway.metrics import Metrics
from streamproc.gateway.observer import Caller, Exchange, Observer, error_of, peppers
from streamproc.gateway.underway import Underway
from streamproc.gateway.verdicts import Verdicts
from streamproc.settings import SettingsError
from tests.gateway.events import NOW, event

if TYPE_CHECKING:
    from streamproc.contract.decisions import Action

ENVIRONMENT = {"IDENTITY_PEPPER": "identity-pepper-0", "CONTENT_PEPPER": "content-pepper-00", "PEPPER_EPOCH": "3"}
BODY = {"model": "m", "max_tokens": 40, "messages": [{"role": "user", "content": "What is a queue?"}]}
REPLY = {"choices": [{"message": {"content": "A line."}, "finish_reason": "stop"}], "usage": {"completion_tokens": 2}}
CHAT = "/v1/chat/completions"
ALICE = Caller(
    account="alice", org="o", key="k", payer="p", device="d", session="s", ip="10.1.2.3", email_domain="e.org"
)


SCHEMA = jsonschema.Draft202012Validator(
    orjson.loads((files("streamproc.contract") / "schemas" / "request-event.schema.json").read_bytes())
)


class Kept:
    """Stands where the post stands, and keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def send(self, one: dict[str, Any]) -> None:
        self.events.append(one)


class Gateway:
    """An observer at work, with a table of verdicts that a test can fill."""

    def __init__(self, *, why_not_ready: str | None = None, **environment: str) -> None:
        self.settings = settings.read(ENVIRONMENT | environment).gateway
        self.metrics = Metrics()
        self.verdicts = Verdicts(100, 600_000)
        self.post = Kept()
        self.gate = Gate(self.settings, self.verdicts, self.metrics, lambda: why_not_ready, lambda: NOW)
        self.observer = Observer(
            self.settings, self.gate, self.post, self.metrics, lambda: NOW,  # type: ignore[arg-type]
        )  # fmt: skip
        self.names = Fingerprinter(peppers(self.settings))

    def enforce(self, user: str, action: Action, **more: Any) -> None:
        self.verdicts.take(event(self.names.identity("account", user), action, **more), NOW)

    def meet(self, caller: Caller = ALICE, body: Any = BODY, **headers: str) -> Exchange:
        return self.observer.meet(CHAT, headers, body, caller)

    def admit(self, exchange: Exchange) -> Any:
        return asyncio.run(self.observer.admit(exchange))

    @property
    def event(self) -> dict[str, Any]:
        (one,) = self.post.events
        SCHEMA.validate(one)
        return one


@pytest.mark.parametrize("reply", [orjson.dumps(REPLY), REPLY])
def test_an_answered_request_is_one_whole_event(reply: bytes | dict[str, Any]) -> None:
    gateway = Gateway()
    exchange = gateway.meet(user_agent="x")
    assert gateway.admit(exchange).passes
    exchange.feed(reply)
    gateway.observer.part(exchange, 200, {"country": "DE"})
    told = gateway.event
    assert told["account"] == gateway.names.identity("account", "alice")
    for kind in ("org", "key", "payer", "device", "session", "ip", "email_domain"):
        assert told[kind] == gateway.names.identity(kind, getattr(ALICE, kind))
    assert (told["id"], told["ts_ms"], told["status"]) == (exchange.id, NOW, 200)
    assert (told["tok_out"], told["max_tokens"], told["country"]) == (2, 40, "DE")
    assert told["response_fp"]
    assert told["duration_ms"] >= 0
    assert not {"error", "ttft_ms"} & set(told)
    assert "queue" not in orjson.dumps(told).decode()


def test_a_stream_says_when_it_began() -> None:
    gateway = Gateway()
    exchange = gateway.meet(body={**BODY, "stream": True})
    exchange.feed({"choices": [{"delta": {"content": "A "}}]})
    exchange.feed({"choices": [{"delta": {"content": "line."}, "finish_reason": "stop"}]})
    gateway.observer.part(exchange, 200)
    assert 0 <= gateway.event["ttft_ms"] <= gateway.event["duration_ms"]
    whole = Gateway()
    same = whole.meet()
    same.feed(REPLY)
    whole.observer.part(same, 200)
    assert gateway.event["response_fp"] == whole.event["response_fp"]


def test_an_exchange_ends_once() -> None:
    gateway = Gateway()
    exchange = gateway.meet()
    gateway.observer.part(exchange, 200)
    gateway.observer.part(exchange, 500)
    assert gateway.event["status"] == 200


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, None), (204, None), (400, "invalid"), (401, "invalid"), (403, "invalid"), (408, "cancelled"),
        (429, "rate_limited"), (499, "cancelled"), (500, "other"), (503, "overloaded"), (529, "overloaded"),
    ],
)  # fmt: skip
def test_a_status_of_the_models_side_is_told_by_its_kind(status: int, error: str | None) -> None:
    assert error_of(status) == error
    gateway = Gateway()
    gateway.observer.part(gateway.meet(), status)
    assert gateway.event.get("error") == error


def test_where_nobody_knows_the_status_none_is_told() -> None:
    gateway = Gateway()
    gateway.observer.part(gateway.meet(), None)
    assert not {"status", "error"} & set(gateway.event)


@pytest.mark.parametrize(
    ("action", "status", "error"),
    [("suspend", 403, "suspended"), ("restrict", 403, "blocked"), ("throttle", 429, "blocked")],
)
def test_a_refusal_is_the_end_and_its_event_says_that_it_was_ours(action: Action, status: int, error: str) -> None:
    gateway = Gateway(GATEWAY_REQUESTS_PER_MIN="0")
    gateway.enforce("alice", action)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    exchange = gateway.meet(body={**BODY, "tools": tools})
    answer = gateway.admit(exchange)
    assert (answer.passes, answer.status) == (False, status)
    gateway.observer.part(exchange, 200)
    assert (gateway.event["status"], gateway.event["error"]) == (status, error)
    assert gateway.event["template_fp"]


@pytest.mark.parametrize("action", ["observe", "verify", "restrict"])
def test_what_passes_is_no_end(action: Action) -> None:
    gateway = Gateway()
    gateway.enforce("alice", action)
    exchange = gateway.meet()
    assert gateway.admit(exchange).passes
    assert gateway.post.events == []
    gateway.observer.part(exchange, 200)
    assert "error" not in gateway.event


def test_a_gateway_that_is_closed_until_it_is_ready_says_so_in_the_event() -> None:
    gateway = Gateway(why_not_ready="no brokers", GATEWAY_UNREADY="closed")
    assert gateway.admit(gateway.meet()).status == 503
    assert gateway.event["error"] == "overloaded"
    opened = Gateway(why_not_ready="no brokers", GATEWAY_UNREADY="open")
    assert opened.admit(opened.meet()).passes


def test_a_verdict_on_the_organisation_holds_for_its_accounts() -> None:
    gateway = Gateway()
    gateway.verdicts.take(event(gateway.names.identity("org", "o"), "suspend", kind="org"), NOW)
    assert not gateway.admit(gateway.meet()).passes
    assert gateway.admit(gateway.meet(Caller(account="bob", org="other"))).passes


def test_who_has_no_name_is_counted_and_has_no_event() -> None:
    gateway = Gateway()
    exchange = gateway.meet(Caller(ip="10.1.2.3"))
    assert gateway.admit(exchange).passes
    gateway.observer.part(exchange, 200)
    assert gateway.post.events == []
    assert gateway.metrics.value("gateway_nameless_requests_total") == 1


def test_a_session_that_the_request_names_counts_before_the_gateways() -> None:
    gateway = Gateway()
    gateway.observer.part(gateway.meet(body={**BODY, "user": "u7"}), 200)
    assert gateway.event["session"] == gateway.names.identity("session", "u7")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", {}, {"messages": 7}, {"messages": [None, 3, {"role": []}]}]
)
def test_nothing_that_a_client_sends_makes_it_fail(body: Any) -> None:
    gateway = Gateway()
    exchange = gateway.meet(body=body)
    assert gateway.admit(exchange).passes
    for piece in (b"", b"data: {", b"\xff\n\n", {"choices": 3}):
        exchange.feed(piece)
    gateway.observer.part(exchange, 200)
    assert gateway.event["status"] == 200


def test_a_throttle_counts_the_tokens_that_a_request_may_cost() -> None:
    raw = orjson.dumps(BODY)
    gateway = Gateway()
    assert gateway.meet(body=raw).asked.tokens == 40 + len(raw) // 4
    parsed = gateway.observer.meet(CHAT, {"Content-Length": "400"}, BODY, ALICE)
    assert parsed.asked.tokens == 40 + 100
    for said in ("-1", "many", "²", ""):
        assert gateway.observer.meet(CHAT, {"Content-Length": said}, BODY, ALICE).asked.tokens == 40


@pytest.mark.parametrize(
    "environment", [{}, {"IDENTITY_PEPPER": "x" * 16}, {"IDENTITY_PEPPER": "x" * 16, "CONTENT_PEPPER": "x" * 16}]
)
def test_without_two_peppers_it_does_not_begin(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="IDENTITY_PEPPER, CONTENT_PEPPER"):
        peppers(settings.read(environment).gateway)


# -- exchanges whose end never comes -------------------------------------------------------------------


class Hour:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_what_is_silent_for_too_long_is_given_up_and_what_is_heard_of_is_not() -> None:
    gateway, clock = Gateway(), Hour()
    underway = Underway(lambda one: gateway.observer.part(one, None), silent_s=10, clock_s=clock)
    silent, talking = gateway.meet(), gateway.meet(Caller(account="bob"))
    underway.begin(silent)
    underway.begin(talking)
    clock.now_s = 8
    assert underway.find(talking.id) is talking
    clock.now_s = 12
    underway.sweep()
    assert underway.find(silent.id) is None
    assert gateway.event["id"] == silent.id
    assert "status" not in gateway.event
    underway.end(talking)
    assert len(underway) == 0


def test_there_are_never_more_than_so_many_and_the_longest_silent_goes_first() -> None:
    gateway = Gateway()
    underway = Underway(lambda one: gateway.observer.part(one, None), most=3, clock_s=Hour())
    met = [gateway.meet(Caller(account=f"u{n}")) for n in range(5)]
    for exchange in met[:3]:
        underway.begin(exchange)
    underway.find(met[0].id)
    for exchange in met[3:]:
        underway.begin(exchange)
    assert len(underway) == 3
    assert [one["id"] for one in gateway.post.events] == [met[1].id, met[2].id]
    underway.give_up_all()
    assert len(gateway.post.events) == 5
