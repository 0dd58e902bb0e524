"""What is played in a control room for the dashboards: a campaign, and a little of everything that can go wrong."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from streamproc.contract.labels import WORDS
from tests.control_room.room import SETTLED_S
from tests.gateway.events import event
from tests.gateway.test_limiter import now_ms, produce
from tests.worker.test_run import send

if TYPE_CHECKING:
    from tests.control_room.room import Room
    from tests.worker.pipeline import Pipeline

FLOOD: Final = 100  # more templates than an account may bring in a day
HOUR_MS: Final = 3_600_000
LATE_MS: Final = 24 * HOUR_MS


@dataclass
class Played:
    """The room once all has happened, and the span in which it did, Unix seconds."""

    room: Room
    start_s: float
    end_s: float


def play(room: Room, *, over_s: float = 0) -> Played:
    """Enforce: traffic with a campaign, bad and repeated events, labels, checks of who is and is not stopped."""
    room.open(MODE="enforce")
    start_s = time.time()
    last_ms = room.send_traffic("sync_pool", accounts=1500, days=3, over_s=over_s)
    it = room.pipeline
    it.wait(room.pages)
    held = newest(it)
    say_labels(it, [name for name, row in held.items() if row["action"] != "release"])
    send(it, "requests", *((n % 4, value) for n, value in enumerate(mishaps(last_ms))))
    it.wait(lambda: it.started[0].value("labels_total") == len(WORDS))
    it.say_the_end_at(last_ms + HOUR_MS)
    held = newest(it)
    asyncio.run(produce(it.address, it.topic("enforcement"), *foreign()))
    time.sleep(SETTLED_S)
    ask(room, held)
    time.sleep(SETTLED_S)
    return Played(room, start_s, time.time())


def newest(it: Pipeline) -> dict[str, dict[str, Any]]:
    """The newest decision on each account."""
    rows = map(orjson.loads, it.said("enforcement"))
    return {row["subject"]["id"]: row for row in sorted(rows, key=lambda row: int(row["seq"]))}


def mishaps(ts_ms: int) -> list[bytes]:
    """Events that are refused, repeated, late, without what signals need, or of a flood of templates."""
    plain = {"v": 1, "ts_ms": ts_ms, "account": "somebody"}
    flood = [
        {**plain, "id": f"f{n}", "account": "flooder", "template_fp": f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}"}
        for n in range(FLOOD)
    ]
    same = [{**plain, "id": "same"}] * 8
    late = [{**plain, "id": f"late-{n}", "ts_ms": ts_ms - LATE_MS} for n in range(4)]
    wrong = [{**plain, "id": "wrong", "tok_in": "many", "unheard_of": 1}, {"v": 2}, {"v": 1}]
    strays = [{**plain, "id": f"s{n}", "account": "strayer"} for n in range(8)]
    return [b"no json", b"[]", *map(orjson.dumps, (*flood, *same, *late, *wrong, *strays))]


def say_labels(it: Pipeline, held: list[str]) -> None:
    """One label of each kind, all of accounts that something is in force for."""
    labels = [
        {"v": 1, "id": f"case-{n}", "ts_ms": now_ms(), "subject": {"kind": "account", "id": name}, "label": word,
         "who": "ana", "why": "to see it"}
        for n, (word, name) in enumerate(zip(WORDS, held, strict=False))
    ]  # fmt: skip
    send(it, "labels", *((0, orjson.dumps(label)) for label in labels))


def foreign() -> list[tuple[str, bytes]]:
    """What else comes to `enforcement`: a worker that is still in shadow, and somebody who writes what is none."""
    names = [f"shadow-{n}" for n in range(3)]
    shadow = [(f"account:{name}", event(name, "throttle", now_ms() - 1000, mode="shadow")) for name in names]
    return [("account:nobody", b"not json"), *shadow]


def ask(room: Room, held: dict[str, dict[str, Any]]) -> None:
    """Ask the limiter about somebody on every rung, and the authoriser for a request of somebody else."""
    by_action = {row["action"]: name for name, row in held.items()}
    for name in (*by_action.values(), "shadow-1", "nobody"):
        for _ in range(3):
            room.post("limiter", "/v1/check", {"subjects": {"account": name}, "capabilities": ["tools"]})
    for n in range(3):
        body = {"messages": [{"role": "user", "content": f"what is {n} and {n}"}]}
        room.post("authz", "/v1/auth", body, {"x-account-id": "nobody", "x-forwarded-uri": "/v1/chat/completions"})
