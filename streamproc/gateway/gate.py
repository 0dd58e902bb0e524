"""The one way from a request to its answer, for whoever asks: the verdict, the buckets, and what holds before them."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Final

from streamproc.gateway import answers
from streamproc.gateway.answers import Answer, Asked
from streamproc.gateway.buckets import Buckets
from streamproc.gateway.verdicts import MODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamproc.gateway.metrics import Metrics
    from streamproc.gateway.shared import SharedBuckets
    from streamproc.gateway.verdicts import Subjects, Verdict, Verdicts
    from streamproc.settings import GatewaySettings

__all__ = ["Gate", "now_ms"]

log = logging.getLogger(__name__)

SAY_EVERY_S: Final = 10.0
EFFECTS: Final = {
    "open": "requests pass that may have to be refused",
    "closed": "every request is refused",
}


def now_ms() -> int:
    """Return the wall clock's milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


class Gate:
    """Answers requests; `why_not_ready` returns None once the verdicts are known."""

    def __init__(
        self,
        settings: GatewaySettings,
        verdicts: Verdicts,
        metrics: Metrics,
        why_not_ready: Callable[[], str | None],
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._settings = settings
        self._verdicts = verdicts
        self._metrics = metrics
        self._why_not_ready = why_not_ready
        self._clock_ms = clock_ms
        self._buckets = _buckets(settings, metrics)
        self._said_s = -math.inf

    async def answer(self, asked: Asked) -> tuple[Answer, Verdict | None]:
        """Return what becomes of the request, and by which decision."""
        with self._metrics.timed("gateway_check_seconds"):
            answer, verdict = await self._answer(asked)
        self._metrics.add("gateway_checks_total", answer=answer.word)
        return answer, verdict

    async def close(self) -> None:
        """Let go of what it holds outside of this process."""
        await self._buckets.close()

    def concerns(self, subjects: Subjects) -> bool:
        """Return whether anything that is in force is about them, in shadow too; true until that is known."""
        if self._why_not_ready() is not None:
            return True
        now = self._clock_ms()
        return any(self._verdicts.verdict(subjects, now, mode) is not None for mode in MODES)

    async def _answer(self, asked: Asked) -> tuple[Answer, Verdict | None]:
        why = self._why_not_ready()
        if why is not None:
            self._say_unready(why)
            return (answers.PASS if self._settings.unready == "open" else answers.unavailable(asked)), None
        now = self._clock_ms()
        shadow = self._verdicts.verdict(asked.subjects, now, "shadow")
        if shadow is not None:
            self._metrics.add("gateway_shadow_checks_total", action=shadow.action)
        verdict = self._verdicts.verdict(asked.subjects, now)
        wait_s = None
        if verdict is not None and verdict.action == "throttle":
            wait_s = await self._buckets.wait_s(verdict, asked.tokens)
        return answers.answer(verdict, asked, wait_s, self._settings.appeal_url), verdict

    def _say_unready(self, why: str) -> None:
        self._metrics.add("gateway_unready_checks_total", unready=self._settings.unready)
        if time.monotonic() - self._said_s >= SAY_EVERY_S:
            self._said_s = time.monotonic()
            unready = self._settings.unready
            log.error("no verdicts yet (%s), GATEWAY_UNREADY is %s: %s", why, unready, EFFECTS[unready])


def _buckets(settings: GatewaySettings, metrics: Metrics) -> Buckets | SharedBuckets:
    if settings.buckets == "memory":
        return Buckets(settings)
    from streamproc.gateway.shared import SharedBuckets  # noqa: PLC0415 - needs the extra `redis`

    return SharedBuckets(settings, metrics)
