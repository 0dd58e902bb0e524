"""What is in force, in a Redis, for limiters that people have: one key a subject, gone when nothing applies.

A key ends when its decision does, so that a dead limiter's mirror lapses. Several limiters may write: by `seq`, what
is newer stays. Redis may go away, or lose all that it has: then the whole table is written again.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from streamproc.gateway.decoding import HeldLimit
from streamproc.gateway.gate import now_ms
from streamproc.gateway.redis_client import FAILURES, Redis, pool
from streamproc.gateway.verdicts import applies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamproc.gateway.metrics import Metrics
    from streamproc.gateway.reading import Reader
    from streamproc.gateway.verdicts import Change, Verdicts
    from streamproc.settings import GatewaySettings

__all__ = ["Mirror"]

log = logging.getLogger(__name__)

ANSWER_WITHIN_S: Final = 5.0
RETRY_S: Final = 1.0
ASK_EVERY_S: Final = 1.0
WHOLE_EVERY_S: Final = 600.0  # what somebody else has changed in Redis is put right
SUSPECT_S: Final = 10.0  # longer than the brokers can be away without the reader's knowing
MARK_MS: Final = 600_000
GONE_MS: Final = 3_600_000  # for so long a limiter that is behind cannot bring back what another has removed
AT_ONCE: Final = 50  # subjects in one call: half a millisecond of Redis' time and of the event loop's
REST_S: Final = 0.001  # between calls when all is written, for the event loop's other work
SCANNED: Final = 100  # keys that Redis is asked for in one call
MOST_SUSPECTS: Final = 10_000

# KEYS: of each subject its verdict's and its tombstone's. ARGV: how long tombstones stay, in ms; then of each subject
# the verdict, or {"seq": ...} alone if nothing applies. Returns a string: 1 for each that was done, 0 for each of which
# Redis has a larger seq.
APPLY: Final = """
local function read(verdict)
  if type(verdict) ~= 'string' then return {} end
  local fine, told = pcall(cjson.decode, verdict)
  return fine and type(told) == 'table' and told or {}
end
local done = {}
for n = 1, #KEYS / 2 do
  local verdict, gone = KEYS[2 * n - 1], KEYS[2 * n]
  local told = read(ARGV[n + 1])
  local known = tonumber(read(redis.pcall('GET', verdict)).seq) or 0
  if math.max(known, tonumber(redis.pcall('GET', gone)) or 0) > told.seq then
    done[n] = '0'
  else
    done[n] = '1'
    if told.expires_ms then
      redis.call('SET', verdict, ARGV[n + 1])
      redis.call('PEXPIREAT', verdict, string.format('%.0f', told.expires_ms))
    else
      redis.call('DEL', verdict)
      redis.call('SET', gone, string.format('%.0f', told.seq), 'PX', ARGV[1])
    end
  end
end
return table.concat(done)
"""


class _Told(msgspec.Struct, omit_defaults=True):
    """A key's value: what applies to its subject."""

    action: str
    id: str
    seq: int
    expires_ms: int
    limit: HeldLimit | None = None


class _Nothing(msgspec.Struct):
    """That nothing applies, as of this seq."""

    seq: int


class _Row(NamedTuple):
    """A subject as Redis is to have it."""

    subject: str
    told: _Told | _Nothing

    @property
    def write(self) -> str:
        """What is done to Redis by it, as the metric has it."""
        return "put" if isinstance(self.told, _Told) else "removed"


