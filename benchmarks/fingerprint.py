"""Fingerprints of a request against only parsing its body with `orjson.loads`, in the same run.

    python benchmarks/fingerprint.py [--repeats N]

Prints CPU microseconds a request, a KB, and the ratio, for prompts of 1, 10 and 100 KB: one long payload, many short
paragraphs, and a conversation of many turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import orjson

from streamproc.fingerprint import Fingerprinter, Peppers

ASK = "Summarise the following text in three sentences and explain your choice.\n\n"
TEXT = "The quick brown fox jumps over the lazy dog while 42 sheep of file_name.py watch it and wonder what it means. "
SYSTEM = "You are a helpful assistant who answers briefly. Today is 2026-11-25 and you work in /srv/app/data."
ROUND = 10


def shapes(size: int) -> dict[str, list[dict[str, str]]]:
    """Messages of about `size` characters, by how they are laid out."""
    long = TEXT * (size // len(TEXT) + 1)
    paragraphs = f"{TEXT}{TEXT}\n\n" * (size // len(TEXT) + 1)
    turns = max(size // 500, 1)
    talk = [{"role": ("user", "assistant")[at % 2], "content": (TEXT * 5)[:500]} for at in range(turns - 1 + turns % 2)]
    return {
        "payload": [{"role": "user", "content": (ASK + long)[:size]}],
        "paragraphs": [{"role": "user", "content": (ASK + paragraphs)[:size]}],
        "turns": talk,
    }


def best_us(work: Callable[[], object], repeats: int) -> float:
    """The least CPU time of one call, microseconds."""
    best = float("inf")
    for _ in range(repeats):
        begun = time.process_time()
        for _ in range(ROUND):
            work()
        best = min(best, time.process_time() - begun)
    return best / ROUND * 1e6


def main() -> None:
    """Time each size and shape, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args().repeats
    printer = Fingerprinter(Peppers(identity=b"stays" * 8, content=b"rotates" * 8))
    print(f"{'KB':>4} {'shape':<12} {'us':>8} {'us/KB':>7} {'loads us':>9} {'ratio':>6}")
    for kilobytes in (1, 10, 100):
        for shape, messages in shapes(kilobytes * 1000).items():
            body = orjson.dumps({"model": "m", "messages": [{"role": "system", "content": SYSTEM}, *messages]})
            own = best_us(lambda body=body: printer.request("/v1/chat/completions", (), body), repeats)  # type: ignore[misc]
            parse = best_us(lambda body=body: orjson.loads(body), repeats)  # type: ignore[misc]
            print(f"{kilobytes:4} {shape:<12} {own:8.0f} {own / kilobytes:7.1f} {parse:9.1f} {own / parse:6.1f}")


if __name__ == "__main__":
    main()
