"""An operator who puts a fresh account in the place of each one that gateways refuse: the pool that comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HOUR_MS = 3_600_000
PATIENCE = 3  # refusals of an account, after which it is given up
PAUSE_MS = 6 * HOUR_MS  # until another takes its place
# What another account has anew, where the first has it at all; software, kind of network, plan and country stay.
OF_AN_ACCOUNT = ("account", "org", "key", "payer", "device", "session", "ip")
ID_BYTES = 8  # as the simulator's ids


@dataclass(slots=True)
class Place:
    """One worker's place in the queue of work, and who holds it."""

    began_ms: int  # event time of its first request
    taken_ms: int  # of the first by the account that holds it
    number: int = 0  # of that account, 0 for the first
    refusals: int = 0  # of that account
    free_until_ms: int | None = None  # nobody holds it before


class Operator:
    """Asks in the place of the `accounts` of a campaign; requests of others pass as they are.

    `names` has all accounts that were ever used.
    """

    def __init__(self, accounts: Iterable[str]) -> None:
        self.names = set(accounts)
        self._first = frozenset(self.names)
        self._places: dict[str, Place] = {}

    def ask(self, event: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The request as whoever holds the place makes it, None while nobody does; in order of time."""
        if event["account"] not in self._first:
            return event
        ts_ms = event["ts_ms"]
        place = self._places.setdefault(event["account"], Place(ts_ms, ts_ms))
        if place.free_until_ms is not None:
            if ts_ms < place.free_until_ms:
                return None
            place.taken_ms, place.free_until_ms = ts_ms, None
            place.number, place.refusals = place.number + 1, 0
        made = by_another(event, place) if place.number else event
        self.names.add(made["account"])
        return made

    def hear(self, event: Mapping[str, Any]) -> None:
        """This request, named as it was planned, was refused."""
        place = self._places.get(event["account"])
        if place is None:
            return
        place.refusals += 1
        if place.refusals == PATIENCE:
            place.free_until_ms = event["ts_ms"] + PAUSE_MS


def by_another(event: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """The request by the account that holds the place: as old at its first request as the first account was."""
    made = dict(event)
    for name in OF_AN_ACCOUNT:
        if name in made:
            made[name] = hashlib.blake2b(f"{made[name]}:{place.number}".encode(), digest_size=ID_BYTES).hexdigest()
    if "signup_ms" in made:
        made["signup_ms"] += place.taken_ms - place.began_ms
    return made
