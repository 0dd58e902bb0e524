"""The template: what leaves it as it is, what moves it a little, and what makes another."""

from __future__ import annotations

import random
import subprocess
import sys
from statistics import quantiles

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.fingerprint import Fingerprinter, Peppers

PRINTER = Fingerprinter(Peppers(identity=b"stays" * 8, content=b"rotates" * 8))
RADIUS_BITS = 8
SYSTEM = "You are a careful assistant who answers in plain words and never makes things up when unsure."
ASK = (
    "Please look at the request {nonce} of {date} in {path} and tell me in a few short sentences what went wrong,"
    " which of the services was the first to fail, and what we ought to change so that it does not happen again."
)
PLAIN = ASK.format(nonce="17", date="2026-01-02", path="/srv/a")


def event(user: str, system: str = SYSTEM, printer: Fingerprinter = PRINTER) -> dict[str, object]:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return printer.request("/v1/chat/completions", (), {"messages": messages}).event


def distance(one: object, two: object) -> int:
    return (int(str(one), 16) ^ int(str(two), 16)).bit_count()


NONCES = st.one_of(
    st.uuids().map(str),
    st.integers(0, 2**40).map(str),
    st.binary(min_size=8, max_size=40).map(bytes.hex).map(lambda digits: f"0{digits}"),
)
DATES = st.one_of(st.dates().map(str), st.datetimes().map(lambda at: at.isoformat()), st.times().map(str))
PATHS = st.lists(st.text("abcdef_", min_size=1, max_size=8), min_size=1, max_size=4).map(
    lambda names: f"/{'/'.join(names)}"
)


@settings(max_examples=60, deadline=None)
@given(nonce=NONCES, date=DATES, path=PATHS)
def test_nonces_dates_and_paths_do_not_change_it(nonce: str, date: str, path: str) -> None:
    assert event(ASK.format(nonce=nonce, date=date, path=path))["template_fp"] == event(PLAIN)["template_fp"]


@settings(max_examples=60, deadline=None)
@given(spaces=st.lists(st.sampled_from([" ", "  ", "\n", "\t", " \n "]), min_size=1, max_size=8))
def test_white_space_does_not_change_it(spaces: list[str]) -> None:
    words = PLAIN.split(" ")
    spread = "".join(word + spaces[at % len(spaces)] for at, word in enumerate(words))
    for name in ("template_fp", "request_fp", "system_fp", "task_fp"):
        assert event(spread)[name] == event(PLAIN)[name]


def test_what_clients_write_into_a_prompt_does_not_change_it() -> None:
    notes = "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch=0a1b2\n"
    reminder = "<system-reminder>\nToday's date is 2026-11-25.\n</system-reminder>"
    with_notes, without = event(reminder + PLAIN, notes + SYSTEM), event(PLAIN)
    for name in ("template_fp", "system_fp", "request_fp"):
        assert with_notes[name] == without[name]


@pytest.mark.parametrize("outside", ["", "Go on.", "Please answer this now."])
def test_a_prompt_cannot_hide_in_a_reminder_that_is_closed(outside: str) -> None:
    def wrapped(text: str) -> str:
        return f"<system-reminder>\n{text}\n</system-reminder>{outside}"

    hidden, open_ = event(wrapped(PLAIN)), event(f"{PLAIN}\n\n{outside}")
    assert hidden["template_fp"] == open_["template_fp"]
    assert hidden["task_fp"] == open_["task_fp"]
    assert distance(hidden["template_fp"], event(wrapped("Tell me a joke about some ducks."))["template_fp"]) > 0
    judged = event(
        wrapped("You are an impartial judge. Rate the assistant's answer with this rubric: grade of 1 to 5.")
    )
    assert judged["elicits"] == ["grading"]


def test_a_system_prompt_cannot_hide_in_a_reminder_or_a_billing_line() -> None:
    other = "You are a pirate who sells used ships to landlubbers and speaks of nothing but planks and sails."
    for wrap in ("<system-reminder>{}</system-reminder>", "x-anthropic-billing-header: {}"):
        one, two = event(PLAIN, wrap.format(SYSTEM)), event(PLAIN, wrap.format(other))
        assert one["system_fp"] != two["system_fp"]
        assert distance(one["template_fp"], two["template_fp"]) > 0
    assert event(PLAIN, f"x-anthropic-billing-header: {other * 20}")["system_fp"]


def test_reminders_that_come_and_go_do_not_break_the_chain_of_a_short_turn() -> None:
    def chain(text: str) -> str:
        said = [{"role": "user", "content": text}, {"role": "assistant", "content": "b"}]
        return str(PRINTER.request("/v1/messages", (), {"messages": said}).event["prefix_fp"])

    assert chain("Go on.") == chain("Go on.<system-reminder>\nYour list is empty.\n</system-reminder>")


@pytest.mark.parametrize(
    "wrap",
    [
        "<task>{}</task>",
        "```\n{}\n```",
        "Question: {}",
        '"{}"',
        "<a>{}</a>",
        "<system-reminder><x>{}</x></system-reminder>",
    ],
)
def test_what_is_all_payload_has_a_template_of_its_words(wrap: str) -> None:
    short = "Look at the report and say in a few words which of the parts was the first to fail."
    one, two = (
        event(wrap.format(short), ""),
        event(wrap.format("Sing me a song of the sea, and of the ships in it."), ""),
    )
    assert distance(one["template_fp"], two["template_fp"]) > RADIUS_BITS
    assert distance(one["template_fp"], event(short, "")["template_fp"]) <= RADIUS_BITS


