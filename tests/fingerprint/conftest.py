from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pytest

from streamproc.fingerprint import Fingerprinter, Peppers

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"


@pytest.fixture
def fingerprinter() -> Fingerprinter:
    return Fingerprinter(Peppers(identity=b"stays" * 8, content=b"rotates" * 8, epoch=3))


@pytest.fixture(scope="session")
def prompts() -> list[dict[str, str]]:
    import os

    path = Path(os.environ.get("STREAMPROC_FIXTURES", FIXTURES)) / "public_prompts.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no public prompts: set STREAMPROC_FIXTURES to their folder")
    with gzip.open(path) as lines:
        return [orjson.loads(line) for line in lines]
