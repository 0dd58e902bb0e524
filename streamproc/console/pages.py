"""The pages: what is asked, looked up in the table, told and rendered; and the two forms, to sign in and to label."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from aiohttp import web
from jinja2 import PackageLoader

from streamproc.console import views
from streamproc.console.guard import SESSION_S, Guard, Session, local_path
from streamproc.console.labelling import CHOICES, Labeller, LabellingError, make_label
from streamproc.telling import page, tell_account, tell_campaign
from streamproc.telling.campaigns import tell_members
from streamproc.telling.evidence import tell_label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamproc.console.labelling import LabelKind
    from streamproc.console.metrics import Metrics
    from streamproc.console.table import Table
    from streamproc.console.views import Fresh
    from streamproc.contract.labels import Label
    from streamproc.following import Follower

__all__ = ["COOKIE", "Pages"]

COOKIE: Final = "streamproc-console"
KINDS: Final = ("account", "org", "key", "payer")
AT_ONCE: Final = 50  # rows of a page
ON_FIRST: Final = 25  # rows of a list on the first page
FOUND: Final = 50
FROM_WORKER: Final = ("enforcement", "campaigns", "rounds")  # a label says nothing of how fresh these are
WRONG_TOKEN_S: Final = 1.0  # until the answer to a wrong token


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a page with a form for labels is about."""

    kind: LabelKind
    id: str

    @property
    def path(self) -> str:
        """Its page."""
        if self.kind == "campaign":
            return address("/campaign", id=self.id)
        return address("/subject", kind=self.kind, id=self.id)


