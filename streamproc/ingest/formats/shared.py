"""What several formats need: JSON within JSON, and which fields content gives."""

from __future__ import annotations

from typing import Any, Final

from streamproc.ingest.parsing import parse
from streamproc.ingest.record import Refused

# What a request declares beside its words, and what only its words give.
DECLARED: Final = ("n_tools", "tools_fp", "params_fp", "schema_fp", "temperature", "max_tokens", "stream")
WORDS: Final = (
    "n_messages", "n_assistant", "template_fp", "system_fp", "task_fp", "request_fp", "prefix_fp", "response_fp",
    "signature_fp", "signature_out_fp", "task_class", "elicits", "lang", "refused",
)  # fmt: skip
CHAT_WORDS: Final = tuple(name for name in WORDS if not name.startswith("signature_"))  # chat completions sign none
FROM_CONTENT: Final = (*WORDS, *DECLARED)


def loaded(value: Any) -> Any:
    """The value; of JSON that comes as text what it says, None if it is none."""
    if not isinstance(value, (str, bytes)):
        return value
    try:
        return parse(value if isinstance(value, bytes) else value.encode("utf-8", "replace"))
    except Refused:
        return None
