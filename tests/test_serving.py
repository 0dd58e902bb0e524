"""How a service ends: told to, or because a part of it has."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from streamproc.serving import until_told

ended: list[str] = []


async def work(name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)


async def fail() -> None:
    await asyncio.sleep(0)
    raise RuntimeError("broken")


async def tell(number: int) -> None:
    await asyncio.sleep(0.01)
    os.kill(os.getpid(), number)
    await asyncio.Event().wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_all_work_when_it_is_told_to(number: int) -> None:
    ended.clear()
    asyncio.run(asyncio.wait_for(until_told(work("one"), work("two"), tell(number)), 10))
    assert sorted(ended) == ["one", "two"]


def test_a_part_that_fails_ends_the_rest_and_is_said() -> None:
    ended.clear()
    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(asyncio.wait_for(until_told(work("one"), fail()), 10))
    assert ended == ["one"]
