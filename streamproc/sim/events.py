"""From columns to request events: identities per request, token counts, times of answer, order of arrival."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from streamproc.sim import clients, tokens
from streamproc.sim.clients import Accounts
from streamproc.sim.draws import Bools, Floats, Ids, Ints, Quantiles, chance, mix, new_ids, quantile
from streamproc.sim.templates import ELICITS, WORKS, Cards
from streamproc.sim.world import Requests

START_MS = 1_772_409_600_000  # 2026-03-02T00:00Z, a Monday
LATEST_S = 590.0  # the longest time from a request to its event
# Coding-agent sessions (kv-cache-tester, Apache-2.0): seconds of server time a request.
API_S: Quantiles = (
    (0, 1.0), (0.1, 3.51), (0.25, 4.5), (0.5, 6.52), (0.75, 11.02), (0.9, 19.59), (0.95, 29.85),
    (0.99, 59.4), (1, 240),
)  # fmt: skip
SAID = np.uint64(7)  # keeps a response's hash apart from the task's
TTFT_SHARE = (0.15, 0.6)
SERVED = 200
PROBE = ELICITS.index(("refusal_probe",))
ERRORS = {402: "other", 429: "rate_limited", 500: "other", 529: "overloaded"}
TASK_CLASSES = [work.task_class for work in WORKS.values()]


@dataclass(frozen=True)
class Answers:
    """What the model's side adds to each request, in columns."""

    tok_in: Ints
    tok_out: Ints
    tok_cached: Ints
    tok_reasoning: Ints
    duration_ms: Ints
    ttft_ms: Ints
    arrival_s: Floats
    model: Ints
    status: Ints
    refused: Bools


def answer(rng: np.random.Generator, accounts: Accounts, requests: Requests, cards: Cards) -> Answers:
    """Draw the answers: token counts, failures, times."""
    n = len(requests.who)
    who, work = requests.who, cards.work[requests.card]
    status = requests.status
    served = status == SERVED
    progress = (requests.turn + 0.5) / requests.turns
    asked = tokens.Asked(
        accounts.habit_z[who], accounts.habit[who], cards.form[requests.card], requests.conversation,
        np.where(requests.turns > 1, _normal(progress), 0.0), work,
    )  # fmt: skip
    tok_in, tok_out = tokens.draw(rng, asked)
    reasons = np.array([row.reasons for row in WORKS.values()])[work]
    thinks = chance(rng, reasons, n)
    duration_s = np.minimum(quantile(API_S, rng.random(n)) * np.clip(tok_out / 300.0, 0.7, 6.0) ** 0.25, LATEST_S - 60)
    duration_s = np.where(served, duration_s, 0.05 + 0.4 * rng.random(n))
    late_s = np.where(chance(rng, 0.01, n), rng.exponential(90.0, n), rng.exponential(0.4, n))
    adopted = requests.at_s >= accounts.adopts_s[who]
    ttft_s = duration_s * (TTFT_SHARE[0] + (TTFT_SHARE[1] - TTFT_SHARE[0]) * rng.random(n))
    cached = np.where(requests.turn > 0, 0.96, np.where(chance(rng, 0.15, n), 0.5, 0.0))
    return Answers(
        tok_in=tok_in,
        tok_out=np.where(served, tok_out, 0),
        tok_cached=np.floor(tok_in * cached * np.sqrt(rng.random(n))).astype(np.int64),
        tok_reasoning=np.where(served & thinks, np.floor(tok_out * (0.2 + 0.6 * rng.random(n))), 0).astype(np.int64),
        duration_ms=np.rint(duration_s * 1000).astype(np.int64),
        ttft_ms=np.rint(ttft_s * 1000).astype(np.int64),
        arrival_s=requests.at_s + np.minimum(duration_s + late_s, LATEST_S),
        model=np.where(adopted, clients.NEW_MODEL, accounts.model[who]),
        status=status,
        refused=served & (rng.random(n) < np.where(cards.elicits[requests.card] == PROBE, 0.4, 0.002)),
    )


def _normal(shares: Floats) -> Floats:
    return np.asarray(ndtri(shares), dtype=np.float64)


def _hex(ids: Ids) -> list[str]:
    text = ids.astype(">u8").tobytes().hex()
    return [text[at : at + 16] for at in range(0, len(text), 16)]


def _hex_or_none(ids: Ids) -> list[str | None]:
    out: list[str | None] = list(_hex(ids))
    for row in np.flatnonzero(ids == 0).tolist():
        out[row] = None
    return out


def _named(table: Any, codes: Ints) -> list[Any]:
    names = np.empty(len(table), dtype=object)
    for place, value in enumerate(table):
        names[place] = value
    return list(names[codes].tolist())


def tables(
    rng: np.random.Generator, accounts: Accounts, requests: Requests, cards: Cards, rows: int
) -> Iterator[dict[str, list[Any]]]:
    """Yield the contract's fields as columns of values (None: left out), `rows` at a time in order of arrival."""
    answers = answer(rng, accounts, requests, cards)
    order = np.argsort(answers.arrival_s, kind="stable")
    ids = new_ids(rng, len(order))
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        part = Answers(**{name: getattr(answers, name)[chosen] for name in Answers.__dataclass_fields__})
        yield _table(ids[start : start + rows], accounts, requests.rows(chosen), cards, part)


