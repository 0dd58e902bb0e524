"""The table of what is in force for whom. Pure: events and the time are handed in.

One entry a subject, that of the largest `seq`, whatever the order in which events come. Releases and lapsed decisions
stay as entries, so that an older event that comes again changes nothing.
"""

from __future__ import annotations

import heapq
from collections import Counter
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from streamproc.contract.errors import EventError
from streamproc.gateway.decoding import Held, Refusal, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamproc.contract.decisions import Mode

__all__ = ["MODES", "OUTCOMES", "RUNGS", "Change", "Subjects", "Verdict", "Verdicts", "applies"]

RUNGS: Final = ("observe", "verify", "throttle", "restrict", "suspend")
MODES: Final[tuple[Mode, ...]] = ("enforce", "shadow")
KINDS: Final = ("account", "key", "payer", "org")
OUTCOMES: Final = ("taken", "repeated", "older", "deleted", "evicted")

_EVICTED_SHARE: Final = 64  # a full table gives up this part of itself at once
_HEAP_SPARE: Final = 1024
_LAPSED_AT_ONCE: Final = 2_000
_IDLE: Final = ("idle", "enforce")  # the group of the lapsed and the released
_GROUPS: Final = (_IDLE, *((rung, mode) for mode in ("shadow", "enforce") for rung in RUNGS))

Verdict = Held  # a decision, once it applies to a request


