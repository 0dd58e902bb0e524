"""The main language of a text: by its script, or by its stop words; nothing when unsure."""

from __future__ import annotations

import re
from collections import Counter

LOOKED_AT_CHARS = 300
LEAST_WORDS = 6
LEAST_STOPS = 3
LEAD = 1.5  # by so much the best must lead the second

# Scripts in which one language is by far the most written; first and last character.
SCRIPTS = (
    ("\u3040", "\u30ff", "ja"),  # kana before the characters that Chinese shares
    ("\uac00", "\ud7a3", "ko"),
    ("\u4e00", "\u9fff", "zh"),
    ("\u0e00", "\u0e7f", "th"),
    ("\u0590", "\u05ff", "he"),
    ("\u0370", "\u03ff", "el"),
    ("\u0900", "\u097f", "hi"),
)
_RANGES = [(re.compile(f"[{first}-{last}]"), language) for first, last, language in SCRIPTS]
LEAST_SHARE = 0.1  # of the characters
_STOPS = {
    "en": "the of and to is in that for with are this be you how what",
    "de": "der die das und ist nicht ein eine mit für auf den von zu wie",
    "fr": "le la les et est des une pour dans que qui avec sur du vous",
    "es": "el la los las y es una para que con del por como en se",
    "pt": "o os as e uma para que com do da não em por como um",
    "it": "il lo gli e una per che con di della non sono come è un",
    "nl": "de het een en is van voor met dat niet zijn op te hoe aan",
}
_OF_STOP: dict[str, list[str]] = {}
for _language, _words in _STOPS.items():
    for _word in _words.split():
        _OF_STOP.setdefault(_word, []).append(_language)


def language(text: str) -> str:
    """A BCP 47 code, or the empty text."""
    text = text[:LOOKED_AT_CHARS]
    if not text.isascii():
        for script, name in _RANGES:
            if len(script.findall(text)) > LEAST_SHARE * len(text):
                return name
    words = text.lower().split()
    if len(words) < LEAST_WORDS:
        return ""
    stops = Counter(name for word in filter(_OF_STOP.__contains__, words) for name in _OF_STOP[word])
    best = stops.most_common(2)
    if not best or best[0][1] < LEAST_STOPS or (len(best) > 1 and best[0][1] < LEAD * best[1][1]):
        return ""
    return best[0][0]
