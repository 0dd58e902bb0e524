from __future__ import annotations

import gzip
import os
from pathlib import Path

import orjson
import pytest

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"


@pytest.fixture(scope="session")
def prompts() -> list[dict[str, str]]:
    path = Path(os.environ.get("STREAMPROC_FIXTURES", FIXTURES)) / "public_prompts.jsonl.gz"
    if not path.exists():
        pytest.skip("no ../shared/fixtures beside the project, and STREAMPROC_FIXTURES does not name them")
    with gzip.open(path) as lines:
        return [orjson.loads(line) for line in lines]
