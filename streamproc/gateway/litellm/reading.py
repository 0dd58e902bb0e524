"""What LiteLLM's proxy knows of a request: who asks, and what was asked. Careful, for half of it the client wrote.

Who asks is taken from the key alone (`UserAPIKeyAuth`), never from what a client can write: not from the body's `user`,
`metadata` or `litellm_session_id`, not from the headers' call and trace ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from streamproc.gateway.observer import Caller

__all__ = ["ADMIN", "MASTER_KEY", "Asked", "asked", "caller", "record", "status_of"]

ADMIN: Final = "default_user_id"  # the user id of the master key and of every key that the admin made for himself
MASTER_KEY: Final = "litellm_proxy_master_key"  # what stands for the master key
NOTES: Final = ("litellm_metadata", "metadata")  # where LiteLLM notes what it knows: the one or the other, by route
LEAST_STATUS: Final = 400
MOST_STATUS: Final = 599
SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the client sent it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


def record(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return LiteLLM's own record of the request, and its notes on it; None where it has none (a pass-through route).

    A client can write members of those names too. LiteLLM's are those that have the very same headers, which no JSON
    that was parsed can bring about.
    """
    sent = data.get("proxy_server_request")
    if not isinstance(sent, dict) or not isinstance(sent.get("headers"), dict):
        return None
    for name in NOTES:
        noted = data.get(name)
        if isinstance(noted, dict) and noted.get("headers") is sent["headers"]:
            return sent, noted
    return None


def asked(data: dict[str, Any], route: str | None) -> Asked:
    """Return the request; of a pass-through route LiteLLM tells hooks the body alone."""
    known = record(data)
    if known is None:
        return Asked(route or "", {}, {name: data[name] for name in data if name != "litellm_logging_obj"})
    sent, _ = known
    body = sent.get("body")
    path = urlsplit(_text_of(sent.get("url"))).path or route or ""
    return Asked(path, dict(sent["headers"]), body if isinstance(body, dict) else data)


def caller(key: Any, data: dict[str, Any]) -> Caller:
    """Return who asks, by the key that was shown; without an account for the master key, which is nobody's.

    The account is the key's user, or, of a key that belongs to no user, the key itself.
    """
    token = _text(key, "token") or _text(key, "api_key")
    user = _text(key, "user_id")
    account = user if user not in ("", ADMIN) else token if token != MASTER_KEY else ""
    rpm = getattr(key, "rpm_limit", None)
    return Caller(
        account=account,
        org=_text(key, "team_id") or _text(key, "org_id") or _text(key, "organization_id"),
        key=token,
        session=_text(key, "end_user_id"),
        ip=_ip(data),
        known={"quota_rpm": rpm} if isinstance(rpm, int) and rpm >= 0 else {},
    )


def status_of(error: BaseException) -> int:
    """Return the HTTP status that an exception of LiteLLM's comes to."""
    for name in ("status_code", "code"):
        value = getattr(error, name, None)
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if isinstance(value, int) and LEAST_STATUS <= value <= MOST_STATUS:
            return value
    return SERVER_ERROR


def _text(key: Any, name: str) -> str:
    return _text_of(getattr(key, name, None))


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _ip(data: dict[str, Any]) -> str:
    """Return the address that LiteLLM saw; of a list in X-Forwarded-For the last, which the client cannot write."""
    known = record(data)
    return "" if known is None else _text_of(known[1].get("requester_ip_address")).rpartition(",")[2].strip()
