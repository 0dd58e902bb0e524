"""The scoreboard's chart: well-formed, with a bar as long as its figure."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from streamproc.sim.chart import LEFT, RIGHT, Bar, draw

SPACE = "{http://www.w3.org/2000/svg}"


def test_a_bar_is_as_long_as_its_share() -> None:
    bars = [Bar("never <saw> it", 0.25, 0.2, 0.3), Bar("shipped", 1.0, 0.9, 1.0)]
    picture = ET.fromstring(draw("leaked", [("quiet_pool", bars)]))
    widths = [float(bar.get("width", "0")) for bar in picture.iter(f"{SPACE}rect") if bar.get("x") == str(LEFT)]
    assert widths == [(RIGHT - LEFT) * 0.25, float(RIGHT - LEFT)]
    words = [text.text for text in picture.iter(f"{SPACE}text")]
    assert {"never <saw> it", "shipped", "quiet_pool", "25%"} <= set(words)
