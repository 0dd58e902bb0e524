"""Alertmanager's configuration: who is told of what, held against the alerts that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.deploy.tables import ROOT
from tests.deploy.test_alerts import RULES

CONFIG = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
LOADED: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
AMTOOL = shutil.which("amtool")
amtool = pytest.mark.skipif(AMTOOL is None, reason="no amtool: apt-get install prometheus-alertmanager")
ALERTS = {rule["alert"]: rule["labels"]["severity"] for rule in RULES}
RECEIVERS = {"page": "pages", "ticket": "tickets"}


def run(*arguments: str) -> str:
    done = subprocess.run([AMTOOL or "", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@amtool
def test_amtool_is_content() -> None:
    assert "SUCCESS" in run("check-config", str(CONFIG))


@amtool
@pytest.mark.parametrize(("alert", "severity"), ALERTS.items())
def test_an_alert_goes_to_the_receiver_of_its_severity(alert: str, severity: str) -> None:
    labels = (f"alertname={alert}", f"severity={severity}")
    assert run("config", "routes", "test", f"--config.file={CONFIG}", *labels) == RECEIVERS[severity]


def test_what_is_matched_by_name_exists() -> None:
    matchers = re.findall(r'alertname=~?"([^"]*)"', CONFIG.read_text())
    named = {name for matcher in matchers for name in matcher.split("|")}
    assert len(matchers) == 1 + 2 * len(LOADED["inhibit_rules"])
    assert named <= set(ALERTS)


def test_nothing_is_held_back_by_what_only_makes_a_ticket() -> None:
    for rule in LOADED["inhibit_rules"]:
        (matcher,) = rule["source_matchers"]
        for name in re.findall(r'"([^"]*)"', matcher)[0].split("|"):
            assert ALERTS[name] == "page"
