"""An analyst's word: what it releases at once, and what it keeps from happening."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from streamproc.contract.labels import Label, LabelSubject, Word
from tests.core.streams import MINUTE_MS, Pipeline, Said, cut, messages, run

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = 3
STREAM = messages(SEED)
PLAIN = run(cut(STREAM, ()))


def label(ts_ms: int, subject: str, word: Word, kind: Literal["account", "campaign"] = "account") -> Label:
    name = f"l-{subject}-{word}"
    return Label(v=1, id=name, ts_ms=ts_ms, subject=LabelSubject(kind, subject), label=word, who="w", why="")


def labelled(labels: list[Label], sizes: list[int]) -> Said:
    """What the stream brings when the labels are known beforehand, as in a replay."""
    pipeline = Pipeline()
    pipeline.campaigns.expect(labels)
    for chunk in cut(STREAM, sizes):
        pipeline.observe(chunk)
    return pipeline.end()


def first(action: str, where: Callable[[int], bool] = lambda _: True) -> tuple[int, str]:
    """When an action was first taken in the plain run, and against whom; `where` says of which kind."""
    said = [e for e in PLAIN.enforcements if e.action == action and where(e.seq % 8)]
    return min((event.ts_ms, event.subject.id) for event in said)


def acts_on(said: Said, account: str) -> list[tuple[int, str]]:
    return [(ts_ms, action) for ts_ms, subject, action in said.acts() if subject == account]


@pytest.mark.parametrize("word", ["lawful", "appeal_granted", "vetted"])
def test_a_label_releases_its_account_at_once_and_keeps_it_free(word: Word) -> None:
    suspended_ms, account = first("suspend")
    at = suspended_ms + MINUTE_MS
    after = [act for act in acts_on(labelled([label(at, account, word)], []), account) if act[0] > suspended_ms]
    assert after[0] == (at, "release")
    assert {action for _, action in after[1:]} <= {"observe", "release"}


def test_a_label_does_not_change_what_was_said_before_it() -> None:
    at, account = first("suspend")
    said = labelled([label(at + MINUTE_MS, account, "lawful")], [])
    assert [act for act in said.acts() if act[0] <= at] == [act for act in PLAIN.acts() if act[0] <= at]


def test_a_passed_verification_does_not_undo_a_suspension() -> None:
    at, account = first("suspend")
    said = labelled([label(at + MINUTE_MS, account, "verified")], [])
    assert (at + MINUTE_MS, "release") not in acts_on(said, account)


def test_a_label_of_a_campaign_releases_all_that_it_holds() -> None:
    at, _ = first("suspend")
    name = next(event.campaign for event in PLAIN.campaigns if event.state == "confirmed")
    said = labelled([label(at + MINUTE_MS, name, "lawful", "campaign")], [])
    held = {event.subject.id for event in said.enforcements if event.ts_ms <= at and event.campaign == name}
    released = {account for ts_ms, account, action in said.acts() if (ts_ms, action) == (at + MINUTE_MS, "release")}
    assert released
    assert released <= held
    assert next(event.state for event in said.campaigns if event.campaign == name and event.ts_ms > at) == "cleared"
    later = [event for event in said.enforcements if event.campaign == name and event.ts_ms > at + MINUTE_MS]
    assert later == [], "nobody is acted on for a campaign that was called lawful"


def test_a_label_reaches_what_the_watchlist_said_since_the_last_round() -> None:
    watched_ms, account = first("throttle", lambda kind: kind == 1)
    at = watched_ms + MINUTE_MS
    after = [act for act in acts_on(labelled([label(at, account, "lawful")], []), account) if act[0] > watched_ms]
    assert after[0] == (at, "release")
    assert {action for _, action in after[1:]} <= {"observe", "release"}


def test_a_label_of_nobody_known_changes_nothing() -> None:
    at, _ = first("suspend")
    said = labelled([label(at, "nobody", "lawful"), label(at, "none", "lawful", "campaign")], [])
    assert said.decisions() == PLAIN.decisions()


@pytest.mark.parametrize("sizes", [[1] * len(STREAM), [200] * 8])
def test_labels_in_a_replay_do_not_depend_on_chunks(sizes: list[int]) -> None:
    labels: list[Label] = []
    for event in PLAIN.enforcements:
        if event.action in {"throttle", "suspend"} and len(labels) < 6:
            labels.append(label(event.ts_ms + MINUTE_MS, event.subject.id, "lawful"))
    watched = [event for event in PLAIN.enforcements if event.seq % 8 == 1]
    labels += [label(event.ts_ms - 27 * MINUTE_MS, event.subject.id, "vetted") for event in watched]
    assert labelled(labels, sizes).whole() == labelled(labels, []).whole()
