from __future__ import annotations

import numpy as np
import orjson
import pytest

from streamproc.contract.labels import Label, LabelSubject
from streamproc.core import policy
from streamproc.core.accounts.batch import Batch
from streamproc.core.accounts.reducer import Accounts
from streamproc.worker.uses_topic import Idle, Message, UsesError, decode, encode

LABEL = Label(
    v=1, id="l1", ts_ms=5, subject=LabelSubject(kind="campaign", id="c1"), label="lawful", who="me", why="a lab"
)


def batch() -> Batch:
    events = [{"v": 1, "id": f"r{n}", "ts_ms": 10**12 + n, "account": f"a{n}"} for n in range(9)]
    return Accounts(2, policy.default()).observe([orjson.dumps(event) for event in events], range(9))


@pytest.mark.parametrize("message", [Idle(3), Idle(0, 17), LABEL])
def test_marks_and_labels_come_back_as_they_were(message: Message) -> None:
    assert decode(encode(message)) == message


def test_a_batch_comes_back_as_it_was_without_what_is_for_its_sender() -> None:
    sent = batch()
    assert len(sent.uses) == 9
    back = decode(encode(sent))
    assert isinstance(back, Batch)
    assert (back.partition, back.next_offset, back.watermark_ms) == (2, 9, sent.watermark_ms)
    assert back.uses.names == sent.uses.names
    np.testing.assert_array_equal(back.offsets, sent.offsets)
    np.testing.assert_array_equal(back.uses.ts_ms, sent.uses.ts_ms)
    assert not back.counts


@pytest.mark.parametrize(
    "data",
    [
        None, b"", b"?", b"B", b"I", b"L", b"I{}", b'I{"partition":"x"}', b"L{}", b'{"v":1}',
        encode(batch())[:-1], encode(batch())[:-1] + b"\0",
    ],
)  # fmt: skip
def test_what_no_worker_wrote_is_told_apart(data: bytes | None) -> None:
    with pytest.raises(UsesError):
        decode(data)