class Pages:
    """What is served beside health and metrics."""

    def __init__(self, table: Table, follower: Follower, guard: Guard, labeller: Labeller, metrics: Metrics) -> None:
        self._table, self._follower, self._guard = table, follower, guard
        self._labeller, self._metrics = labeller, metrics
        self._templates = page.environment(PackageLoader("streamproc.console"))
        self._templates.globals["address"] = address
        self.routes = (
            web.get("/", self._overview, name="overview"),
            web.get("/campaigns", self._campaigns, name="campaigns"),
            web.get("/campaign", self._campaign, name="campaign"),
            web.get("/subject", self._subject, name="subject"),
            web.get("/search", self._search, name="search"),
            web.get("/sign-in", self._ask_token, name="sign_in"),
            web.post("/sign-in", self._sign_in),
            web.post("/sign-out", self._sign_out),
            web.post("/label", self._label),
            web.get("/style.css", self._style),
        )

    # -- what is read ----------------------------------------------------------------------------------

    async def _overview(self, request: web.Request) -> web.Response:
        now_ms = _now_ms()
        census = self._table.census(now_ms)
        states = views.by_state(self._table.campaigns())
        lists = [
            (state, len(states[state]), views.rows(states[state], census, now_ms, self._table.round())[:ON_FIRST])
            for state in ("confirmed", "suspected")
        ]
        others = [(state, len(states[state])) for state in views.STATES[2:]]
        return self._page(
            request, "overview.html", lists=lists, others=others, rungs=views.rungs(census),
            near=views.near(self._table.round()),
        )  # fmt: skip

    async def _campaigns(self, request: web.Request) -> web.Response:
        now_ms = _now_ms()
        state = request.query.get("state", "")
        known = [event for event in self._table.campaigns() if state in ("", event.state)]
        rows = views.rows(known, self._table.census(now_ms), now_ms, self._table.round())
        return self._page(request, "campaigns.html", state=state, part=views.part_of(rows, _number(request), AT_ONCE))

    async def _campaign(self, request: web.Request) -> web.Response:
        name = request.query.get("id", "")
        states = self._table.states(name)
        if not states:
            return self._unknown(request)
        now_ms, held = _now_ms(), self._table.held(name)
        said = self._table.labels(f"campaign:{name}")
        told = tell_campaign(states, held, self._table.campaigns(), now_ms, said, self._table.round())
        part = views.part_of(tell_members(held, now_ms), _number(request), AT_ONCE)
        return self._page(
            request, "campaign.html", told=told, part=part, **self._form(request, Subject("campaign", name))
        )

    async def _subject(self, request: web.Request) -> web.Response:
        kind, name = request.query.get("kind", ""), request.query.get("id", "")
        decisions = self._table.decisions(f"{kind}:{name}")
        said = self._table.labels(f"{kind}:{name}")
        if not decisions and not said:
            return self._unknown(request)
        if not decisions:
            labels = tuple(tell_label(label) for label in said)
            return self._page(request, "labelled.html", kind=kind, id=name, labels=labels)
        told = tell_account(decisions, _now_ms(), said)
        form = self._form(request, Subject("account", name)) if kind == "account" else {"form": None, "said": None}
        return self._page(request, "subject.html", told=told, **form)

    async def _search(self, request: web.Request) -> web.Response:
        text = request.query.get("q", "").strip()
        whole = [address("/subject", kind=kind, id=text) for kind in KINDS if self._table.decisions(f"{kind}:{text}")]
        whole += [address("/campaign", id=text)] if self._table.states(text) else []
        if len(whole) == 1:
            raise web.HTTPSeeOther(whole[0])
        campaigns, subjects = self._table.find(text, FOUND) if text else ([], [])
        found = [key.partition(":")[::2] for key in subjects]
        return self._page(request, "search.html", text=text, campaigns=campaigns, subjects=found, most=FOUND)

    async def _style(self, _request: web.Request) -> web.Response:
        return web.Response(text=page.style(), content_type="text/css", headers={"Cache-Control": "max-age=300"})

    # -- who writes ------------------------------------------------------------------------------------

    async def _ask_token(self, request: web.Request) -> web.Response:
        return self._page(request, "sign-in.html", onward=local_path(request.query.get("next", "/")), wrong=False)

    async def _sign_in(self, request: web.Request) -> web.Response:
        form = await request.post()
        onward = local_path(_text(form, "next"))
        cookie = self._guard.sign_in(_text(form, "token"), _text(form, "who").strip(), time.time())
        if cookie is None:
            self._metrics.add("console_refusals_total", why="token")
            await asyncio.sleep(WRONG_TOKEN_S)
            return self._page(request, "sign-in.html", status=403, onward=onward, wrong=True)
        response = web.Response(status=303, headers={"Location": onward})
        secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(COOKIE, cookie, max_age=SESSION_S, httponly=True, samesite="Strict", secure=secure)
        return response

    async def _sign_out(self, _request: web.Request) -> web.Response:
        response = web.Response(status=303, headers={"Location": "/"})
        response.del_cookie(COOKIE, httponly=True, samesite="Strict")
        return response

    # -- what is written -------------------------------------------------------------------------------

    async def _label(self, request: web.Request) -> web.Response:
        form = await request.post()
        session = self._session(request)
        kind, name = _text(form, "kind"), _text(form, "id")
        if kind not in CHOICES:
            return self._refuse(request, "label", 400, "Only accounts and campaigns can be labelled.")
        subject = Subject("campaign" if kind == "campaign" else "account", name)
        if session is None:
            why = "signed_out" if self._guard.writable else "read_only"
            return self._refuse(request, why, 403, "You are not signed in, or no longer. Nothing was written.", subject)
        made = _text(form, "label_id")
        if not self._guard.is_ours(session, _text(form, "mark"), made, kind, name):
            text = "The form is not one that this page made for you. Nothing was written."
            return self._refuse(request, "form", 403, text, subject)
        try:
            label = self._checked(subject, session, form)
        except LabellingError as reason:
            return self._refuse(request, "label", 400, str(reason), subject)
        try:
            await self._labeller.write(label)
        except LabellingError as reason:
            self._metrics.add("console_labels_total", label=label.label, fate="failed")
            return self._problem(request, 503, str(reason), subject)
        self._metrics.add("console_labels_total", label=label.label, fate="written")
        return web.Response(status=303, headers={"Location": f"{subject.path}&{urlencode({'said': label.label})}"})

    def _checked(self, subject: Subject, session: Session, form: Mapping[str, Any]) -> Label:
        """Make the label; its time is now, or the newest event's of the subject where traffic is ahead of the clock."""
        if subject.kind == "campaign":
            times = [event.ts_ms for event in self._table.states(subject.id)]
        else:
            times = [event.ts_ms for event in self._table.decisions(f"account:{subject.id}")]
        if not times:
            raise LabellingError("Nothing is known of it, so there is nothing to label.")
        return make_label(
            subject.kind, subject.id, _text(form, "label"), label_id=_text(form, "label_id"),
            ts_ms=max(_now_ms(), *times), who=session.who, why=_text(form, "why"), program=_text(form, "program"),
        )  # fmt: skip

    # -- how it is answered ----------------------------------------------------------------------------

    def _session(self, request: web.Request) -> Session | None:
        return self._guard.session(request.cookies.get(COOKIE), time.time())

    def _form(self, request: web.Request, subject: Subject) -> dict[str, Any]:
        """What the form for labels needs, and what was said by it a moment ago."""
        session = self._session(request)
        ids = self._guard.form(session, subject.kind, subject.id) if session else None
        choices = CHOICES[subject.kind]
        said = next((choice for choice in choices if choice.word == request.query.get("said")), None)
        return {"form": {"subject": subject, "choices": choices, "ids": ids}, "said": said}

    def _page(self, request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
        text = self._templates.get_template(template).render(
            live=True, fresh=self._fresh(), session=self._session(request), writable=self._guard.writable,
            here=request.path, here_whole=request.path_qs, **values,
        )  # fmt: skip
        return web.Response(text=text, status=status, content_type="text/html")

    def _unknown(self, request: web.Request) -> web.Response:
        return self._problem(
            request, 404, "Nothing is known under this id: no decision was made, or it was long ago and is forgotten."
        )

    def _refuse(
        self, request: web.Request, why: str, status: int, text: str, subject: Subject | None = None
    ) -> web.Response:
        self._metrics.add("console_refusals_total", why=why)
        return self._problem(request, status, text, subject)

    def _problem(self, request: web.Request, status: int, text: str, subject: Subject | None = None) -> web.Response:
        return self._page(request, "problem.html", status, text=text, back=subject.path if subject else "/")

    def _fresh(self) -> Fresh:
        follower, heard = self._follower, self._table.newest_ms
        newest = max(heard.get(topic, 0) for topic in FROM_WORKER)
        return views.fresh(
            follower.why_not_ready, follower.answered_s, newest, follower.lag, time.time(), up=follower.up
        )


def address(path: str, **query: str | int) -> str:
    """A path with its query: ids may be anything, so they stand there and never in the path itself."""
    return f"{path}?{urlencode(query)}"


def _text(form: Mapping[str, Any], name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _number(request: web.Request) -> int:
    text = request.query.get("page", "1")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 8 else 1  # noqa: PLR2004 - no such page


def _now_ms() -> int:
    return int(time.time() * 1000)