def _table(ids: Ids, accounts: Accounts, requests: Requests, cards: Cards, answers: Answers) -> dict[str, list[Any]]:
    return {
        "v": [1] * len(ids),
        "id": _hex(ids),
        "ts_ms": (np.floor(requests.at_s * 1000).astype(np.int64) + START_MS).tolist(),
        **_identity(accounts, requests),
        **_answered(accounts, requests, answers),
        **_asked(accounts, requests, cards),
        **_content(requests, cards, answers),
    }


def _identity(accounts: Accounts, requests: Requests) -> dict[str, list[Any]]:
    who = requests.who
    spare = mix(requests.conversation, np.uint64(13)) % accounts.ip_count[who].astype(np.uint64)
    session = np.where(accounts.declares_session[who], mix(requests.conversation, np.uint64(11)), np.uint64(0))
    programs = [clients.PROGRAMS[code] or None for code in accounts.program.tolist()]
    return {
        **{
            name: _named(_hex_or_none(getattr(accounts, name)), who)
            for name in ("account", "org", "key", "payer", "device")
        },
        "session": _hex_or_none(session),
        "ip": _hex(mix(accounts.ip_pool[who], spare)),
        "asn_class": _named(clients.ASN_CLASSES, accounts.asn[who]),
        "country": _named(clients.COUNTRIES, accounts.country[who]),
        "email_domain": _named(_hex_or_none(accounts.email_domain), who),
        "email_class": _named(clients.EMAIL_CLASSES, accounts.email[who]),
        "signup_ms": _named((np.floor(accounts.signup_s * 1000).astype(np.int64) + START_MS).tolist(), who),
        "plan": _named(clients.PLANS, accounts.plan[who]),
        "program": _named(programs, who),
        "quota_rpm": _named(clients.QUOTA_RPM, accounts.plan[who]),
        "pathway": _named(clients.PATHWAYS, accounts.pathway[who]),
        "region": _named(clients.REGIONS, accounts.region[who]),
    }


def _answered(accounts: Accounts, requests: Requests, answers: Answers) -> dict[str, list[Any]]:
    streams = accounts.streams[requests.who]
    ttft: list[Any] = answers.ttft_ms.tolist()
    for row in np.flatnonzero(~streams | (answers.status != SERVED)).tolist():
        ttft[row] = None
    statuses = [SERVED, *ERRORS]
    return {
        "model": _named(clients.MODELS, answers.model),
        "stream": streams.tolist(),
        "status": answers.status.tolist(),
        "error": _named([None, *ERRORS.values()], np.searchsorted(np.array(statuses), answers.status)),
        "refused": answers.refused.tolist(),
        "ttft_ms": ttft,
        "duration_ms": answers.duration_ms.tolist(),
        "tok_in": answers.tok_in.tolist(),
        "tok_out": answers.tok_out.tolist(),
        "tok_cached": answers.tok_cached.tolist(),
        "tok_reasoning": answers.tok_reasoning.tolist(),
    }


def _asked(accounts: Accounts, requests: Requests, cards: Cards) -> dict[str, list[Any]]:
    who, card = requests.who, requests.card
    system = cards.system[card]
    temperatures = [None if np.isnan(value) else value for value in clients.TEMPERATURES]
    return {
        "n_messages": (2 * requests.turn + 1 + (system > 0)).tolist(),
        "n_assistant": requests.turn.tolist(),
        "n_tools": cards.n_tools[card].tolist(),
        "temperature": _named(temperatures, accounts.temperature[who]),
        "max_tokens": _named([value or None for value in clients.MAX_TOKENS], accounts.max_tokens[who]),
        "params_fp": _named(_hex(mix(accounts.temperature, accounts.max_tokens)), who),
        "task_class": _named(TASK_CLASSES, cards.work[card]),
        "elicits": _named([list(row) or None for row in ELICITS], cards.elicits[card]),
        "lang": _named(clients.LANGS, accounts.lang[who]),
        "ua": _named([row[0] for row in clients.SOFTWARE], accounts.software[who]),
        "ua_version": _named([f"{4 - v // 5}.{9 - v % 5 * 2}" for v in accounts.version.tolist()], who),
        **{f"{name}_fp": _named(_hex(getattr(accounts, name)), who) for name in ("tls", "h2", "headers")},
    }


def _content(requests: Requests, cards: Cards, answers: Answers) -> dict[str, list[Any]]:
    card, turn, talk = requests.card, requests.turn, requests.conversation
    value = cards.value[card] ^ requests.mask
    none = np.uint64(0)
    thought = answers.tok_reasoning > 0
    served = answers.status == SERVED
    first = turn == 0
    before = mix(talk, np.maximum(turn - 1, 0), SAID)
    return {
        "template_fp": _hex(value),
        "system_fp": _hex_or_none(cards.system[card]),
        "tools_fp": _hex_or_none(cards.tools[card]),
        "schema_fp": _hex_or_none(cards.schema[card]),
        "task_fp": _hex(requests.task),
        "request_fp": _hex(mix(value, requests.task, np.where(first, none, talk), turn)),
        "prefix_fp": _hex_or_none(np.where(first, none, before)),
        "response_fp": _hex_or_none(np.where(served, mix(talk, turn, SAID), none)),
        "signature_fp": _hex_or_none(np.where(~first & thought, mix(before, np.uint64(5)), none)),
        "signature_out_fp": _hex_or_none(np.where(served & thought, mix(mix(talk, turn, SAID), np.uint64(5)), none)),
        "pepper_epoch": [1] * len(turn),
    }


def to_dicts(table: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Return one dict per event, without the fields that are missing."""
    names = tuple(table)
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*table.values(), strict=True)
    ]
