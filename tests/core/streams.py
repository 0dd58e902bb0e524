"""Small streams with everything in them: a planted campaign, joiners, lawful groups, copies, late and bad messages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamproc.contract import encode
from streamproc.contract.rounds import encode_round
from streamproc.core import policy as policies
from streamproc.core.accounts import batch as batches
from streamproc.core.accounts.reducer import Accounts
from streamproc.core.campaigns.accounts import AccountTable
from streamproc.core.campaigns.blocks import Block
from streamproc.core.campaigns.reducer import Campaigns
from streamproc.core.uses import COLUMNS, DTYPES, SERVED, Uses

if TYPE_CHECKING:
    from streamproc.contract import Campaign, Enforcement
    from streamproc.contract.rounds import RoundEvent
    from streamproc.core.accounts.batch import Batch
    from streamproc.core.campaigns.reducer import Output
    from streamproc.core.policy import Policy

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
START_MS = 1_750_032_000_000 + 7 * MINUTE_MS  # shortly after a midnight, UTC, within a slot
HOURS = 10
PLANTED = 18  # members of the campaign from the start
LAWFUL = 120  # lawful accounts with templates of their own
JOINERS = 12  # fresh accounts that come once it is confirmed


@cache
def small_policy() -> Policy:
    """The frozen policy of these tests."""
    return policies.parse(policy_text())


def policy_text() -> bytes:
    """The frozen policy as it is written."""
    return Path(__file__).with_name("policy.toml").read_bytes()


@dataclass(frozen=True, slots=True)
class Message:
    """One message on the way: when it is written to the topic, by whose account, and what."""

    arrives_ms: int
    account: str
    value: bytes | None


@dataclass(slots=True)
class Said:
    """All that a run said, as bytes where it is bytes on the wire."""

    enforcements: list[Enforcement] = field(default_factory=list)
    campaigns: list[Campaign] = field(default_factory=list)
    surveys: list[RoundEvent] = field(default_factory=list)
    dead: list[tuple[int, int, str, str, bytes | None]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    rounds: int = 0

    def take(self, batch: Batch, output: Output) -> None:
        self.dead += [(batch.partition, one.offset, one.reason, one.detail, one.value) for one in batch.dead]
        self.counts.update(batch.counts)
        self.hear(output)

    def hear(self, output: Output) -> None:
        self.enforcements += output.enforcements
        self.campaigns += output.campaigns
        self.surveys += output.surveys
        self.counts.update(output.counts)
        self.rounds += len(output.rounds)

    def decisions(self) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """Enforcements in the order in which they are written, campaigns and rounds, as bytes."""
        ordered = sorted(self.enforcements, key=lambda event: (event.ts_ms, event.subject.id, event.seq))
        return (
            [encode(event) for event in ordered],
            [encode(event) for event in self.campaigns],
            [encode_round(event) for event in self.surveys],
        )

    def whole(self) -> tuple[Any, ...]:
        """Everything that must not depend on chunks; the count of unknown fields is a sample of each run."""
        counts = {name: count for name, count in self.counts.items() if count and name != "unknown_fields"}
        return (*self.decisions(), sorted(self.dead, key=lambda one: one[:2]), counts)

    def acts(self, without: str = "") -> list[tuple[int, str, str]]:
        """(ts_ms, account, action) of every enforcement but those about the account `without`."""
        acts = [(event.ts_ms, event.subject.id, event.action) for event in self.enforcements]
        return sorted(act for act in acts if act[1] != without)


Chunk = tuple[int, Sequence[bytes | None], Sequence[int]]  # partition, messages, offsets


class Pipeline:
    """Both reducers as the worker runs them: batches travel as bytes."""

    def __init__(self, partitions: int = 1, policy: Policy | None = None) -> None:
        self.policy = policy or small_policy()
        self.partitions = partitions
        self.accounts = [Accounts(partition, self.policy) for partition in range(partitions)]
        self.campaigns = Campaigns(self.policy, partitions)
        self.said = Said()

    def observe(self, chunk: Chunk) -> None:
        partition, values, offsets = chunk
        self._pass(self.accounts[partition].observe(values, offsets))

    def restart(self) -> None:
        """Go on from a snapshot in new reducers."""
        accounts = [one.snapshot() for one in self.accounts]
        pieces = self.campaigns.snapshot()
        blocks = {name: make() for name, make in pieces.blocks.items()}
        self.accounts = [Accounts(partition, self.policy) for partition in range(self.partitions)]
        for one, data in zip(self.accounts, accounts, strict=True):
            one.restore(data)
        self.campaigns = Campaigns(self.policy, self.partitions)
        self.campaigns.restore(pieces.data, blocks.__getitem__)

    def end(self) -> Said:
        """The end of the input, as the engine takes it."""
        for one in self.accounts:
            self._pass(one.flush())
        end_ms = self.campaigns.end_ms()
        for partition in range(self.partitions):
            self.said.hear(self.campaigns.idle(partition, end_ms))
        return self.said

    def _pass(self, batch: Batch) -> None:
        self.said.take(batch, self.campaigns.observe(batches.decode(batches.encode(batch))))


def run(
    chunks: Iterable[Chunk],
    partitions: int = 1,
    policy: Policy | None = None,
    between: Callable[[int, Pipeline], None] = lambda _at, _pipeline: None,
) -> Said:
    """What `chunks` bring; `between` is called before each with its number."""
    pipeline = Pipeline(partitions, policy)
    for at, chunk in enumerate(chunks):
        between(at, pipeline)
        pipeline.observe(chunk)
    return pipeline.end()


def cut(messages: Sequence[Message], sizes: Iterable[int], partition: int = 0) -> Iterator[Chunk]:
    """Messages of one partition in chunks of `sizes`; what is left over comes as one."""
    at = 0
    for size in (*sizes, len(messages)):
        part = messages[at : at + size]
        if part:
            yield partition, [message.value for message in part], range(at, at + len(part))
        at += size


# The traffic.


def messages(
    seed: int, *, most_late_ms: int = 13 * MINUTE_MS, beyond: float = 0.0, copies: float = 0.03, bad: float = 0.02,
    skewed: tuple[str, int] | None = None,
) -> list[Message]:  # fmt: skip
    """A stream in order of arrival.

    Events arrive up to `most_late_ms` late, a share `beyond` of them up to two hours; `copies` and `bad` are the
    shares of deliveries sent twice and of messages that are no events.  `skewed` is an account and what its clock is
    wrong by, in ms: it sends much and is left out where None.
    """
    rng = np.random.default_rng(seed)
    events = sorted(_events(rng), key=lambda event: (event["ts_ms"], event["id"]))
    delay = np.where(rng.random(len(events)) < 0.8, rng.integers(0, 60_000, len(events)), 0)
    slow = np.flatnonzero(delay == 0)
    delay[slow] = rng.integers(0, most_late_ms, slow.size)
    late = rng.random(len(events)) < beyond
    delay[late] = rng.integers(16 * MINUTE_MS, 2 * HOUR_MS, np.count_nonzero(late))
    sent = [
        Message(event["ts_ms"] + int(wait), event["account"], _value(event))
        for event, wait in zip(events, delay, strict=True)
    ]
    for at in np.flatnonzero(rng.random(len(sent)) < copies).tolist():
        again = sent[at].arrives_ms + int(rng.integers(0, 40 * MINUTE_MS - delay[at] % (30 * MINUTE_MS)))
        sent.append(Message(again, sent[at].account, sent[at].value))
    for at in np.flatnonzero(rng.random(len(events)) < bad).tolist():
        sent.append(_bad(events[at], sent[at].arrives_ms, int(rng.integers(len(_BAD)))))
    sent += _turned_away(np.random.default_rng(seed + 2))
    if skewed is not None:
        sent += _skewed(np.random.default_rng(seed + 1), *skewed)
    return sorted(sent, key=lambda message: message.arrives_ms)


def reordered(sent: Sequence[Message], seed: int, most_ms: int) -> list[Message]:
    """The same messages with arrivals moved by up to `most_ms`; each account's own order is kept."""
    rng = np.random.default_rng(seed)
    moved: dict[str, list[int]] = {}
    for message in sent:
        moved.setdefault(message.account, []).append(message.arrives_ms + int(rng.integers(0, most_ms)))
    times = {account: iter(sorted(arrivals)) for account, arrivals in moved.items()}
    again = [Message(next(times[message.account]), message.account, message.value) for message in sent]
    return sorted(again, key=lambda message: message.arrives_ms)