class Mirror:
    """Keeps Redis as `verdicts` is, once `reader` has read all of it.

    What waits is a set of subjects, never more than the table; while Redis is away there is none, since all of the
    table will be written.
    """

    def __init__(self, settings: GatewaySettings, verdicts: Verdicts, reader: Reader, metrics: Metrics) -> None:
        self._url = settings.redis_url or ""
        self._most = settings.most_subjects
        self._verdicts = verdicts
        self._reader = reader
        self._metrics = metrics
        self._verdict, self._gone = f"{settings.redis_prefix}verdict:", f"{settings.redis_prefix}gone:"
        self._mark = f"{settings.redis_prefix}mirror:{uuid.uuid4().hex}"  # lost when Redis loses what it has
        self._whole_due = True
        self._left = 0  # subjects that Redis may lack and the writing of the whole has yet to come to
        self._changed: dict[str, int] = {}  # subject -> its last seq that was in force
        self._some = asyncio.Event()
        self._suspects: dict[str, int] = {}  # subjects that Redis has and the table does not know -> their seq
        self._next_whole_s = self._next_look_s = 0.0
        self._up: bool | None = None
        self._equal_s = time.monotonic()

    def tell(self, change: Change) -> None:
        """Have what has changed written, without waiting for it."""
        held = change.new or change.deleted
        if held is None or self._whole_due:
            return
        self._changed[held.key] = held.seq
        if len(self._changed) > self._most:
            self._have_all_written()
        self._some.set()

    async def run(self) -> None:
        """Write until cancelled; whatever happens to Redis, it goes on.

        Raises:
            SettingsError: an address that cannot be used.
        """
        connections = pool(self._url, 1, ANSWER_WITHIN_S)
        # One connection, so that each loss of it is noticed: a pool would make a new one without a word.
        client = Redis(connection_pool=connections, single_connection_client=True)
        try:
            while True:
                try:
                    await self._follow(client)
                except FAILURES as reason:
                    self._have_all_written()
                    self._say_up(type(reason).__name__)
                    self._show()
                await asyncio.sleep(RETRY_S)
        finally:
            await client.aclose()
            await connections.aclose()

    def _have_all_written(self) -> None:
        self._whole_due = True
        self._changed.clear()
        self._left = 0

    async def _follow(self, client: Redis) -> None:
        asked_s = 0.0
        apply = client.register_script(APPLY)
        while True:
            self._some.clear()
            if time.monotonic() - asked_s >= ASK_EVERY_S:
                asked_s = time.monotonic()
                await self._ask(client)
            if self._reader.why_not_ready is None:
                if self._whole_due or asked_s >= self._next_whole_s:
                    await self._write_all(apply)
                    await self._look_through(client, apply)
                elif self._suspects and asked_s >= self._next_look_s:
                    await self._look_through(client, apply)
                await self._write_changes(apply)
            self._show()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._some.wait(), ASK_EVERY_S)

    async def _ask(self, client: Redis) -> None:
        """Ask Redis for the mark that was left there; without it, it has lost everything."""
        if not await client.pexpire(self._mark, MARK_MS):
            self._have_all_written()
            await client.set(self._mark, "1", px=MARK_MS)
        self._say_up(None)

    # -- writing ---------------------------------------------------------------------------------------

    async def _write_all(self, apply: Callable[..., Any]) -> None:
        """Write all that applies, some at once, with what changes meanwhile in between."""
        lost, self._whole_due = self._whole_due, False
        self._next_whole_s = time.monotonic() + WHOLE_EVERY_S
        known = self._verdicts.known()
        for at in range(0, len(known), AT_ONCE):
            self._left = len(known) - at if lost else 0
            await self._write_changes(apply)
            self._show()
            rows = (self._row(key, 0) for key in known[at : at + AT_ONCE])
            await self._send(apply, [row for row in rows if isinstance(row.told, _Told)])
            await asyncio.sleep(REST_S)
        self._left = 0

    async def _write_changes(self, apply: Callable[..., Any]) -> None:
        while self._changed:
            some = list(islice(self._changed, AT_ONCE))
            await self._send(apply, [self._row(key, self._changed.pop(key)) for key in some])

    def _row(self, subject: str, seq: int) -> _Row:
        """Return how Redis is to have the subject; `seq` is its last one, should the table have forgotten it."""
        held = self._verdicts.newest(subject)
        if held is None or not applies(held, now_ms()):
            return _Row(subject, _Nothing(held.seq if held is not None else seq))
        return _Row(subject, _Told(held.action, held.id, held.seq, held.expires_ms or 0, held.limit))

    async def _send(self, apply: Callable[..., Any], rows: list[_Row]) -> None:
        if not rows:
            return
        keys = [(name + row.subject).encode() for row in rows for name in (self._verdict, self._gone)]
        done = await apply(keys, [GONE_MS, *(_encode(row.told) for row in rows)])
        writes = Counter(row.write if flag == ord("1") else "newer" for row, flag in zip(rows, done, strict=True))
        for write, count in writes.items():
            self._metrics.add("gateway_mirror_writes_total", count, write=write)

    # -- what Redis has and should not -----------------------------------------------------------------

    async def _look_through(self, client: Redis, apply: Callable[..., Any]) -> None:
        """Remove what no longer applies.

        A subject that the table does not know may be one of which another limiter has read already. So it goes only
        when it is still unknown after a while in which the topic was read to its end.
        """
        suspects: dict[str, int] = {}
        cursor = 0
        while True:
            cursor, names = await client.scan(cursor, match=_literally(self._verdict) + "*", count=SCANNED)
            subjects = [name.decode(errors="replace").removeprefix(self._verdict) for name in names]
            known = {key: held for key in subjects if (held := self._verdicts.newest(key)) is not None}
            self._changed |= {key: held.seq for key, held in known.items() if not applies(held, now_ms())}
            strange = [key for key in subjects if key not in known]
            suspects |= await self._seqs(client, strange[: MOST_SUSPECTS - len(suspects)])
            await self._write_changes(apply)
            if not cursor:
                break
        if self._reader.current:
            gone = dict(self._suspects.items() & suspects.items())
            self._changed |= gone
            suspects = {key: seq for key, seq in suspects.items() if key not in gone}
        self._suspects = suspects
        self._next_look_s = time.monotonic() + SUSPECT_S

    async def _seqs(self, client: Redis, subjects: Iterable[str]) -> dict[str, int]:
        names = {key: self._verdict + key for key in subjects}
        values = await client.mget(list(names.values())) if names else []
        return {key: _seq(value) for key, value in zip(names, values, strict=True)}

    # -- how it stands ---------------------------------------------------------------------------------

    def _show(self) -> None:
        waiting = len(self._verdicts) if self._whole_due else self._left + len(self._changed)
        if not (waiting or self._whole_due):
            self._equal_s = time.monotonic()
        self._metrics.set("gateway_mirror_waiting_subjects", waiting)
        self._metrics.set("gateway_mirror_behind_seconds", time.monotonic() - self._equal_s)

    def _say_up(self, why: str | None) -> None:
        up = why is None
        self._metrics.set("gateway_mirror_up", up)
        if up is not self._up:
            if up:
                log.warning("Redis answers: all that is in force is written to it")
            else:
                log.error("Redis does not answer as it should (%s): the mirror waits", why)
        self._up = up


def _seq(value: bytes | None) -> int:
    """Return the seq of a key's value, 0 for what is none of ours."""
    try:
        return _decode(value or b"").seq
    except msgspec.MsgspecError:
        return 0


def _literally(prefix: str) -> str:
    """Return the prefix as a pattern that means just that."""
    return "".join(f"\\{letter}" if letter in "*?[]^\\" else letter for letter in prefix)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Told).decode
