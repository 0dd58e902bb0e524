"""What the engine says is a function of the events: not of chunks, partitions, restarts or the order of arrival."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.core.accounts import batch as batches
from streamproc.core.accounts.reducer import Accounts
from streamproc.core.campaigns.reducer import Campaigns
from streamproc.core.engine import Engine
from streamproc.replay import partition_of
from tests.core.streams import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    Message,
    Pipeline,
    Said,
    cut,
    messages,
    reordered,
    run,
    small_policy,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.core.streams import Chunk

DENSE = (1, 3, 9, 21)  # seeds whose streams leave none of five partitions without events for long
SEEDS = st.sampled_from(DENSE)
SIZES = st.lists(st.integers(1, 400), max_size=12)
BEYOND = 0.02  # share of events that come later than is allowed


@cache
def stream(seed: int, beyond: float = 0.0) -> tuple[Message, ...]:
    return tuple(messages(seed, beyond=beyond))


@cache
def whole(seed: int, beyond: float = 0.0) -> Said:
    """What is said of the whole stream in one chunk."""
    return run(cut(stream(seed, beyond), ()))


def test_the_streams_hold_what_is_to_be_tested() -> None:
    said = whole(1)
    assert {"observe", "throttle", "suspend", "verify", "release"} <= {event.action for event in said.enforcements}
    assert {"suspected", "confirmed", "contained"} <= {event.state for event in said.campaigns}
    assert Counter(event.seq % 8 for event in said.enforcements)[1] >= 5, "the watchlist's decisions"
    assert {"empty", "not_json", "missing_field", "future"} <= {reason for _, _, reason, _, _ in said.dead}
    assert said.counts["duplicates"] > 10
    assert said.counts["late"] == 0


@pytest.mark.parametrize("seed", DENSE)
def test_in_each_partition_of_the_streams_three_accounts_show_every_half_hour(seed: int) -> None:
    """A partition's time is what two accounts have shown: in one that is nearly silent it stands still."""
    for partitions in (1, 2, 5):
        for partition in range(partitions):
            ours = [m.arrives_ms for m in stream(seed) if partition_of(m.account, partitions) == partition]
            assert max(later - one for one, later in zip(ours, ours[3:], strict=False)) < 30 * MINUTE_MS


# Chunks.


@settings(max_examples=8)
@given(seed=SEEDS, sizes=SIZES)
def test_chunks_change_nothing(seed: int, sizes: list[int]) -> None:
    assert run(cut(stream(seed), sizes)).whole() == whole(seed).whole()


@settings(max_examples=6)
@given(seed=SEEDS, sizes=SIZES)
def test_chunks_change_nothing_when_events_come_too_late(seed: int, sizes: list[int]) -> None:
    assert run(cut(stream(seed, BEYOND), sizes)).whole() == whole(seed, BEYOND).whole()


@pytest.mark.parametrize("beyond", [0.0, BEYOND])
def test_one_message_at_a_time_changes_nothing(beyond: float) -> None:
    sent = stream(3, beyond)
    single = run(cut(sent, [1] * len(sent)))
    assert single.whole() == whole(3, beyond).whole()
    assert (single.counts["late"] > 0) == (beyond > 0)


@pytest.mark.parametrize("seed", [1, 3])
def test_chunks_change_nothing_with_one_view(seed: int) -> None:
    """Accounts are forgotten while a watchlist that counts them still holds."""
    policy = small_policy()
    policy = msgspec.structs.replace(
        policy,
        time=msgspec.structs.replace(policy.time, view_hours=(1,)),
        score=msgspec.structs.replace(policy.score, thresholds=policy.score.thresholds[:1]),
    )
    pieces = run(cut(stream(seed), [9] * 200), policy=policy)
    assert pieces.whole() == run(cut(stream(seed), ()), policy=policy).whole()


def test_what_was_served_to_campaigns_is_counted_as_their_last_events_say() -> None:
    said = whole(9)
    last = {one.campaign: one for one in said.campaigns}
    leaked = sum(one.leaked_before_action for one in last.values())
    assert said.counts["served:before"] == leaked > 0
    assert said.counts["served:after"] >= sum(one.exchanges for one in last.values()) - leaked > 0


