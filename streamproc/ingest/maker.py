"""A record to a request event: read, joined, pseudonymised, fingerprinted. No raw word is in what leaves here."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import orjson

from streamproc.fingerprint import Fingerprinter, Peppers, Request
from streamproc.fingerprint.client import client
from streamproc.fingerprint.keyed import Keyed, framed
from streamproc.gateway.observer import error_of
from streamproc.ingest.formats.shared import DECLARED
from streamproc.ingest.halves import Halves
from streamproc.ingest.record import Format, Json, Reader, Refused, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from streamproc.ingest.accounts import Accounts
    from streamproc.ingest.mapping import Mapping
    from streamproc.ingest.networks import Networks

__all__ = ["Maker"]

NAMED: Final = ("org", "key", "payer", "device", "session", "ip")
KEPT_WITHOUT_WORDS: Final = frozenset(("model", "pepper_epoch", *DECLARED))


class Maker:
    """Makes events of one format's records, and counts what it made and what it could not."""

    def __init__(
        self,
        format_: Format,
        peppers: Peppers,
        mapping: Mapping,
        accounts: Callable[[], Accounts],
        networks: Callable[[], Networks | None],
    ) -> None:
        self._format = format_
        self._reader = Reader(mapping.over(format_.fields), mapping.rules())
        self._constants = format_.constants | mapping.constants
        self._fingerprinter = Fingerprinter(peppers)
        self._ids = Keyed(peppers.identity)
        self._metadata = Request({"pepper_epoch": peppers.epoch})
        self._own_id = tuple(format_.own_id.split("/")) if format_.own_id else ()
        self._accounts = accounts
        self._networks = networks
        self.halves = Halves()
        self.identity = self._fingerprinter.identity
        self.fields: Counter[str] = Counter()  # events that have each field
        self.events = 0
        self.hidden = 0  # records whose words the gateway had taken out

    def records(self, body: Any) -> Iterable[Any]:
        """The records of a parsed message."""
        return self._format.records(body)

    def take(self, record: Any, place: Any = None, *, alone: bool = False) -> Json:
        """The event of a record.

        Of one that is a half, `place` is where it lies while it waits for the other; `alone`: it has waited enough.

        Raises:
            Refused: it has none, or not yet.
        """
        if not isinstance(record, dict):
            raise Refused("not_object")
        if self._format.half is not None and not alone:
            name, side = self._format.half(record)
            record = self.halves.take(name, side, record, place)
        event = self._event(record)
        self.events += 1
        self.fields.update(event.keys())
        return event

    def _event(self, record: Json) -> Json:
        told = self._reader.read(record)
        self._format.finish(record, told)
        account, ts_ms = told.pop("account", None), told.pop("ts_ms", None)
        if account is None:
            raise Refused("no_account")
        if ts_ms is None:
            raise Refused("no_time")
        known = self._known(told) | self._accounts().get(account)
        request, answer = self._content(record)
        return self._fingerprinter.finish(
            request, answer, id=self._id(record), ts_ms=ts_ms, account=account, known=known
        )

    def _known(self, told: Json) -> Json:
        """What goes into the event as it is, of what the record told; constants fill what it left out."""
        known = self._constants.copy()
        networks = self._networks()
        if networks is not None and "ip" in told:
            known |= networks.look(told["ip"])
        for name in NAMED:
            if name in told and (pseudonym := self.identity(name, told.pop(name))):
                known[name] = pseudonym
        if "email" in told:
            known |= self._accounts().of_email(told.pop("email"))
        if "ua" in told:
            family, version = client(told.pop("ua"))
            known |= {"ua": family} | ({"ua_version": version} if version else {})
        known |= told
        if "error" not in known and (error := error_of(known.get("status", 0))):
            known["error"] = error
        return known

    def _content(self, record: Json) -> tuple[Request, bytes | None]:
        content = self._format.content(record)
        if content is None:
            return self._metadata, None
        try:
            request = self._fingerprinter.request(content.path, (), content.body)
        except (orjson.JSONEncodeError, RecursionError):  # nested deeper than the fingerprints go
            return self._metadata, None
        if content.hidden or request.route is None:
            self.hidden += content.hidden
            kept = {name: value for name, value in request.event.items() if name in KEPT_WITHOUT_WORDS}
            return Request({name: value for name, value in kept.items() if name not in content.unknown}), None
        if content.unknown:
            event = {name: value for name, value in request.event.items() if name not in content.unknown}
            request = Request(event, request.route, request.conversation, request.stored)
        try:
            return request, None if content.response is None else orjson.dumps(content.response)
        except orjson.JSONEncodeError:  # an answer that is nested too deep is read as none
            return request, None

    def _id(self, record: Json) -> str:
        """The record's id: a keyed hash of the gateway's own where no client can choose that, else of all of it."""
        value: Any = record
        for key in self._own_id:
            value = value.get(key) if isinstance(value, dict) else None
        own = text(value) if self._own_id else None
        if own is not None:
            return self._ids.of("ingest-own-id", f"{self._format.name}:{own}".encode())
        return self._ids.of("ingest-id", self._format.name.encode() + b":" + _written(record))


def _written(record: Json) -> bytes:
    """A record's bytes for hashing, the same for any order of keys and however deep it is nested."""
    try:
        return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # deeper than the encoder goes: a client could hide by it
        return b"".join(_walked(record))


def _walked(record: Json) -> Iterator[bytes]:
    left: list[Any] = [record]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield b"{%d" % len(one)
            for key in sorted(one, reverse=True):
                left += (one[key], key)
        elif isinstance(one, list):
            yield b"[%d" % len(one)
            left += reversed(one)
        else:
            yield framed(orjson.dumps(one))
