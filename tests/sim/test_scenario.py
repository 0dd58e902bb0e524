"""What a scenario promises: sizes, truth, valid events, bounded disorder, the same bytes again."""

import gzip
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import orjson
import pytest
import zstandard

from streamproc.contract import schemas
from streamproc.sim.scenario import SCENARIOS, Stream, draw_stream, recent, simulate, simulate_to, write
from streamproc.sim.twins import KIND_NAMES, KINDS

POOLS = tuple(name for name in SCENARIOS if name != "control")
DAY_MS = 86_400_000


@pytest.fixture(scope="module", params=list(SCENARIOS))
def named(request: pytest.FixtureRequest) -> tuple[str, Stream]:
    return request.param, simulate(request.param, seed=11, accounts=1000, days=4.0)


def lines(stream: Stream) -> bytes:
    return b"\n".join(orjson.dumps(row) for row in (*stream.events, *stream.truth))


def members_of(stream: Stream) -> set[str]:
    return {row["account"] for row in stream.truth if row["kind"] == "campaign"}


def test_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    digests = [
        hashlib.sha256(lines(simulate("slow_drip", seed=seed, accounts=120, days=2.0))).hexdigest()
        for seed in (3, 3, 4)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_unknown_scenario_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ValueError, match="sync_pool, quiet_pool"):
        simulate("loud_pool", seed=1)


