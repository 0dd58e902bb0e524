"""The table's reader: follows the compacted topic `enforcement`, and tells the metrics how that goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamproc.following import Follower
from streamproc.gateway.gate import now_ms

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

    from streamproc.gateway.metrics import Metrics
    from streamproc.gateway.verdicts import Verdicts
    from streamproc.settings import KafkaSettings

__all__ = ["Reader"]

AT_ONCE: Final = 2_000  # decisions taken before others of the event loop get their turn: some 10 ms
MEANWHILE: Final = "verdicts stay as they are, and lapse"


class Reader(Follower):
    """Keeps `verdicts` as the topic has it, until it is cancelled."""

    def __init__(self, kafka: KafkaSettings, topic: str, verdicts: Verdicts, metrics: Metrics) -> None:
        super().__init__(kafka, (topic,), self._enter, heard=self._show, at_once=AT_ONCE, meanwhile=MEANWHILE)
        self._verdicts = verdicts
        self._metrics = metrics

    def _enter(self, record: ConsumerRecord) -> None:
        now = now_ms()
        self._verdicts.take(record.value, now, record.key or b"")
        if self.why_not_ready is None:
            self._metrics.observe("gateway_delay_seconds", max(now - record.timestamp, 0) / 1000)

    def _show(self) -> None:
        self._metrics.set("gateway_ready", self.why_not_ready is None)
        self._metrics.set("gateway_broker_up", self.up)
        self._metrics.set("gateway_lag_events", self.lag)