class Subjects(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks: the subjects of one request as far as they are known."""

    account: str | None = None
    key: str | None = None
    payer: str | None = None
    org: str | None = None

    def keys(self) -> Iterator[str]:
        """Yield the known ones as the keys of messages, e.g. `account:a1`."""
        for kind in KINDS:
            name = getattr(self, kind)
            if name is not None:
                yield f"{kind}:{name}"


def applies(held: Held, now_ms: int) -> bool:
    """Whether the decision, if it is its subject's newest, is to be obeyed."""
    return held.mode == "enforce" and _runs(held, now_ms)


class Change(NamedTuple):
    """A decision that begins to apply, or one that applies no longer; a renewal is both."""

    new: Held | None
    deleted: Held | None


class Verdicts:
    """What is in force, for at most `most_subjects` subjects.

    A table that is full gives up lapsed and released subjects first, then those in shadow, then those on the mildest
    rung; among equals, those that have stood there the longest.
    `on_change` hears of every change in mode enforce. `counts` has events by outcome (`OUTCOMES`), and the ignored ones
    as `bad:<reason>`.
    """

    def __init__(
        self, most_subjects: int, ahead_ms: int, on_change: Callable[[Change], None] = lambda _change: None
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._most = most_subjects
        self._ahead_ms = ahead_ms
        self._on_change = on_change
        self._newest: dict[str, Held] = {}
        self._groups: dict[tuple[str, str], dict[str, None]] = {group: {} for group in _GROUPS}  # a subject is in one
        self._ends: list[tuple[int, str]] = []  # a heap: when a subject may lapse

    def take(self, value: bytes | None, now_ms: int, key: bytes | None = None) -> None:
        """Enter one message of the topic; what is no enforcement event is counted and ignored.

        A message without a value is Kafka's deletion of its key: the table forgets the subject, as it would not know
        it after a restart.
        """
        if value is None:
            self._delete(key)
            return
        try:
            held = decode(value, key, now_ms, self._ahead_ms)
        except EventError as error:
            self.counts[f"bad:{error.reason}"] += 1
            return
        known = self._newest.get(held.key)
        if known is None or _newer(held, known):
            self._put(held, now_ms)
            self.counts["taken"] += 1
        else:
            self.counts["repeated" if held == known else "older"] += 1

    def verdict(self, subjects: Subjects, now_ms: int, mode: Mode = "enforce") -> Verdict | None:
        """Return the strictest decision that applies to any of the subjects, None if none does.

        In mode shadow: the one that would apply.
        """
        found = [self._newest.get(key) for key in subjects.keys()]  # noqa: SIM118 - no dictionary
        apply = [held for held in found if held is not None and held.mode == mode and _runs(held, now_ms)]
        return max(apply, key=_strictness, default=None)

    def lapse(self, now_ms: int) -> bool:
        """Let go of what has ended by `now_ms`, some thousand at once; return whether more may have.

        Verdicts never depend on it: it is for who hears of changes.
        """
        for _ in range(_LAPSED_AT_ONCE):
            if not self._ends or self._ends[0][0] > now_ms:
                return False
            _, key = heapq.heappop(self._ends)
            held = self._newest.get(key)
            if held is None or key in self._groups[_IDLE]:
                continue
            if _runs(held, now_ms):
                self._await_end(held)
            else:
                self._move(key, held, held, now_ms)
        return True

    def in_force(self, now_ms: int) -> list[Held]:
        """Return what applies at `now_ms`, by rung."""
        groups = [self._groups[rung, "enforce"] for rung in RUNGS]
        return [held for group in groups for key in group if _runs(held := self._newest[key], now_ms)]

    def known(self) -> list[str]:
        """Return the keys of all subjects that have an entry."""
        return list(self._newest)

    def newest(self, key: str) -> Held | None:
        """Return the subject's newest decision, whether it applies or not; None if nothing is known of it."""
        return self._newest.get(key)

    def sizes(self) -> dict[tuple[str, Mode], int]:
        """Return how many subjects stand on each rung in each mode, as of the last `lapse`."""
        return {(rung, mode): len(self._groups[rung, mode]) for rung in RUNGS for mode in MODES}

    def __len__(self) -> int:
        """Return how many subjects have an entry, the released and the lapsed ones too."""
        return len(self._newest)

    def _put(self, held: Held, now_ms: int) -> None:
        known = self._newest.get(held.key)
        awaited = None if known is None or held.key in self._groups[_IDLE] else known.expires_ms
        self._newest[held.key] = held
        self._move(held.key, known, held, now_ms)
        if awaited is None or (held.expires_ms or awaited) < awaited:
            self._await_end(held)
        if len(self._newest) > self._most:
            self._evict(now_ms)

    def _move(self, key: str, before: Held | None, held: Held | None, now_ms: int) -> None:
        """Put the subject into the group that `held` belongs to, None for none, and say what changes by it."""
        stood = before is not None and self._leave(before, key)
        group = _IDLE if held is None or not _runs(held, now_ms) else (held.action, held.mode)
        if held is not None:
            self._groups[group][key] = None
        stands = group != _IDLE and group[1] == "enforce"
        if stood or stands:
            self._on_change(Change(held if stands else None, before if stood else None))

    def _leave(self, before: Held, key: str) -> bool:
        """Take the subject out of its group; return whether its decision was in force as far as anybody was told."""
        if key in self._groups[_IDLE]:
            del self._groups[_IDLE][key]
            return False
        del self._groups[before.action, before.mode][key]
        return before.mode == "enforce"

    def _await_end(self, held: Held) -> None:
        """Have `lapse` look at the subject when this decision ends; a renewal is seen then, and awaited in its turn."""
        if held.expires_ms is None:
            return
        heapq.heappush(self._ends, (held.expires_ms, held.key))
        if len(self._ends) > 2 * len(self._newest) + _HEAP_SPARE:  # ends that nobody means any more
            standing = [self._newest[key] for group in _GROUPS if group != _IDLE for key in self._groups[group]]
            self._ends = [(one.expires_ms or 0, one.key) for one in standing]
            heapq.heapify(self._ends)

    def _delete(self, key: bytes | None) -> None:
        held = self._newest.get((key or b"").decode(errors="replace"))
        if held is None:
            self.counts[f"bad:{Refusal.EMPTY}"] += 1
            return
        self.counts["deleted"] += 1
        self._forget(held)

    def _evict(self, now_ms: int) -> None:
        self.lapse(now_ms)
        by_worth = chain.from_iterable(self._groups[group] for group in _GROUPS)
        gone = list(islice(by_worth, max(1, self._most // _EVICTED_SHARE)))
        for key in gone:
            self._forget(self._newest[key])
        self.counts["evicted"] += len(gone)

    def _forget(self, held: Held) -> None:
        del self._newest[held.key]
        self._move(held.key, held, None, 0)


def _runs(held: Held, now_ms: int) -> bool:
    return held.action != "release" and held.expires_ms is not None and held.expires_ms > now_ms


def _newer(one: Held, other: Held) -> bool:
    """Compare by `seq`; of two with the same, which only a forger makes, it is always the same one that holds."""
    return one.seq > other.seq or (one.seq == other.seq and _encode(one) > _encode(other))


def _strictness(held: Held) -> tuple[int, float, float, int, str]:
    limit = held.limit
    requests = limit.requests_per_min if limit is not None else None
    tokens = limit.tokens_per_min if limit is not None else None
    return (
        RUNGS.index(held.action),
        -float("inf") if requests is None else -requests,
        -float("inf") if tokens is None else -tokens,
        held.expires_ms or 0,
        held.key,
    )


_encode = msgspec.json.Encoder().encode
