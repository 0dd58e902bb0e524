"""What of a prompt is its skeleton and what is payload, within bounded work.

The skeleton is the words with which the system prompt and the last user's turn instruct; a payload is what they
are applied to: fenced code, tagged or labelled text, quotations, long paragraphs.
"""

from __future__ import annotations

import re
from itertools import islice

from streamproc.fingerprint.kept import Kept
from streamproc.fingerprint.simhash import CALENDAR, EDGES

HEAD_CHARS, TAIL_CHARS = 1600, 800  # of each text; the middle of a longer one is no skeleton
LONG_PARAGRAPH_CHARS = 600  # in a user's turn, longer ones are payload
MOST_TAGS = 16  # looked for at each end: each may cost a walk through the text
LEAST_QUOTED_CHARS = 40  # a quotation below is a word of the instruction, not a task
SYSTEM_WORDS, USER_WORDS = 64, 96  # together at most `simhash.MOST_WORDS`
CHANGING_HEAD_CHARS, CHANGING_TAIL_CHARS = 2000, 4000  # of a system prompt: there clients write date, directory, ...

_OPENED, _CLOSED = "<system-reminder>", "</system-reminder>"
_BILLED = "x-anthropic-billing-header:"
_BILLING = re.compile(rf"^{_BILLED}[^\n]{{0,400}}\n?", re.MULTILINE)
LEAST_ID_CHARS = 16  # of hexadecimal digits in a row
LEAST_LEFT_WORDS = 8  # fewer left of a text, and what a client is said to have added may be the text itself
LEAST_SKELETON_WORDS = 4  # fewer left, and what was taken for payload may be the instruction itself
_CHANGING = re.compile(
    r"[0-9A-Fa-f](?:[0-9A-Fa-f]{7}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"  # an id
    r"|(?<![A-Za-z0-9].)[0-9A-Fa-f]{15,}+(?![A-Za-z0-9]))"
    r"|[/\\](?<![\w/\\].)(?:[\w.@+-]+[/\\])+[\w.@+-]*"  # a path of a file or directory
    r"|[0-9][\d.,:/TZ+-]*(?:st|nd|rd|th|[AaPp][Mm])?"  # a number, date or time
)
_DATE_WORDS = (
    CALENDAR
    | {"may", "march", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"}
    | {"mon", "tue", "wed", "thu", "fri", "sat", "sun", "am", "pm"}
)
_QUOTED = re.compile(r'"[^"\n]{1,400}"|“[^”]{1,400}”|«[^»]{1,400}»|`[^`\n]{1,400}`|\'(?<!\w\')[^\'\n]{1,200}\'(?!\w)')
_FENCES = ("```", "~~~", '"""')
_TAG = re.compile(r"<([A-Za-z][\w-]{0,30})>")
_LABEL = re.compile(
    r"\n[ \t#*]*(?=[a-z]{4,12}[ 0-9a-z\t*]{0,8}:)"  # says no in one step, where the words would take twenty
    r"(?:question|problem|task|input|text|passage|document|article|context|code|query|prompt|exercise"
    r"|statement|sentence|essay|response|answer|solution|conversation|transcript)(?: ?[0-9a-z])?[ \t*]*:[ \t*]*"
    r"(\S[^\n]*+(?:\n(?![ \t]*\n|[\w #*]{1,24}:)[^\n]*+)*+)",  # its lines up to an empty one or the next label
    re.IGNORECASE,
)
_PARAGRAPH = re.compile(r"\n[ \t\r]*+\n\s*+")


def without_client_notes(text: str) -> str:
    """The text without what well-known clients put in it: reminders and per-conversation billing lines."""
    if _OPENED in text:
        text = _without_reminders(text)
    if _BILLED in text:
        text = _BILLING.sub("", text)
    return text


def read_whole(text: str, left: str) -> str:
    """What to read of a text: what is `left` without the client's notes, or all if that is next to nothing."""
    if text == left or len(left.split(None, LEAST_LEFT_WORDS)) >= LEAST_LEFT_WORDS:
        return left
    return text.replace(_OPENED, "\n\n").replace(_CLOSED, "\n\n").replace(_BILLED, "\n\n")


def _without_reminders(text: str) -> str:
    """One that is not closed stays: else everything could hide behind it."""
    kept = []
    at = 0
    while (opened := text.find(_OPENED, at)) >= 0 and (closed := text.find(_CLOSED, opened)) >= 0:
        kept.append(text[at:opened])
        at = closed + len(_CLOSED)
    return "".join([*kept, text[at:]])


def lasting(system: str) -> str:
    """A system prompt without numbers, dates, times, ids and paths, which differ though nobody changed it."""
    if len(system) <= CHANGING_HEAD_CHARS + CHANGING_TAIL_CHARS:
        return _lasting(system)
    head, middle = system[:CHANGING_HEAD_CHARS], system[CHANGING_HEAD_CHARS:-CHANGING_TAIL_CHARS]
    return _lasting(head) + middle + _lasting(system[-CHANGING_TAIL_CHARS:])


def _lasting(text: str) -> str:
    return "".join(map(_LASTING.__getitem__, text.split()))


def _lasts(word: str) -> str:
    """What of a word is the same on another day."""
    plain = word.strip(EDGES)
    if plain.isalpha() and len(plain) < LEAST_ID_CHARS:
        return "" if plain.casefold() in _DATE_WORDS else word
    rest = _CHANGING.sub("", word)
    return rest if rest.strip(EDGES) else ""


_LASTING = Kept(_lasts)


def window(text: str) -> str:
    """Both ends of a text, as whole lines where it has some near the cut."""
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]}\n\n{text[-TAIL_CHARS:]}"


