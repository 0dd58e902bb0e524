"""Fingerprints of a request against only parsing its body with `orjson.loads`, in the same run.

    python -m benchmarks.fingerprint [--repeats N] [--prompts N]

Prints CPU microseconds a request, a KB, and the ratio, for bodies of 1, 10 and 100 KB; the dearest of what a hostile
client could send in 100 KB; and the memory of the process while it reads prompts that are all different.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import time
from collections.abc import Callable

import orjson

from streamproc.fingerprint import Fingerprinter, Peppers
from tests.fingerprint.bodies import ASK, VOCABULARY, chat, hostile, plain, text

PATH = "/v1/chat/completions"
HOSTILE_KB = 100
SHOWN = 12
MARKS = 8  # of the memory, on the way


def best_us(work: Callable[[], object], repeats: int, calls: int) -> float:
    """The least CPU time of one call, microseconds."""
    best = float("inf")
    for _ in range(repeats):
        begun = time.process_time()
        for _ in range(calls):
            work()
        best = min(best, time.process_time() - begun)
    return best / calls * 1e6


def main() -> None:
    """Time each size and shape, then hostile ones, then watch the memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--prompts", type=int, default=200_000)
    asked = parser.parse_args()
    printer = Fingerprinter(Peppers(identity=b"stays" * 8, content=b"rotates" * 8))
    print(f"{'KB':>4} {'shape':<24} {'us':>8} {'us/KB':>7} {'loads us':>9} {'ratio':>6}")
    for kilobytes in (1, 10, 100):
        for shape, body in plain(kilobytes * 1000).items():
            show(printer, kilobytes, shape, body, asked.repeats)
    print(f"hostile, the dearest {SHOWN}:")
    bodies = hostile(HOSTILE_KB * 1000)
    costs = {name: best_us(lambda body=body: printer.request(PATH, (), body), 2, 1) for name, body in bodies.items()}  # type: ignore[misc]
    for name in sorted(costs, key=costs.__getitem__, reverse=True)[:SHOWN]:
        show(printer, HOSTILE_KB, name, bodies[name], 5, calls=1)
    watch_memory(printer, asked.prompts)


def show(printer: Fingerprinter, kilobytes: int, shape: str, body: bytes, repeats: int, calls: int = 10) -> None:
    """Print one line of the table."""
    own = best_us(lambda: printer.request(PATH, (), body), repeats, calls)
    parse = best_us(lambda: orjson.loads(body), repeats, calls)
    print(f"{kilobytes:4} {shape:<24} {own:8.0f} {own / kilobytes:7.1f} {parse:9.1f} {own / parse:6.1f}", flush=True)


def watch_memory(printer: Fingerprinter, prompts: int) -> None:
    """Read prompts of which no two are the same, each with words that were not seen before; print the memory."""
    words = itertools.cycle(text(VOCABULARY * 40).split())
    print(f"{'prompts':>8} {'most RSS MB':>12}")
    for number in range(prompts + 1):
        if number % max(prompts // MARKS, 1) == 0:
            print(f"{number:8} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:12.1f}", flush=True)
        new = orjson.dumps(number).translate(bytes.maketrans(b"0123456789", b"ghijklmnop")).decode()
        said = " ".join([*itertools.islice(words, 60), *(f"{new}{end}" for end in ("er", "ing", "ed"))])
        printer.request(PATH, {"User-Agent": f"x/{number}"}, chat(ASK + said, system=f"You are {new}. {said}"))


if __name__ == "__main__":
    main()
