from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.contract.decisions import Action, Kind, Limit
from streamproc.gateway.decoding import Refusal
from streamproc.gateway.verdicts import RUNGS, Change, Subjects, Verdicts
from tests.gateway.events import HOUR, NOW, event

A1 = Subjects(account="a1")
ACTIONS: tuple[Action, ...] = ("observe", "verify", "throttle", "restrict", "suspend", "release")


def table(*events: bytes, now: int = NOW, most: int = 1000) -> Verdicts:
    made = Verdicts(most, 600_000)
    for one in events:
        made.take(one, now)
    return made


def action(verdicts: Verdicts, subjects: Subjects = A1, now: int = NOW) -> str | None:
    verdict = verdicts.verdict(subjects, now)
    return None if verdict is None else verdict.action


def seen(verdicts: Verdicts, now: int = NOW) -> list[Any]:
    return sorted((held.key, held.id, held.action) for held in verdicts.in_force(now))


def test_the_largest_seq_holds_and_release_frees() -> None:
    suspended, released = event(step=0), event(action="release", step=1)
    for order in ([suspended, released], [released, suspended]):
        assert action(table(*order)) is None
    assert action(table(suspended)) == "suspend"
    assert action(table(event(action="release", ts_ms=NOW - 2 * HOUR), suspended)) == "suspend"


def test_a_decision_lapses_by_the_clock_it_is_asked_with() -> None:
    verdicts = table(event(hours=2))
    assert action(verdicts, now=NOW + HOUR - 1) == "suspend"
    assert action(verdicts, now=NOW + HOUR) is None
    verdicts.lapse(NOW + HOUR)
    assert verdicts.sizes()["suspend", "enforce"] == 0
    assert verdicts.in_force(NOW) == []


def test_an_older_decision_that_comes_again_after_a_newer_one_lapsed_is_not_obeyed() -> None:
    verdicts = table(event(hours=400, ts_ms=NOW - 2 * HOUR), event(hours=2))
    verdicts.lapse(NOW + 2 * HOUR)
    verdicts.take(event(hours=400, ts_ms=NOW - 2 * HOUR), NOW + 2 * HOUR)
    assert action(verdicts, now=NOW + 2 * HOUR) is None


def test_shadow_is_not_applied_and_takes_the_place_of_what_was() -> None:
    verdicts = table(event(step=0), event(mode="shadow", step=1))
    assert action(verdicts) is None
    shadow = verdicts.verdict(A1, NOW, "shadow")
    assert shadow is not None
    assert shadow.action == "suspend"
    assert verdicts.sizes()["suspend", "shadow"] == 1
    assert verdicts.sizes()["suspend", "enforce"] == 0


@pytest.mark.parametrize("kind", ["account", "key", "payer", "org"])
def test_the_strictest_of_the_subjects_wins(kind: Kind) -> None:
    everybody: dict[Kind, str] = {"account": "x", "key": "x", "payer": "x", "org": "x"}
    mild = [event("x", "observe", kind=other) for other in everybody if other != kind]
    verdicts = table(*mild, event("x", "restrict", kind=kind))
    verdict = verdicts.verdict(Subjects(**everybody), NOW)
    assert verdict is not None
    assert (verdict.action, verdict.subject.kind) == ("restrict", kind)
    assert verdicts.verdict(Subjects(account="y"), NOW) is None
    assert verdicts.verdict(Subjects(), NOW) is None


def test_of_two_throttles_the_slower_wins() -> None:
    slow, fast = Limit(requests_per_min=1), Limit(requests_per_min=5)
    verdicts = table(
        event("a1", "throttle", limit=fast), event("o1", "throttle", kind="org", limit=slow),
        event("k1", "throttle", kind="key"),
    )  # fmt: skip
    verdict = verdicts.verdict(Subjects(account="a1", org="o1", key="k1"), NOW)
    assert verdict is not None
    assert verdict.subject.kind == "org"


def changed(**fields: Any) -> bytes:
    return json.dumps(orjson.loads(event()) | fields).encode()  # orjson writes no number above 64 bits


def lacking(name: str) -> bytes:
    return orjson.dumps({key: value for key, value in orjson.loads(event()).items() if key != name})


