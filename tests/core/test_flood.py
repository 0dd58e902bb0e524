"""An account that sends a fresh value each time: state keeps its caps, and nobody else notices."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from streamproc.core.accounts.reducer import Accounts
from streamproc.core.campaigns.bands import MAX_CANDIDATES
from tests.core.streams import (
    DAY_MS,
    HOUR_MS,
    HOURS,
    MINUTE_MS,
    START_MS,
    Message,
    Pipeline,
    cut,
    event,
    messages,
    run,
    small_policy,
)

FLOOD = 1500
BUDGET = small_policy().components.new_values_per_account_day


def flood(seed: int, account: str = "flood") -> list[Message]:
    """Requests of one account, each with a template of its own, spread over the stream."""
    rng = np.random.default_rng(seed)
    times = START_MS + 10 * MINUTE_MS + np.sort(rng.integers(0, (HOURS - 1) * HOUR_MS, FLOOD))
    values = rng.integers(1, 2**63, FLOOD)
    return [
        Message(int(ts), account, json.dumps(event(account, int(ts), n, int(value), status=200)).encode())
        for n, (ts, value) in enumerate(zip(times, values, strict=True))
    ]


def mixed(*streams: list[Message]) -> list[Message]:
    return sorted((one for stream in streams for one in stream), key=lambda message: message.arrives_ms)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_flood_of_fresh_values_changes_nothing_for_the_others(seed: int) -> None:
    sent = messages(seed)
    plain, flooded = run(cut(sent, [200] * 9)), run(cut(mixed(sent, flood(seed)), [300] * 12))
    assert flooded.acts(without="flood") == plain.acts()
    assert flooded.counts["evicted:values"] - plain.counts["evicted:values"] == FLOOD - BUDGET
    assert [event for event in flooded.enforcements if event.subject.id == "flood"] == []


def test_a_flood_of_fresh_values_leaves_no_more_than_its_budget() -> None:
    pipeline = Pipeline()
    for chunk in cut(flood(3) + flood(4, "again"), [400] * 8):
        pipeline.observe(chunk)
    pipeline.end()
    components = pipeline.campaigns.tables.components
    assert len(components) <= 2 * BUDGET
    assert components.values <= 2 * BUDGET
    assert sum(map(len, pipeline.campaigns.blocks)) <= 2 * FLOOD


def test_a_flood_of_near_values_fills_a_few_components_to_their_cap() -> None:
    """Nonces flip a few bits of one template."""
    rng = np.random.default_rng(5)
    base = 0x1357_9BDF_0246_8ACE
    sent = []
    for n in range(600):
        value = base
        for bit in rng.choice(64, 3, replace=False).tolist():
            value ^= 1 << bit
        sent.append(Message(0, "a", json.dumps(event(f"a{n % 20}", START_MS + n * 20_000, n, value)).encode()))
    pipeline = Pipeline()
    for chunk in cut(sent, []):
        pipeline.observe(chunk)
    pipeline.end()
    components = pipeline.campaigns.tables.components
    kept = small_policy().components.kept_values
    assert len(components) <= 3, "most values up to 6 bits apart share a band"
    assert kept <= components.values <= kept * len(components)


def test_one_account_cannot_crowd_out_anothers_near_values() -> None:
    """Values that share a band with a template, in numbers beyond those looked at, hide it from no near value."""
    template = 0x1357_9BDF_0246_8ACE
    rng = np.random.default_rng(6)
    crowd = [(int(high) << 16) | (template & 0xFFFF) for high in rng.integers(1, 2**47, 3 * MAX_CANDIDATES)]
    sent = [
        Message(0, "c", json.dumps(event(f"c{n % 4}", START_MS + n * 1000, n, value)).encode())
        for n, value in enumerate(crowd)
    ]
    later = START_MS + HOUR_MS // 2
    variants = [template, template ^ (1 << 20), template ^ (1 << 40) ^ (1 << 50)]
    sent += [
        Message(0, "v", json.dumps(event(f"v{n}", later + n * 5 * MINUTE_MS, n, value)).encode())
        for n, value in enumerate(variants)
    ]
    pipeline = Pipeline()
    for chunk in cut(sent, []):
        pipeline.observe(chunk)
    pipeline.end()
    components = pipeline.campaigns.tables.components
    kept, ids = components.kept(np.arange(components.ids, dtype=np.int32))
    of_variant = ids[np.isin(kept, np.array(variants, np.uint64))]
    assert of_variant.size == 3
    assert np.unique(of_variant).size == 1


def test_the_account_table_keeps_its_cap() -> None:
    """Every account new: the least recently used go, and it is counted."""
    cap = 300
    policy = msgspec.structs.replace(small_policy(), caps=msgspec.structs.replace(small_policy().caps, accounts=cap))
    sent = [
        Message(0, f"n{n}", json.dumps(event(f"n{n}", START_MS + n * 10_000, n, n + 1)).encode()) for n in range(2500)
    ]
    pipeline = Pipeline(policy=policy)
    most = 0
    for chunk in cut(sent, [50] * 50):
        pipeline.observe(chunk)
        most = max(most, len(pipeline.campaigns.tables.accounts))
    a_round = policy.time.round_slots * policy.time.slot_s // 10
    assert most <= cap + a_round + 1, "between rounds it may grow by a round's accounts"
    assert sum(count for name, count in pipeline.said.counts.items() if name == "evicted:accounts") > 1000


def test_the_component_table_keeps_its_cap() -> None:
    components = msgspec.structs.replace(small_policy().components, capacity=200)
    policy = msgspec.structs.replace(small_policy(), components=components)
    rng = np.random.default_rng(7)
    sent = [
        Message(0, "", json.dumps(event(f"n{n % 50}", START_MS + n * 10_000, n, int(value))).encode())
        for n, value in enumerate(rng.integers(1, 2**63, 1500))
    ]
    pipeline = Pipeline(policy=policy)
    for chunk in cut(sent, [100] * 15):
        pipeline.observe(chunk)
        assert len(pipeline.campaigns.tables.components) <= 200


def test_a_flood_of_ids_is_forgotten_after_its_hours() -> None:
    accounts = Accounts(0, small_policy())
    for hour in range(12):
        values = [
            json.dumps(event(f"a{n % 9}", START_MS + hour * HOUR_MS // 2 + n, hour * 1000 + n)).encode()
            for n in range(300)
        ]
        accounts.observe(values, range(hour * 300, hour * 300 + 300))
        assert sum(map(len, accounts.duplicates.generations.values())) <= 300 * 7
        assert len(accounts.clock.shown) < 8


def test_silence_for_a_month_costs_no_month_of_rounds() -> None:
    """After an idle month nothing is left, and time goes on where the events are."""
    pipeline = Pipeline()
    first = [json.dumps(event(f"a{n}", START_MS + n, n, n + 1)).encode() for n in range(9)]
    later = [json.dumps(event(f"b{n}", START_MS + 30 * DAY_MS + n, n, n + 1)).encode() for n in range(9)]
    pipeline.observe((0, first, range(9)))
    pipeline.observe((0, later, range(9, 18)))
    said = pipeline.end()
    assert said.counts["uses"] >= 10
    assert said.rounds <= 2 * max(small_policy().time.view_hours) * 2
    assert pipeline.campaigns.next_slot is not None
    assert pipeline.campaigns.next_slot * pipeline.campaigns.slot_ms >= START_MS + 30 * DAY_MS
