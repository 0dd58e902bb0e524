from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from streamproc import broker
from tests.control_room.played import play
from tests.control_room.room import POLICY, Room, missing
from tests.worker.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.control_room.played import Played


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Room]]:
    """Makes control rooms by name, all on one Kafka."""
    reason = missing() or broker.available()
    if reason is not None:
        pytest.skip(reason)
    with ExitStack() as stack:
        address = stack.enter_context(broker.kafka(tmp_path_factory.mktemp("kafka")))

        def make(name: str) -> Room:
            folder = tmp_path_factory.mktemp(name)
            made = Room(Pipeline(address, name, folder, POLICY), folder)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture(scope="session")
def played(room: Callable[[str], Room]) -> Played:
    """A room in which everything that a dashboard shows has happened once."""
    return play(room("campaign"))
