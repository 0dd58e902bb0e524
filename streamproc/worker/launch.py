"""From settings to a running Faust worker in this process."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Final

import faust
from faust.types.auth import CredentialsT

from streamproc.worker.runs import RunApp, new_event_loop

if TYPE_CHECKING:
    from streamproc.settings import KafkaSettings, Settings
    from streamproc.worker.runs import Keeper

__all__ = ["launch", "make_app"]

log = logging.getLogger(__name__)

COMMIT_EVERY_S: Final = 1.0
FETCH_BYTES: Final = 2 * 1024 * 1024  # of a partition at once: a run of full events
REBALANCE_WITHIN_S: Final = 120.0  # a worker may need this long to make its state durable and let go


def make_app(settings: Settings, *, keeper: Keeper | None = None) -> RunApp:
    """Return an app for these brokers, without agents yet.

    Raises:
        SettingsError: certificate files that cannot be used.
    """
    kafka = settings.kafka
    return RunApp(
        kafka.group,
        keeper=keeper,
        broker=[f"kafka://{server}" for server in kafka.bootstrap_servers],
        broker_credentials=_credentials(kafka),
        broker_session_timeout=kafka.session_timeout_s,
        broker_heartbeat_interval=kafka.session_timeout_s / 6,
        broker_request_timeout=max(90.0, kafka.session_timeout_s),
        broker_rebalance_timeout=REBALANCE_WITHIN_S,
        broker_commit_interval=COMMIT_EVERY_S,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        topic_allow_declare=False,  # worker/topics.py has made them
        topic_disable_leader=True,  # nothing here runs on a leader, whose topic must be created
        web_enabled=False,  # health.py serves
        store="memory://",
        autodiscover=False,
    )


def _credentials(kafka: KafkaSettings) -> CredentialsT | None:
    context = kafka.ssl_context()
    if kafka.uses_sasl:
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password,
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


def launch(app: RunApp, *, stop_within_s: float = 25.0, log_level: str = "warning") -> int:
    """Run the worker until it is told to stop (INT, TERM) or crashes; return 0, or 1 after a crash.

    Where it does not stop in time, the process ends with 1 without returning.
    """
    loop = new_event_loop()
    asyncio.set_event_loop(loop)  # parts of Faust ask for the current loop before any runs
    options: dict[str, Any] = {"quiet": True, "loglevel": log_level, "redirect_stdouts": False, "loop": loop}
    worker = faust.Worker(app, **options)
    worker.spinner = None  # it writes escape codes even where nobody looks
    for name in seldom_loggers():
        logging.getLogger(name).addFilter(_Seldom())
    gc.freeze()  # what is imported stays: no collection need walk through it
    app.on_before_stop = lambda: _end_after(stop_within_s)
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        return int(end.code or 0)


def _end_after(seconds: float) -> None:
    """End the process when it does not stop in good order: without brokers its last flush would wait for ever."""

    def end() -> None:
        log.error("could not stop within %.0f s: the next start goes on from the snapshots", seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def seldom_loggers() -> list[str]:
    """Return aiokafka's loggers, each by name: a filter on their parent would not see what they log."""
    return sorted(name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "aiokafka")


class _Seldom(logging.Filter):
    """Lets the same text through once a hundred times: aiokafka says the same dozens of times a second."""

    EVERY: Final = 100
    TEXTS: Final = 200

    def __init__(self) -> None:
        super().__init__()
        self._times: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if len(self._times) >= self.TEXTS:
            self._times.clear()
        times = self._times[record.msg] = self._times.get(record.msg, 0) + 1
        return times % self.EVERY == 1
