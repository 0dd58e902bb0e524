"""Work on many streams comes out in order, in however many processes."""

from __future__ import annotations

import pytest

from streamproc.sim.processes import each


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_made_comes_in_order_of_the_tasks(jobs: int) -> None:
    assert list(each(abs, [-3, 1, -2, 5, -4, 0], jobs)) == [3, 1, 2, 5, 4, 0]
