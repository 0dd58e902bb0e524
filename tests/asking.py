"""One question over HTTP to a process that a test runs."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def get(url: str, within_s: float, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Return status and body, (0, "") while nobody answers."""
    try:
        asked = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310 - of our own processes
        with urllib.request.urlopen(asked, timeout=within_s) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""
