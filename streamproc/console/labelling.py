"""Labels that an analyst may write: what each does, checked, and sent to the topic."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streamproc.contract.errors import EventError
from streamproc.contract.labels import Label, LabelSubject, Word, decode_label, encode_label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamproc.settings import KafkaSettings

__all__ = ["CHOICES", "Choice", "Labeller", "LabellingError", "make_label"]

SENT_WITHIN_S: Final = 10.0
LabelKind = Literal["account", "campaign"]


class LabellingError(ValueError):
    """The label is not written: one sentence that says why, for who wanted it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A label on offer: what the button says, and what the worker does by it."""

    word: Word
    title: str
    effect: str


CHOICES: Final[Mapping[LabelKind, tuple[Choice, ...]]] = {
    "account": (
        Choice("lawful", "Lawful", "Released at once from whatever is in force; from then on observed at most."),
        Choice("appeal_granted", "Appeal granted", "The same, and on record as an appeal that was upheld."),
        Choice("vetted", "Vetted programme", "The same, as a member of the programme that you name."),
        Choice("verified", "Verified", "Released from observe or verify. What is stricter stands."),
        Choice("confirmed", "Confirmed", "No longer exempt: what its campaign asks for applies again."),
    ),
    "campaign": (
        Choice("confirmed", "Confirmed", "A campaign, without waiting for a second round; its members are acted on."),
        Choice("lawful", "Lawful", "Cleared: all of its accounts are released, and nobody watches for it any more."),
    ),
}


def make_label(
    kind: LabelKind, subject: str, word: str, *, label_id: str, ts_ms: int, who: str, why: str, program: str
) -> Label:
    """Make a label of what a form says.

    Raises:
        LabellingError: something is missing, or it is none that may be written of such a subject.
    """
    if word not in {choice.word for choice in CHOICES[kind]}:
        raise LabellingError("Choose what you say of it.")
    if not why.strip():
        raise LabellingError("Say why: whoever reads the record later needs it.")
    if (word == "vetted") != bool(program.strip()):
        raise LabellingError("Name the programme with a vetted account, and only there.")
    label = Label(
        v=1, id=label_id, ts_ms=ts_ms, subject=LabelSubject(kind=kind, id=subject), label=word, who=who,
        why=why.strip(), program=program.strip(),
    )  # fmt: skip
    try:
        return decode_label(encode_label(label))
    except EventError as error:
        raise LabellingError(f"That is too long, or not as it must be: {error}.") from error


class Labeller:
    """Writes labels to the topic; connects when the first one comes."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka, self._topic = kafka, topic
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()

    async def write(self, label: Label) -> None:
        """Write a label; once this returns, all brokers that must have it do.

        Raises:
            LabellingError: the brokers do not take it.
        """
        try:
            async with asyncio.timeout(SENT_WITHIN_S), self._lock:
                if self._producer is None:
                    self._producer = await self._connected()
                await self._producer.send_and_wait(self._topic, encode_label(label), key=label.key.encode())
        except (KafkaError, OSError, TimeoutError) as error:
            raise LabellingError("The brokers did not take it. Nothing was changed as far as is known.") from error

    async def close(self) -> None:
        """Let the brokers go."""
        if self._producer is not None:
            await self._producer.stop()

    async def _connected(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(**self._kafka.client_options(), acks="all")
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer
