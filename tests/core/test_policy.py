"""A policy that cannot be used is refused with key and reason."""

from __future__ import annotations

import re

import pytest

from streamproc.contract.errors import PolicyError
from streamproc.core import policy as policies
from streamproc.core.campaigns.judge import Judge
from streamproc.core.campaigns.statistics import NAMES
from tests.core.streams import policy_text

TEXT = policy_text().decode()


def replaced(old: str, new: str) -> bytes:
    """The policy with the line that begins with `old` replaced; the line must be there."""
    text, count = re.subn(rf"^{re.escape(old)}.*$", new, TEXT, count=1, flags=re.MULTILINE)
    assert count == 1, old
    return text.encode()


def refusal(text: bytes) -> PolicyError:
    """The error of a policy that is refused before anything starts."""
    with pytest.raises(PolicyError) as caught:
        Judge(policies.parse(text))
    return caught.value


def test_a_good_policy_is_read_and_bears_its_digest() -> None:
    policy = policies.parse(policy_text())
    assert policy.time.view_hours == (4, 2)
    assert re.fullmatch(r"test-[0-9a-f]{12}", policy.version)
    assert policies.parse(policy_text()).version == policy.version
    assert policies.parse(policy_text() + b"\n").version != policy.version


@pytest.mark.parametrize(
    ("line", "new", "key"),
    [
        ("radius =", "", "components"),
        ("radius =", "radius = 17", "components.radius"),
        ("radius =", "radius = -1", "components.radius"),
        ("radius =", 'radius = "8"', "components.radius"),
        ("radius =", "radius = 8.5", "components.radius"),
        ("radius =", "radius = 8\nradios = 8", "components"),
        ("slot_s =", "slot_s = 0", "time.slot_s"),
        ("min_share = 0.08", "min_share = 1.5", "cores.min_share"),
        ("min_share = 0.08", "min_share = nan", "cores.min_share"),
        ("resolution =", "resolution = 0", "communities.resolution"),
        ("resolution =", "resolution = inf", "communities.resolution"),
        ("mode =", 'mode = "on"', "mode"),
        ("name =", 'name = ""', "name"),
        ("null = ", 'null = "none"', "score.null"),
        ("births =", "births = -0.1", "score.weights"),
        ("births =", "births = nan", "score.weights"),
        ("births =", "birthdays = 0.1", "score.weights.birthdays"),
        ("history = 3.0", "", "score.caps.history"),
        ("history = 3.0", "history = 0.0", "score.caps"),
        ("history = 3.0", "history = 3.0\nhair = 1.0", "score.caps.hair"),
        ("carry =", "carry = []", "score.carry"),
        ("thresholds =", "thresholds = []", "score.thresholds"),
        ("thresholds =", "thresholds = [[1.4, 1.4]]", "score.thresholds"),
        ("thresholds =", "thresholds = [[1.4, 1.4], [1.4, 1.4]]", "score.thresholds"),
        ("thresholds =", "thresholds = [[nan], [1.4]]", "score.thresholds"),
        ("intercept =", "intercept = nan", "score.intercept"),
        ("campaign = [", "campaign = [1.0]", "probability.campaign"),
        ("campaign = [", "campaign = [nan, 1.0]", "probability.campaign"),
        ("view_hours =", "view_hours = []", "time.view_hours"),
        ("view_hours =", "view_hours = [2, 4]", "time.view_hours"),
        ("view_hours =", "view_hours = [2000, 2]", "time.view_hours"),
        ("round_slots =", "round_slots = 7", "time"),
        ("throttle_hours =", "throttle_hours = 0", "ladder.throttle_hours"),
        ("[ladder]", "[staircase]", "file"),
        ("[null.births]", "[null.birthdays]", "null.birth"),
    ],
)
def test_a_bad_policy_is_refused_with_key_and_reason(line: str, new: str, key: str) -> None:
    error = refusal(replaced(line, new))
    assert error.key.startswith(key)
    assert error.reason
    assert str(error) == f"policy: {error.key}: {error.reason}"
    assert "\n" not in str(error)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"name = ", b"[time]\n[time]\n", b"name = 1\n"])
def test_what_is_no_policy_is_refused(text: bytes) -> None:
    assert refusal(text).reason


@pytest.mark.parametrize(
    ("line", "new"),
    [
        ("mean = ", "mean = [1.0, 2.0]"),
        ("mean = ", "mean = [1.0, 2.0, nan, 1.0, 1.0]"),
        ("deviation = ", "deviation = [1.0, 1.0, 1.0, 1.0, 0.0]"),
    ],
)
def test_a_null_of_other_than_five_numbers_is_refused(line: str, new: str) -> None:
    assert refusal(replaced(line, new)).key.startswith("null.core_size")


def test_the_packaged_policy_is_complete() -> None:
    if b"\n[score]" not in policies.default_text():
        pytest.skip("the packaged policy has no [score] yet: make weights")
    policy = policies.default()
    Judge(policy)
    assert policy.mode == "shadow"
    assert set(policy.null) == set(NAMES)
    assert len(policy.score.thresholds) == len(policy.time.view_hours)
