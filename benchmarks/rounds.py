"""A round's time, and the memory and CPU of the global part, by the number of active accounts.

    python benchmarks/rounds.py [--accounts 10000 100000 1000000] [--uses 9] [--seen-once 10000000]

Made-up uses go straight into the campaigns reducer (no JSON): 72 hours of `--uses` an account, a third of them in
templates shared by some 20 to 60 accounts.  `--seen-once` is a flood instead: so many accounts in the 72 hours, each
with one use in a template of its own.  Prints the last round's time, also for 1,000 accounts, CPU an use, and resident
memory at its peak; of a flood every ninth hour on the way, to show that neither grows.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from streamproc import heap
from streamproc.core import policy
from streamproc.core.accounts.batch import Batch
from streamproc.core.arrays import Keys
from streamproc.core.campaigns.reducer import Campaigns
from streamproc.core.uses import SERVED, Uses

HOURS, START_MS, SEED = 72, 1_772_409_600_000, 11
SLOT_MS = 600_000
GROUP = 40  # accounts that share a set of templates
TEMPLATES = 12  # of such a set


def main() -> None:
    """One process a size, so that memory is that size's own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--accounts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--uses", type=float, default=9.0)
    parser.add_argument("--seen-once", type=int, default=0, metavar="ACCOUNTS")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seen_once:
        flood(options.seen_once)
        return
    if options.one:
        measure(options.accounts[0], options.uses)
        return
    for accounts in options.accounts:
        command = [sys.executable, __file__, "--one", "--accounts", str(accounts), "--uses", str(options.uses)]
        subprocess.run(command, check=True)


def measure(accounts: int, uses: float) -> None:
    """Run 72 hours of one size and print its row."""
    campaigns = Campaigns(policy.default(), 1)
    started, counted = time.process_time(), 0
    for batch in batches(accounts, uses):
        counted += len(batch.uses)
        observe(campaigns, batch)
    cpu = time.process_time() - started
    began = time.process_time()
    campaigns.idle(0, START_MS + HOURS * 3_600_000)
    last = time.process_time() - began
    print(
        f"{accounts:>9,} accounts  {counted:>10,} uses  {cpu / counted * 1e6:6.2f} us a use  "
        f"last round {last * 1e3:8.0f} ms ({last / accounts * 1e6:5.1f} ms a 1,000)  {peak_gib():5.2f} GiB",
        flush=True,
    )


def flood(accounts: int) -> None:
    """Run 72 hours in which every account and every value is new; print the cost of each ninth hour."""
    campaigns = Campaigns(policy.default(), 1)
    rng = np.random.default_rng(SEED)
    per_hour, hours = accounts // HOURS, HOURS // 8
    for hour in range(0, HOURS, hours):
        started, evicted = time.process_time(), 0
        for number in range(hour * 6, (hour + hours) * 6):
            keys = rng.integers(1, 2**63, per_hour // 6).astype(np.uint64)
            counts = observe(campaigns, uses_of(rng, number, keys, rng.permutation(keys)))
            evicted += counts["evicted:accounts"]
        cpu = time.process_time() - started
        print(
            f"{hour + hours:>2} hours  {len(campaigns.tables.accounts):>9,} accounts held  {evicted:>9,} evicted  "
            f"{len(campaigns.tables.components):>9,} components  {cpu / (per_hour * hours) * 1e6:6.2f} us a use  "
            f"{peak_gib():5.2f} GiB",
            flush=True,
        )


def observe(campaigns: Campaigns, batch: Batch) -> Counter[str]:
    """Pass a batch on as the worker does; its counts."""
    output = campaigns.observe(batch)
    if output.rounds:
        heap.trim()
    return output.counts


def peak_gib() -> float:
    """The most memory that was ever resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def batches(accounts: int, uses: float) -> Iterator[Batch]:
    """Six batches an hour, each of the uses of a slot."""
    rng = np.random.default_rng(SEED)
    keys = rng.integers(1, 2**63, accounts).astype(np.uint64)
    shared = rng.integers(1, 2**63, (accounts // GROUP + 1, TEMPLATES)).astype(np.uint64)
    per_slot = int(accounts * uses / HOURS / 6)
    for number in range(HOURS * 6):
        yield slot(rng, keys, shared, number, per_slot)


def slot(rng: np.random.Generator, keys: Keys, shared: Keys, number: int, n: int) -> Batch:
    """The uses of one slot."""
    account = rng.integers(0, keys.size, n)
    own = rng.integers(1, 2**63, n).astype(np.uint64)
    template = np.where(rng.random(n) < 1 / 3, shared[account // GROUP, rng.integers(0, TEMPLATES, n)], own)
    return uses_of(rng, number, keys[account], template)


def uses_of(rng: np.random.Generator, number: int, used: Keys, template: Keys) -> Batch:
    """The batch of slot `number` in which the accounts `used` (n,) use the templates given."""
    n = used.size
    ts_ms = START_MS + number * SLOT_MS + np.sort(rng.integers(0, SLOT_MS, n))
    small = np.zeros(n, np.uint8)
    columns = Uses(
        account=used, ts_ms=ts_ms, template=template, org=used, client=used % np.uint64(9),
        client_full=used % np.uint64(99),
        pathway=used % np.uint64(3), program=np.zeros(n, np.uint64), signup_ms=np.full(n, START_MS - 86_400_000),
        tok_in=rng.integers(100, 2000, n).astype(np.int32), tok_out=rng.integers(50, 900, n).astype(np.int32),
        turns=small, flags=small + np.uint8(SERVED), task_class=small, elicits=small,
        names={int(key): f"{int(key):016x}" for key in np.unique(used)},
    )  # fmt: skip
    return Batch(0, number + 1, START_MS + number * SLOT_MS, np.full(n, number), columns)


if __name__ == "__main__":
    main()