def split(text: str) -> tuple[str, list[str]]:
    """The instruction of a user's turn, and its payloads; each character is looked at a bounded number of times."""
    payloads: list[str] = []

    def cut(found: re.Match[str]) -> str:
        payloads.append(found[1])
        return "\n"

    def quoted(found: re.Match[str]) -> str:
        if len(found[0]) > LEAST_QUOTED_CHARS:
            payloads.append(found[0][1:-1])
        return " "

    text = _without_tagged(text, payloads)
    for fence in _FENCES:
        if fence[0] in text and fence in text:  # one character is found faster
            text = _without_fenced(text, fence, payloads)
    paragraphs = _PARAGRAPH.split(text)
    long = [one for one in paragraphs if len(one) > LONG_PARAGRAPH_CHARS] if len(text) > LONG_PARAGRAPH_CHARS else []
    if long:
        payloads += long
        text = "\n\n".join(one for one in paragraphs if len(one) <= LONG_PARAGRAPH_CHARS)
    text = window(text)
    if ":" in text:
        text = _LABEL.sub(cut, f"\n{text}")
    instruction = _QUOTED.sub(quoted, text)
    if not payloads:
        payloads.append(max(_PARAGRAPH.split(text), key=len))
    return instruction, payloads


def skeleton(system: str, instruction: str) -> list[str]:
    """The words, not yet normalised (`simhash.Words` does), of system prompt and instruction."""
    words = _QUOTED.sub(" ", window(system)).split(None, SYSTEM_WORDS)[:SYSTEM_WORDS]
    return words + instruction.split(None, USER_WORDS)[:USER_WORDS]


def bare(system: str, user: str) -> list[str]:
    """The words of both, payload or not."""
    words = window(system).split(None, SYSTEM_WORDS)[:SYSTEM_WORDS]
    return words + window(user).split(None, USER_WORDS)[:USER_WORDS]


def _without_fenced(text: str, fence: str, payloads: list[str]) -> str:
    """Cuts what stands between one fence and the next; the last may be open."""
    between = text.split(fence)
    payloads += between[1::2]
    return "\n".join(between[::2])


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