def test_nothing_hides_behind_a_reminder_that_is_not_closed() -> None:
    one, two = event(f"<system-reminder>{PLAIN}"), event("<system-reminder>something else altogether")
    assert one["request_fp"] != two["request_fp"]
    assert distance(one["template_fp"], two["template_fp"]) > 0


def test_a_system_prompt_is_the_same_on_another_day_and_in_another_directory() -> None:
    system = SYSTEM + " Working directory: {} Today's date: {} Session: {}"
    days = [
        ("/srv/a/b", "2026-11-25", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("/opt/x", "2026-01-02 09:15", "7c9e6679-7425-40de-944b-e07fc1f90ae7"),
        ("/var/u/w.d/", "Monday, March 2, 2026", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("/a/b", "Tue 12 May 2026, 10:31 pm", "ffffffffffffffffffff"),
        ("/a/b", "July 4th, 2026", "17"),
    ]
    assert len({str(event(PLAIN, system.format(*day))["system_fp"]) for day in days}) == 1
    others = (SYSTEM, SYSTEM.replace("plain", "many"), SYSTEM.upper(), system.format("a b", "", ""))
    assert len({str(event(PLAIN, other)["system_fp"]) for other in others}) == len(others)


def test_what_changes_at_either_end_of_a_long_system_prompt_is_left_out_too() -> None:
    long = " ".join(["never mind the ducks of the pond"] * 1000)
    one, two = (event(PLAIN, f"Day: {day}. {long} Directory: /srv/{day}/x") for day in ("2026-11-25", "2026-01-02"))
    assert one["system_fp"] == two["system_fp"]


def test_the_order_of_keys_changes_nothing() -> None:
    tool = {
        "name": "f",
        "parameters": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}}},
    }
    body = {"messages": [{"role": "user", "content": PLAIN}], "temperature": 1, "top_p": 0.5, "seed": 3}
    body["tools"] = [{"type": "function", "function": tool}, {"type": "function", "function": {"name": "g"}}]

    def turned(value: object) -> object:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(one) for one in value] if isinstance(value, list) else value

    other = dict(body, **turned(body))  # type: ignore[arg-type]
    other["tools"] = list(reversed(other["tools"]))
    path = "/v1/chat/completions"
    assert PRINTER.request(path, (), orjson.dumps(other)).event == PRINTER.request(path, (), orjson.dumps(body)).event


def test_the_payload_is_no_part_of_it_and_is_the_task() -> None:
    def wrapped(task: str) -> str:
        return f"Solve the following problem and think carefully before you answer it.\n\nQuestion: {task}"

    task = "A robe takes two bolts of blue fiber and half that much white fiber. How many bolts does it take?"
    one, two = event(wrapped(task)), event(wrapped("Some trains leave some towns at some time. When do they meet?"))
    assert one["template_fp"] == two["template_fp"]
    assert one["task_fp"] != two["task_fp"]
    assert (
        event(f"Read what is in the tags and answer briefly.\n<problem>\n{task}\n</problem>")["task_fp"]
        == one["task_fp"]
    )


def test_another_pepper_is_unlinkable() -> None:
    other = Fingerprinter(Peppers(identity=b"stays" * 8, content=b"another" * 8, epoch=1))
    one, two = event(PLAIN), event(PLAIN, printer=other)
    names = [name for name in one if name.endswith("_fp")]
    assert names
    assert not [name for name in names if one[name] == two[name]]
    assert distance(one["template_fp"], two["template_fp"]) > RADIUS_BITS
    assert PRINTER.identity("account", "a") == other.identity("account", "a")


def test_small_edits_move_few_bits_and_other_skeletons_many(
    prompts: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(7)  # noqa: S311 - a reproducible choice
    wordy = [one["text"] for one in prompts if len(one["text"].split()) >= 30 and one["kind"] != "coding"]
    values = [event(text)["template_fp"] for text in wordy]
    edits, others = [], []
    for at, text in enumerate(wordy):
        words = text.split()
        words[rng.randrange(len(words))] = "perhaps"
        edits.append(distance(values[at], event(" ".join(words))["template_fp"]))
        others.append(distance(values[at], values[rng.randrange(len(values))]) if len(values) > 1 else 64)
    near, far = quantiles(edits, n=100), quantiles(others, n=100)
    with capsys.disabled():
        print(f"\none word changed, bits at p50 p90 p99: {near[49]:.0f} {near[89]:.0f} {near[98]:.0f}")  # noqa: T201
        print(f"another prompt, bits at p1 p10 p50: {far[1]:.0f} {far[9]:.0f} {far[49]:.0f}")  # noqa: T201
    assert near[89] <= RADIUS_BITS
    assert far[1] > RADIUS_BITS


def test_nothing_of_a_prompt_is_in_its_event(prompts: list[dict[str, str]]) -> None:
    for prompt in prompts:
        text = prompt["text"]
        request = PRINTER.request("/v1/messages", (), {"system": text, "messages": [{"role": "user", "content": text}]})
        reply = orjson.dumps({"content": [{"type": "text", "text": text}], "stop_reason": "end_turn"})
        written = orjson.dumps(PRINTER.finish(request, reply, id="1", ts_ms=1, account=text)).decode()
        assert not [text[at : at + 12] for at in range(len(text) - 11) if text[at : at + 12] in written]


def test_it_imports_alone_and_fast() -> None:
    code = (
        "import sys, time; t = time.process_time(); import streamproc.fingerprint; t = time.process_time() - t;"
        "held = {m.partition('.')[0] for m in sys.modules} & {'numpy', 'river', 'faust', 'msgspec', 'scipy'};"
        "ours = [m for m in sys.modules if m.startswith('streamproc.') and 'fingerprint' not in m];"
        "print(t, held, ours); sys.exit(bool(held or ours) or t > 0.1)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
