"""Gateways that obey in a made-up stream: what they serve, what the engine hears of it, what the scoreboard says."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.contract import ERROR_CODES
from streamproc.contract.decisions import Action, Enforcement, Kind, Limit, Mode, Subject
from streamproc.contract.events import decode
from streamproc.core import policy as policies
from streamproc.sim import obeyed, scoreboard, scoreboard_obeyed
from streamproc.sim.obeyed import NOBODY, Asked, Lawful, Obeyed, count, obey, play
from streamproc.sim.obeying import Gateway, turned_away
from streamproc.sim.scenario import Stream, simulate
from streamproc.sim.successors import PATIENCE, PAUSE_MS, Operator

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamproc.core.policy import Policy

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
DOCS = Path(__file__).resolve().parents[2] / "docs"


def event(ts_ms: int, account: str = "a", **more: Any) -> dict[str, Any]:
    return {"v": 1, "id": f"{account}{ts_ms}", "ts_ms": ts_ms, "account": account, "status": 200, **more}


def decision(
    action: Action,
    account: str = "a",
    *,
    seq: int = 1,
    ts_ms: int = 0,
    ends_ms: int | None = DAY,
    limit: Limit | None = None,
    mode: Mode = "enforce",
    kind: Kind = "account",
) -> Enforcement:
    return Enforcement(
        id=f"{account}{seq}", ts_ms=ts_ms, seq=seq, subject=Subject(kind=kind, id=account), action=action, mode=mode,
        limit=limit, expires_ms=ends_ms, campaign="c", score=1.0, reasons=(), policy="p",
    )  # fmt: skip


def throttle(requests: float | None = None, tokens: float | None = None, **more: Any) -> Enforcement:
    return decision("throttle", limit=Limit(requests_per_min=requests, tokens_per_min=tokens), **more)


def served(gateway: Gateway, events: Iterable[dict[str, Any]]) -> list[int]:
    return [one["ts_ms"] for one in events if gateway.refused_by(one) is None]


def gateway(*decisions: Enforcement) -> Gateway:
    made = Gateway()
    made.take(decisions)
    return made


# What a gateway serves.


def test_a_suspended_account_is_served_nothing_from_the_decision_until_it_expires() -> None:
    made = gateway(decision("suspend", ts_ms=HOUR, ends_ms=2 * HOUR))
    assert served(made, map(event, (HOUR - 1, HOUR, 2 * HOUR - 1, 2 * HOUR))) == [HOUR - 1, 2 * HOUR]
    assert made.refused_by(event(HOUR, "b")) is None


@pytest.mark.parametrize(
    ("per_min", "passes"),
    [(1.0, range(0, 100, 1)), (0.1, range(0, 100, 10)), (0.01, [0]), (2 / 1440, [0])],
)
def test_a_throttled_account_is_served_at_its_decisions_own_rate(per_min: float, passes: Sequence[int]) -> None:
    made = gateway(throttle(per_min))
    assert served(made, (event(at * MINUTE) for at in range(100))) == [at * MINUTE for at in passes]


def test_a_bucket_has_room_for_a_minute_and_no_more() -> None:
    made = gateway(throttle(3.0))
    at_once = [event(HOUR) for _ in range(5)]
    assert served(made, at_once) == [HOUR] * 3
    assert served(made, [event(HOUR + 20_000 - 1), event(HOUR + 20_000)]) == [HOUR + 20_000]


def test_tokens_are_counted_as_a_gateway_counts_them_before_the_answer() -> None:
    made = gateway(throttle(100.0, 100.0))
    cost: dict[str, Any] = {"tok_in": 40, "max_tokens": 20, "tok_out": 9_999}
    assert served(made, (event(at, **cost) for at in (0, 0, 12_000 - 1, 12_000))) == [0, 12_000]


def test_a_request_of_more_tokens_than_a_whole_bucket_takes_the_whole() -> None:
    made = gateway(throttle(100.0, 100.0))
    assert served(made, [event(0, tok_in=10**6), event(MINUTE // 2, tok_in=51), event(MINUTE // 2, tok_in=50)]) == [
        0,
        MINUTE // 2,
    ]
    assert served(made, [event(MINUTE, tok_in=10**6), event(3 * MINUTE // 2, tok_in=10**6)]) == [3 * MINUTE // 2]


def test_what_one_bucket_lacks_costs_nothing_in_the_other() -> None:
    made = gateway(throttle(1.0, 100.0))
    assert served(made, [event(0, tok_in=100)]) == [0]
    assert served(made, [event(MINUTE, tok_in=1), event(MINUTE, tok_in=99)]) == [MINUTE]  # no request was left
    assert served(made, [event(2 * MINUTE, tok_in=100)]) == [2 * MINUTE]  # the refused one took no token


def test_a_renewal_fills_no_bucket_and_another_limit_begins_with_a_full_one() -> None:
    made = gateway(throttle(0.01))
    assert served(made, [event(0)]) == [0]
    made.take([throttle(0.01, seq=2, ts_ms=1)])
    assert served(made, [event(MINUTE)]) == []
    made.take([throttle(0.02, seq=3, ts_ms=2)])
    assert served(made, [event(2 * MINUTE), event(3 * MINUTE)]) == [2 * MINUTE]


def test_a_throttle_ends_when_it_expires() -> None:
    made = gateway(throttle(0.001, ends_ms=HOUR))
    assert served(made, map(event, (0, 1, HOUR - 1, HOUR, HOUR + 1))) == [0, HOUR, HOUR + 1]


@given(st.permutations([1, 2, 3]))
def test_the_newest_seq_holds_in_whatever_order_decisions_come(order: list[int]) -> None:
    said = {1: decision("suspend", seq=1), 2: throttle(0.001, seq=2), 3: decision("release", seq=3, ends_ms=None)}
    for until in (1, 2, 3):
        come = order[:until]
        passes = {1: [], 2: [0], 3: [0, 0]}[max(come)]
        assert served(gateway(*(said[seq] for seq in come)), [event(0), event(0)]) == passes


@pytest.mark.parametrize(
    "passes",
    [
        decision("suspend", mode="shadow"),
        throttle(0.001, mode="shadow"),
        decision("suspend", kind="key"),
        decision("suspend", ends_ms=None),
        decision("observe"),
        decision("verify"),
        decision("restrict", limit=Limit(capabilities=("tools",))),
        decision("release", ends_ms=None),
    ],
    ids=lambda one: f"{one.action} {one.mode} {one.subject.kind}",
)
def test_what_stops_no_request(passes: Enforcement) -> None:
    assert served(gateway(passes), [event(0), event(0)]) == [0, 0]


@pytest.mark.parametrize(("rung", "error", "status"), [("throttle", "blocked", 429), ("suspend", "suspended", 403)])
def test_a_refused_request_is_told_as_a_gateway_tells_it(rung: str, error: str, status: int) -> None:
    stream = simulate("control", seed=1, accounts=30, days=0.5)
    whole = next(one for one in stream.events if one.get("tok_reasoning") and one.get("ttft_ms"))
    told = turned_away(whole, rung)
    assert (told["error"], told["status"]) == (error, status)
    answered = ("refused", "ttft_ms", "duration_ms", "response_fp", "signature_out_fp")
    assert set(whole) - set(told) == {name for name in whole if name.startswith("tok_") or name in answered}
    assert all(told[name] == whole[name] for name in told if name not in {"error", "status"})
    read = decode([orjson.dumps(told)])
    assert not read.bad
    assert read.columns.error.tolist() == [ERROR_CODES[error]]


# The play.


def test_what_is_decided_of_a_chunk_is_in_force_for_the_events_after_it() -> None:
    told: list[list[Any]] = []

    def decide(lines: Sequence[bytes]) -> list[Enforcement]:
        told.append([orjson.loads(line).get("error") for line in lines])
        return [decision("suspend")]

    answers = play((event(at) for at in range(8)), decide, chunk=3)
    assert [rung for _, rung in answers] == [None] * 3 + ["suspend"] * 5
    assert told == [[None] * 3, ["suspended"] * 3, ["suspended"] * 2]


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=9), max_size=6), st.integers(1, 5))
def test_how_events_are_handed_over_changes_nothing(pieces: list[list[str]], chunk: int) -> None:
    def decide(lines: Sequence[bytes]) -> list[Enforcement]:
        last = orjson.loads(lines[-1])
        return [throttle(0.5, account=last["account"], seq=last["ts_ms"], ts_ms=last["ts_ms"])]

    at = iter(range(0, 1 << 20, MINUTE // 3))
    cut = [[event(next(at), account) for account in piece] for piece in pieces]
    whole = list(chain.from_iterable(cut))
    assert list(play(chain.from_iterable(iter(piece) for piece in cut), decide, chunk)) == list(
        play(whole, decide, chunk)
    )


def test_requests_are_counted_by_the_campaigns_day_and_by_kind_of_lawful_user() -> None:
    truth = [
        {"account": "m", "kind": "campaign", "name": "pool"},
        {"account": "a", "kind": "benign", "name": "casual"},
        {"account": "b", "kind": "benign", "name": "casual"},
        {"account": "c", "kind": "benign", "name": "course"},
    ]
    answers: list[tuple[dict[str, Any], str | None]] = [
        (event(0, "a"), None),
        (event(HOUR, "m"), None),
        (event(DAY, "m"), "throttle"),
        (event(DAY, "b"), "suspend"),
        (event(DAY, "b"), "suspend"),
        (event(3 * DAY + HOUR, "m"), None),
        (event(3 * DAY + HOUR, "m"), "suspend"),
    ]
    found = count(truth, answers)
    found.confirmed_ms = HOUR + DAY - 1
    assert found.days == [Asked(2, 1), Asked(), Asked(), Asked(2, 1)]
    assert found.honest == {"casual": Lawful(2, 1, 3, 2), "course": Lawful(1, 0, 0, 0)}
    assert (found.confirmed_day, found.share, found.share_after, found.worst_after) == (0, 0.5, 0.5, 0.5)
    assert found.refused_accounts_per_2000 == pytest.approx(2000 / 3)
    assert found.refused_per_100000 == pytest.approx(200_000 / 3)


def test_a_campaign_that_was_never_confirmed_has_no_days_after() -> None:
    found = Obeyed(days=[Asked(3, 3)], first_ms=0)
    assert (found.confirmed_day, found.share, found.share_after, found.worst_after) == (None, 1.0, None, None)


@pytest.fixture(scope="module")
def stream() -> Stream:
    return simulate("pivot_pool", seed=3, accounts=500, days=4.0)


def with_throttle(requests_per_min: float) -> Policy:
    shipped = policies.default()
    ladder = msgspec.structs.replace(
        shipped.ladder, throttle_requests_per_min=requests_per_min, throttle_tokens_per_min=1e9
    )
    return msgspec.structs.replace(shipped, mode="shadow", ladder=ladder)


@pytest.fixture(scope="module")
def strict(stream: Stream) -> Obeyed:
    return obey(stream, with_throttle(2 / 1440))


def test_a_campaign_is_served_little_once_gateways_obey_a_throttle_that_it_meets(
    stream: Stream, strict: Obeyed
) -> None:
    assert strict.confirmed_day == 0
    assert strict.share_after is not None
    assert strict.share_after < 0.2
    assert sum(day.asked for day in strict.days) + sum(kind.asked for kind in strict.honest.values()) == len(
        stream.events
    )
    mild = obey(stream, with_throttle(60.0))
    assert mild.share_after is not None
    assert mild.share_after > 4 * strict.share_after
    assert [day.asked for day in mild.days] == [day.asked for day in strict.days]


def test_the_order_in_which_a_stream_holds_its_events_changes_nothing(stream: Stream, strict: Obeyed) -> None:
    turned = Stream(stream.events[::-1], stream.truth, [])
    assert obey(turned, with_throttle(2 / 1440)) == strict


# The operator that comes back.


def test_an_account_is_given_up_at_its_third_refusal_and_another_takes_its_place_after_a_pause() -> None:
    operator = Operator(["m"])
    first = event(0, "m", org="o", signup_ms=-DAY)
    assert operator.ask(first) == first
    for at in range(PATIENCE):
        asked = event(at, "m")
        assert operator.ask(asked) == asked
        operator.hear(asked)
    until_ms = PATIENCE - 1 + PAUSE_MS
    assert operator.ask(event(until_ms - 1, "m")) is None
    made = operator.ask(event(until_ms, "m", org="o", signup_ms=-DAY))
    assert made is not None
    assert made["account"] not in {"m", ""}
    assert made["org"] != "o"
    assert made["signup_ms"] == until_ms - DAY  # a day old at its first request, as the first one was
    assert "payer" not in made
    again = operator.ask(event(until_ms + 1, "m"))
    assert again is not None
    assert again["account"] == made["account"]
    assert operator.names == {"m", made["account"]}


def test_the_operator_asks_for_nobody_else() -> None:
    operator = Operator(["m"])
    honest = event(0, "a")
    for _ in range(PATIENCE + 1):
        assert operator.ask(honest) is honest
        operator.hear(honest)
    assert operator.names == {"m"}


def test_what_nobody_asks_is_told_to_nobody_and_counts_as_not_served() -> None:
    told: list[Any] = []

    def decide(lines: Sequence[bytes]) -> list[Enforcement]:
        told.extend(orjson.loads(line)["account"] for line in lines)
        return [decision("suspend", account="m")]

    events = [event(at, "m") for at in range(6)] + [event(PAUSE_MS + 9, "m")]
    rungs = [rung for _, rung in play(events, decide, 1, Operator(["m"]))]
    assert rungs == [None, "suspend", "suspend", "suspend", NOBODY, NOBODY, None]
    assert told[:4] == ["m"] * 4
    assert len(told) == 5
    assert told[4] != "m"


def test_a_pool_that_comes_back_needs_many_accounts_for_little(stream: Stream, strict: Obeyed) -> None:
    again = obey(stream, with_throttle(2 / 1440), comes_back=True)
    assert again.used > 2 * again.accounts == 2 * strict.used
    assert again.served_an_account is not None
    assert strict.served_an_account is not None
    assert again.served_an_account < strict.served_an_account
    assert again.confirmed_day == strict.confirmed_day
    assert [day.asked for day in again.days] == [day.asked for day in strict.days]


# The scoreboard's section.

ABOUT = {"date": "2026-01-01", "commit": "abc", "seeds": 2, "first_seed": 301, "accounts": 1000, "days": 12.0}


def row(kind: str, *, confirmed_day: int | None = 0, share: float = 0.2) -> dict[str, Any]:
    after = None if confirmed_day is None else share / 2
    return {
        "kind": kind, "seed": 301, "confirmed_day": confirmed_day, "share": share, "share_after": after,
        "worst_after": after, "refused_accounts_per_2000": 1.5, "refused_per_100000": 3.0,
        "again_share_after": after, "again_accounts": 9.0, "again_served_an_account": 4.25,
    }  # fmt: skip


def test_the_section_has_a_line_a_kind_with_the_least_and_the_most_of_its_streams() -> None:
    rows = [row("sync_pool"), row("sync_pool", share=0.4), row("slow_drip", confirmed_day=None)]
    text = scoreboard_obeyed.section(rows, ABOUT)
    assert "| sync_pool | 2 of 2 | 0.300 (0.200-0.400) | 0.150 (0.100-0.200) | 0.150 (0.100-0.200) | 1.50 (" in text
    assert "| slow_drip | 0 of 1 | 0.200 | - | - | 1.50 | 3.00 | - | 9.0 | 4.2 |" in text


def others(page: str) -> list[str]:
    return [part.rstrip("\n") for part in page.split("\n## ") if not f"## {part}".startswith(scoreboard_obeyed.TITLE)]


def test_only_the_section_is_written_anew(tmp_path: Path) -> None:
    for name in (scoreboard.PAGE, scoreboard.RAW):
        (tmp_path / name).write_bytes((DOCS / name).read_bytes())
    whole = orjson.loads((DOCS / scoreboard.RAW).read_bytes())
    for kind in ("sync_pool", "quiet_pool"):
        new = whole | {"obeyed": {"about": ABOUT, "rows": [row(kind)]}}
        scoreboard._write(tmp_path, new, only_obeyed=True)
        page = (tmp_path / scoreboard.PAGE).read_text(encoding="utf-8")
        section = scoreboard_obeyed.section(**new["obeyed"])
        assert page.count(scoreboard_obeyed.TITLE) == 1
        assert section in page
        assert orjson.loads((tmp_path / scoreboard.RAW).read_bytes()) == new
        assert others(page) == others((DOCS / scoreboard.PAGE).read_text(encoding="utf-8"))


def test_a_section_needs_a_page_to_stand_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scoreboard.main(["--only", "obeyed", "--output", str(tmp_path)])
    assert "run without --only" in capsys.readouterr().err


def test_one_stream_can_be_played_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert obeyed.main(["--scenario", "sync_pool", "--seed", "2", "--days", "1", "--accounts", "200"]) == 0
    said = capsys.readouterr().out
    assert "| day | asked | served | share |" in said
    assert "honest: 0.00 accounts in 2,000" in said