BAD = {
    b"": Refusal.NOT_JSON,
    b"{": Refusal.NOT_JSON,
    b"\xff": Refusal.NOT_JSON,
    b"[]": Refusal.NOT_OBJECT,
    b"[" * 5000: Refusal.NOT_JSON,
    b'"' + b"a" * 70_000 + b'"': Refusal.TOO_LARGE,
    changed(v=2): Refusal.BAD_VERSION,
    changed(seq=2**70): Refusal.MISTYPED_FIELD,
    changed(seq=2**63): Refusal.MISTYPED_FIELD,
    changed(seq=(NOW + HOUR) * 8): Refusal.ABSURD_SEQ,
    changed(seq=0): Refusal.MISTYPED_FIELD,
    changed(seq="7"): Refusal.MISTYPED_FIELD,
    changed(seq=True): Refusal.MISTYPED_FIELD,
    changed(ts_ms=NOW + HOUR, seq=NOW * 8, expires_ms=NOW + 2 * HOUR): Refusal.FUTURE,
    changed(expires_ms=None): Refusal.ABSURD_END,
    changed(expires_ms=2**53): Refusal.ABSURD_END,
    changed(expires_ms=NOW - HOUR): Refusal.ABSURD_END,
    changed(expires_ms=1e300): Refusal.MISTYPED_FIELD,
    changed(action="ban"): Refusal.MISTYPED_FIELD,
    changed(subject="account:a1"): Refusal.MISTYPED_FIELD,
    changed(subject={"kind": "everybody", "id": "*"}): Refusal.MISTYPED_FIELD,
    changed(subject={"kind": "account", "id": ""}): Refusal.MISTYPED_FIELD,
    changed(limit={"requests_per_min": -1}): Refusal.MISTYPED_FIELD,
    changed(score=2): Refusal.MISTYPED_FIELD,
    changed(reasons=["a1 is bad"]): Refusal.MISTYPED_FIELD,
    **{lacking(name): Refusal.MISSING_FIELD for name in ("id", "seq", "action", "mode", "expires_ms", "reasons")},
}


@pytest.mark.parametrize(("value", "reason"), BAD.items(), ids=range(len(BAD)))
def test_what_is_no_decision_is_counted_by_its_reason_and_changes_nothing(value: bytes, reason: Refusal) -> None:
    good = table(event("a2"))
    before = seen(good)
    good.take(value, NOW)
    assert seen(good) == before
    assert len(good) == 1
    assert good.counts[f"bad:{reason}"] == 1


def test_a_decision_under_another_key_is_ignored() -> None:
    verdicts = table()
    verdicts.take(event(), NOW, b"account:a2")
    verdicts.take(event(), NOW, b"")
    assert action(verdicts) is None
    assert verdicts.counts == {f"bad:{Refusal.OTHER_KEY}": 2}
    verdicts.take(event(), NOW, b"account:a1")
    assert action(verdicts) == "suspend"


def test_a_deletion_forgets_the_subject_and_an_unknown_one_is_counted() -> None:
    verdicts = table(event())
    verdicts.take(None, NOW, b"account:a1")
    assert action(verdicts) is None
    assert len(verdicts) == 0
    for key in (b"account:a1", b"\xff", None):
        verdicts.take(None, NOW, key)
    assert verdicts.counts[f"bad:{Refusal.EMPTY}"] == 3


def test_a_full_table_gives_up_the_idle_first_then_shadow_then_the_mildest_that_stand_longest() -> None:
    verdicts = table(
        event("worst"), event("first", "throttle"), event("second", "throttle"), event("mild", "observe"),
        event("shadow", mode="shadow"), event("freed", "release"), event("lapsed", hours=1.5), most=7,
    )  # fmt: skip
    now = NOW + HOUR
    for n, gone in enumerate(("freed", "lapsed", "shadow", "mild", "first")):
        assert gone in {key.partition(":")[2] for key in verdicts._newest}
        verdicts.take(event(f"new{n}"), now)
        assert len(verdicts) == 7
        assert gone not in {key.partition(":")[2] for key in verdicts._newest}
    kept = {held.subject.id for held in verdicts.in_force(now)}
    assert kept == {"second", "worst", "new0", "new1", "new2", "new3", "new4"}
    assert verdicts.counts["evicted"] == 5


