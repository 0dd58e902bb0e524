"""The house rules: short functions, small modules, nothing that is tied to one machine, papers in order."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
OURSELVES = Path(__file__).resolve().relative_to(ROOT)
MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_A_MODULE = 500
GENERATED = {"docs/SCOREBOARD.md", "docs/scoreboard.json", "requirements.lock", "scripts/litellm.lock"}

# What a tracked file must not hold, and why. This file, which has to name it all, is left out.
UNWANTED = {
    "a path of somebody's machine": r"(?<![\w.$}~/-])/(?:home|root|Users|work|tmp|mnt)/[\w.]",
    "the host of a package registry": (
        r"pypi\.org|pythonhosted\.org|registry\.npmjs|repo1?\.maven\.|proxy\.golang\.org"
        r"|(?:docker|ghcr|quay|gcr)\.io|--(?:extra-)?index-url"
    ),
    "work left over": r"\b(?:TODO|FIXME|XXX|HACK)\b",
    "a conflict": r"^(?:<{7}|>{7}) ",
}

needs_git = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="no git checkout: which files are ours?"
)


def tracked() -> list[Path]:
    """Files that git has or would take, as they are now."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [Path(name) for name in sorted(set(names)) if name and (ROOT / name).is_file()]


def modules() -> list[Path]:
    """Our Python modules, tests and benchmarks among them."""
    return [path for folder in ("streamproc", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def unwanted(text: str) -> list[str]:
    """What of the unwanted the text holds."""
    return [what for what, pattern in UNWANTED.items() if re.search(pattern, text, re.MULTILINE)]


def project() -> dict[str, list[str]]:
    """The groups of dependencies of pyproject.toml, extras among them: names alone, as written."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = table["project"].get("optional-dependencies", {})
    groups = {"dependencies": table["project"]["dependencies"], **extras, **table["dependency-groups"]}
    return {group: [re.split(r"[\s<>=!~;\[]", one)[0] for one in ones] for group, ones in groups.items()}


def normal(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_functions_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in modules()
        for node in functions(ast.parse(path.read_text()))
        if (node.end_lineno or node.lineno) - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    ]
    assert not long


def test_modules_are_small() -> None:
    sizes = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in modules()}
    assert not {name: size for name, size in sizes.items() if size > MOST_LINES_OF_A_MODULE}


def test_every_module_of_the_package_says_what_it_is() -> None:
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "streamproc").rglob("*.py")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


@needs_git
def test_no_file_holds_what_is_unwanted() -> None:
    found = {}
    for path in tracked():
        try:
            text = (ROOT / path).read_text()
        except UnicodeDecodeError:
            continue  # a picture or a packed stream
        if path != OURSELVES and (held := unwanted(text)):
            found[path.as_posix()] = held
    assert not found


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('Path("/home/me/x")', "a path of somebody's machine"),
        ("see /tmp/out.log", "a path of somebody's machine"),
        ("pip install -i https://pypi.org/simple x", "the host of a package registry"),
        ("FROM ghcr.io/a/b:1", "the host of a package registry"),
        ("x = 1  # TODO: more", "work left over"),
        (">>>>>>> theirs", "a conflict"),
    ],
)
def test_the_unwanted_is_recognised(text: str, what: str) -> None:
    assert unwanted(text) == [what]


@pytest.mark.parametrize("text", ["/var/lib/streamproc", "docs/tmp/x", "$HOME/work/x", "1/2 and /metrics", "todo"])
def test_what_is_like_the_unwanted_is_left_alone(text: str) -> None:
    assert unwanted(text) == []


@needs_git
def test_no_tracked_file_is_large() -> None:
    sizes = {path.as_posix(): (ROOT / path).stat().st_size for path in tracked() if path.as_posix() not in GENERATED}
    assert not {name: size for name, size in sizes.items() if size > 512 * 1024}


def test_the_changelog_has_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[?([\w.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings
    assert version in headings


@pytest.mark.parametrize("group", sorted(project()))
def test_the_lock_has_every_dependency_with_hashes(group: str) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    entries = re.findall(r"^([\w.-]+)(?:\[[\w,.-]+\])?==\S+(?: ;[^\\\n]*)? \\\n    --hash=sha256:", lock, re.MULTILINE)
    locked = {normal(name) for name in entries}
    missing = [name for name in project()[group] if normal(name) not in locked]
    assert not missing, "run: make lock"
    assert len(entries) == len(re.findall(r"^[\w.-]+(?:\[[\w,.-]+\])?==", lock, re.MULTILINE)), "one without hashes"


def test_what_builds_the_package_is_locked_too() -> None:
    wanted = (ROOT / "scripts" / "build-requirements.in").read_text().split()
    lock = (ROOT / "requirements.lock").read_text()
    assert [name for name in wanted if not re.search(rf"^{re.escape(name)}==", lock, re.MULTILINE)] == []