def test_the_engine_says_what_the_two_reducers_say() -> None:
    engine = Engine(small_policy())
    said = Said()
    for _, values, offsets in cut(stream(1), [100] * 5):
        said.hear(engine.observe(0, values, offsets))
    said.hear(engine.flush())
    assert said.decisions() == whole(1).decisions()


# Partitions.


@st.composite
def dealings(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int]]]:
    """A seed, a number of partitions, and an order of chunks as (partition, messages)."""
    partitions = draw(st.sampled_from([1, 2, 5]))
    chunk = st.tuples(st.integers(0, partitions - 1), st.integers(1, 250))
    return draw(SEEDS), partitions, draw(st.lists(chunk, max_size=25))


def dealt(sent: Sequence[Message], partitions: int, order: Sequence[tuple[int, int]]) -> Iterator[Chunk]:
    """Messages dealt by account, taken in the order given; then what is left, the last partition first."""
    queues: list[list[bytes | None]] = [[] for _ in range(partitions)]
    for message in sent:
        queues[partition_of(message.account, partitions)].append(message.value)
    at = [0] * partitions
    for partition, size in (*order, *((p, len(sent)) for p in reversed(range(partitions)))):
        values = queues[partition][at[partition] : at[partition] + size]
        if values:
            yield partition, values, range(at[partition], at[partition] + len(values))
            at[partition] += len(values)


@settings(max_examples=10)
@given(dealings())
def test_partitions_and_their_interleaving_change_nothing(dealing: tuple[int, int, list[tuple[int, int]]]) -> None:
    seed, partitions, order = dealing
    said = run(dealt(stream(seed), partitions, order), partitions)
    assert said.decisions() == whole(seed).decisions()
    assert said.counts["uses"] == whole(seed).counts["uses"]
    assert said.counts["late"] == 0


@pytest.mark.parametrize("partitions", [5])
def test_partitions_as_they_come_live_change_nothing(partitions: int) -> None:
    order = [(partition_of(message.account, partitions), 1) for message in stream(9)]
    assert run(dealt(stream(9), partitions, order), partitions).decisions() == whole(9).decisions()


# Order of arrival.


@cache
def prompt(seed: int) -> tuple[Message, ...]:
    """A stream whose events are so little late that they may come later still."""
    return tuple(messages(seed, most_late_ms=4 * MINUTE_MS, copies=0, bad=0))


@cache
def of_prompt(seed: int) -> Said:
    return run(cut(prompt(seed), ()))


@settings(max_examples=5)
@given(seed=SEEDS, shuffle=st.integers(0, 1000))
def test_order_of_arrival_within_the_lateness_changes_nothing(seed: int, shuffle: int) -> None:
    sent = prompt(seed)
    again = reordered(sent, shuffle, 4 * MINUTE_MS)
    assert [m.value for m in again] != [m.value for m in sent]
    said = run(cut(again, ()))
    assert said.counts["late"] == 0
    assert said.decisions() == of_prompt(seed).decisions()


# Restarts.


@settings(max_examples=6)
@given(dealings(), st.sets(st.integers(0, 25), min_size=1, max_size=4))
def test_a_restart_from_a_snapshot_changes_nothing(
    dealing: tuple[int, int, list[tuple[int, int]]], restarts: set[int]
) -> None:
    seed, partitions, order = dealing
    # Both runs take the same chunks: what they say must be equal without any other property.
    plain = run(dealt(stream(seed), partitions, order), partitions)
    restarted = run(
        dealt(stream(seed), partitions, order),
        partitions,
        between=lambda at, pipeline: pipeline.restart() if at in restarts else None,
    )
    assert restarted.whole() == plain.whole()


def test_a_restart_before_each_chunk_changes_nothing() -> None:
    said = run(cut(stream(3), [25] * 60), between=lambda _, pipeline: pipeline.restart())
    assert said.whole() == run(cut(stream(3), [25] * 60)).whole()


