"""`streamproc explain` as one runs it: on a file, and on what the topics hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from streamproc import broker, cli
from streamproc.sim import scenario
from tests.console.service import TOPICS, message, now, send
from tests.telling.events import campaign, decision, label
from tests.telling.test_case import Page
from tests.worker.pipeline import write_policy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The arguments of a replay that finds a campaign."""
    folder = tmp_path_factory.mktemp("replayed")
    scenario.simulate_to(folder / "e.jsonl", folder / "t.jsonl", "sync_pool", seed=7, accounts=600, days=2)
    return ["--input", str(folder / "e.jsonl"), "--policy", str(write_policy(folder / "policy.toml"))]


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    events = [now(campaign()), now(label("a1")), *(now(decision(f"a{n}")) for n in range(5))]
    wrong = [
        ("enforcement", b"x", b"{"),
        ("campaigns", b"c1", b'{"v":7}'),
        ("labels", b"x", b"[]"),
        ("labels", b"x", None),
    ]
    with broker.embedded(TOPICS) as address:
        send(address, [*map(message, events), *wrong])
        yield address


def test_a_campaign_and_an_account_of_a_file_in_all_three_forms(
    replayed: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["replay", *replayed, "--output", str(tmp_path / "d"), "--campaigns", str(tmp_path / "c")]) == 0
    states = [orjson.loads(line) for line in (tmp_path / "c").read_bytes().splitlines()]
    confirmed = max((row for row in states if row["state"] == "confirmed"), key=lambda row: row["members"])["campaign"]
    decided = [orjson.loads(line) for line in (tmp_path / "d").read_bytes().splitlines()]
    account = next(row["subject"]["id"] for row in decided if row["campaign"] == confirmed)
    for subject in (confirmed, account):
        capsys.readouterr()
        assert cli.main(["explain", subject, *replayed]) == 0
        text = capsys.readouterr().out
        assert f"campaign {confirmed}: confirmed" in text
        assert "; lawful groups of this size: " in text
        assert cli.main(["explain", subject, *replayed, "--json"]) == 0
        data = orjson.loads(capsys.readouterr().out)
        assert data["campaign"] == [row for row in states if row["campaign"] == confirmed]
        assert data["decisions"] == [row for row in decided if row["subject"]["id"] == subject]
        assert cli.main(["explain", subject, *replayed, "--html", str(tmp_path / "case.html")]) == 0
        page = Page((tmp_path / "case.html").read_text()).text
        for row in data["told"]["campaign"]["evidence"]:
            assert row["observed"] in page
            assert row["observed"] in text


def test_from_the_topics_what_is_no_event_is_left_out(
    brokers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", brokers)
    assert cli.main(["explain", "c1", "--from-kafka"]) == 0
    assert "enforcing would limit 5 members" in capsys.readouterr().out
    assert cli.main(["explain", "a1", "--from-kafka", "--html", "-"]) == 0
    assert "ana said that it is lawful, for: a course" in " ".join(Page(capsys.readouterr().out).text.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody", "--from-kafka"], "nothing was decided about 'nobody'"),
        (["c1", "--from-kafka", "--partitions", "4"], "are for a replay"),
    ],
)
def test_what_cannot_be_told_is_said_in_one_line(
    words: list[str], said: str, brokers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", brokers)
    assert cli.main(["explain", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_missing_topic_or_broker_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with broker.embedded({"enforcement": 1}) as address:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", address)
        assert cli.main(["explain", "c1", "--from-kafka"]) == 2
    assert "there is no topic campaigns, labels" in capsys.readouterr().err
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert cli.main(["explain", "c1", "--from-kafka"]) == 2
    assert "no broker answers" in capsys.readouterr().err
