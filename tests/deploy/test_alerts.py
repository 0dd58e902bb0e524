"""What watches all services: Prometheus' configuration and rules, held against the services' own tables."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamproc.core.campaigns.statistics import STATISTICS
from streamproc.gateway import metrics as gateway
from streamproc.ingest import metrics as ingest
from streamproc.worker import metrics as worker
from tests.deploy.tables import OPERATING, ROOT
from tests.deploy.test_compose import SERVICES, network_of
from tests.deploy.test_docs import anchors

PROMETHEUS = ROOT / "deploy" / "prometheus"
PROMTOOL = shutil.which("promtool")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
PARTS = (worker, gateway, ingest)
BY_NAME = {metric.name: metric for part in PARTS for metric in part.METRICS}
DOMAINS = {metric.name: part.DOMAINS for part in PARTS for metric in part.METRICS}
# And the service of docker-compose.yml that each scrapes.
JOBS = {
    "streamproc": "worker",
    "streamproc-limiter": "limiter",
    "streamproc-authz": "authz",
    "streamproc-console": "console",
}
SEEN_AT_TIMES = {"org", "elicits"}  # fields whose absence is ordinary
promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool: apt-get install prometheus")
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])


@promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([PROMTOOL or "", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@each_rule
def test_a_rule_reads_metrics_that_somebody_shows(rule: dict[str, Any]) -> None:
    named = re.findall(r"\bstreamproc_(\w+)", rule["expr"])
    assert named or "up{" in rule["expr"]
    assert set(named) <= set(BY_NAME)


@each_rule
def test_a_rule_selects_labels_and_values_that_there_are(rule: dict[str, Any]) -> None:
    for metric, selector in re.findall(r"streamproc_(\w+)\{([^}]*)\}", rule["expr"]):
        domains = DOMAINS[metric]
        for label, value in re.findall(r'(\w+)(?:=~?|!=)"([^"]*)"', selector):
            assert label in BY_NAME[metric].labels
            assert set(value.split("|")) <= set(domains.get(label, value.split("|")))
    grouped = re.findall(r"by \((\w+)\) \(.*?streamproc_(\w+)", rule["expr"])
    assert all(label in BY_NAME[metric].labels for label, metric in grouped)


@each_rule
def test_a_rule_says_what_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert {"summary", "description", "runbook"} == set(rule["annotations"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    file, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert ROOT / file == OPERATING
    assert anchor in anchors(OPERATING)
    assert anchor == rule["alert"].lower()


def test_every_rule_is_tested_to_fire() -> None:
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    fired = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]}
    assert fired == {rule["alert"] for rule in RULES}


def test_blindness_is_watched_for_every_field_that_a_statistic_reads() -> None:
    (expr,) = [rule["expr"] for rule in RULES if rule["alert"] == "DetectorBlind"]
    watched = set(re.findall(r'field=~"([^"]*)"', expr)[0].split("|"))
    read = {field for statistic in STATISTICS for field in statistic.fields}
    assert watched == (read | {"template_fp"}) - SEEN_AT_TIMES


def test_prometheus_scrapes_each_service_where_it_listens() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert {job["job_name"]: job["static_configs"] for job in config["scrape_configs"]} == {
        job: [{"targets": [f"{network_of(service)}:{SERVICES[service]['environment']['HTTP_PORT']}"]}]
        for job, service in JOBS.items()
    }
    assert all(job.get("metrics_path", "/metrics") == "/metrics" for job in config["scrape_configs"])
    assert all((PROMETHEUS / Path(file)).is_file() for file in config["rule_files"])


def test_a_rule_that_asks_who_is_up_names_a_job_that_is_scraped() -> None:
    named = [job for rule in RULES for job in re.findall(r'\bup\{job="([^"]*)"\}', rule["expr"])]
    assert set(named) == set(JOBS)
    assert sum(rule["expr"].count("up{") for rule in RULES) == len(named)


@promtool
def test_the_job_of_an_ingest_needs_only_its_comment_signs_taken_away(tmp_path: Path) -> None:
    shipped = (PROMETHEUS / "prometheus.yml").read_text()
    text, taken = re.subn(r"^  # (- job_name:.*|  .*)$", r"  \1", shipped, flags=re.MULTILINE)
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copy(PROMETHEUS / "alerts.yml", tmp_path)
    done = subprocess.run(
        [PROMTOOL or "", "check", "config", "prometheus.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *others, last = yaml.safe_load(text)["scrape_configs"]
    assert others == yaml.safe_load(shipped)["scrape_configs"]
    assert (taken, last) == (3, {"job_name": "streamproc-ingest", "static_configs": [{"targets": ["ingest:4318"]}]})