@settings(max_examples=5)
@given(seed=SEEDS, sizes=SIZES, again=st.integers(0, 12))
def test_uses_sent_twice_count_once(seed: int, sizes: list[int], again: int) -> None:
    """A worker falls back to a snapshot of the accounts, cuts its runs elsewhere and sends uses again."""
    policy = small_policy()
    sent = stream(seed)
    accounts, campaigns, said = Accounts(0, policy), Campaigns(policy, 1), Said()
    for _, values, offsets in islice(cut(sent, sizes), again):
        said.hear(campaigns.observe(accounts.observe(values, offsets)))
    fallen = Accounts(0, policy)
    for _, values, offsets in cut(sent, [37] * 20):
        said.hear(campaigns.observe(fallen.observe(values, offsets)))
    said.hear(campaigns.observe(fallen.flush()))
    said.hear(campaigns.idle(0, campaigns.end_ms()))
    assert said.decisions() == whole(seed).decisions()
    assert said.counts["uses"] == whole(seed).counts["uses"]


# What travels.


@settings(max_examples=20)
@given(seed=SEEDS, start=st.integers(0, 900), size=st.integers(0, 200))
def test_a_batch_is_the_same_after_its_journey(seed: int, start: int, size: int) -> None:
    accounts = Accounts(0, small_policy())
    values = [message.value for message in stream(seed)]
    accounts.observe(values[:start], range(start))
    sent = accounts.observe(values[start : start + size], range(start, start + size))
    data = batches.encode(sent)
    assert batches.encode(batches.decode(data)) == data
    assert batches.decode(data).uses.names == sent.uses.names


@settings(max_examples=10)
@given(seed=SEEDS, at=st.integers(0, 1000))
def test_the_state_of_accounts_is_the_same_after_its_journey(seed: int, at: int) -> None:
    accounts, again = Accounts(0, small_policy()), Accounts(0, small_policy())
    accounts.observe([message.value for message in stream(seed)[:at]], range(min(at, len(stream(seed)))))
    again.restore(accounts.snapshot())
    assert again.snapshot() == accounts.snapshot()


def test_the_state_of_campaigns_is_the_same_after_its_journey() -> None:
    pipeline = Pipeline()
    for chunk in islice(cut(stream(1), [150] * 9), 6):
        pipeline.observe(chunk)
        pieces = pipeline.campaigns.snapshot()
        again = Campaigns(small_policy(), 1)
        again.restore(pieces.data, {name: make() for name, make in pieces.blocks.items()}.__getitem__)
        copied = again.snapshot()
        assert {name: make() for name, make in copied.blocks.items()} == {
            name: make() for name, make in pieces.blocks.items()
        }
        assert again.snapshot().data == copied.data


# Clocks.


@pytest.mark.parametrize("by_ms", [2 * HOUR_MS, 30 * DAY_MS, -30 * DAY_MS])
@pytest.mark.parametrize("seed", [1, 21])
def test_a_skewed_clock_of_one_account_changes_nothing_for_the_others(seed: int, by_ms: int) -> None:
    plain = whole(seed)
    said = run(cut(messages(seed, skewed=("skewed", by_ms)), [50] * 10))
    assert said.acts(without="skewed") == plain.acts()
    assert said.counts["late"] <= 60, "only its own events are late"
    ahead = sum(b'"account":"skewed"' in (value or b"") for _, _, reason, _, value in said.dead if reason == "future")
    assert ahead == (60 if by_ms > 0 else 0)
    assert said.counts["uses"] == plain.counts["uses"] + (60 if by_ms < 0 else 0)


@settings(max_examples=3)
@given(seed=SEEDS, by_ms=st.sampled_from([2 * HOUR_MS, 30 * DAY_MS, -30 * DAY_MS]), sizes=SIZES)
def test_a_skewed_clock_gives_the_same_in_any_chunks(seed: int, by_ms: int, sizes: list[int]) -> None:
    sent = messages(seed, skewed=("skewed", by_ms))
    assert run(cut(sent, sizes)).whole() == run(cut(sent, ())).whole()
