"""Records a second on one core, by format, in CPU time: with metadata alone and with a chat of some 2 KB logged.

Beside each, the ratio to parsing the same records and dropping them. `python -m benchmarks.ingest`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from streamproc.ingest.accounts import Accounts
from streamproc.ingest.formats import FORMATS
from streamproc.ingest.mail import Mail
from streamproc.ingest.parsing import parse
from tests.ingest.world import RECORDS, maker, talk

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS_OF_EACH: Final = 4_000
ACCOUNTS: Final = 1_000
BEST_OF: Final = 3
PROSE: Final = "Please look at the part of the contract that was sent on Tuesday and say what is missing from it. "
CHAT: Final = [{"role": "system", "content": PROSE * 5}, {"role": "user", "content": PROSE * 15}]


def main() -> None:
    """Print the table."""
    print(f"{'format':10}{'metadata/s':>12}{'x parsing':>11}{'content/s':>12}{'x parsing':>11}")
    for name in FORMATS:
        row = f"{name:10}"
        for records in (RECORDS[name], talk(name, CHAT, PROSE) if name != "envoy" else None):
            if records is None:
                row += f"{'-':>12}{'-':>11}"
                continue
            lines = _lines(records)
            parsing = _cpu_s(lambda lines=lines: [orjson.loads(line) for line in lines])  # type: ignore[misc]
            taking = _cpu_s(lambda lines=lines, name=name: _take(name, lines))  # type: ignore[misc]
            row += f"{RECORDS_OF_EACH / taking:>12,.0f}{taking / parsing:>11.1f}"
        print(row)


def _lines(records: list[Any]) -> list[bytes]:
    """The records again and again, each time another request's of another account."""
    texts = [orjson.dumps(record).decode() for record in records]
    made = []
    for at in range(RECORDS_OF_EACH):
        marks = {"77bb": f"77bb{at}", "55ff": f"55ff{at}", "66aa": f"66aa{at}"}
        names = {'"u-9"': f'"u-{at % ACCOUNTS}"', '"c-9"': f'"c-{at % ACCOUNTS}"', '"acme"': f'"a{at % ACCOUNTS}"'}
        for text in texts:
            changed = text
            for old, new in (marks | names).items():
                changed = changed.replace(old, new)
            made.append(changed.encode())
    return made


def _take(name: str, lines: list[bytes]) -> int:
    made = maker(name)
    table = Accounts(made.identity, Mail(None).class_of)
    for at in range(ACCOUNTS):
        table.put({"account": f"u-{at}", "plan": "pro", "payer": f"p{at}", "signup": "2026-01-01"})
    made = maker(name, table=table)
    written = 0
    for line in lines:
        for record in made.records(parse(line)):
            try:
                event = made.take(record)
            except ValueError:
                continue
            written += len(orjson.dumps(event))
    assert made.events == RECORDS_OF_EACH
    return written


def _cpu_s(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(BEST_OF):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


if __name__ == "__main__":
    main()
