"""What the topics hold, as pages ask for it. Pure: messages and the time are handed in.

The newest of a subject and of a campaign is that of the largest `seq`, whatever the order in which they come. Some
steps before the newest are kept as they were heard: compaction leaves none of those that came before.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from streamproc.console.decoding import Decoder
from streamproc.contract.errors import EventError
from streamproc.contract.rounds import decode_round
from streamproc.telling.accounts import holds
from streamproc.telling.campaigns import ACTED_ON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamproc.contract.decisions import Action, Campaign, Enforcement, Mode
    from streamproc.contract.labels import Label
    from streamproc.contract.rounds import RoundEvent

__all__ = ["OUTCOMES", "OVER", "TOPICS", "Census", "Table"]

TOPICS: Final = ("enforcement", "campaigns", "rounds", "labels")
OUTCOMES: Final = ("taken", "older", "bad", "deleted", "evicted")
OVER: Final = ("dormant", "cleared", "merged")  # states of campaigns that are history

MOST_STEPS: Final = 12  # decisions kept of a subject
MOST_STATES: Final = 200  # of a campaign
MOST_LABELS: Final = 20  # of a subject
MOST_CAMPAIGNS: Final = 20_000
EVICTED_SHARE: Final = 64  # a full table gives up this part of itself at once


@dataclass(slots=True)
class Census:
    """How many subjects stand where at one time: by rung and mode, and of a campaign at throttle or above by mode."""

    rungs: Counter[tuple[Action, Mode]] = field(default_factory=Counter)
    campaigns: Counter[tuple[str, Mode]] = field(default_factory=Counter)


class Table:
    """Subjects, campaigns, labels and the newest round; at most `most_subjects` subjects.

    A table that is full gives up released subjects first, then those not heard of for the longest time. `counts` has
    messages by topic and outcome, `newest_ms` the newest event time by topic.
    """

    def __init__(self, most_subjects: int) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.newest_ms: dict[str, int] = {}
        self._most = most_subjects
        self._decoder = Decoder()
        self._subjects: dict[str, tuple[Enforcement, ...]] = {}  # by key, by seq; in the order of hearing of them
        self._campaigns: dict[str, list[Campaign]] = {}  # by id, by seq
        self._members: dict[str, dict[str, None]] = {}  # keys of subjects by the campaign of their newest decision
        self._labels: dict[str, list[Label]] = {}  # by key
        self._round: RoundEvent | None = None  # the newest
        self._census: tuple[int, int, Census] | None = None  # as of when, after how many messages

    def take(self, topic: str, value: bytes | None, key: bytes | None) -> None:
        """Enter one message of a topic (`TOPICS`); what is no event of it is counted and left out."""
        enter: Callable[[bytes, str], str] = getattr(self, f"_enter_{topic}")
        name = (key or b"").decode(errors="replace")
        try:
            outcome = self._delete(topic, name) if value is None else enter(value, name)
        except EventError:
            outcome = "bad"
        self.counts[topic, outcome] += 1

    # -- what is asked ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return how many subjects have an entry."""
        return len(self._subjects)

    def campaigns(self) -> Iterator[Campaign]:
        """Yield the newest event of each campaign."""
        return (states[-1] for states in self._campaigns.values())

    def states(self, campaign: str) -> tuple[Campaign, ...]:
        """Return what was heard of a campaign, oldest first; nothing if it is unknown."""
        return tuple(self._campaigns.get(campaign, ()))

    def held(self, campaign: str) -> list[Enforcement]:
        """Return the newest decision of each subject for which it names the campaign."""
        return [self._subjects[key][-1] for key in self._members.get(campaign, ())]

    def decisions(self, key: str) -> tuple[Enforcement, ...]:
        """Return what was heard of a subject (`account:a1`), oldest first; nothing if it is unknown."""
        return self._subjects.get(key, ())

    def labels(self, key: str) -> tuple[Label, ...]:
        """Return what analysts said of `account:a1` or `campaign:c1`."""
        return tuple(self._labels.get(key, ()))

    def round(self) -> RoundEvent | None:
        """Return the newest round, if one was heard of."""
        return self._round

    def census(self, now_ms: int) -> Census:
        """Count who stands where; as of the same second and messages it is not counted again."""
        asked = now_ms // 1000, sum(self.counts.values())
        if self._census is None or self._census[:2] != asked:
            self._census = *asked, self._count(now_ms)
        return self._census[2]

    def find(self, text: str, most: int) -> tuple[list[str], list[str]]:
        """Return campaigns and subjects' keys whose id begins with the text, at most so many of each."""
        campaigns = (name for name in self._campaigns if name.startswith(text))
        subjects = (key for key in self._subjects if key.partition(":")[2].startswith(text))
        return list(islice(campaigns, most)), list(islice(subjects, most))

    def _count(self, now_ms: int) -> Census:
        made = Census()
        for decisions in self._subjects.values():
            event = decisions[-1]
            if holds(event, now_ms):
                made.rungs[event.action, event.mode] += 1
                if event.campaign is not None and event.action in ACTED_ON:
                    made.campaigns[event.campaign, event.mode] += 1
        return made

    # -- what comes ------------------------------------------------------------------------------------

    def _enter_enforcement(self, value: bytes, key: str) -> str:
        event = self._decoder.enforcement(value)
        if key != event.key:
            return "bad"
        known = self._subjects.pop(key, ())
        kept = sorted({one.id: one for one in (*known, event)}.values(), key=lambda one: one.seq)[-MOST_STEPS:]
        self._subjects[key] = tuple(kept)
        self._move(key, known[-1].campaign if known else None, kept[-1].campaign)
        self._hear("enforcement", event.ts_ms)
        if len(self._subjects) > self._most:
            self._evict()
        return "taken" if kept[-1] is event else "older"

    def _enter_campaigns(self, value: bytes, key: str) -> str:
        event = self._decoder.campaign(value)
        if key != event.campaign:
            return "bad"
        states = self._campaigns.setdefault(key, [])
        newest = not states or event.seq > states[-1].seq
        if newest and _says_nothing_new(states, event):
            states.pop()
        kept = sorted({one.seq: one for one in (*states, event)}.values(), key=lambda one: one.seq)
        states[:] = kept[-MOST_STATES:]
        self._hear("campaigns", event.ts_ms)
        if len(self._campaigns) > MOST_CAMPAIGNS:
            self._evict_campaigns()
        return "taken" if newest else "older"

    def _enter_rounds(self, value: bytes, key: str) -> str:
        event = decode_round(value)
        if key != event.key:
            return "bad"
        if self._round is not None and event.seq < self._round.seq:
            return "older"
        self._round = event
        self._hear("rounds", event.ts_ms)
        return "taken"

    def _enter_labels(self, value: bytes, key: str) -> str:
        label = self._decoder.label(value)
        if key != label.key:
            return "bad"
        said = self._labels.setdefault(key, [])
        said[:] = sorted({one.id: one for one in (*said, label)}.values(), key=lambda one: one.ts_ms)[-MOST_LABELS:]
        self._hear("labels", label.ts_ms)
        if len(self._labels) > self._most:
            del self._labels[next(iter(self._labels))]
        return "taken"

    def _hear(self, topic: str, ts_ms: int) -> None:
        self.newest_ms[topic] = max(self.newest_ms.get(topic, 0), ts_ms)

    def _delete(self, topic: str, key: str) -> str:
        """Kafka's deletion of a key: what it named is forgotten, as it would not be known after a restart."""
        if topic == "enforcement":
            self._forget(key)
        elif topic == "rounds":
            self._round = None
        else:
            (self._campaigns if topic == "campaigns" else self._labels).pop(key, None)
        return "deleted"

    def _move(self, key: str, before: str | None, after: str | None) -> None:
        if before is not None and before != after:
            members = self._members[before]
            del members[key]
            if not members:
                del self._members[before]
        if after is not None:
            self._members.setdefault(after, {})[key] = None

    def _forget(self, key: str) -> None:
        known = self._subjects.pop(key, ())
        if known:
            self._move(key, known[-1].campaign, None)

    def _evict(self) -> None:
        most = max(1, self._most // EVICTED_SHARE)
        released = (key for key, decisions in self._subjects.items() if decisions[-1].action == "release")
        gone = list(islice(released, most)) or list(islice(self._subjects, most))
        for key in gone:
            self._forget(key)
        self.counts["enforcement", "evicted"] += len(gone)

    def _evict_campaigns(self) -> None:
        over = [name for name, states in self._campaigns.items() if states[-1].state in OVER]
        gone = list(islice(over or self._campaigns, MOST_CAMPAIGNS // EVICTED_SHARE))
        for name in gone:
            del self._campaigns[name]
        self.counts["campaigns", "evicted"] += len(gone)


def _says_nothing_new(states: list[Campaign], event: Campaign) -> bool:
    """Whether the newest state kept is only one of several that say the same, which the event says once more."""
    return len(states) > 1 and len({(one.state, one.members, one.merged_into) for one in (*states[-2:], event)}) == 1
