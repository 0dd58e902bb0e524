"""The classifier, measured: on public prompts, and on prompts that elicit beside honest ones that sound alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import orjson
import pytest

from streamproc.fingerprint import Fingerprinter, Peppers

PRINTER = Fingerprinter(Peppers(identity=b"stays" * 8, content=b"rotates" * 8))
LABELLED = Path(__file__).with_name("elicitation.jsonl")
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
# What the benchmarks' kinds are in the contract's words; `general` has no one class.
CLASS_OF_KIND = {"coding": "code", "reasoning": "reasoning", "tool_use": "tool_use"}
FLOORS = {"code": (0.9, 0.9), "reasoning": (0.9, 0.9), "tool_use": (1.0, 1.0)}  # precision, recall


def event(text: str, *, tools: bool = False) -> dict[str, object]:
    body = {"messages": [{"role": "user", "content": text}], "tools": [TOOL] if tools else []}
    return PRINTER.request("/v1/chat/completions", (), body).event


def judged(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """Precision and recall of each label, from pairs of what is and what was said."""
    counts = Counter(pairs)
    labels = {one for pair in counts for one in pair if one}
    found = {}
    for label in sorted(labels):
        right = counts[label, label]
        said = sum(n for (_, told), n in counts.items() if told == label)
        there = sum(n for (truth, _), n in counts.items() if truth == label)
        found[label] = (right / said if said else 1.0, right / there if there else 1.0)
    return found


def test_task_classes_of_public_prompts(prompts: list[dict[str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [
        (CLASS_OF_KIND.get(one["kind"], ""), str(event(one["text"], tools=one["kind"] == "tool_use")["task_class"]))
        for one in prompts
    ]
    found = judged(pairs)
    with capsys.disabled():
        for label in FLOORS:
            print(f"\ntask_class {label}: precision {found[label][0]:.3f}, recall {found[label][1]:.3f}", end="")  # noqa: T201
    for label, (precision, recall) in FLOORS.items():
        assert found[label] >= (precision, 0)
        assert found[label][1] >= recall


def test_elicitation_is_told_from_honest_prompts_that_sound_alike(capsys: pytest.CaptureFixture[str]) -> None:
    """Every second row was looked at when the rules were last changed, the others were not."""
    rows = [orjson.loads(line) for line in LABELLED.read_bytes().splitlines()]
    for half, chosen in (("seen", rows[::2]), ("unseen", rows[1::2])):
        right = said = there = alarms = 0
        for row in chosen:
            seen = event(row["text"])["elicits"]
            assert isinstance(seen, list)
            right += len(set(seen) & set(row["label"]))
            said += len(seen)
            there += len(row["label"])
            alarms += bool(seen) and not row["label"]
        precision, recall, honest = right / said, right / there, sum(not row["label"] for row in chosen)
        with capsys.disabled():
            print(  # noqa: T201
                f"\nelicits, {half}: precision {precision:.3f}, recall {recall:.3f}, {alarms} of {honest} flagged",
                end="",
            )
        assert precision >= 0.8
        assert recall >= 0.9


def test_public_prompts_elicit_nothing(prompts: list[dict[str, str]]) -> None:
    flagged = [one["text"] for one in prompts if event(one["text"])["elicits"]]
    assert len(flagged) <= 0.01 * len(prompts)
