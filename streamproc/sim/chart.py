"""A chart of the scoreboard as SVG: for each kind, what share of its requests each judge let through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LEFT, RIGHT, ROW, GAP, TOP = 150, 640, 16, 14, 40
COLOURS = ("#2a6f97", "#89c2d9", "#e07a5f", "#f2cc8f", "#b5b5b5")


@dataclass(frozen=True, slots=True)
class Bar:
    """One judge of one kind: the mean and its interval, each from 0 to 1."""

    judge: str
    value: float
    low: float
    high: float


def draw(title: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Horizontal bars with intervals, a group a kind; the judges' colours are told above."""
    judges = list(dict.fromkeys(bar.judge for _, bars in groups for bar in bars))
    colour = dict(zip(judges, COLOURS, strict=False))
    parts, y = _legend(judges, colour), TOP + GAP
    for name, bars in groups:
        parts.append(f'<text x="{LEFT - 8}" y="{y + ROW * len(bars) / 2 + 4}" text-anchor="end">{escape(name)}</text>')
        for bar in bars:
            parts += _bar(bar, y, colour[bar.judge])
            y += ROW
        y += GAP
    grid = [
        f'<line x1="{_x(share)}" x2="{_x(share)}" y1="{TOP}" y2="{y - GAP}" stroke="#8884"/>'
        f'<text x="{_x(share)}" y="{y + 4}" text-anchor="middle">{share:.0%}</text>'
        for share in (0, 0.25, 0.5, 0.75, 1)
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {RIGHT + 30} {y + 14}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="#777"><title>{escape(title)}</title>'
    )
    return "\n".join([head, *grid, *parts, "</svg>"]) + "\n"


def _legend(judges: Sequence[str], colour: dict[str, str]) -> list[str]:
    parts, x = [], 10
    for judge in judges:
        parts.append(f'<rect x="{x}" y="10" width="11" height="11" fill="{colour[judge]}"/>')
        parts.append(f'<text x="{x + 16}" y="20">{escape(judge)}</text>')
        x += 34 + 7 * len(judge)
    return parts


def _bar(bar: Bar, y: int, colour: str) -> list[str]:
    middle = y + ROW / 2 - 1
    return [
        f'<rect x="{LEFT}" y="{y}" width="{_x(bar.value) - LEFT}" height="{ROW - 3}" fill="{colour}"/>',
        f'<line x1="{_x(bar.low)}" x2="{_x(bar.high)}" y1="{middle}" y2="{middle}" stroke="#444"/>',
    ]


def _x(share: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0), 1)
