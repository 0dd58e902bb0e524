"""What of a prompt is its skeleton and what is payload, within bounded work.

The skeleton is the words with which the system prompt and the last user's turn instruct; a payload is what they
are applied to: fenced code, tagged or labelled text, quotations, long paragraphs.
"""

from __future__ import annotations

import re
from itertools import islice

HEAD_CHARS, TAIL_CHARS = 1600, 800  # of each text; the middle of a longer one is no skeleton
LONG_PARAGRAPH_CHARS = 600  # in a user's turn, longer ones are payload
MOST_TAGS = 16  # looked for at each end: each may cost a walk through the text
LEAST_QUOTED_CHARS = 40  # a quotation below is a word of the instruction, not a task
SYSTEM_WORDS, USER_WORDS = 64, 96  # together at most `simhash.MOST_WORDS`
VOLATILE_CHARS = 12_000  # at each end of a system prompt, where clients write date, directory and the like

_OPENED, _CLOSED = "<system-reminder>", "</system-reminder>"
_BILLING = re.compile(r"^x-anthropic-billing-header:[^\n]*\n?", re.MULTILINE | re.IGNORECASE)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_VOLATILE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?"  # a date, with its time
    r"|\d{1,2}:\d\d(?::\d\d)?(?: ?[ap]m\b)?"
    r"|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}"
    rf"|\b{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}|\b\d{{1,2}}\.? {_MONTH}\.?,? \d{{4}}"
    r"|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{16,}\b"
    r"|(?<![\w/])(?:~|[a-z]:)?[/\\](?:[\w.@+-]+[/\\])+[\w.@+-]*",  # a path of a file or directory
    re.IGNORECASE,
)
_QUOTED = re.compile(r'"[^"\n]{1,400}"|“[^”]{1,400}”|«[^»]{1,400}»|`[^`\n]{1,400}`|\'(?<!\w\')[^\'\n]{1,200}\'(?!\w)')
_FENCE = re.compile(r"(```|~~~|\"\"\")(.*?)(?:\1|\Z)", re.DOTALL)
_TAG = re.compile(r"<([A-Za-z][\w-]{0,30})>")
_LABEL = re.compile(
    r"^[ \t#*]*(?:question|problem|task|input|text|passage|document|article|context|code|query|prompt|exercise"
    r"|statement|sentence|essay|response|answer|solution|conversation|transcript)(?: ?[0-9a-z])?[ \t*]*:[ \t*]*"
    r"(\S.*?)(?=\n[ \t]*\n|\n[\w #*]{1,24}:|\Z)",
    re.MULTILINE | re.IGNORECASE | re.DOTALL,
)
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n")


def without_client_notes(text: str) -> str:
    """The text without what well-known clients put in it: reminders and per-conversation billing lines."""
    if _OPENED in text:
        text = _without_reminders(text)
    if "x-anthropic-billing-header" in text.lower():
        text = _BILLING.sub("", text)
    return text


def _without_reminders(text: str) -> str:
    """One that is not closed stays: else everything could hide behind it."""
    kept = []
    at = 0
    while (opened := text.find(_OPENED, at)) >= 0 and (closed := text.find(_CLOSED, opened)) >= 0:
        kept.append(text[at:opened])
        at = closed + len(_CLOSED)
    return "".join([*kept, text[at:]])


def lasting(system: str) -> str:
    """A system prompt without dates, times, ids and paths, which differ each time though nothing was changed."""
    if len(system) <= 2 * VOLATILE_CHARS:
        return _VOLATILE.sub("", system)
    head, tail = system[:VOLATILE_CHARS], system[-VOLATILE_CHARS:]
    return _VOLATILE.sub("", head) + system[VOLATILE_CHARS:-VOLATILE_CHARS] + _VOLATILE.sub("", tail)


def window(text: str) -> str:
    """Both ends of a text, as whole lines where it has some near the cut."""
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]}\n\n{text[-TAIL_CHARS:]}"


def split(text: str) -> tuple[str, list[str]]:
    """The instruction of a user's turn, and its payloads; each character is looked at a bounded number of times."""
    payloads: list[str] = []

    def cut(found: re.Match[str]) -> str:
        payloads.append(found[found.re.groups])
        return "\n"

    text = _without_tagged(text, payloads)
    if "```" in text or "~~~" in text or '"""' in text:
        text = _FENCE.sub(cut, text)
    paragraphs = _PARAGRAPH.split(text)
    long = [one for one in paragraphs if len(one) > LONG_PARAGRAPH_CHARS]
    if long:
        payloads += long
        text = "\n\n".join(one for one in paragraphs if len(one) <= LONG_PARAGRAPH_CHARS)
    text = window(text)
    if ":" in text:
        text = _LABEL.sub(cut, text)
    payloads += [found[1:-1] for found in _QUOTED.findall(text) if len(found) > LEAST_QUOTED_CHARS]
    if not payloads:
        payloads.append(max(_PARAGRAPH.split(text), key=len))
    return text, payloads


def skeleton(system: str, instruction: str) -> list[str]:
    """The words, not yet normalised (`simhash.Words` does), of system prompt and instruction."""
    words = _QUOTED.sub(" ", window(system)).split()[:SYSTEM_WORDS]
    words += _QUOTED.sub(" ", instruction).split()[:USER_WORDS]
    return words


def _without_tagged(text: str, payloads: list[str]) -> str:
    """Cuts `<name>...</name>`; only names that open near the beginning or the end are looked for."""
    kept: list[str] = []
    at = 0
    near_end = max(len(text) - TAIL_CHARS, HEAD_CHARS)
    for start, end in ((0, HEAD_CHARS), (near_end, len(text))):
        for found in islice(_TAG.finditer(text, start, end), MOST_TAGS):
            if found.start() < at:
                continue
            close = text.find(f"</{found[1]}>", found.end())
            if close >= 0:
                kept.append(text[at : found.start()])
                payloads.append(text[found.end() : close])
                at = close + len(found[1]) + 3
    return "\n".join([*kept, text[at:]]) if kept else text
