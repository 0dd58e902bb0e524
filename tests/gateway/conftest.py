from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from streamproc import broker
from tests.gateway import litellm_proxy
from tests.gateway.model_api import ModelApi, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.redis_server import RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, running."""
    from tests.gateway.redis_server import RedisServer  # noqa: PLC0415 - the other tests need no client of Redis

    server = RedisServer(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for tests that empty it themselves."""
    from tests.gateway.redis_server import RedisServer  # noqa: PLC0415 - as above

    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass(frozen=True)
class LiteLlm:
    """A proxy with our object, its brokers, and the model API behind it."""

    proxy: litellm_proxy.Proxy
    kafka: str
    api: ModelApi


@pytest.fixture(scope="session")
def model_api() -> Iterator[ModelApi]:
    with serving() as api:
        yield api


@pytest.fixture(scope="module")
def litellm(tmp_path_factory: pytest.TempPathFactory, model_api: ModelApi) -> Iterator[LiteLlm]:
    if litellm_proxy.MISSING is not None:
        pytest.skip(litellm_proxy.MISSING)
    folder = tmp_path_factory.mktemp("litellm")
    with (
        broker.embedded({"requests": 2, "enforcement": 1}) as kafka,
        litellm_proxy.proxy(folder, model_api.port, kafka) as proxy,
    ):
        yield LiteLlm(proxy, kafka, model_api)
