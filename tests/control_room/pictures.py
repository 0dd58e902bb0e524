"""Pictures of the dashboards for the docs: `python -m tests.control_room.pictures` plays a run and draws it anew."""

from __future__ import annotations

import math
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from deploy.grafana.dashboards import DASHBOARDS, Dashboard, Panel, Stat
from streamproc import broker
from tests.control_room.drawing import Drawn, Series, draw
from tests.control_room.played import Played, play
from tests.control_room.room import POLICY, ROOT, Room
from tests.worker.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = ROOT / "docs" / "dashboards"
OVER_S: Final = 60  # three days of traffic in a minute
RATE_S: Final = 10


def drawn(panel: Panel, played: Played) -> Drawn:
    """A panel with its numbers; series that never are more than zero are left out where others are."""
    found = [one for query in panel.queries for one in _series(query.expr, query.legend, played)]
    said = [one for one in found if any(value for _, value in one.points)] or found
    return Drawn(panel.title, panel.unit, said, isinstance(panel, Stat))


def _series(expr: str, legend: str, played: Played) -> Iterator[Series]:
    expr = expr.replace("$__rate_interval", f"{RATE_S}s")
    for one in played.room.query_range(expr, played.start_s, played.end_s):
        points = [(at, float(value)) for at, value in one["values"] if math.isfinite(float(value))]
        if points:
            yield Series(_named(legend, one["metric"]), points)


def _named(legend: str, labels: dict[str, Any]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: str(labels.get(found[1], "")), legend)


def picture(dashboard: Dashboard, played: Played) -> str:
    """The dashboard as SVG."""
    sections = [(name, [drawn(panel, played) for panel in panels]) for name, panels in dashboard.sections]
    return draw(dashboard.title, [drawn(stat, played) for stat in dashboard.stats], sections)


def main() -> None:
    """Play and draw."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, broker.kafka(Path(name) / "kafka") as address:
        folder = Path(name)
        room = Room(Pipeline(address, "pictures", folder, POLICY), folder)
        try:
            played = play(room, over_s=OVER_S)
            for dashboard in DASHBOARDS:
                (FOLDER / f"{dashboard.name}.svg").write_text(picture(dashboard, played))
        finally:
            room.close()


if __name__ == "__main__":
    main()
