"""A control room on a real Kafka: worker, gateways, console, Prometheus, Alertmanager, and a pager that is read.

Prometheus and Alertmanager run with the files in deploy/. Changed in their copies are addresses, and intervals, which
are a second each.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from streamproc import settings
from streamproc.sim.scenario import recent, simulate
from streamproc.worker.feed import feed
from tests.worker.pipeline import Pipeline, Process, free_port

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
POLICY: Final = ROOT / "streamproc" / "policy.toml"  # that ships
BESIDE: Final = ("limiter", "authz", "console")  # the worker
PROGRAMS: Final = ("prometheus", "prometheus-alertmanager")
INSTALL: Final = f"apt-get install --no-install-recommends {' '.join(PROGRAMS)}"
SETTLED_S: Final = 4.0  # a few scrapes, evaluations and groups
PEPPERS: Final = {"IDENTITY_PEPPER": "identity-pepper-of-tests", "CONTENT_PEPPER": "content-pepper-of-tests"}


def missing() -> str | None:
    """Why no control room can be had, None if one can."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"no {' and no '.join(lacking)}: {INSTALL}" if lacking else None


@dataclass
class Told:
    """One alert that reached the pager, and when."""

    at_s: float  # Unix
    labels: dict[str, str]

    @property
    def pages(self) -> bool:
        return self.labels["kind"] == "page"


def changed(text: str, *changes: tuple[str, str]) -> str:
    """The text with each change made, none of them in vain."""
    for pattern, ours in changes:
        text, found = re.subn(pattern, ours, text)
        assert found, pattern
    return text