def test_a_crowd_that_ends_at_once_lapses_in_pieces() -> None:
    verdicts = table(*(event(f"a{n}", hours=2) for n in range(4500)), most=5000)
    later = NOW + HOUR
    assert [verdicts.lapse(later) for _ in range(3)] == [True, True, False]
    assert verdicts.sizes()["suspend", "enforce"] == 0


def test_of_a_decision_that_was_shortened_the_end_is_seen() -> None:
    verdicts = table(event(hours=9, step=0), event(hours=2, step=1))
    verdicts.lapse(NOW + HOUR)
    assert verdicts.sizes()["suspend", "enforce"] == 0


def test_of_a_decision_that_was_renewed_the_end_is_seen_once_it_comes() -> None:
    changes: list[Change] = []
    verdicts = Verdicts(10, 600_000, changes.append)
    verdicts.take(event(hours=2, step=0), NOW)
    verdicts.take(event(hours=9, step=1), NOW)
    for hours in (1, 8, 9):
        verdicts.lapse(NOW + hours * HOUR)
    assert [(bool(one.new), bool(one.deleted)) for one in changes] == [(True, False), (True, True), (False, True)]


def test_a_renewal_over_and_over_takes_no_more_memory() -> None:
    verdicts = Verdicts(10, 600_000)
    for step in range(20_000):
        verdicts.take(event(ts_ms=NOW + step), NOW + step)
    assert len(verdicts._ends) < 2000
    alternating = Verdicts(10, 600_000)
    for step in range(20_000):
        alternating.take(event(action="release" if step % 2 else "suspend", ts_ms=NOW + step), NOW + step)
    assert len(alternating._ends) < 2000
    assert len(verdicts) == 1


streams = st.lists(
    st.builds(
        event,
        name=st.sampled_from(["a1", "a2", "a3"]), kind=st.sampled_from(["account", "org"]),
        action=st.sampled_from(ACTIONS), ts_ms=st.integers(NOW - 3, NOW), step=st.integers(0, 2),
        mode=st.sampled_from(["enforce", "shadow"]), hours=st.sampled_from([1e-6, 1.0, 2.0]),
    )
    | st.sampled_from(sorted(BAD)),
    max_size=25,
)  # fmt: skip


@given(streams, st.randoms(use_true_random=False), st.integers(0, 3 * HOUR))
def test_any_order_and_any_repetition_gives_the_same_table(events: list[bytes], random: Any, later: int) -> None:
    shuffled = events + random.choices(events, k=len(events)) if events else []
    random.shuffle(shuffled)
    one, other = table(*events), table(*shuffled)
    other.lapse(NOW + later)
    assert seen(one, NOW + later) == seen(other, NOW + later)
    for subjects in (A1, Subjects(account="a2", org="a1"), Subjects(org="a3")):
        for mode in ("enforce", "shadow"):
            assert one.verdict(subjects, NOW + later, mode) == other.verdict(subjects, NOW + later, mode)


@given(streams, st.lists(st.integers(0, HOUR), max_size=25))
def test_who_follows_the_changes_has_what_is_in_force(events: list[bytes], steps: list[int]) -> None:
    mirror: dict[str, str] = {}

    def follow(change: Change) -> None:
        if change.deleted is not None:
            assert mirror.pop(change.deleted.key) == change.deleted.id
        if change.new is not None:
            assert change.new.key not in mirror
            mirror[change.new.key] = change.new.id

    verdicts = Verdicts(4, 600_000, follow)
    now = NOW
    for one, step in zip(events, steps, strict=False):
        now += step
        verdicts.take(one, now)
        verdicts.lapse(now)
        assert mirror == {held.key: held.id for held in verdicts.in_force(now)}
        assert sum(verdicts.sizes()[rung, "enforce"] for rung in RUNGS) == len(mirror)
        assert len(verdicts) <= 4


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode), st.binary(max_size=10))
def test_no_message_at_all_breaks_it(value: bytes, key: bytes) -> None:
    verdicts = table()
    verdicts.take(value, NOW, key)
    assert sum(verdicts.counts.values()) == 1
    assert len(verdicts) == 0
