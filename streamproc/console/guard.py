"""Who may write, and what no other site's page may have a browser do here.

A session is a signed cookie that says who somebody is and until when; a form bears a mark that only this session's
pages have. Nothing is stored: whoever changes a token ends all sessions. Pure but for the draw of ids.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["HEADERS", "SESSION_S", "Guard", "Session", "local_path"]

SESSION_S: Final = 12 * 3600
LOCAL: Final = ("localhost", "127.0.0.1", "[::1]")
WHO: Final = re.compile(r"\S(?:[^\x00-\x1f\x7f]{0,62}\S)?")  # 1 to 64 characters, as the schema has it

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # no-referrer would take the origin from our own forms, too
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has shown the token: by what name, and the cookie that says so."""

    who: str
    cookie: str


class _Claim(msgspec.Struct, array_like=True):
    who: str
    ends_s: int


class Guard:
    """Signs and checks by the tokens; without one nobody may write.

    `token` is for all and lets somebody take any name but those that have tokens of their `own`, (name, token) each.
    """

    def __init__(self, token: str | None, hosts: Sequence[str], own: Sequence[tuple[str, str]] = ()) -> None:
        self._token = token
        self._own = dict(own)
        self._hosts = frozenset((*LOCAL, *hosts))
        self._key = _join((token or "", *(part for pair in own for part in pair)))

    @property
    def writable(self) -> bool:
        """Whether anybody may write."""
        return self._token is not None or bool(self._own)

    def knows_host(self, host: str) -> bool:
        """Whether a Host header names this service: another site's name that leads here would read in its stead."""
        name = re.sub(r":\d+\Z", "", host.lower())
        return name in self._hosts

    def sign_in(self, token: str, who: str, now_s: float) -> str | None:
        """Return the cookie of a session, None if the token is another's or the name is none."""
        wanted = self._own.get(who, self._token)
        right = wanted is not None and _equal(token, wanted)
        if not (right and WHO.fullmatch(who)):
            return None
        claim = base64.urlsafe_b64encode(_encode(_Claim(who, int(now_s) + SESSION_S))).decode().rstrip("=")
        return f"{claim}.{self._sign('session', claim)}"

    def session(self, cookie: str | None, now_s: float) -> Session | None:
        """Return the session of a cookie, None if there is none or it is over."""
        claim, _, mark = (cookie or "").partition(".")
        if not self.writable or not _equal(mark, self._sign("session", claim)):
            return None
        told = _decode(base64.urlsafe_b64decode(claim + "=" * (-len(claim) % 4)))
        return Session(told.who, cookie or "") if told.ends_s > now_s else None

    def form(self, session: Session, *parts: str) -> tuple[str, str]:
        """Return a new label's id, and the mark by which the form that bears it is known to be ours."""
        made = secrets.token_hex(16)
        return made, self._sign("form", session.cookie, made, *parts)

    def is_ours(self, session: Session, mark: str, made: str, *parts: str) -> bool:
        """Whether a form with this id is one that `form` marked for the session and these parts."""
        return _equal(mark, self._sign("form", session.cookie, made, *parts))

    def _sign(self, *parts: str) -> str:
        return hmac.digest(self._key, _join(parts), "sha256").hex()


def is_cross_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that another site's page had it send the request."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("Host")


def local_path(path: str) -> str:
    """The path if it is one of ours, else the first page's: a sign-in leads nowhere else."""
    return path if re.fullmatch(r"/(?![/\\])[\x21-\x7e]*", path) else "/"


def _join(parts: Iterable[str]) -> bytes:
    """With lengths, so that no two lists run together."""
    return "".join(f"{len(part)}:{part}" for part in parts).encode(errors="replace")


def _equal(given: str, right: str) -> bool:
    """Compare in a time that tells nothing; what was given may be no text at all."""
    return hmac.compare_digest(given.encode(errors="replace"), right.encode())


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Claim).decode
