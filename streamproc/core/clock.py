"""Event time: the watermark of a partition, moved by its events alone.

A partition's time is the highest that two of its accounts have shown, so that one account's clock moves nobody
else's time.  An event more than `future` ahead of the watermark counts only once several different accounts in a row
have shown such a time, as after a silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from streamproc.core.arrays import Bools, Ints, Keys
    from streamproc.core.policy import TimePolicy

UNSET_MS = -(1 << 62)


class PartitionClock:
    """The time of one partition: a function of its events in order, whatever the chunks."""

    def __init__(self, policy: TimePolicy) -> None:
        self._lateness_ms = policy.lateness_s * 1000
        self._slack_ms = policy.future_s * 1000 - self._lateness_ms  # above the highest time, not the watermark
        self._accounts = policy.future_accounts
        self.high_ms = UNSET_MS
        self.lead_account = 0  # who showed the highest time of all, which nobody else has yet
        self.lead_ms = UNSET_MS
        self.shown: dict[int, int] = {}  # accounts that showed a time too far ahead, and the latest one of each

    @property
    def watermark_ms(self) -> int:
        """No event before this time is expected any more."""
        return self.high_ms - self._lateness_ms if self.high_ms > UNSET_MS else UNSET_MS

    def start(self, ts_ms: Ints, account: Keys) -> tuple[Bools, Ints]:
        """Set the first time from a partition's first events; answers as `advance` does, and none of them is late.

        Time is the highest that accounts show without a gap above their median: a single clock sets nothing.
        """
        latest: dict[int, int] = {}
        for key, ts in zip(account.tolist(), ts_ms.tolist(), strict=True):
            latest[key] = max(ts, latest.get(key, ts))
        shown = sorted(latest.values())
        middle = (len(shown) - 1) // 2
        high = shown[middle]
        for ts in shown[middle:]:
            high = ts if ts <= high + self._slack_ms else high
        self.high_ms = high
        return ts_ms > high + self._slack_ms, np.full(ts_ms.size, UNSET_MS)

    def advance(self, ts_ms: Ints, account: Keys) -> tuple[Bools, Ints]:
        """Move on by events in order.

        Returns which of them (n,) lie too far in the future, and the watermark (n,) that each one met.
        """
        met = self._together(ts_ms, account)
        if met is not None:
            return np.zeros(ts_ms.size, np.bool_), met - self._lateness_ms
        return self._one_by_one(ts_ms, account)

    def _together(self, ts_ms: Ints, account: Keys) -> Ints | None:
        """Move on by all events at once: the highest time (n,) that each one met, or nothing if one is too far ahead.

        What an event adds is its own time up to the leader's before it, unless it is the leader's own.
        """
        if not ts_ms.size:
            return ts_ms
        lead_ms = np.maximum.accumulate(np.append(max(self.high_ms, self.lead_ms), ts_ms))
        leads = np.flatnonzero(ts_ms > lead_ms[:-1])  # the events that went into the lead
        who = np.append(np.uint64(self.lead_account), account[leads])
        own = account == who[np.searchsorted(leads, np.arange(ts_ms.size))]
        added = np.where(own, UNSET_MS, np.minimum(ts_ms, lead_ms[:-1]))
        high_ms = np.maximum.accumulate(np.append(self.high_ms, added))
        met = high_ms[:-1]
        limit_ms = np.where(own, lead_ms[:-1], np.minimum(lead_ms[:-1], met + self._slack_ms)) + self._slack_ms
        if np.any(ts_ms > limit_ms):
            return None
        self.high_ms = int(high_ms[-1])
        if leads.size:
            self.lead_account, self.lead_ms = int(who[-1]), int(lead_ms[-1])
        self.shown.clear()
        return met

    def _one_by_one(self, ts_ms: Ints, account: Keys) -> tuple[Bools, Ints]:
        """As `advance`, event by event."""
        future = np.zeros(ts_ms.size, np.bool_)
        met = np.empty(ts_ms.size, np.int64)
        for at, (ts, key) in enumerate(zip(ts_ms.tolist(), account.tolist(), strict=True)):
            met[at] = self.high_ms
            if ts > self.high_ms + self._slack_ms and ts > self._limit_ms(key):
                future[at] = not self._agreed(key, ts)
                continue
            if self.shown:
                self.shown.clear()  # others go on as before: whoever was ahead was wrong
            if ts > self.high_ms:
                self._move(key, ts)
        return future, met - self._lateness_ms

    def _limit_ms(self, account: int) -> int:
        """The latest time that `account` may show: after a quiet spell whoever leads carries others a little further.

        An account alone in its partition goes on by its own time.
        """
        lead_ms = max(self.high_ms, self.lead_ms)
        if account != self.lead_account:
            lead_ms = min(lead_ms, self.high_ms + self._slack_ms)
        return lead_ms + self._slack_ms

    def _move(self, account: int, ts_ms: int) -> None:
        """Move to the highest time that two different accounts have shown."""
        if account == self.lead_account:
            self.lead_ms = max(self.lead_ms, ts_ms)
        elif ts_ms > self.lead_ms:
            self.high_ms = max(self.high_ms, self.lead_ms)
            self.lead_account, self.lead_ms = account, ts_ms
        else:
            self.high_ms = ts_ms

    def _agreed(self, account: int, ts_ms: int) -> bool:
        """Whether `account`, showing `ts_ms`, is the last of enough accounts in a row that time has moved on."""
        self.shown[account] = max(ts_ms, self.shown.get(account, ts_ms))
        if len(self.shown) < self._accounts:
            return False
        self.high_ms = min(self.shown.values())
        self.shown = {}
        if ts_ms > self.high_ms + self._slack_ms:
            return False
        self._move(account, ts_ms)
        return True
