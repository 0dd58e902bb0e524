"""The accounts reducer: what of an event goes on as a use."""

from __future__ import annotations

import json

import pytest

from streamproc.core.accounts.reducer import Accounts
from streamproc.core.uses import ENFORCED, FAILED, MISSING_TURNS, SERVED, Uses
from tests.core.streams import START_MS, event, small_policy


def read(**fields: object) -> Uses:
    accounts = Accounts(0, small_policy())
    value = json.dumps(event("a", START_MS, 1, 2) | fields).encode()
    accounts.observe([value], range(1))
    return accounts.flush().uses


def test_history_is_blind_for_a_source_that_logs_a_share_of_its_requests() -> None:
    assert read(n_assistant=2).turns.tolist() == [2]
    assert read(n_assistant=2, sample_rate=1).turns.tolist() == [2]
    assert read(n_assistant=2, sample_rate=0.5).turns.tolist() == [MISSING_TURNS]


@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({"status": 200}, SERVED),
        ({"status": 429, "error": "rate_limited"}, FAILED),
        ({"status": 500}, FAILED),
        ({"status": 403, "error": "suspended"}, ENFORCED),
        ({"status": 429, "error": "blocked"}, ENFORCED),
    ],
)
def test_a_request_is_served_failed_or_turned_away_by_an_enforcement(fields: dict[str, object], flag: int) -> None:
    assert read(**fields).flags.tolist() == [flag]


def test_many_turns_are_told_apart_up_to_seven() -> None:
    assert read(n_assistant=300).turns.tolist() == [7]
