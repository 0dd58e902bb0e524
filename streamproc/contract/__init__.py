"""What comes in and what goes out: schemas, decoding into columns, encoding of decisions, 64-bit keys."""

from __future__ import annotations

from streamproc.contract.decisions import (
    Campaign,
    Enforcement,
    Limit,
    Link,
    Reason,
    Subject,
    encode,
    enforcement_id,
)
from streamproc.contract.errors import EventError, PolicyError
from streamproc.contract.events import Bad, Columns, Decoded, decode
from streamproc.contract.fields import (
    ELICITS,
    ELICITS_BITS,
    ERROR_CODES,
    ERRORS,
    TASK_CLASS_CODES,
    TASK_CLASSES,
)
from streamproc.contract.keys import combine, key64, simhash64
from streamproc.contract.labels import Label, LabelSubject, decode_label, encode_label
from streamproc.contract.reading import BadReason

__all__ = [
    "ELICITS",
    "ELICITS_BITS",
    "ERRORS",
    "ERROR_CODES",
    "TASK_CLASSES",
    "TASK_CLASS_CODES",
    "Bad",
    "BadReason",
    "Campaign",
    "Columns",
    "Decoded",
    "Enforcement",
    "EventError",
    "Label",
    "LabelSubject",
    "Limit",
    "Link",
    "PolicyError",
    "Reason",
    "Subject",
    "combine",
    "decode",
    "decode_label",
    "encode",
    "encode_label",
    "enforcement_id",
    "key64",
    "simhash64",
]