def event(account: str, ts_ms: int, number: int, template: int | None = None, **fields: Any) -> dict[str, Any]:
    """A request event of the contract."""
    made: dict[str, Any] = {"v": 1, "id": f"{account}-{number}", "ts_ms": int(ts_ms), "account": account, **fields}
    if template is not None:
        made["template_fp"] = f"{template:016x}"
    return made


def uses_of(rows: Sequence[dict[str, Any]]) -> Uses:
    """Uses with the columns given, 0 elsewhere; every account is named by its key."""
    made = {name: np.array([row.get(name, 0) for row in rows], DTYPES[name]) for name in COLUMNS}
    return Uses(**made, names={row["account"]: f"a{row['account']}" for row in rows})


def block_of(uses: Sequence[tuple[int, int]], *, start_ms: int = 0, end_ms: int = HOUR_MS, offset_ms: int = 0) -> Block:
    """A block of (account row, component) in the order given, all served and of the same moment."""
    held = np.array(uses, np.int32).reshape(-1, 2)
    n = len(held)
    zeros = {name: np.zeros(n, np.uint8) for name in ("turns", "task_class", "elicits")}
    return Block(
        start_ms=start_ms, end_ms=end_ms, account=held[:, 0], component=held[:, 1],
        offset_ms=np.full(n, offset_ms, np.uint32), tok_in=np.zeros(n, np.int32), tok_out=np.zeros(n, np.int32),
        flags=np.full(n, SERVED, np.uint8), **zeros,
    )  # fmt: skip


def table_of(rows: int, seed: int = 0) -> AccountTable:
    """An account table of so many rows, whose keys are in an order of their own."""
    table = AccountTable(2, 1, -1.0)
    keys = np.random.default_rng(seed).choice(100 * rows, rows, replace=False).astype(np.uint64) + np.uint64(1)
    for key in keys.tolist():
        table.enter(np.array([key], np.uint64), {key: f"a{key}"})
    return table


def _events(rng: np.random.Generator) -> list[dict[str, Any]]:
    core = _templates(rng, 10)
    events = []
    for number in range(PLANTED):
        gaps = rng.exponential(20 * MINUTE_MS, 40)
        times = (START_MS + np.cumsum(gaps)).astype(np.int64)
        events += _of_account(rng, f"m{number}", times[times < START_MS + 5 * HOUR_MS], core, drift=2)
    for number in range(JOINERS):
        start = START_MS + int(rng.integers(2 * HOUR_MS, 5 * HOUR_MS))
        times = start + np.sort(rng.integers(0, 40 * MINUTE_MS, 10))
        mixed = np.concatenate([core, _templates(rng, number % 8)])  # some have work of their own as well
        events += _of_account(rng, f"j{number}", times, mixed, drift=0, program="research" if number % 6 == 1 else "")
    for group in range(2):
        shared = _templates(rng, 4)
        for number in range(9):
            times = START_MS + rng.integers(0, HOURS * HOUR_MS, 8)
            own = np.concatenate([shared, _templates(rng, 2)])
            events += _of_account(rng, f"g{group}-{number}", times, own, drift=0, org=f"o{group}")
    for number in range(LAWFUL):
        times = START_MS + rng.integers(0, HOURS * HOUR_MS, int(rng.integers(4, 16)))
        events += _of_account(rng, f"a{number}", times, _templates(rng, 3), drift=1)
    return events


def _of_account(
    rng: np.random.Generator, account: str, times: Any, templates: Any, drift: int, org: str = "", program: str = ""
) -> list[dict[str, Any]]:
    facts: dict[str, Any] = {
        "org": org or f"org-{account}",
        "ua": f"ua{rng.integers(5)}",
        "ua_version": str(rng.integers(4)),
        "pathway": ("api", "web", "cloud")[int(rng.integers(3))],
        "signup_ms": START_MS - int(rng.integers(0, 90 * DAY_MS)),
    }
    events = []
    for number, ts_ms in enumerate(sorted(times.tolist())):
        template = int(templates[int(rng.integers(len(templates)))])
        for bit in rng.integers(0, 64, int(rng.integers(0, drift + 1))).tolist():
            template ^= 1 << bit
        known = {name: value for name, value in facts.items() if rng.random() < 0.95}
        if program and rng.random() < 0.5:
            known["program"] = program
        events.append(
            event(
                account, ts_ms, number, None if rng.random() < 0.03 else template, status=200,
                tok_in=int(rng.integers(50, 3000)), tok_out=int(rng.integers(50, 3000)),
                n_assistant=int(rng.integers(0, 3)), task_class="code", **known,
            )
        )  # fmt: skip
    return events


def _templates(rng: np.random.Generator, count: int) -> Any:
    return rng.integers(1, 1 << 63, count, dtype=np.int64).astype(np.uint64)


def _value(made: dict[str, Any]) -> bytes:
    return json.dumps(made, separators=(",", ":")).encode()


def _bad(made: dict[str, Any], arrives_ms: int, kind: int) -> Message:
    """A message that is no event; the last two kinds are of an account whose clock is far off."""
    return Message(arrives_ms, made["account"] if kind >= _KEYED else "", _BAD[kind](made))


_KEYED = 5
_BAD: tuple[Callable[[dict[str, Any]], bytes | None], ...] = (
    lambda _: None,
    lambda _: b"",
    lambda _: b'{"v":1,"id":',
    lambda _: b"[1,2]",
    lambda made: _value({"v": 1, "ts_ms": made["ts_ms"]}),
    lambda made: _value(made | {"id": made["id"] + "f", "ts_ms": made["ts_ms"] + 30 * DAY_MS}),
    lambda made: _value(made | {"id": made["id"] + "g", "ts_ms": made["ts_ms"] + 2 * HOUR_MS}),
)


def _turned_away(rng: np.random.Generator) -> list[Message]:
    """Requests of members that a gateway has refused since their campaign was confirmed."""
    made = []
    for number in range(6):
        times = START_MS + rng.integers(4 * HOUR_MS, 7 * HOUR_MS, 12)
        made += _of_account(rng, f"m{number}", times, _templates(rng, 3), drift=0)
    refused = [one | {"id": f"{one['id']}r", "status": 429, "error": "blocked"} for one in made]
    return [Message(one["ts_ms"], one["account"], _value(one)) for one in refused]


def _skewed(rng: np.random.Generator, account: str, by_ms: int) -> list[Message]:
    times = START_MS + np.sort(rng.integers(-5 * MINUTE_MS, HOURS * HOUR_MS, 60))
    made = _of_account(rng, account, times, _templates(rng, 3), drift=0)
    return [Message(one["ts_ms"], account, _value(one | {"ts_ms": one["ts_ms"] + by_ms})) for one in made]
