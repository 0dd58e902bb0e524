"""Label events: what an analyst, or a check of the provider's own, says of an account or a campaign."""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn, TypeAlias

import msgspec
from msgspec import Meta

from streamproc.contract.errors import EventError
from streamproc.contract.fields import Id, Text32, Time
from streamproc.contract.reading import FAILURES, TEXTS, BadReason, check_size

Word: TypeAlias = Literal["confirmed", "lawful", "appeal_granted", "verified", "vetted"]
WORDS: tuple[Word, ...] = ("confirmed", "lawful", "appeal_granted", "verified", "vetted")


class LabelSubject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The account or campaign that the label is about."""

    kind: Literal["account", "campaign"]
    id: Id


class Label(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One label; it holds for events at or after `ts_ms`."""

    v: Literal[1]
    id: Id
    ts_ms: Time
    subject: LabelSubject
    label: Word
    who: Id
    why: Annotated[str, Meta(max_length=512)]
    program: Text32 = ""

    @property
    def key(self) -> str:
        """The key of the message, e.g. `account:a1`."""
        return f"{self.subject.kind}:{self.subject.id}"


class _Version(msgspec.Struct):
    v: int = 1


def decode_label(value: bytes | None) -> Label:
    """Read one label event strictly: labels are few, and a wrong one releases or stops somebody.

    Raises:
        EventError: it is not valid; its reason is a `BadReason`, its detail names the place.
    """
    if not value:
        raise EventError(BadReason.EMPTY, TEXTS[BadReason.EMPTY])
    check_size(value)
    try:
        return _label(value) if _version(value).v == 1 else _other_version()
    except EventError:
        raise
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None
    except FAILURES:
        raise EventError(BadReason.NOT_JSON, TEXTS[BadReason.NOT_JSON]) from None


def encode_label(label: Label) -> bytes:
    """The label as one JSON object on one line, without its line's end."""
    return _encode(label)


def _other_version() -> NoReturn:
    raise EventError(BadReason.BAD_VERSION, TEXTS[BadReason.BAD_VERSION])


def _refusal(message: str) -> EventError:
    """The decoder's word on what is not valid, told apart by kind and without the value."""
    what, _, place = message.partition(" - at `$.")
    if "missing required field" in what:
        return EventError(BadReason.MISSING_FIELD, what)
    if not place and what.startswith("Expected `object`"):
        return EventError(BadReason.NOT_OBJECT, TEXTS[BadReason.NOT_OBJECT])
    return EventError(BadReason.MISTYPED_FIELD, f"{place.rstrip('`') or 'v'} is not what the schema says")


_version = msgspec.json.Decoder(_Version).decode
_label = msgspec.json.Decoder(Label).decode
_encode = msgspec.json.Encoder().encode
