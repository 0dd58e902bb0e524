"""Who calls: software, network, pathway, plan and identities, drawn alike for all accounts of one habitat."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.special import ndtri

from streamproc.sim.draws import DAY_S, Bools, Floats, Ids, Ints, chance, mix, new_ids, pick

Weights = Mapping[str, float]

# Software families: share among API traffic (assumed), versions in use, TLS stacks in use.
SOFTWARE: tuple[tuple[str, float, int, int], ...] = (
    ("python-sdk", 0.27, 9, 3),
    ("node-sdk", 0.16, 8, 3),
    ("browser", 0.16, 12, 4),
    ("coding-cli", 0.07, 10, 2),
    ("ide-plugin", 0.06, 8, 2),
    ("python-httpx", 0.06, 5, 2),
    ("python-requests", 0.05, 4, 2),
    ("go-http", 0.04, 5, 2),
    ("java-sdk", 0.04, 6, 2),
    ("curl", 0.02, 4, 2),
    ("agent-framework", 0.03, 7, 2),
    ("mobile-app", 0.02, 5, 2),
    ("rust-reqwest", 0.01, 3, 1),
    ("dotnet-sdk", 0.01, 3, 1),
)
ASN_CLASSES = ("residential", "mobile", "business", "hosting", "vpn", "unknown")
EMAIL_CLASSES = ("public", "disposable", "corporate", "education", "unknown")
PLANS = ("free", "pro", "team", "api", "enterprise")
PROGRAMS = ("", "research", "evaluation", "education", "reseller")
PATHWAYS = ("api", "web", "cloud-a", "cloud-b", "cloud-c")
REGIONS = ("us-east", "us-west", "eu-west", "eu-central", "ap-south", "ap-east")
COUNTRIES = (
    "US", "IN", "GB", "DE", "BR", "JP", "FR", "CA", "KR", "AU", "NL", "ES", "PL", "ID", "SG", "VN", "TR", "MX",
    "IT", "SE",
)  # fmt: skip
LANGS = ("en", "de", "fr", "es", "pt", "ja", "ko", "hi", "zh", "ru")
MODELS = ("m-large-3", "m-medium-3", "m-small-3", "m-large-4")
NEW_MODEL = 3
TEMPERATURES = (np.nan, 0.0, 0.2, 0.5, 0.7, 1.0)
MAX_TOKENS = (0, 512, 1024, 2048, 4096, 8192)
QUOTA_RPM = (5.0, 50.0, 200.0, 60.0, 1000.0)


@dataclass(frozen=True)
class Habitat:
    """Where accounts of one kind live: weights of each choice (in the order of its table) and shares."""

    asn: tuple[float, ...] = (0.52, 0.08, 0.17, 0.17, 0.05, 0.01)
    pathway: tuple[float, ...] = (0.66, 0.18, 0.08, 0.05, 0.03)
    plan: tuple[float, ...] = (0.2, 0.24, 0.1, 0.42, 0.04)
    email: tuple[float, ...] = (0.66, 0.03, 0.24, 0.05, 0.02)
    temperature: tuple[float, ...] = (0.5, 0.15, 0.08, 0.05, 0.12, 0.1)
    max_tokens: tuple[float, ...] = (0.3, 0.1, 0.18, 0.12, 0.2, 0.1)
    model: tuple[float, ...] = (0.45, 0.38, 0.17)
    software: tuple[float, ...] = tuple(row[1] for row in SOFTWARE)
    country: tuple[float, ...] = tuple(float(w) for w in 1.0 / (1.0 + np.arange(len(COUNTRIES))) ** 0.8)
    lang: tuple[float, ...] = (0.66, 0.05, 0.04, 0.06, 0.04, 0.04, 0.03, 0.03, 0.04, 0.01)
    org: float = 0.42
    device: float = 0.7
    declares_session: float = 0.25
    habit: tuple[float, float] = (0.25, 0.6)
    signup_days: tuple[float, float] = (120.0, 1.1)
    program: int = 0


PEOPLE = Habitat()
SERVERS = Habitat(
    asn=(0.1, 0.0, 0.3, 0.57, 0.02, 0.01),
    pathway=(0.62, 0.0, 0.18, 0.12, 0.08),
    plan=(0.02, 0.05, 0.25, 0.5, 0.18),
    email=(0.3, 0.01, 0.64, 0.03, 0.02),
    software=(0.34, 0.2, 0.0, 0.05, 0.0, 0.1, 0.08, 0.07, 0.08, 0.02, 0.05, 0.0, 0.02, 0.02),
    org=0.75,
    device=0.4,
)
PUPILS = Habitat(
    asn=(0.3, 0.1, 0.55, 0.01, 0.03, 0.01),
    pathway=(0.35, 0.6, 0.03, 0.02, 0.0),
    plan=(0.7, 0.15, 0.15, 0.0, 0.0),
    email=(0.35, 0.01, 0.02, 0.6, 0.02),
    software=(0.15, 0.03, 0.62, 0.0, 0.08, 0.03, 0.05, 0.0, 0.0, 0.0, 0.0, 0.04, 0.0, 0.0),
    org=0.1,
    program=3,
)
CODERS = Habitat(
    asn=(0.55, 0.03, 0.32, 0.06, 0.03, 0.01),
    pathway=(0.8, 0.03, 0.1, 0.05, 0.02),
    software=(0.03, 0.04, 0.0, 0.6, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.08, 0.0, 0.0, 0.0),
    org=0.55,
)


@dataclass(frozen=True)
class Accounts:
    """Columns of accounts, one row each: 64-bit ids, 0 where there is none, and codes (places in a table)."""

    account: Ids
    org: Ids
    key: Ids
    payer: Ids
    device: Ids
    email_domain: Ids
    ip_pool: Ids
    ip_count: Ints
    asn: Ints
    country: Ints
    email: Ints
    plan: Ints
    program: Ints
    pathway: Ints
    region: Ints
    software: Ints
    version: Ints
    tls: Ids
    h2: Ids
    headers: Ids
    model: Ints
    adopts_s: Floats
    temperature: Ints
    max_tokens: Ints
    lang: Ints
    streams: Bools
    declares_session: Bools
    signup_s: Floats
    habit: Floats
    habit_z: Floats
    kind: Ints
    campaign: Bools
    cuttable: Bools


def join(parts: list[Accounts]) -> Accounts:
    """Put columns of several parts one after the other."""
    return Accounts(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Accounts)})


def take(accounts: Accounts, rows: Ints) -> Accounts:
    """Return the given rows of accounts."""
    return Accounts(**{f.name: getattr(accounts, f.name)[rows] for f in fields(Accounts)})


def draw_accounts(rng: np.random.Generator, n: int, habitat: Habitat, kind: int) -> Accounts:
    """Draw `n` unrelated accounts of one habitat."""
    software, version, tls = draw_clients(rng, habitat.software, n)
    email, plan = pick(rng, habitat.email, n), pick(rng, habitat.plan, n)
    pathway = pick(rng, habitat.pathway, n)
    country = pick(rng, habitat.country, n)
    org = np.where(rng.random(n) < habitat.org, new_ids(rng, n), np.uint64(0))
    lang = np.where(chance(rng, 0.7, n), 0, pick(rng, habitat.lang, n))
    return Accounts(
        account=new_ids(rng, n),
        org=org,
        key=new_ids(rng, n),
        payer=np.where((plan > 0) & chance(rng, 0.97, n), new_ids(rng, n), np.uint64(0)),
        device=np.where(rng.random(n) < habitat.device, new_ids(rng, n), np.uint64(0)),
        email_domain=_email_domains(rng, email, n),
        ip_pool=new_ids(rng, n),
        ip_count=1 + rng.poisson(0.8, n),
        asn=pick(rng, habitat.asn, n),
        country=country,
        email=email,
        plan=plan,
        program=np.where(chance(rng, 0.3, n), habitat.program, 0),
        pathway=pathway,
        region=(country * 5 + pick(rng, (0.8, 0.1, 0.1), n)) % len(REGIONS),
        software=software,
        version=version,
        tls=tls,
        h2=mix(tls, np.uint64(2)),
        headers=mix(software, version // 3, np.uint64(3)),
        model=pick(rng, habitat.model, n),
        adopts_s=np.full(n, np.inf),
        temperature=pick(rng, habitat.temperature, n),
        max_tokens=pick(rng, habitat.max_tokens, n),
        lang=lang,
        streams=chance(rng, 0.5, n),
        declares_session=rng.random(n) < habitat.declares_session,
        signup_s=-signup_ages(rng, habitat.signup_days, n),
        habit=habitat.habit[0] + (habitat.habit[1] - habitat.habit[0]) * rng.random(n),
        habit_z=np.asarray(ndtri(rng.random(n) * 0.998 + 0.001), dtype=np.float64),
        kind=np.full(n, kind, dtype=np.int64),
        campaign=np.zeros(n, dtype=np.bool_),
        cuttable=np.ones(n, dtype=np.bool_),
    )


def signup_ages(rng: np.random.Generator, days: tuple[float, float], n: int) -> Floats:
    """Draw ages at sign-up in seconds before the stream: lognormal (median days, sigma), an hour at least."""
    age_s = days[0] * np.exp(days[1] * rng.standard_normal(n)) * DAY_S
    return np.asarray(np.clip(age_s, 3600.0, 900.0 * DAY_S), dtype=np.float64)


def draw_clients(rng: np.random.Generator, weights: tuple[float, ...], n: int) -> tuple[Ints, Ints, Ids]:
    """Draw software family, version (the newest are the commonest) and TLS stack (follows the version)."""
    software = pick(rng, weights, n)
    versions = np.array([row[2] for row in SOFTWARE])[software]
    stacks = np.array([row[3] for row in SOFTWARE])[software]
    version = np.floor(versions * rng.random(n) ** 2).astype(np.int64)
    stack = (version * stacks // versions + chance(rng, 0.15, n)) % stacks
    return software, version, mix(software, stack, np.uint64(1))


def one_client(rng: np.random.Generator, accounts: Accounts, share: float) -> Accounts:
    """Give a share of the accounts the same client: what an app that is installed does."""
    same = rng.random(len(accounts.account)) < share
    columns = {
        name: np.where(same, getattr(accounts, name)[0], getattr(accounts, name))
        for name in ("software", "version", "tls", "h2", "headers")
    }
    return replace(accounts, **columns)


def one_organisation(accounts: Accounts, *, network: bool) -> Accounts:
    """Put all accounts into one organisation with one e-mail domain and payer, and maybe one network."""
    n = len(accounts.account)
    shared = {"org": accounts.key[0], "payer": accounts.account[0], "email_domain": accounts.ip_pool[0]}
    columns = {name: np.full(n, mix(value)) for name, value in shared.items()}
    codes = {name: np.full(n, getattr(accounts, name)[0]) for name in ("email", "country", "region", "plan")}
    if network:
        columns["ip_pool"] = np.full(n, accounts.ip_pool[0])
        codes["asn"] = np.full(n, accounts.asn[0])
    return replace(accounts, **columns, **codes)


def share_payers(rng: np.random.Generator, accounts: Accounts, share: float) -> Accounts:
    """Let a share of the payers pay from one instrument by groups of about three."""
    n = len(accounts.account)
    purse = mix(accounts.account[0], rng.integers(0, max(1, round(share * n / 3)), size=n))
    joint = (rng.random(n) < share) & (accounts.payer > 0)
    return replace(accounts, payer=np.where(joint, purse, accounts.payer))


def _email_domains(rng: np.random.Generator, email: Ints, n: int) -> Ids:
    """Public and disposable mail has a few large domains, every company and school its own."""
    large = mix(email, np.floor(8 * rng.random(n) ** 2))
    return np.where(np.isin(email, (0, 1)), large, new_ids(rng, n))
