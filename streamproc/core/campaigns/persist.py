"""The campaigns reducer's state as pieces: blocks, written once each, and one piece with everything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamproc.core import snapshot, uses
from streamproc.core.campaigns import blocks, written
from streamproc.core.campaigns.memory import Memory, Standing
from streamproc.core.campaigns.null import RunningNull
from streamproc.core.campaigns.watchlist import Watchlist, WatchState

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamproc.core.campaigns.reducer import Campaigns


@dataclass(frozen=True, slots=True)
class _Small:
    """State that is no table: written as JSON."""

    memory: Memory
    lists: list[WatchState]
    watched: list[tuple[int, int, Standing]]


@dataclass(frozen=True, slots=True)
class Pieces:
    """A snapshot: the piece that changes, and the closed blocks by name, whose contents never do."""

    data: bytes
    blocks: dict[str, Callable[[], bytes]]  # made when a store does not have the name yet


def dump(reducer: Campaigns) -> Pieces:
    """All state of the reducer, the next input offset of each partition inside."""
    tables = reducer.tables
    small = _Small(tables.memory, [held.state for held in reducer.lists], reducer.watched)
    waiting = [(slot, part) for slot, parts in reducer.slots.waiting.items() for part in parts]
    meta: dict[str, Any] = {
        "watermarks": reducer.watermarks,
        "next_offsets": reducer.next_offsets,
        "next_slot": reducer.next_slot,
        "blocks": [reducer.block_name(block) for block in reducer.blocks],
        "relieved": reducer.relieved,
        "running": len(reducer.running),
        "waiting": [slot for slot, _ in waiting],
        "queue": len(reducer.queue),
        "nulls": [null.running.snapshot() for null in tables.judge.nulls],
        "small": written.write(small).decode(),
    }
    arrays = snapshot.under("accounts", tables.accounts.arrays())
    arrays |= snapshot.under("components", tables.components.arrays())
    arrays |= snapshot.under("habits", tables.habits.snapshot())
    arrays |= snapshot.under("turned_away", reducer.turned_away.arrays())
    for number, block in enumerate(reducer.running):
        arrays |= snapshot.under(f"running{number}", blocks.to_arrays(block))
    for number, (_, part) in enumerate(waiting):
        arrays |= snapshot.under(f"waiting{number}", uses.to_arrays(part))
    for number, (part, ts_ms) in enumerate(reducer.queue):
        arrays |= snapshot.under(f"queue{number}", uses.to_arrays(part) | {"at_ms": ts_ms})
    return Pieces(snapshot.pack(meta, arrays), {reducer.block_name(b): _piece(b) for b in reducer.blocks})


def load(reducer: Campaigns, data: bytes, block: Callable[[str], bytes]) -> None:
    """Put the state that `dump` wrote into a new reducer; `block` fetches a block's piece by name.

    Raises:
        SnapshotError: a piece is torn, of another format version or of another number of partitions.
    """
    meta, arrays = snapshot.unpack(data)
    if len(meta["watermarks"]) != len(reducer.watermarks):
        raise snapshot.SnapshotError(f"of {len(meta['watermarks'])} partitions, not {len(reducer.watermarks)}")
    reducer.watermarks, reducer.next_offsets = meta["watermarks"], meta["next_offsets"]
    reducer.next_slot, reducer.relieved = meta["next_slot"], meta["relieved"]
    reducer.blocks = [blocks.from_arrays(snapshot.unpack(block(name))[1]) for name in meta["blocks"]]
    reducer.running = [
        blocks.from_arrays(snapshot.within(f"running{number}", arrays)) for number in range(meta["running"])
    ]
    for number, slot in enumerate(meta["waiting"]):
        part = uses.from_arrays(snapshot.within(f"waiting{number}", arrays))
        reducer.slots.waiting.setdefault(slot, []).append(part)
    for number in range(meta["queue"]):
        held = snapshot.within(f"queue{number}", arrays)
        reducer.queue.append((uses.from_arrays(held), held["at_ms"].view(np.int64)))
    _load_tables(reducer, meta, arrays)


def _load_tables(reducer: Campaigns, meta: dict[str, Any], arrays: snapshot.Arrays) -> None:
    tables, policy = reducer.tables, reducer.policy
    tables.accounts.load(snapshot.within("accounts", arrays))
    tables.components.load(snapshot.within("components", arrays))
    tables.habits.restore({name: array.view(np.int64) for name, array in snapshot.within("habits", arrays).items()})
    reducer.turned_away.load(snapshot.within("turned_away", arrays))
    small = written.read(meta["small"].encode(), _Small)
    tables.memory = small.memory
    reducer.watched = small.watched
    reducer.lists = [Watchlist(state, policy.components.radius, policy.members) for state in small.lists]
    for null, state in zip(tables.judge.nulls, meta["nulls"], strict=True):
        null.running = RunningNull.restore(state)


def _piece(block: blocks.Block) -> Callable[[], bytes]:
    return lambda: snapshot.pack({}, blocks.to_arrays(block))
