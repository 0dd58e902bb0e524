"""Who asks, from what a proxy says about a request. A proxy must say it itself: what a client wrote proves nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from streamproc.gateway.observer import Caller

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streamproc.settings import AuthzSettings, Place

__all__ = ["Presented", "caller"]

BEARER = "bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A request as a proxy hands it over.

    `ordered` tells whether `headers` are in the client's order; `body` is as it was sent, `partial` if it was cut.
    `metadata` has what the proxy's own filters say, by namespace: mappings of mappings.
    """

    method: str
    path: str
    headers: list[tuple[str, str]]
    ordered: bool = False
    body: bytes = b""
    partial: bool = False
    peer: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """Return the last value of a header, which is a proxy's where it appends to a client's; empty for none."""
        return next((value for key, value in reversed(self.headers) if key.lower() == name), "")


def caller(settings: AuthzSettings, presented: Presented) -> Caller:
    """Return whom the request is from, as the settings' places say."""
    return Caller(
        account=_first(settings.account, presented),
        org=_first(settings.org, presented),
        key=_first(settings.key, presented),
        ip=_first(settings.address, presented) or presented.peer,
    )


def _first(places: Iterable[Place], presented: Presented) -> str:
    return next((found for place in places if (found := _said(place, presented))), "")


def _said(place: Place, presented: Presented) -> str:
    if len(place) == 1:
        value = presented.header(place[0]).strip()
        return value[len(BEARER) :].strip() if value.lower().startswith(BEARER) else value
    found: Any = presented.metadata
    for key in place:
        try:
            found = found[key] if key in found else ""  # noqa: SIM401 - protobuf's Struct has no get
        except (TypeError, ValueError):  # no mapping
            return ""
    return found.strip() if isinstance(found, str) else ""
