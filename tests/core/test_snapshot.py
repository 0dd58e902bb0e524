"""State on its way to a file and back: whole or refused."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core import snapshot
from streamproc.core.accounts import batch as batches
from streamproc.core.accounts.reducer import Accounts
from streamproc.core.campaigns.reducer import Campaigns
from streamproc.core.snapshot import SnapshotError, pack, under, unpack, within
from tests.core.streams import Pipeline, cut, event, messages, small_policy

META = {"next_offset": 2**53 + 1, "name": "ä", "high_ms": -(1 << 62), "list": [1, None, "x"]}

NO_BLOCKS: dict[str, bytes] = {}


def piece() -> bytes:
    return pack(META, {"a": np.arange(5), "b": np.zeros((2, 3)), "none": np.empty(0, np.uint64)})


def test_a_piece_is_the_same_after_its_journey() -> None:
    meta, arrays = unpack(piece())
    assert meta == META
    assert arrays["a"].tolist() == [0, 1, 2, 3, 4]
    assert [arrays[name].shape for name in ("b", "none")] == [(2, 3), (0,)]
    assert [arrays[name].dtype for name in ("b", "none")] == [np.float64, np.uint64]
    arrays["a"][0] = 9  # what is read can be written on


def test_equal_state_gives_equal_bytes() -> None:
    assert piece() == piece()
    backward = np.arange(10)[::-2]
    assert pack({}, {"a": backward}) == pack({}, {"a": backward.copy()})


def test_a_piece_torn_at_any_byte_is_refused() -> None:
    data = piece()
    for at in range(len(data)):
        with pytest.raises(SnapshotError):
            unpack(data[:at])


def test_a_piece_with_any_byte_changed_is_refused() -> None:
    data = piece()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x40
        with pytest.raises(SnapshotError):
            unpack(bytes(changed))


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    for junk in (data, snapshot.MAGIC + data):
        with pytest.raises(SnapshotError):
            unpack(junk)


def test_more_behind_the_end_is_refused() -> None:
    with pytest.raises(SnapshotError, match="torn"):
        unpack(piece() + b"x")


def test_another_format_version_is_refused_with_what_to_do() -> None:
    data = bytearray(piece())
    struct.pack_into("<I", data, 4, snapshot.VERSION + 1)
    with pytest.raises(SnapshotError, match=f"format version {snapshot.VERSION + 1}, not {snapshot.VERSION}: "):
        unpack(bytes(data))


def test_names_under_a_prefix_come_back_without_it() -> None:
    arrays: snapshot.Arrays = {"a": np.arange(2), "b.c": np.arange(3)}
    both = under("x", arrays) | under("x1", {"a": np.arange(9)})
    assert {name: array.tolist() for name, array in within("x", both).items()} == {"a": [0, 1], "b.c": [0, 1, 2]}


# The reducers' own.


def full() -> Pipeline:
    pipeline = Pipeline(2)
    for chunk in cut(messages(1)[:600], [200, 200]):
        pipeline.observe(chunk)
    return pipeline


def test_a_torn_snapshot_of_a_reducer_is_refused() -> None:
    pipeline = full()
    accounts, campaigns = pipeline.accounts[0].snapshot(), pipeline.campaigns.snapshot()
    with pytest.raises(SnapshotError):
        Accounts(0, small_policy()).restore(accounts[:-1])
    with pytest.raises(SnapshotError):
        Campaigns(small_policy(), 2).restore(campaigns.data[:-1], NO_BLOCKS.__getitem__)


def test_a_torn_block_is_refused() -> None:
    pipeline = Pipeline()
    for chunk in cut(messages(1), [800]):
        pipeline.observe(chunk)
    pieces = pipeline.campaigns.snapshot()
    assert pieces.blocks
    with pytest.raises(SnapshotError):
        Campaigns(small_policy(), 1).restore(pieces.data, lambda name: pieces.blocks[name]()[:-1])


def test_a_snapshot_of_another_partition_or_number_of_them_is_refused() -> None:
    pipeline = full()
    with pytest.raises(SnapshotError, match="partition 0, not 1"):
        Accounts(1, small_policy()).restore(pipeline.accounts[0].snapshot())
    with pytest.raises(SnapshotError, match="2 partitions, not 3"):
        Campaigns(small_policy(), 3).restore(pipeline.campaigns.snapshot().data, NO_BLOCKS.__getitem__)


@pytest.mark.parametrize("value", [None, b"", b"{", b"\xff\xfe"])
def test_messages_held_back_survive_whatever_they_are(value: bytes | None) -> None:
    accounts, again = Accounts(0, small_policy()), Accounts(0, small_policy())
    accounts.observe([value], [5])
    again.restore(accounts.snapshot())
    assert (again.opening, again.next_offset) == (accounts.opening, 6)


LONGEST = "\U0001f600" * 64  # 64 characters of four bytes


@pytest.mark.parametrize("account", ["a", "ä" * 64, LONGEST, "nul\0in it"])
def test_the_longest_id_survives_the_journey_of_a_batch(account: str) -> None:
    accounts = Accounts(0, small_policy())
    accounts.observe([_message(account)], [0])
    batch = accounts.flush()
    assert list(batches.decode(batches.encode(batch)).uses.names.values()) == [account]


def test_the_longest_id_survives_a_snapshot_of_campaigns() -> None:
    accounts, campaigns = Accounts(0, small_policy()), Campaigns(small_policy(), 1)
    accounts.observe([_message(LONGEST)], [0])
    campaigns.observe(accounts.flush())
    campaigns.idle(0, campaigns.end_ms())
    again = Campaigns(small_policy(), 1)
    again.restore(campaigns.snapshot().data, NO_BLOCKS.__getitem__)
    assert list(again.tables.accounts.ids) == [LONGEST]


def _message(account: str) -> bytes:
    return json.dumps(event(account, 1_750_032_000_000, 0, 77) | {"id": "0"}).encode()
