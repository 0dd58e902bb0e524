"""The stage: messages in, events out to the sink; what has no event is counted and kept as a dead letter."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import orjson

from streamproc.ingest.record import Refused
from streamproc.ingest.sinks import UnavailableError
from streamproc.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamproc.ingest.maker import Maker
    from streamproc.ingest.metrics import Metrics
    from streamproc.ingest.record import Json
    from streamproc.ingest.sinks import Sink

__all__ = ["Outcome", "Stage"]

log = logging.getLogger(__name__)

PUT_EVENTS: Final = 1_000  # handed to the sink at once
RETRY_S: Final = 1.0
KEPT_BYTES: Final = 65_536  # of a dead letter's message
QUIET: Final = frozenset({"not_a_request", "half"})  # no fault of the record's


@dataclass(slots=True)
class Outcome:
    """What became of some messages: events made, records refused and why the last one was."""

    events: int = 0
    refused: int = 0
    reason: str = ""


class Stage:
    """Takes messages, each with the place where it lies (None for a file's)."""

    def __init__(
        self,
        maker: Maker,
        sink: Sink,
        decode: Callable[[bytes], Any],
        dead: IO[bytes] | None,
        refused: Counter[str],
        metrics: Metrics,
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        self.maker = maker
        self._sink = sink
        self._decode = decode
        self._dead = dead
        self._refused = refused
        self.metrics = metrics
        self._refresh = refresh

    async def take(
        self,
        messages: Iterable[tuple[bytes | None, Any]],
        *,
        patience_s: float,
        decode: Callable[[bytes], Any] | None = None,
    ) -> Outcome:
        """Make events of the messages and hand them over, all of them before this returns.

        Raises:
            UnavailableError: the sink took none of them for `patience_s`; the same may be taken again.
        """
        self._refresh()
        outcome = Outcome()
        events: list[Json] = []
        for message, place in messages:
            self._events(message, place, decode or self._decode, events, outcome)
            if len(events) >= PUT_EVENTS:
                await self._put(events, patience_s)
                events = []
        events += self._alone(outcome, all_of_them=False)
        await self._put(events, patience_s)
        if self._dead is not None:
            self._dead.flush()
        self.metrics.show(self.maker, self._refused)
        return outcome

    async def end(self, patience_s: float) -> None:
        """Hand over what still waits for another half.

        Raises:
            UnavailableError: as `take`.
        """
        await self._put(list(self._alone(Outcome(), all_of_them=True)), patience_s)

    def _events(
        self, message: bytes | None, place: Any, decode: Callable[[bytes], Any], events: list[Json], outcome: Outcome
    ) -> None:
        try:
            records = list(self.maker.records(decode(message or b"")))
        except Refused as refused:
            self._refuse(refused, message, outcome)
            return
        for record in records:
            try:
                events.append(self.maker.take(record, place))
                outcome.events += 1
            except Refused as refused:
                self._refuse(refused, message if len(records) == 1 else record, outcome)

    def _alone(self, outcome: Outcome, *, all_of_them: bool) -> Iterable[Json]:
        for record in self.maker.halves.overdue(all_of_them=all_of_them):
            try:
                yield self.maker.take(record, alone=True)
                outcome.events += 1
            except Refused as refused:
                self._refuse(refused, record, outcome)

    def _refuse(self, refused: Refused, what: Any, outcome: Outcome) -> None:
        self._refused[refused.reason] += refused.reason != "half"
        if refused.reason in QUIET:
            return
        outcome.refused += 1
        outcome.reason = refused.reason
        if self._dead is not None:
            self._dead.write(orjson.dumps({"reason": refused.reason, "value": _kept(what)}) + b"\n")

    async def _put(self, events: list[Json], patience_s: float) -> None:
        if not events:
            return
        began_s = time.monotonic()
        failing = False
        while True:
            try:
                await self._sink.put(events)
            except UnavailableError as reason:
                self.metrics.set("ingest_brokers_up", 0)
                if time.monotonic() - began_s >= patience_s:
                    raise
                if not failing:
                    log.error("events cannot be sent (%s): they are sent again until they are there", reason)  # noqa: TRY400
                failing = True
                await asyncio.sleep(RETRY_S)
            else:
                self.metrics.set("ingest_brokers_up", 1)
                if failing:
                    log.warning("events are sent again")
                return


def given_up(reason: UnavailableError, patience_s: float) -> SettingsError:
    """What is said when the brokers have been away for too long."""
    return SettingsError(
        f"KAFKA_BOOTSTRAP_SERVERS: the brokers took no event for {patience_s:.0f} s ({reason}); start again when they "
        "do: the same records get the same ids"
    )


def _kept(what: Any) -> str | None:
    """The beginning of a message, or of a record as JSON."""
    if not isinstance(what, bytes):
        try:
            what = orjson.dumps(what)
        except TypeError:
            return None
    return str(what[:KEPT_BYTES].decode("utf-8", "backslashreplace"))
