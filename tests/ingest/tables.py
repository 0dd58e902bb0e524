"""The tables of docs/INGEST.md, made from the formats. `python -m tests.ingest.tables` writes them anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamproc.contract import schemas
from streamproc.ingest import accounts
from streamproc.ingest.blind import BLINDNESS
from streamproc.ingest.formats import FORMATS
from streamproc.ingest.record import RULES
from streamproc.ingest.report import BECOMES

if TYPE_CHECKING:
    from streamproc.ingest.record import Format

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "INGEST.md"
BEGIN: Final = "<!-- table: sources -->"
END: Final = "<!-- end -->"
ALWAYS: Final = ("v", "id", "pepper_epoch")
LISTS: Final = ("asn_class", "country")


def cell(one: Format, name: str) -> str:
    """How a format comes by a field."""
    given = {own for field in one.fields for own in BECOMES.get(field.name, (field.name,))}
    given |= {*one.derived, *one.constants}
    mapped = {own for field in RULES for own in BECOMES.get(field, (field,))}
    for word, holds in (
        ("yes", name in given),
        ("lists", name in LISTS and "ip" in given),
        ("content", name in one.with_content),
        ("accounts", name in accounts.GIVES),
        ("map", name in mapped),
    ):
        if holds:
            return word
    return "-"


def table() -> str:
    """Every field by every format; fields that are alike in all of them share a row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name in schemas.load("request-event")["properties"]:
        if name not in ALWAYS:
            rows.setdefault(tuple(cell(one, name) for one in FORMATS.values()), []).append(name)
    lines = [("field", *FORMATS), ("---",) * (len(FORMATS) + 1)]
    lines += [(", ".join(f"`{name}`" for name in names), *cells) for cells, names in rows.items()]
    needs = sorted({field for _, fields in BLINDNESS.values() for field in fields} - {"signup_ms"})
    for title, content in (("blind without content", False), ("blind with content", True)):
        lines.append((title, *(_blind(one, needs, content=content) for one in FORMATS.values())))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _blind(one: Format, needs: list[str], *, content: bool) -> str:
    has = {"yes", "content"} if content else {"yes"}
    if cell(one, "template_fp") not in has:
        return "all"
    lacking = {name for name in needs if cell(one, name) not in has}
    found = [name for name, (_, fields) in BLINDNESS.items() if fields and set(fields) <= lacking | {"signup_ms"}]
    return ", ".join(found)


if __name__ == "__main__":
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}")
