"""The documents agree with the code: tables, links, commands, decision records, caps."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import TYPE_CHECKING

import pytest
import yaml

from streamproc.cli import _parser
from tests.deploy.tables import OPERATING, ROOT, TABLES, written

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
OWN = [path for path in DOCUMENTS if path.name != "SCOREBOARD.md"]  # that one is written by `make scoreboard`
RECORDS = sorted((ROOT / "docs" / "adr").glob("*.md"))
PARTS = ("## Context", "## Decision", "## Measured", "## Consequences")


def slug(heading: str) -> str:
    """The anchor that a code host gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return {slug(line.lstrip("#")) for line in path.read_text().splitlines() if line.startswith("#")}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_as_the_code_has_it(name: str) -> None:
    assert written(OPERATING.read_text(), name) == TABLES[name](), "run: python -m tests.deploy.tables"


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), f"{path.name}: {target}"
        assert not anchor or anchor in anchors(linked), f"{path.name}: {target}"


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_every_file_that_is_named_exists(path: Path) -> None:
    folders = "streamproc|core|worker|sim|contract|docs|deploy|tests|scripts"
    for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", path.read_text()):
        assert (ROOT / name).exists() or (ROOT / "streamproc" / name).exists(), f"{path.name}: {name}"


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", path.read_text())) | set(
        re.findall(r"^make ([a-z-]+)", path.read_text(), re.MULTILINE)
    )
    assert named <= targets


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_every_command_that_is_shown_can_be_parsed(path: Path) -> None:
    for line in re.findall(r"^(?:\.venv/bin/)?streamproc ([^\n]*)", path.read_text(), re.MULTILINE):
        words = shlex.split(re.sub(r'"\$\(.*?\)"', "SUBJECT", line).partition(" #")[0].rstrip(" &"))
        assert _parser().parse_args(words)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_decision_record_has_its_four_parts_and_is_short(path: Path) -> None:
    text = path.read_text()
    assert re.match(r"# \d+\. ", text)
    assert f"# {int(path.name[:4])}. " in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == list(PARTS)
    assert len(text.splitlines()) < 40


def test_decision_records_are_numbered_without_a_gap() -> None:
    assert [int(path.name[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))


def test_every_cap_of_the_policy_is_in_the_table_of_caps() -> None:
    policy = tomllib.loads((ROOT / "streamproc" / "policy.toml").read_text())
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    for name in policy["caps"]:
        assert f"`caps.{name}`" in text


def test_every_module_of_the_core_has_its_line() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    core = ROOT / "streamproc" / "core"
    modules = [path.relative_to(core).as_posix() for path in core.rglob("*.py") if path.name != "__init__.py"]
    missing = [name for name in modules if f"`{name}`" not in text]
    assert not missing


def test_envoys_lines_in_the_readme_are_those_of_the_file_that_a_real_envoy_runs() -> None:
    shown = re.findall(r"```yaml\n(name: envoy.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    config = yaml.safe_load((ROOT / "deploy" / "envoy" / "envoy.yaml").read_text())
    chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
    assert yaml.safe_load(shown[0]) in chain["filters"][0]["typed_config"]["http_filters"]
