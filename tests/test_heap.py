"""Free memory goes back to the system."""

from __future__ import annotations

import mmap
import platform
from pathlib import Path

import pytest

from streamproc import heap

MIB = 1 << 20


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_what_was_freed_between_things_that_stay_is_given_back() -> None:
    held = [bytes(4000) for _ in range(25_000)]
    stays = held[::500]
    del held
    before = resident()
    heap.trim()
    assert resident() < before - 50 * MIB
    assert all(len(one) == 4000 for one in stays)
