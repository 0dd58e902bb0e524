"""Evidence: each signal's sentence with what was observed beside what lawful groups show, and what it weighs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamproc.contract.decisions import BESIDE
from streamproc.telling import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamproc.contract.decisions import Family, Reason
    from streamproc.contract.labels import Label, Word

__all__ = ["Blind", "LabelTold", "Weighed", "blind_to", "tell_label", "weigh", "weighed_text"]


@dataclass(frozen=True, slots=True)
class Weighed:
    """One signal. `observed` is the sentence; `lawful` what lawful groups show instead, empty where nobody says."""

    signal: str
    family: Family
    log10_lr: float
    observed: str
    lawful: str
    likelier: str


@dataclass(frozen=True, slots=True)
class Blind:
    """A signal that said nothing, what it would have told, and the fields without which it cannot."""

    signal: str
    what: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelTold:
    """What an analyst said."""

    ts_ms: int
    label: Word
    what: str
    who: str
    why: str
    program: str


def weigh(reasons: Iterable[Reason]) -> tuple[Weighed, ...]:
    """Tell each reason, in the order given: the weightiest first, as the worker writes them."""
    return tuple(_weigh(reason) for reason in reasons)


def weighed_text(one: Weighed) -> str:
    """The whole sentence again."""
    return f"{one.observed}{BESIDE}{one.lawful}." if one.lawful else one.observed


def blind_to(signals: Sequence[str]) -> tuple[Blind, ...]:
    """Tell what could not be seen; a signal that this version does not know is told by its name."""
    known = ((signal, words.BLIND_TO.get(signal, words.BlindTo(f"what {signal} shows"))) for signal in signals)
    return tuple(Blind(signal, one.what, one.fields) for signal, one in known)


def tell_label(label: Label) -> LabelTold:
    """Tell a label."""
    return LabelTold(label.ts_ms, label.label, words.LABELS[label.label], label.who, label.why, label.program)


def _weigh(reason: Reason) -> Weighed:
    observed, _, lawful = reason.text.partition(BESIDE)
    likelier = words.likelier(reason.log10_lr)
    return Weighed(reason.signal, reason.family, reason.log10_lr, observed, lawful.removesuffix("."), likelier)