def test_events_are_valid_and_carry_nearly_every_field(named: tuple[str, Stream]) -> None:
    schema = schemas.load("request-event")
    validator = jsonschema.Draft202012Validator(schema)
    events = named[1].events
    sample = events[:: max(1, len(events) // 500)]
    for event in sample:
        validator.validate(event)
    seen = {field for event in sample for field in event}
    assert set(schema["properties"]) - seen <= {"sample_rate"}
    assert np.mean([len(event) for event in sample]) > 38


def test_ids_are_unique_and_of_one_format(named: tuple[str, Stream]) -> None:
    events = named[1].events
    assert len({event["id"] for event in events}) == len(events)
    for field in ("id", "account", "key", "ip", "template_fp", "task_fp"):
        assert {len(event[field]) for event in events} == {16}


def test_arrival_is_out_of_order_by_ten_minutes_at_most_and_mostly_under_one(named: tuple[str, Stream]) -> None:
    ts = np.array([event["ts_ms"] for event in named[1].events])
    behind_s = (np.maximum.accumulate(ts) - ts) / 1000.0
    assert 0.0 < behind_s.max() <= 600.0
    assert np.mean(behind_s < 60.0) > 0.95


def test_truth_has_one_line_for_every_account_that_made_a_request(named: tuple[str, Stream]) -> None:
    name, stream = named
    assert sorted({event["account"] for event in stream.events}) == [row["account"] for row in stream.truth]
    first: dict[str, int] = {}
    for event in stream.events:
        first[event["account"]] = min(event["ts_ms"], first.get(event["account"], event["ts_ms"]))
    for row in stream.truth:
        assert set(row) == {"account", "kind", "name", "campaign", "from_ms"}
        member = row["kind"] == "campaign"
        assert (row["campaign"], row["from_ms"]) == (("c1", first[row["account"]]) if member else (None, None))
    assert bool(members_of(stream)) == (name != "control")
    assert stream.campaign_requests == []


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_sizes_at_full_scale(scenario: str) -> None:
    part, _ = draw_stream(scenario, seed=5, accounts=2500, days=4.0)
    active = np.bincount(part.requests.who, minlength=len(part.accounts.account)) > 0
    members = int((part.accounts.campaign & active).sum())
    assert (60 <= members <= 180) if scenario != "control" else members == 0
    kinds = Counter(part.accounts.kind[~part.accounts.campaign].tolist())
    assert set(kinds) == set(range(len(KIND_NAMES)))
    assert 60 <= kinds[KIND_NAMES.index("lone_worker")] <= 180
    assert 2500 <= sum(kinds.values()) <= 2500 * 1.05
    assert 9 <= len(part.requests.who) / len(part.accounts.account) / 4.0 <= 24


def test_quiet_accounts_stay_under_ten_requests_on_every_day() -> None:
    for seed in (1, 2, 3):
        stream = simulate("quiet_pool", seed=seed, accounts=1000)
        members = members_of(stream)
        days = Counter((e["account"], e["ts_ms"] // DAY_MS) for e in stream.events if e["account"] in members)
        assert max(days.values()) < 10


def test_half_of_a_quiet_pools_templates_have_lawful_users() -> None:
    stream = simulate("quiet_pool", seed=2, accounts=1000)
    members = members_of(stream)
    users: dict[str, set[bool]] = defaultdict(set)
    for event in stream.events:
        users[event["template_fp"]].add(event["account"] in members)
    shared = [lawful for lawful in users.values() if True in lawful]
    assert 12 <= len(shared) <= 24
    assert 0.4 <= np.mean([len(who) == 2 for who in shared]) <= 0.6


def test_a_slow_pools_nonces_flip_one_to_four_bits_in_every_prompt() -> None:
    part, world = draw_stream("slow_drip", seed=4, accounts=600, days=3.0)
    members = part.accounts.campaign[part.requests.who]
    flipped = np.array([int(mask).bit_count() for mask in part.requests.mask[members].tolist()])
    assert (flipped.min(), flipped.max()) == (1, 4)
    assert len(world.deck.all().value) == world.deck.size


def test_half_of_a_pivot_pool_moves_to_the_new_model_within_a_day_of_its_release() -> None:
    part, world = draw_stream("pivot_pool", seed=6, accounts=1000, days=4.0)
    release_s = world.calendar.release_s
    assert release_s is not None
    adopts = part.accounts.adopts_s[part.accounts.campaign]
    moved = (adopts >= release_s) & (adopts <= release_s + 86_400.0)
    assert abs(moved.mean() - 0.5) < 0.02
    assert (adopts[~moved] > 100 * 86_400.0).all()
    stream = simulate("pivot_pool", seed=6, accounts=1000)
    members, release_ms = members_of(stream), 1_772_409_600_000 + int(release_s * 1000)
    models: dict[str, set[str]] = defaultdict(set)
    for event in stream.events:
        if event["account"] in members and event["ts_ms"] > release_ms + DAY_MS:
            models[event["account"]].add(event["model"])
    assert all(used == {"m-large-4"} or "m-large-4" not in used for used in models.values())
    assert 0.4 < np.mean([used == {"m-large-4"} for used in models.values()]) < 0.6


def test_a_third_of_styles_gives_each_member_a_token_habit() -> None:
    habits = []
    for seed in range(24):
        part, _ = draw_stream("sync_pool", seed=seed, accounts=150, days=1.0)
        habit = np.unique(part.accounts.habit[part.accounts.campaign])
        lone = part.accounts.habit[part.accounts.kind == KIND_NAMES.index("lone_worker")]
        assert np.isin(habit, lone).all()
        habits.append(habit[0] > 0)
    assert 0.15 < np.mean(habits) < 0.55


def test_tasks_are_shared_across_campaign_and_lawful_users_and_among_lawful_groups() -> None:
    stream = simulate("sync_pool", seed=7, accounts=1000)
    members = members_of(stream)
    kind = {row["account"]: row["name"] for row in stream.truth}
    asked: dict[str, set[str]] = defaultdict(set)
    for event in stream.events:
        asked[event["task_fp"]].add(event["account"])
    of_members = [who for who in asked.values() if who & members]
    assert np.mean([bool(who - members) for who in of_members]) > 0.02
    kinds = {kind[a] for who in asked.values() if len(who) > 2 for a in who}
    assert {"class_room", "scheduled_app", "eval_lab"} <= kinds


def test_honest_groups_share_templates_in_communities_of_ten_to_a_hundred_and_fifty() -> None:
    sizes = [kind.size for kind in KINDS if kind.size != (1, 1)]
    assert all(low >= 6 and high <= 150 for low, high in sizes)
    stream = simulate("control", seed=8, accounts=2500)
    holders: dict[str, set[str]] = defaultdict(set)
    for event in stream.events:
        holders[event["template_fp"]].add(event["account"])
    many = [len(who) for who in holders.values() if len(who) >= 3]
    assert len(many) > 300
    assert np.mean([len(who) == 1 for who in holders.values()]) > 0.9


def test_event_days_come_in_some_streams_and_leave_their_marks() -> None:
    seen: Counter[str] = Counter()
    for seed in range(12):
        part, world = draw_stream("control", seed=seed, accounts=300, days=3.0)
        days = world.calendar
        seen.update(name for name in days.__dataclass_fields__ if getattr(days, name) is not None)
        assert (part.requests.status == 402).any() == (days.mistake_s is not None)
        if days.outage_s is not None:
            near = (part.requests.at_s >= days.outage_s) & (part.requests.at_s < days.outage_s + 1200)
            assert np.mean(part.requests.status[near] != 200) > 0.3
    assert all(0 < seen[name] < 12 for name in ("viral_s", "outage_s", "release_s", "mistake_s"))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_written_files_read_back_equal(tmp_path: Path, suffix: str) -> None:
    stream = simulate("quiet_pool", seed=1, accounts=60, days=1.0)
    mixed = Stream(stream.events, stream.truth, [{"id": "00", "campaign": "c1"}])
    write(mixed, tmp_path / f"events.jsonl{suffix}", tmp_path / f"truth.jsonl{suffix}")
    unpackers: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        ".gz": gzip.decompress,
        ".zst": lambda data: zstandard.ZstdDecompressor().stream_reader(data).read(),
    }

    def read(name: str) -> list[dict[str, Any]]:
        data = unpackers[suffix]((tmp_path / f"{name}{suffix}").read_bytes())
        return [orjson.loads(line) for line in data.splitlines()]

    assert read("events.jsonl") == stream.events
    assert read("truth.jsonl") == stream.truth
    assert read("truth.requests.jsonl") == mixed.campaign_requests


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_stream_written_as_it_is_made_has_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    stream = simulate("sync_pool", seed=2, accounts=60, days=1.0)
    whole, made = tmp_path / f"whole{suffix}", tmp_path / f"made{suffix}"
    write(stream, whole, tmp_path / "whole_truth")
    count = simulate_to(made, tmp_path / "made_truth", "sync_pool", seed=2, accounts=60, days=1.0)
    assert count == len(stream.events)
    assert made.read_bytes() == whole.read_bytes()
    assert (tmp_path / "made_truth").read_bytes() == (tmp_path / "whole_truth").read_bytes()


def test_recent_events_are_the_same_some_days_later(named: tuple[str, Stream]) -> None:
    events = named[1].events
    last_ms = max(event["ts_ms"] for event in events)
    now_ms = last_ms + 100 * DAY_MS + 3_600_000
    moved = list(recent(events, now_ms))
    assert {new["ts_ms"] - old["ts_ms"] for new, old in zip(moved, events, strict=True)} == {100 * DAY_MS}
    assert {new["signup_ms"] - old["signup_ms"] for new, old in zip(moved, events, strict=True)} == {100 * DAY_MS}
    times = {"ts_ms": 0, "signup_ms": 0}
    assert [new | times for new in moved] == [old | times for old in events]
