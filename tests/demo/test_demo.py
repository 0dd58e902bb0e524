from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamproc import broker, cli

COMMAND = [sys.executable, "-m", "streamproc.cli", "demo", "--accounts", "700", "--days", "2", "--seed", "7"]


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "BROKER": "embedded", **more}


def left_behind(folder: Path) -> list[str]:
    """Return the commands of all processes that were given this folder for temporary files."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"TMPDIR={folder}".encode() in (entry / "environ").read_bytes().split(b"\0")
            if mine and "Z" not in (entry / "stat").read_text().rpartition(")")[2][:3]:
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def nothing_is_left(folder: Path, within_s: float = 20) -> bool:
    deadline = time.monotonic() + within_s
    while left_behind(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not left_behind(folder)


@pytest.mark.parametrize("kind", ["embedded", "kafka"])
def test_it_shows_the_campaign_who_was_found_and_what_it_cost(kind: str, tmp_path: Path) -> None:
    if kind == "kafka" and (reason := broker.available()) is not None:
        pytest.skip(reason)
    done = subprocess.run(
        COMMAND, env=environment(tmp_path, BROKER=kind), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout
    assert re.search(r"^Campaign c[0-9a-f]{16}: confirmed, \d+ members$", told, re.MULTILINE), told
    assert re.search(r"^  confirmed  \d+\.\d hours after its first request$", told, re.MULTILINE)
    assert re.search(r"^    \+\d\.\d\d  (template|history|behaviour)  +\S", told, re.MULTILINE)
    assert re.search(r"^  members    \d+ of \d+ found and stopped, \d+ missed$", told, re.MULTILINE)
    assert re.search(r"^  leaked     [\d,]+ of [\d,]+ exchanges", told, re.MULTILINE)
    assert re.search(r"^  hurt       \d+ of [\d,]+ honest accounts", told, re.MULTILINE)
    assert max(map(len, told.splitlines())) < 80
    assert max(map(len, done.stderr.splitlines())) < 80
    assert re.search(r"day \d \d\d:\d\d  campaign c\w+ confirmed", done.stderr)
    assert nothing_is_left(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc: run it on Linux")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_it_leaves_no_process_and_no_folder(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(COMMAND, env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        for line in demo.stderr:
            if " events, " in line:
                break
        assert len(left_behind(tmp_path)) >= 3, "broker, worker and the demo itself"
        demo.send_signal(number)
        rest = demo.stderr.read()
        assert demo.wait(60) == (130 if number != signal.SIGKILL else -signal.SIGKILL), rest
    assert nothing_is_left(tmp_path)
    if number != signal.SIGKILL:
        assert rest.endswith("stopped; nothing is left behind\n")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "streamproc: BROKER: 'rabbit' is neither embedded nor kafka\n"),
        (["--scenario", "x"], "streamproc: no scenario 'x': choose one of sync_pool, "),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROKER", "rabbit")
    assert cli.main(["demo", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1
