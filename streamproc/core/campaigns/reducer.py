"""The campaigns reducer: uses of all partitions in, what must be said about accounts and campaigns out.

Slots close when every partition has passed them; after every twelfth a round is held.  Between rounds each use is
checked against the watchlist.  All that is decided depends on event times alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from streamproc import contract
from streamproc.core.campaigns import closing, days, labels, ladder, persist, relief, survey
from streamproc.core.campaigns import round as rounds
from streamproc.core.campaigns.accounts import AccountTable
from streamproc.core.campaigns.blocks import Block, merge
from streamproc.core.campaigns.components import Components
from streamproc.core.campaigns.habits import Habits
from streamproc.core.campaigns.judge import Judge
from streamproc.core.campaigns.memory import Memory, Standing
from streamproc.core.campaigns.saying import LABEL, ROUND, WATCH, campaign_event, enforcement
from streamproc.core.campaigns.slots import OpenSlots
from streamproc.core.campaigns.turned_away import TurnedAway
from streamproc.core.campaigns.watchlist import WatchHit, Watchlist, begin
from streamproc.core.clock import UNSET_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamproc.contract.decisions import Campaign as CampaignEvent
    from streamproc.contract.decisions import Enforcement, Reason
    from streamproc.contract.labels import Label
    from streamproc.contract.rounds import RoundEvent
    from streamproc.core.accounts.batch import Batch
    from streamproc.core.arrays import Bools, Ints, Keys
    from streamproc.core.campaigns.round import Round
    from streamproc.core.campaigns.view import View
    from streamproc.core.policy import Policy
    from streamproc.core.uses import Uses

HOUR_MS = 3_600_000


@dataclass(slots=True)
class Output:
    """What one call brought: events to emit, the rounds held, and counts by name."""

    enforcements: list[Enforcement] = field(default_factory=list)
    campaigns: list[CampaignEvent] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    surveys: list[RoundEvent] = field(default_factory=list)  # of each round
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, more: Output) -> None:
        """Append what a later call brought."""
        self.enforcements += more.enforcements
        self.campaigns += more.campaigns
        self.rounds += more.rounds
        self.surveys += more.surveys
        self.counts.update(more.counts)


class Campaigns:
    """The global reducer over `partitions` partitions of input."""

    def __init__(self, policy: Policy, partitions: int) -> None:
        time = policy.time
        self.policy = policy
        self.slot_ms = time.slot_s * 1000
        self.round_ms = self.slot_ms * time.round_slots
        self.lateness_ms = time.lateness_s * 1000
        self.watermarks = [UNSET_MS] * partitions
        self.next_offsets = [0] * partitions
        self.slots = OpenSlots(self.slot_ms)
        self.next_slot: int | None = None  # the first slot that is open
        self.blocks: list[Block] = []  # closed rounds' worth each, then the closed slots of the running one
        self.running: list[Block] = []
        self.tables = rounds.Tables(
            AccountTable(len(time.view_hours), len(policy.score.carry), policy.score.start),
            Components(policy.components.radius, policy.components.kept_values, policy.components.capacity),
            Memory(),
            Judge(policy),
            Habits(policy.habits.seed),
            max(time.view_hours) * HOUR_MS,
            self.round_ms,
        )
        self.turned_away = TurnedAway()
        self.relieved = 0  # times that blocks were rewritten, for want of room
        self.lists: list[Watchlist] = []  # those whose span is not over, oldest first
        self.queue: list[tuple[Uses, Ints]] = []  # uses since the next round's time, for its list
        self.watched: list[tuple[int, int, Standing]] = []  # (ts_ms, account, standing) said since the last round
        self.expected: list[Label] = []  # labels of slots to come
        self.exempt = contract.key64([p for p in policy.exempt.programs if p])
        self.exempt_accounts = contract.key64([a for a in policy.exempt.accounts if a])

    def observe(self, batch: Batch) -> Output:
        """Take a batch of one partition; what was taken before (by input offset) is skipped."""
        output = Output()
        known = self.next_offsets[batch.partition]
        uses = batch.uses
        if batch.offsets.size and batch.offsets[0] < known:
            uses = uses.take(np.flatnonzero(batch.offsets >= known))
        self.next_offsets[batch.partition] = max(known, batch.next_offset)
        if len(uses):
            output.counts["late"] += self.slots.put(uses, self.next_slot)
            output.counts["strayed"] += self.tables.accounts.stray(np.unique(uses.account), batch.partition)
            self._watch(uses, output)
        self._pass(batch.partition, batch.watermark_ms, output)
        return output

    def idle(self, partition: int, ts_ms: int) -> Output:
        """A partition is silent (or over): its time is at least `ts_ms`."""
        output = Output()
        self._pass(partition, ts_ms, output)
        return output

    def snapshot(self) -> persist.Pieces:
        """All state, the next input offset of each partition inside."""
        return persist.dump(self)

    def restore(self, data: bytes, block: Callable[[str], bytes]) -> None:
        """Take the state that `snapshot` wrote; `block` fetches a block's piece by name."""
        persist.load(self, data, block)

    def block_name(self, block: Block) -> str:
        """The name of a closed block's piece; another one once rows were taken out of blocks."""
        return f"block-{block.end_ms}-{self.relieved}"

    def end_ms(self) -> int:
        """The end of the last slot that holds a use: what the end of the input moves every partition to."""
        return (max(self.slots.waiting, default=UNSET_MS // self.slot_ms) + 1) * self.slot_ms

    def label(self, label: Label) -> Output:
        """Enter a label now: what it releases goes out at once, with the label's own time."""
        output = Output()
        labels.foresee(label, self.tables.memory)
        self._apply(label, output)
        return output

    def expect(self, labels_: Iterable[Label]) -> None:
        """Labels to enter when the slots of their own times close: how a replay takes them."""
        self.expected = sorted([*self.expected, *labels_], key=lambda label: (label.ts_ms, label.id))
        for label in self.expected:
            labels.foresee(label, self.tables.memory)

    def _apply(self, label: Label, output: Output) -> None:
        self._settle_watched(label.ts_ms)  # what the watchlist said before is undone with the rest
        released, campaigns = labels.apply(label, self.tables.memory)
        output.enforcements += [self._enforcement(label.ts_ms, LABEL, standing) for standing in released]
        output.campaigns += [campaign_event(label.ts_ms, campaign, self.policy, LABEL) for campaign in campaigns]

    def _pass(self, partition: int, watermark_ms: int, output: Output) -> None:
        self.watermarks[partition] = max(self.watermarks[partition], watermark_ms)
        watermark_ms = min(self.watermarks)
        if self.next_slot is None:
            first = self.slots.first()
            if first is None or watermark_ms < (first + 1) * self.slot_ms:
                return
            self.next_slot = first
        while watermark_ms >= (self.next_slot + 1) * self.slot_ms:
            if not self._skip_silence(watermark_ms):
                self._close(output)

    def _skip_silence(self, watermark_ms: int) -> bool:
        """Jump over slots in which nothing can happen: no uses, nothing remembered, nothing in force."""
        assert self.next_slot is not None
        remembered = (
            self.blocks or any(map(len, self.running)) or self.tables.memory.campaigns or self.tables.memory.standings
        )
        if remembered or self.next_slot in self.slots.waiting:
            return False
        first = self.slots.first()
        last = watermark_ms // self.slot_ms
        self.next_slot = last if first is None else min(first, last)
        return True

    def _close(self, output: Output) -> None:
        assert self.next_slot is not None
        slot = self.next_slot
        while self.expected and self.expected[0].ts_ms < (slot + 1) * self.slot_ms:
            self._apply(self.expected.pop(0), output)
        closed = closing.close(
            self.slots.close(slot), slot, self.slot_ms,
            self.tables.accounts, self.tables.components, self.policy.components.new_values_per_account_day,
        )  # fmt: skip
        output.counts["evicted:values"] += closed.evicted
        output.counts["uses"] += len(closed.block)
        self.turned_away.add(closed.turned_away)
        self.running.append(closed.block)
        self._relieve(output)
        self.next_slot = slot + 1
        if (slot + 1) % self.policy.time.round_slots == 0:
            self._round((slot + 1) * self.slot_ms, output)

    def _round(self, end_ms: int, output: Output) -> None:
        """Hold the round at `end_ms`, say what it changed, and begin its watchlist."""
        if any(map(len, self.running)):
            self.blocks.append(merge(self.running))
        self.running = []
        self._forget(end_ms)
        ts_ms = end_ms + self.lateness_ms
        self._settle_watched(end_ms)
        turned_away = self.turned_away.take(self.tables.memory)
        held = rounds.hold(end_ms, self.blocks, self.tables, self._exempt(ts_ms), self.policy)
        output.rounds.append(held)
        seen = survey.survey(held, self.tables, turned_away, self.policy)
        output.surveys.append(seen)
        output.counts["turned_away"] += sum(campaign.turned_away for campaign in seen.campaigns)
        output.counts["withheld"] += sum(campaign.withheld for campaign in seen.campaigns)
        output.counts.update({f"served:{when}": count for when, count in held.served._asdict().items()})
        output.campaigns += [campaign_event(ts_ms, campaign, self.policy) for campaign in held.campaigns]
        for account, standing in held.changes:
            alone = standing.campaign is None and account in held.unusual and standing.action == "observe"
            evidence = (days.reason(held.unusual[account], self.policy.habits.threshold),) if alone else None
            output.enforcements.append(self._enforcement(ts_ms, ROUND, standing, evidence))
        self._begin_list(end_ms, held.judged[-1].view, output)

    def _enforcement(
        self, ts_ms: int, kind: int, standing: Standing, evidence: tuple[Reason, ...] | None = None
    ) -> Enforcement:
        if evidence is None:
            campaign = self.tables.memory.campaigns.get(standing.campaign or "")
            evidence = campaign.evidence if campaign else ()
        return enforcement(ts_ms, kind, standing, evidence, self.policy)

    def _forget(self, end_ms: int) -> None:
        """Drop blocks, components and accounts that no view can reach any more."""
        oldest_ms = end_ms - max(self.policy.time.view_hours) * HOUR_MS
        self.blocks = [block for block in self.blocks if block.end_ms > oldest_ms]
        tables = self.tables
        tables.components.expire(oldest_ms // self.slot_ms)
        referred = np.zeros(tables.accounts.rows, np.bool_)
        for block in self.blocks:
            referred[block.account] = True
        gone = ~referred
        gone[tables.accounts.free] = False
        tables.accounts.drop(np.flatnonzero(gone).astype(np.int32))

    def _relieve(self, output: Output) -> None:
        """Keep the tables within their caps: accounts used least and longest ago go, then components of one holder."""
        accounts, components = self.tables.accounts, self.tables.components
        held = [*self.blocks, *self.running]
        if len(accounts) > self.policy.caps.accounts:
            gone = relief.accounts_to_go(held, accounts, self.policy.caps.accounts)
            self.blocks, self.running = (relief.without_accounts(bs, gone) for bs in (self.blocks, self.running))
            accounts.drop(np.flatnonzero(gone).astype(np.int32))
            output.counts["evicted:accounts"] += int(np.count_nonzero(gone))
            self.relieved += 1
        if len(components) >= self.policy.components.capacity:
            gone = relief.components_to_go(held, components, self.policy.components.capacity)
            self.blocks, self.running = (relief.without_components(bs, gone) for bs in (self.blocks, self.running))
            components.drop(np.flatnonzero(gone).astype(np.int32))
            output.counts["evicted:components"] += int(np.count_nonzero(gone))
            self.relieved += 1

    def _exempt(self, ts_ms: int) -> Bools:
        """Which account rows may be observed at most, at `ts_ms`."""
        accounts = self.tables.accounts
        program = np.isin(accounts.facts("program"), self.exempt)
        return program | self._exempt_at(accounts.key, np.full(accounts.rows, ts_ms))

    def _exempt_at(self, account: Keys, ts_ms: Ints) -> Bools:
        """Whether each account (n,) was exempt at the time given: by the policy, or by a label from its time on."""
        exempt = np.isin(account, self.exempt_accounts)
        said = self.tables.memory.exempt
        for at in np.flatnonzero(np.isin(account, np.fromiter(said, np.uint64, len(said)))).tolist():
            exempt[at] |= said[int(account[at])] <= ts_ms[at]
        return exempt

    # The watchlist between rounds.

    def _watch(self, uses: Uses, output: Output) -> None:
        """Check arriving uses against the lists of their times; keep those that the next round's list will need."""
        first_open_ms = 0 if self.next_slot is None else self.next_slot * self.slot_ms
        ts_ms = np.maximum(uses.ts_ms, first_open_ms)
        for watchlist in self.lists:
            self._check(watchlist, uses, ts_ms, output)
        if self.lists:
            later = np.flatnonzero(ts_ms >= self.lists[-1].state.start_ms + self.round_ms)
            if later.size:
                self.queue.append((uses.take(later), ts_ms[later]))
        else:
            self.queue.append((uses, ts_ms))

    def _check(self, watchlist: Watchlist, uses: Uses, ts_ms: Ints, output: Output) -> None:
        within = np.flatnonzero((ts_ms >= watchlist.state.start_ms) & (ts_ms < watchlist.state.to_ms))
        if not within.size:
            return
        chosen = uses.take(within)
        vetted = np.isin(chosen.program, self.exempt) | self._exempt_at(chosen.account, ts_ms[within])
        for hit in watchlist.check(chosen, ts_ms[within], vetted):
            if self.tables.memory.cleared.get(hit.campaign.id, hit.ts_ms + 1) <= hit.ts_ms:
                continue
            standing = self._watched_standing(hit)
            self.watched.append((hit.ts_ms, hit.account, standing))
            event = enforcement(hit.ts_ms, WATCH, standing, hit.campaign.evidence, self.policy)
            output.enforcements.append(event)

    def _watched_standing(self, hit: WatchHit) -> Standing:
        likely = self.tables.judge.member_probability(hit.share, hit.requests)
        score = round(hit.campaign.probability * likely, 4)
        return Standing(hit.name, ladder.TABLE["watched"], self._watched_until(hit), hit.campaign.id, 0, score)

    def _watched_until(self, hit: WatchHit) -> int:
        """A member that comes back is throttled for a throttle's time, anybody else until the second round from now."""
        if hit.account in hit.campaign.joined:
            return hit.ts_ms + ladder.duration_ms("throttle", self.policy.ladder)
        past_rounds = (hit.ts_ms - self.lateness_ms) // self.round_ms
        return (past_rounds + 2) * self.round_ms + self.lateness_ms

    def _settle_watched(self, end_ms: int) -> None:
        """Enter into memory what the watchlist said of uses before the round."""
        for ts_ms, account, standing in self.watched:
            if ts_ms < end_ms:
                self.tables.memory.standings[account] = standing
        self.watched = [said for said in self.watched if said[0] >= end_ms]

    def _begin_list(self, end_ms: int, view: View, output: Output) -> None:
        """Begin the list of the round at `end_ms` and pass the uses that waited for it."""
        policy, tables, memory = self.policy, self.tables, self.tables.memory
        delay_ms = self.lateness_ms + policy.members.watch_delay_s * 1000
        campaigns = [
            (campaign, tables.judge.campaign_probability(campaign.hits[-1].log10_lr))
            for campaign in memory.campaigns.values()
            if campaign.watch is not None and campaign.state in {"confirmed", "contained"} and not campaign.mixed
        ]
        to_ms = end_ms + self.round_ms + delay_ms
        settled = {
            key
            for key, standing in memory.standings.items()
            if ladder.limits(standing.action) and standing.expires_ms >= to_ms
        }
        settled |= set(tables.accounts.key[self._exempt(end_ms)].tolist())
        span_ms = (end_ms, end_ms + delay_ms, to_ms)
        state = begin(span_ms, campaigns, view, tables.accounts.key, tables.components.find, settled)
        watchlist = Watchlist(state, policy.components.radius, policy.members)
        self.lists = [*[held for held in self.lists if held.state.to_ms > end_ms], watchlist]
        queue, self.queue = self.queue, []
        for uses, ts_ms in queue:
            self._check(watchlist, uses, ts_ms, output)
            later = np.flatnonzero(ts_ms >= end_ms + self.round_ms)
            if later.size:
                self.queue.append((uses.take(later), ts_ms[later]))
