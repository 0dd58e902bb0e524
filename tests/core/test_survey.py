"""What a round says of those that came near and were left alone, and of what was turned away."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache

import numpy as np
import orjson
import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from streamproc.contract import Campaign, schemas
from streamproc.contract.errors import EventError
from streamproc.contract.rounds import KEY, RoundEvent, decode_round, encode_round
from streamproc.core import policy as policies
from streamproc.core.campaigns.members import CoreTraffic
from streamproc.core.campaigns.memory import Memory, Standing
from streamproc.core.campaigns.outside import outside
from streamproc.core.campaigns.turned_away import TurnedAway
from streamproc.replay import Replayed, replay
from streamproc.sim import scenario
from tests.core.streams import HOUR_MS, Said, cut, messages, run, small_policy, table_of


@cache
def said() -> Said:
    return run(cut(messages(9), ()))


@cache
def simulated() -> Replayed:
    """A quiet pool among all the lawful groups that the simulator has."""
    stream = scenario.simulate("quiet_pool", seed=3, accounts=900, days=2.5)
    return replay(map(orjson.dumps, stream.events), policies.default())


def test_every_round_has_an_event_that_the_schema_allows_and_that_is_read_again() -> None:
    surveys = simulated().surveys
    assert len(surveys) == 30
    valid = Draft202012Validator(schemas.load("round-event"))
    for event in surveys:
        text = encode_round(event)
        valid.validate(orjson.loads(text))
        assert list(orjson.loads(text)) == list(schemas.load("round-event")["properties"])
        assert decode_round(text) == event
        assert event.key == KEY
        assert event.until_ms - event.since_ms == 2 * HOUR_MS
    assert [event.seq for event in surveys] == sorted({event.seq for event in surveys})


@pytest.mark.parametrize("value", [b"", b"[]", b'{"v":2}', b"\xff", b'{"v":1,"seq":1}'])
def test_what_is_no_round_is_refused_without_its_content(value: bytes) -> None:
    with pytest.raises(EventError):
        decode_round(value)


def test_communities_that_were_no_hit_are_told_the_nearest_to_their_threshold_first() -> None:
    told = [one for event in simulated().surveys for one in event.nearest]
    for event in simulated().surveys:
        margins = [round(one.margin, 4) for one in event.nearest]
        assert margins == sorted(margins, reverse=True)
    policy = policies.default()
    for one in told:
        assert one.short_of
        assert ("score" in one.short_of) == (one.margin <= 0)
        assert ("organisations" in one.short_of) == (one.organisations < policy.confirm.min_organisations)
        assert one.threshold in policy.score.thresholds[policy.time.view_hours.index(one.view_hours)]
        weights = [abs(reason.log10_lr) for reason in one.evidence]
        assert weights == sorted(weights, reverse=True)
        assert one.links
    assert {"score", "organisations"} <= {reason for one in told for reason in one.short_of}


def test_a_community_is_told_once_however_many_views_show_it() -> None:
    for event in simulated().surveys:
        groups = [frozenset(link.value for link in one.links) for one in event.nearest]
        assert len(set(groups)) == len(groups)


def test_the_nearest_accounts_beside_a_confirmed_campaign_are_not_limited() -> None:
    limited: dict[str, str] = {}
    decisions = sorted(simulated().enforcements, key=lambda one: one.seq)
    found = 0
    for event in simulated().surveys:
        limited |= {one.subject.id: one.action for one in decisions if one.seq == event.seq}
        for campaign in event.campaigns:
            assert campaign.outsiders >= len(campaign.nearest)
            for one in campaign.nearest:
                assert limited.get(one.account, "release") in {"observe", "verify", "release"}
                found += 1
    assert found


def test_what_members_were_served_adds_up_and_what_was_refused_is_told_while_they_are_limited() -> None:
    rounds = [one for event in said().surveys for one in event.campaigns]
    (name,) = {one.campaign for one in rounds if one.state == "confirmed"}
    last = [event for event in said().campaigns if event.campaign == name][-1]
    ours = [one for one in rounds if one.campaign == name]
    assert 0 < sum(one.served for one in ours) <= last.exchanges + last.members * small_policy().members.min_requests
    refused = sum(one.turned_away for one in ours)
    assert 0 < refused <= 6 * 12
    limited = {event.subject.id for event in said().enforcements if event.action in {"throttle", "suspend"}}
    assert {f"m{number}" for number in range(6)} & limited


def test_a_confirmed_campaign_is_told_with_the_evidence_of_its_clearest_round_and_a_round_with_its_own() -> None:
    confirmed = False
    clearest = -math.inf
    events = {event.seq: event for event in said().campaigns if event.state in {"suspected", "confirmed"}}
    weaker = 0
    for survey in said().surveys:
        for one in survey.campaigns:
            event = events.get(survey.seq)
            if event is None or event.campaign != one.campaign or one.log10_lr is None:
                continue
            clearest = max(clearest, one.log10_lr) if confirmed else one.log10_lr
            assert event.log10_lr == clearest
            assert event.log10_lr == pytest.approx(_sum_of(event), abs=0.01)
            weaker += one.log10_lr < clearest
            confirmed = event.state == "confirmed"
    assert weaker


def _sum_of(event: Campaign) -> float:
    """The evidence added up, with the intercept of the scorecard."""
    return sum(one.log10_lr for one in event.evidence) + small_policy().score.intercept / math.log(10)


def test_outsiders_are_those_with_traffic_in_the_core_who_are_no_members_the_nearest_first() -> None:
    table = table_of(5)
    traffic = CoreTraffic(
        requests=np.array([9, 9, 9, 1, 0]), components=np.array([3, 3, 3, 1, 0]),
        share=np.array([0.9, 0.6, 0.5, 1.0, 0.0]), exclusive=np.array([0.9, 0.4, 0.9, 1.0, 0.0]),
    )  # fmt: skip
    told = outside(traffic, table.key[:1], table, small_policy().members)
    assert told.accounts == 3
    assert [one.account for _, one in told.nearest] == [table.ids[2], table.ids[1]]
    assert told.nearest[0][1].share == 0.5


def test_what_was_turned_away_is_counted_for_the_campaign_that_limits_the_account_and_begins_anew() -> None:
    memory = Memory()
    for key, campaign in ((1, "c1"), (2, "c1"), (3, "c2"), (4, None)):
        memory.standings[key] = Standing(f"a{key}", "throttle", HOUR_MS, campaign, 1, 0.9)
    count = TurnedAway()
    count.add(np.array([1, 1, 2, 4, 5], np.uint64))
    count.add(np.array([1, 3], np.uint64))
    restored = TurnedAway()
    restored.load(count.arrays())
    for one in (count, restored):
        assert one.take(memory) == Counter(c1=4, c2=1)
        assert one.take(memory) == Counter()


def test_a_number_that_is_none_is_not_written() -> None:
    event: RoundEvent = next(event for event in simulated().surveys if event.nearest)
    broken = replace(event.nearest[0], score=float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        encode_round(replace(event, nearest=(broken,)))
