"""A dashboard's panels as one SVG, drawn from the numbers that Prometheus gave: what Grafana would show, plainly."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT, STAT_HEIGHT, ROW_HEIGHT, GAP, COLUMNS = 300, 182, 62, 30, 12, 3
PLOT: Final = (44, 28, 244, 96)  # of a panel: left, top, width, height
SHOWN: Final = 6  # series of a panel, those that reach highest
COLOURS: Final = ("#2a6f97", "#e07a5f", "#3d9970", "#b5838d", "#f2a541", "#7a7a7a")
SCALES: Final[dict[str, tuple[tuple[float, str], ...]]] = {
    "s": ((86400, " d"), (3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (0, " us")),
    "bytes": ((2**20, " MiB"), (2**10, " KiB"), (0, " B")),
    "reqps": ((1000, " k/s"), (0, "/s")),
    "percentunit": ((0, " %"),),
}
PLAIN: Final = ((0, ""),)
DIVISORS: Final = {" us": 1e-6, " %": 0.01}
LARGE: Final = 100  # from here on without a fraction


@dataclass(frozen=True, slots=True)
class Series:
    """A series of a panel: its name and its points, (Unix seconds, value)."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A panel with its numbers; `number` is a panel of one."""

    title: str
    unit: str
    series: Sequence[Series]
    number: bool = False


def draw(title: str, stats: Sequence[Drawn], sections: Sequence[tuple[str, Sequence[Drawn]]]) -> str:
    """The dashboard: numbers above, then panels in sections."""
    times = [at for _, panels in sections for panel in panels for series in panel.series for at, _ in series.points]
    span = min(times), max(times)
    parts, y = [], GAP
    for n, stat in enumerate(stats):
        width = (COLUMNS * (WIDTH + GAP) - GAP * len(stats)) / len(stats)
        parts.append(_move(_stat(stat, width), GAP + n * (width + GAP), y))
    y += STAT_HEIGHT + GAP
    for name, panels in sections:
        parts.append(f'<text x="{GAP}" y="{y + 18}" font-size="13" font-weight="bold">{escape(name)}</text>')
        y += ROW_HEIGHT
        for n, panel in enumerate(panels):
            place = GAP + n % COLUMNS * (WIDTH + GAP), y + n // COLUMNS * (HEIGHT + GAP)
            parts.append(_move(_panel(panel, span), *place))
        y += -(-len(panels) // COLUMNS) * (HEIGHT + GAP)
    width = GAP + COLUMNS * (WIDTH + GAP)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" role="img" font-family="sans-serif" '
        f'font-size="10" fill="#333"><title>{escape(title)}</title><rect width="100%" height="100%" fill="#fff"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def said(value: float, unit: str) -> str:
    """A number as it is read, with its unit."""
    if unit not in SCALES and abs(value) >= LARGE:
        return f"{value:,.0f}"
    scales = SCALES.get(unit, PLAIN) if value else ((0, ""),)
    least, suffix = next((scale for scale in scales if abs(value) >= scale[0]), scales[-1])
    return f"{value / DIVISORS.get(suffix, least or 1):.3g}{suffix}"


def _move(parts: Sequence[str], x: float, y: float) -> str:
    return f'<g transform="translate({x:.0f} {y})">{"".join(parts)}</g>'


def _frame(title: str, width: float, height: float) -> list[str]:
    return [
        f'<rect width="{width:.0f}" height="{height}" rx="3" fill="none" stroke="#ccc"/>',
        f'<text x="8" y="16" font-weight="bold">{escape(title)}</text>',
    ]


def _stat(panel: Drawn, width: float) -> list[str]:
    value = panel.series[0].points[-1][1]
    last = round(value) if panel.unit == "none" else value
    number = f'<text x="8" y="48" font-size="24" fill="{COLOURS[0]}">{said(last, panel.unit)}</text>'
    return [*_frame(panel.title, width, STAT_HEIGHT), number]


def _panel(panel: Drawn, span: tuple[float, float]) -> list[str]:
    parts = _frame(panel.title, WIDTH, HEIGHT)
    left, top, width, height = PLOT
    shown = sorted(panel.series, key=_peak, reverse=True)[:SHOWN]
    most = max([_peak(series) for series in shown], default=0) or 1.0
    for share in (0.0, 0.5, 1.0):
        y = top + height * (1 - share)
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y}" y2="{y}" stroke="#e5e5e5"/>')
        parts.append(
            f'<text x="{left - 4}" y="{y + 3}" text-anchor="end" font-size="9">{said(most * share, panel.unit)}</text>'
        )
    first, lasts = span[0], span[1] - span[0]
    for n, series in enumerate(shown):
        points = " ".join(
            f"{left + width * (at - first) / lasts:.1f},{top + height * (1 - value / most):.1f}"
            for at, value in series.points
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[n]}" stroke-width="1.5"/>')
        x, y = 8 + n % 2 * 146, top + height + 18 + n // 2 * 14
        parts.append(f'<rect x="{x}" y="{y - 7}" width="8" height="8" fill="{COLOURS[n]}"/>')
        parts.append(f'<text x="{x + 12}" y="{y}">{escape(series.name[:27])}</text>')
    return parts


def _peak(series: Series) -> float:
    return max((value for _, value in series.points), default=0.0)