@dataclass
class Room:
    """All of it on topics of its own, in a folder of its own."""

    pipeline: Pipeline
    folder: Path
    told: list[Told] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    listener: threading.Thread | None = None

    def open(self, **worker: str) -> Process:
        """Start everything; returns the worker, which is told `worker` beside its usual settings."""
        self.ports = {name: free_port() for name in (*BESIDE, "prometheus")}
        started = self.pipeline.start(**worker)
        self.ports["worker"] = started.port
        ours = [sys.executable, "-m", "streamproc.cli"]
        for name in BESIDE:
            self._run(name, [*ours, name], self.pipeline.environment(
                self.ports[name], AUTHZ_GRPC="off", AUTHZ_ACCOUNT="x-account-id", **PEPPERS))  # fmt: skip
        self.open_alertmanager()
        self._start_prometheus()
        for name in BESIDE:
            self.pipeline.wait(lambda name=name: self.get(name, "/readyz") is not None)  # type: ignore[misc]
        self.pipeline.wait(lambda: len(self.query("up == 1")) == len(("worker", *BESIDE)))
        return started

    def open_alertmanager(self) -> None:
        """Start Alertmanager and the pager that it tells."""
        for name in ("alertmanager", "pager"):
            self.ports.setdefault(name, free_port())
        self._start_pager()
        self._start_alertmanager()
        for name, path in (("pager", "/"), ("alertmanager", "/-/ready")):
            self.pipeline.wait(lambda name=name, path=path: self.get(name, path) is not None)  # type: ignore[misc]

    def close(self) -> None:
        self.pipeline.close()
        for process in self.processes:
            process.kill()
            process.wait()
        if self.listener is not None:
            self.listener.join()

    # -- what goes on ----------------------------------------------------------------------------------

    def send_traffic(self, scenario: str, accounts: int, days: int, over_s: float = 0) -> int:
        """Send made-up traffic that ends today, over some seconds, until the worker is done; returns its last time."""
        stream = simulate(scenario, seed=7, accounts=accounts, days=days)
        events = list(recent(stream.events, int(time.time() * 1000)))
        lines = list(map(orjson.dumps, events))
        start_s = time.monotonic()

        async def pace(sent: int) -> None:
            await asyncio.sleep(max(start_s + over_s * sent / len(lines) - time.monotonic(), 0))

        told = settings.read(self.pipeline.environment(0))
        asyncio.run(feed(told.kafka, told.topics.requests, lines, pace))
        last_ms = max(int(event["ts_ms"]) for event in events)
        self.pipeline.say_the_end_at(last_ms)
        return last_ms

    def pages(self) -> list[Told]:
        return [one for one in self.told if one.pages and one.labels["status"] == "firing"]

    def alerts(self) -> list[dict[str, Any]]:
        """What Prometheus holds to be pending or firing."""
        found: list[dict[str, Any]] = self._api("alerts")["alerts"]
        return found

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        found: list[dict[str, Any]] = self._api("query", query=expr)["result"]
        return found

    def query_range(self, expr: str, start_s: float, end_s: float, step_s: float = 1) -> list[dict[str, Any]]:
        """The series of a query over a span."""
        span = {"start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s}"}
        found: list[dict[str, Any]] = self._api("query_range", query=expr, **span)["result"]
        return found

    def get(self, name: str, path: str) -> bytes | None:
        """What a service answers, None for none or a refusal."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}{path}", timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            return None

    def post(self, name: str, path: str, body: Any, headers: dict[str, str] | None = None) -> bytes:
        """What a service answers to JSON."""
        named = {"Content-Type": "application/json", **(headers or {})}
        url = f"http://127.0.0.1:{self.ports[name]}{path}"
        request = urllib.request.Request(url, orjson.dumps(body), named)
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return bytes(answer.read())

    def _api(self, path: str, **more: str) -> dict[str, Any]:
        answer = self.get("prometheus", f"/api/v1/{path}?{urllib.parse.urlencode(more)}")
        if answer is None:  # it is not up yet, or the query is wrong
            return {"result": []}
        told: dict[str, Any] = orjson.loads(answer)
        assert told["status"] == "success", told
        assert not told.get("warnings"), told
        data: dict[str, Any] = told["data"]
        return data

    # -- processes -------------------------------------------------------------------------------------

    def _run(self, name: str, command: list[str], told: dict[str, str] | None = None) -> None:
        with (self.folder / f"{name}.log").open("wb") as out:
            environment = {**os.environ, **(told or {})}
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=self.folder)
        self.processes.append(process)

    def _start_pager(self) -> None:
        command = [sys.executable, str(DEPLOY / "standins" / "pager.py"), str(self.ports["pager"])]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.processes.append(process)

        def listen() -> None:
            assert process.stdout is not None
            with process.stdout as lines:
                for line in lines:
                    self.told.append(Told(time.time(), orjson.loads(line)))

        self.listener = threading.Thread(target=listen)
        self.listener.start()

    def _start_alertmanager(self) -> None:
        path = self.folder / "alertmanager.yml"
        path.write_text(changed(
            (DEPLOY / "alertmanager" / "alertmanager.yml").read_text(),
            (r"http://pager:9099/", f"http://127.0.0.1:{self.ports['pager']}/"),
            (r"(group_wait|group_interval): \w+", r"\1: 1s"),
        ))  # fmt: skip
        self._run("alertmanager", [
            "prometheus-alertmanager", f"--config.file={path}", f"--storage.path={self.folder / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{self.ports['alertmanager']}", "--cluster.listen-address=",
        ])  # fmt: skip

    def _start_prometheus(self) -> None:
        shipped = DEPLOY / "prometheus"
        shutil.copy(shipped / "alerts.yml", self.folder)
        (self.folder / "prometheus.yml").write_text(changed(
            (shipped / "prometheus.yml").read_text(),
            (r"(scrape_interval|evaluation_interval): 15s", r"\1: 1s"),
            (r"worker:8321", f"127.0.0.1:{self.ports['worker']}"),
            (r"limiter:8321", f"127.0.0.1:{self.ports['limiter']}"),
            (r"envoy:8321", f"127.0.0.1:{self.ports['authz']}"),
            (r"console:8324", f"127.0.0.1:{self.ports['console']}"),
            (r"alertmanager:9093", f"127.0.0.1:{self.ports['alertmanager']}"),
        ))  # fmt: skip
        self._run("prometheus", [
            "prometheus", f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}",
        ])  # fmt: skip
