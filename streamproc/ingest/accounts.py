"""The accounts table: what no gateway knows of an account, joined by its raw name as the records have it.

Columns of CSV, or members of JSON Lines: `account` and any of `COLUMNS`. Held as an event has it: names that identify
are pseudonyms from the moment a row is read, but for the account's own, which is the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamproc.ingest.networks import rows_of
from streamproc.ingest.parsing import lines_of, parse
from streamproc.ingest.record import RULES, Json, Refused
from streamproc.lines import InputError, open_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["COLUMNS", "GIVES", "Accounts"]

# Column -> the rule that it is read by, each one also a field of the event but for those of `email`.
COLUMNS: Final = {
    "org": "org", "payer": "payer", "device": "device", "signup_ms": "signup_ms", "signup": "signup_ms", "plan": "plan",
    "program": "program", "email": "email", "email_domain": "email", "email_class": "email_class",
    "quota_rpm": "quota_rpm",
}  # fmt: skip
PSEUDONYMS: Final = ("org", "payer", "device")
GIVES: Final = ("payer", "device", "signup_ms", "plan", "program", "email_domain", "email_class", "quota_rpm")


class Accounts:
    """Rows by account."""

    def __init__(self, identity: Callable[[str, str], str], class_of: Callable[[str], str]) -> None:
        """`identity` makes pseudonyms, `class_of` tells the class of an e-mail address, empty for none."""
        self._identity = identity
        self._class_of = class_of
        self._rows: dict[str, Json] = {}
        self.ignored = 0  # cells that are not valid

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, account: str) -> Json:
        """The fields of the account's events; none for one that the table does not have."""
        return self._rows.get(account, _NONE)

    def put(self, row: Json) -> bool:
        """Enter a row in place of the account's earlier one; whether it names an account."""
        account = RULES["account"](row.get("account"))
        if account is None:
            return False
        fields: Json = {}
        for column, rule in COLUMNS.items():
            said = row.get(column)
            if said is None or said == "":
                continue
            value = RULES[rule](said)
            if value is None:
                self.ignored += 1
            elif rule == "email":
                fields |= self.of_email(value)
            else:
                fields[rule] = self._identity(rule, value) if rule in PSEUDONYMS else value
        self._rows[account] = fields
        return True

    def drop(self, account: str) -> None:
        """Forget an account."""
        self._rows.pop(account, None)

    def of_email(self, email: str) -> Json:
        """`email_domain` and `email_class` of an address or domain."""
        kind = self._class_of(email)
        return {"email_domain": self._identity("email_domain", email), "email_class": kind} if kind else {}

    def take(self, path: Path) -> None:
        """Read a table, `.csv` or `.jsonl`, compressed or not.

        Raises:
            InputError: it cannot be read: file, line, reason.
        """
        for line, row in _rows(path):
            if not self.put(row):
                raise InputError(f"{path}:{line}: names no account")


def _rows(path: Path) -> Iterator[tuple[int, Json]]:
    if ".csv" in path.suffixes:
        yield from rows_of(path, "account")
        return
    with open_lines(path) as lines:
        try:
            for number, line in enumerate(lines_of(lines), 1):
                row: Any = parse(line)
                yield number, row if isinstance(row, dict) else {}
        except Refused as error:
            raise InputError(f"{path}: a line is {error}") from None
        except (OSError, EOFError) as error:
            raise InputError(f"{path}: {error}") from error


_NONE: Final[Json] = {}
