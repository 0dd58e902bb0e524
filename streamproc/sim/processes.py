"""The same work on many streams, in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Task = TypeVar("Task")
Made = TypeVar("Made")
STREAMS_EACH = 4  # after which a process makes room for a fresh one: its memory goes back


def each(work: Callable[[Task], Made], todo: Sequence[Task], jobs: int) -> Iterator[Made]:
    """What `work`, a function of a module, makes of each task, in order of the tasks."""
    if jobs == 1:
        yield from map(work, todo)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=STREAMS_EACH) as pool:
        yield from pool.imap(work, todo)
