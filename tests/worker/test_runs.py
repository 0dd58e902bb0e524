from __future__ import annotations

from aiokafka.structs import ConsumerRecord
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streamproc.worker.runs import MAX_RUN_RECORDS, Progress, Run, RunScheduler, cut


def records(*offsets: int, topic: str = "requests") -> list[ConsumerRecord]:
    return [ConsumerRecord(topic, 2, offset, 0, 0, None, b"%d" % offset, None, 0, 1, ()) for offset in offsets]


def test_a_run_says_where_it_lies_and_what_it_holds() -> None:
    run = Run(records(5, 6, 9))
    assert (run.partition, run.first_offset, run.next_offset) == (2, 5, 10)
    assert run.offsets == [5, 6, 9]
    assert run.values == [b"5", b"6", b"9"]


def test_since_gives_what_a_state_has_not_seen() -> None:
    run = Run(records(5, 6, 9))
    assert run.since(5) is run
    assert run.since(0) is run
    part = run.since(7)
    assert part is not None
    assert part.offsets == [9]
    assert run.since(10) is None


@given(st.integers(1, 3 * MAX_RUN_RECORDS))
def test_cutting_keeps_every_record_in_order_in_runs_of_bounded_size(n: int) -> None:
    runs = cut(range(n))
    assert [record for run in runs for record in run.records] == list(range(n))
    assert max(len(run.records) for run in runs) <= MAX_RUN_RECORDS


def test_only_run_topics_are_cut_and_topics_take_turns() -> None:
    fetched = {
        TP("requests", 2): records(*range(MAX_RUN_RECORDS + 1)),
        TP("other", 0): records(0, 1, topic="other"),
    }
    order = [(tp.topic, type(item)) for tp, item in RunScheduler({"requests": True}).iterate(fetched)]
    assert order == [("requests", Run), ("other", ConsumerRecord)] * 2


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
    covered=st.integers(0, 700),
    kept=st.booleans(),
)
def test_nothing_is_committable_beyond_an_open_run_or_beyond_the_snapshot(
    sizes: list[int],
    order: object,
    covered: int,
    kept: bool,  # noqa: FBT001 - drawn by name
) -> None:
    progress = Progress(kept=kept, covered=covered)
    lasts, first = [], 0
    for size in sizes:
        progress.hand_out(first, first + size - 1)
        lasts.append(first + size - 1)
        first += size
    acks = lasts.copy()
    order.shuffle(acks)  # type: ignore[attr-defined]
    open_runs, acked = set(lasts), set()
    for last in acks:
        open_runs.discard(last)
        acked.add(last)
        progress.settle(acked)
        limit = min(open_runs, default=first)  # the offset of an open run's last record may not be passed
        offset = progress.committable()
        if offset is not None:
            assert offset <= limit
            assert not kept or offset <= covered
    assert progress.committable() == (min(first, covered) if kept else first)
    assert not acked
