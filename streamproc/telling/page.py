"""Telling as HTML: templates in which every value is escaped and a missing one is an error."""

from __future__ import annotations

from typing import Any, Final

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from streamproc.telling import words

__all__ = ["environment", "render", "style"]

OURS: Final = PackageLoader("streamproc.telling")


def environment(*more: BaseLoader) -> Environment:
    """Templates with the words of telling at hand; those of `more` are found first."""
    made = Environment(
        loader=ChoiceLoader([*more, OURS]), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    made.filters |= {"time": _time, "age": words.age, "percent": words.percent, "likelier": words.likelier}
    made.globals |= {"words": words, "count": words.count}
    return made


def _time(ts_ms: int) -> Markup:
    """A time that is not broken over lines."""
    said = words.stamp(ts_ms)
    return Markup('<time datetime="{}">{}</time>').format(said.replace(" UTC", "Z").replace(" ", "T"), said)


def style() -> str:
    """The one style sheet of all pages."""
    text, _, _ = OURS.get_source(_ENVIRONMENT, "style.css")
    return text


def render(name: str, **values: Any) -> str:
    """A page that needs nothing else, its style inside."""
    return _ENVIRONMENT.get_template(name).render(style=Markup(style()), **values)  # noqa: S704 - our own file


_ENVIRONMENT: Final = environment()
