"""What the detector cannot see when a field is missing: a small table, held against its statistics by a test.

Ingest does not import the detector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BLINDNESS", "blind", "told"]

# Statistic -> its family, and the fields that it reads beside template_fp, which all of them need: it is blind where
# every one of these is missing for more than half of the requests.
BLINDNESS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "core_size": ("template", ()),
    "cover": ("template", ()),
    "size": ("template", ()),
    "devoted": ("template", ()),
    "births": ("synchrony", ()),
    "hours": ("synchrony", ()),
    "day_evenness": ("synchrony", ()),
    "sittings": ("history", ("n_assistant",)),
    "earlier_turns": ("history", ("n_assistant",)),
    "core_share": ("behaviour", ()),
    "dispersion": ("behaviour", ()),
    "devoted_share": ("behaviour", ()),
    "tokens": ("behaviour", ("tok_in", "tok_out")),
    "client_variety": ("identity", ("ua",)),
    "shared_client": ("identity", ("ua", "ua_version", "tls_fp")),
    "pathway_variety": ("identity", ("pathway",)),
    "organisations": ("identity", ("org",)),
    "fresh": ("identity", ("signup_ms",)),
    "elicitation": ("content", ("elicits",)),
}
TEMPLATE: Final = "template_fp"
NO_TEMPLATE: Final = (
    "blind: every statistic of every family, for there is no template_fp: no campaign can be found in these events, "
    "and none of their accounts gets beyond observe"
)


def blind(has: Callable[[str], bool]) -> dict[str, tuple[str, ...]]:
    """Each blind statistic with the fields that it lacks; `has` tells whether a field is there often enough."""
    if not has(TEMPLATE):
        return dict.fromkeys(BLINDNESS, (TEMPLATE,))
    return {
        name: fields for name, (_, fields) in BLINDNESS.items() if fields and not any(has(field) for field in fields)
    }


def told(lacking: dict[str, tuple[str, ...]]) -> list[str]:
    """The blindness in words, a line for each set of fields that is missing."""
    if set(lacking) == set(BLINDNESS) and set(lacking.values()) == {(TEMPLATE,)}:
        return [NO_TEMPLATE]
    by_fields: dict[tuple[str, ...], list[str]] = {}
    for name, fields in lacking.items():
        by_fields.setdefault(fields, []).append(f"{name} ({BLINDNESS[name][0]})")
    return [f"blind without {' or '.join(fields)}: {', '.join(names)}" for fields, names in by_fields.items()]
