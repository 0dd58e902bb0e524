"""Evaluation on hand-made cases: every number can be counted on the fingers."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from streamproc.contract.decisions import Enforcement, Subject
from streamproc.lines import InputError
from streamproc.sim.evaluate import evaluate, evaluate_files

HOUR = 3_600_000


def member(account: str, campaign: str = "c1", from_ms: int = 0) -> dict[str, Any]:
    return {"account": account, "kind": "campaign", "name": "pool", "campaign": campaign, "from_ms": from_ms}


def honest(account: str, name: str = "casual") -> dict[str, Any]:
    return {"account": account, "kind": "benign", "name": name, "campaign": None}


def decision(account: str, ts_ms: int, action: str = "throttle", **more: Any) -> dict[str, Any]:
    return {
        "subject": {"kind": "account", "id": account}, "ts_ms": ts_ms, "seq": ts_ms * 8,
        "action": action, "expires_ms": None, "campaign": "x1",
    } | more  # fmt: skip


def event(account: str, ts_ms: int, key: str | None = None) -> dict[str, Any]:
    return {"id": key or f"{account}-{ts_ms}", "ts_ms": ts_ms, "account": account}


def test_requests_before_the_first_decision_leak_and_the_request_at_its_time_does_not() -> None:
    found = evaluate([member("a")], [decision("a", 20)], [event("a", t) for t in (0, 10, 19, 20, 30)])
    assert (found.campaigns["c1"].exchanges, found.campaigns["c1"].leaked) == (5, 3)
    assert found.leaked_share == pytest.approx(0.6)


def test_requests_before_the_campaign_began_are_not_its_own() -> None:
    found = evaluate([member("a", from_ms=10)], [], [event("a", t) for t in (0, 9, 10, 11)])
    assert (found.campaigns["c1"].exchanges, found.campaigns["c1"].leaked) == (2, 2)
    assert found.campaigns["c1"].first_ms == 10


def test_a_decision_that_lapsed_stops_nothing() -> None:
    said = [decision("a", 10, expires_ms=20), decision("a", 30)]
    found = evaluate([member("a")], said, [event("a", t) for t in (10, 19, 20, 29, 30)])
    assert found.campaigns["c1"].leaked == 2


def test_a_decision_renewed_before_its_end_never_lapsed() -> None:
    said = [decision("a", 10, expires_ms=20), decision("a", 15, expires_ms=40)]
    assert evaluate([member("a")], said, [event("a", t) for t in (10, 19, 25, 39)]).campaigns["c1"].leaked == 0


@pytest.mark.parametrize("action", ["release", "observe", "verify"])
def test_a_rung_below_throttle_ends_a_throttle(action: str) -> None:
    said = [decision("a", 10), decision("a", 20, action)]
    found = evaluate([member("a")], said, [event("a", t) for t in (10, 19, 20, 30)])
    assert found.campaigns["c1"].leaked == 2
    assert found.campaigns["c1"].found == 1  # it was acted on, once


@pytest.mark.parametrize("action", ["throttle", "restrict", "suspend"])
def test_throttle_and_above_count_as_acted_on(action: str) -> None:
    assert evaluate([member("a")], [decision("a", 10, action)], []).recall == 1.0


@pytest.mark.parametrize("action", ["observe", "verify", "release"])
def test_rungs_below_throttle_do_not(action: str) -> None:
    found = evaluate([member("a"), honest("h")], [decision("a", 1, action), decision("h", 1, action)], [])
    assert (found.recall, found.precision, found.hurt) == (0.0, None, {})
    assert found.campaigns["c1"].missed == ["a"]


def test_decisions_are_taken_in_order_of_time_and_seq_whatever_their_order_in_the_file() -> None:
    said = [decision("a", 20, "release"), decision("a", 10), decision("a", 20, seq=161)]
    assert evaluate([member("a")], said, [event("a", t) for t in (15, 25)]).campaigns["c1"].leaked == 0


def test_hours_to_half_count_from_the_first_request_to_the_decision_on_the_middle_member() -> None:
    members = [member(name) for name in "abcd"]
    said = [decision("b", 9 * HOUR), decision("a", 5 * HOUR), decision("c", 30 * HOUR)]
    found = evaluate(members, said, [event("d", HOUR), event("a", 4 * HOUR)])
    assert found.campaigns["c1"].hours_to_half == pytest.approx(8.0)


def test_half_is_never_reached_with_fewer_than_half_of_the_members() -> None:
    found = evaluate([member(name) for name in "abc"], [decision("a", HOUR)], [event("a", 0)])
    assert found.campaigns["c1"].hours_to_half is None
    assert "half of them never" in found.text()


def test_honest_accounts_are_hurt_by_kind_in_shadow_too() -> None:
    truth = [member("a"), honest("h1", "ci_runner"), honest("h2", "ci_runner"), honest("h3"), honest("h4")]
    said = [
        decision("h1", 1, mode="shadow"),
        decision("h1", 2, "release"),
        decision("h3", 1, "suspend"),
        decision("a", 1),
    ]
    found = evaluate(truth, said, [])
    assert found.hurt == {"casual": 1, "ci_runner": 1}
    assert found.precision == pytest.approx(1 / 3)
    assert found.hurt_per_2000 == pytest.approx(1000.0)


def test_a_campaign_whose_accounts_are_mostly_honest_is_false() -> None:
    truth = [member("a"), member("b"), honest("h1"), honest("h2"), honest("h3")]
    said = [
        decision("a", 1, campaign="half"), decision("h1", 1, campaign="half"),
        decision("b", 1, campaign="wrong"), decision("h2", 1, campaign="wrong"), decision("h3", 1, campaign="wrong"),
        decision("h3", 1, "observe", campaign="suspected"),
    ]  # fmt: skip
    assert evaluate(truth, said, []).false_campaigns == ["wrong"]


def test_of_a_mixed_account_only_the_requests_of_the_side_file_are_the_campaigns() -> None:
    events = [
        event("mixed", 0, "m0"),
        event("mixed", 5, "m1"),
        event("mixed", 9, "m2"),
        event("plain", 3),
        event("plain", 8),
    ]
    side = [{"id": "m1", "campaign": "c1"}, {"id": "m2", "campaign": "c1"}]
    found = evaluate([member("mixed"), member("plain")], [decision("mixed", 7)], events, side)
    assert (found.campaigns["c1"].exchanges, found.campaigns["c1"].leaked) == (4, 3)
    assert found.campaigns["c1"].first_ms == 3
    assert evaluate([member("mixed"), member("plain")], [], events).campaigns["c1"].exchanges == 5


def test_campaigns_are_kept_apart() -> None:
    truth = [member("a", "c1"), member("b", "c2")]
    found = evaluate(truth, [decision("b", 5)], [event("a", 1), event("a", 9), event("b", 1), event("b", 9)])
    assert [found.campaigns[name].leaked_share for name in ("c1", "c2")] == [1.0, 0.5]
    assert found.leaked_share == pytest.approx(0.75)


def test_decisions_about_organisations_and_unknown_accounts_do_not_count_for_anyone_else() -> None:
    org = decision("a", 1) | {"subject": {"kind": "org", "id": "a"}}
    found = evaluate([member("a")], [org, decision("stranger", 1)], [event("a", 5)])
    assert (found.recall, found.acted_on, found.unknown) == (0.0, 1, 1)


def test_without_a_campaign_there_is_no_recall_and_no_leak() -> None:
    found = evaluate([honest("h")], [], [event("h", 1)])
    assert (found.recall, found.precision, found.leaked_share) == (None, None, None)
    assert "no campaign in the truth" in found.text()


def test_structs_and_tuples_say_the_same_as_json() -> None:
    said = Enforcement(
        id="0" * 32, ts_ms=5, seq=40, subject=Subject(id="a"), action="throttle", mode="shadow",
        expires_ms=50, campaign="x1", score=0.5, reasons=(), policy="p",
    )  # fmt: skip
    plain = evaluate([member("a")], [decision("a", 5, expires_ms=50)], [event("a", 1), event("a", 7)])
    assert evaluate([member("a")], [said], [("1", 1, "a"), ("2", 7, "a")]) == plain


def test_files_are_read_with_the_side_file_beside_the_truth(tmp_path: Path) -> None:
    def lay(name: str, rows: list[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        return path

    events = lay("events.jsonl", [event("a", 1, "e1"), event("a", 2, "e2")])
    events.write_bytes(b"no json\n\n" + events.read_bytes())
    truth, said = lay("truth.jsonl", [member("a")]), lay("decisions.jsonl", [decision("a", 2)])
    assert evaluate_files(events, truth, said).leaked_share == pytest.approx(0.5)
    lay("truth.requests.jsonl", [{"id": "e1", "campaign": "c1"}])
    whole = evaluate_files(events, truth, said).to_dict()
    assert whole["campaigns"]["c1"]["leaked_share"] == pytest.approx(1.0)
    assert orjson.loads(orjson.dumps(whole)) == whole
    truth.write_text("{}\n")
    with pytest.raises(InputError, match=r"truth\.jsonl:1"):
        evaluate_files(events, truth, said)
