"""What worker, gateway and console are told by their environment: brokers, topics, places, ports.

`VARIABLES` is the whole list, with defaults, and OPERATING.md's table is made from it. What decides who is
enforced upon is not here: that is the policy file's.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from streamproc import values
from streamproc.values import DECISION, NO_GRPC, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DECISION",
    "NO_GRPC",
    "VARIABLES",
    "AuthzSettings",
    "ConsoleSettings",
    "GatewaySettings",
    "KafkaSettings",
    "Place",
    "Settings",
    "SettingsError",
    "TopicNames",
    "Variable",
    "read",
]

SECURITY_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SASL_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
UNREADY: Final = ("open", "closed")
BUCKETS: Final = ("memory", "redis")


class SettingsError(ValueError):
    """The operator's mistake: one line that names the variable and says what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """How to reach the brokers, and as whom."""

    bootstrap_servers: tuple[str, ...]
    security_protocol: str
    sasl_mechanism: str
    sasl_username: str | None
    sasl_password: str | None = field(repr=False)
    ssl_cafile: Path | None
    ssl_certfile: Path | None
    ssl_keyfile: Path | None
    group: str
    partitions: int
    replication: int
    session_timeout_s: float

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def uses_sasl(self) -> bool:
        """Whether the broker wants a user and a password."""
        return self.security_protocol.startswith("SASL_")

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the context for encrypted connections, None for plain ones.

        Raises:
            SettingsError: a certificate or key file that cannot be read as one.
        """
        if not self.uses_tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile)
            if self.ssl_certfile is not None:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
        except OSError as reason:  # ssl.SSLError is one
            names = "KAFKA_SSL_CAFILE, KAFKA_SSL_CERTFILE, KAFKA_SSL_KEYFILE"
            raise SettingsError(f"{names}: not usable as PEM files ({reason})") from reason
        return context

    def client_options(self) -> dict[str, Any]:
        """Return the arguments that any aiokafka client of these brokers takes."""
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap_servers),
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context(),
        }
        if self.uses_sasl:
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
            }
        return options


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicNames:
    """The topics' names, as this installation calls them."""

    requests: str
    dead: str
    uses: str
    enforcement: str
    campaigns: str
    rounds: str  # empty where there is none
    labels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """How verdicts are obeyed, and how events are made."""

    unready: str
    most_subjects: int
    ahead_s: float
    requests_per_min: float
    tokens_per_min: float
    appeal_url: str
    identity_pepper: bytes = field(repr=False)
    content_pepper: bytes = field(repr=False)
    pepper_epoch: int
    most_waiting: int
    http_port: int | None
    redis_url: str | None = field(repr=False)
    redis_prefix: str
    buckets: str
    buckets_wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthzSettings:
    """What the proxies that ask for authorisation are asked at, and where they say who a caller is."""

    grpc: str
    account: tuple[Place, ...]
    org: tuple[Place, ...]
    key: tuple[Place, ...]
    address: tuple[Place, ...]
    answer_s: float
    most_open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """Who may write by the analyst's page, by which names it is called, and how much it remembers."""

    token: str | None = field(repr=False)
    own_tokens: tuple[tuple[str, str], ...] = field(repr=False)  # (name, token) of each person who has one
    hosts: tuple[str, ...]
    most_subjects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that the environment says."""

    kafka: KafkaSettings
    topics: TopicNames
    gateway: GatewaySettings
    authz: AuthzSettings
    console: ConsoleSettings
    state_url: str
    policy: Path | None
    mode: str | None
    http_host: str
    http_port: int
    idle_s: float
    snapshot_s: float
    stop_s: float
    ingest_token: str | None = field(repr=False)


# -- the table -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable: the setting it fills, its default ("" means none), its parser, its meaning."""

    name: str
    setting: str
    default: str
    parse: Callable[[str], Any] = field(repr=False)
    meaning: str


VARIABLES: Final = (
    Variable(
        "KAFKA_BOOTSTRAP_SERVERS",
        "kafka.bootstrap_servers",
        "localhost:9092",
        values.servers,
        "brokers, host:port,...",
    ),
    Variable(
        "KAFKA_SECURITY_PROTOCOL",
        "kafka.security_protocol",
        "PLAINTEXT",
        values.one_of(*SECURITY_PROTOCOLS),
        "as in Kafka",
    ),
    Variable("KAFKA_SASL_MECHANISM", "kafka.sasl_mechanism", "PLAIN", values.one_of(*SASL_MECHANISMS), "for SASL_*"),
    Variable("KAFKA_SASL_USERNAME", "kafka.sasl_username", "", values.optional, "for SASL_*"),
    Variable("KAFKA_SASL_PASSWORD", "kafka.sasl_password", "", values.optional, "for SASL_*; never shown"),
    Variable("KAFKA_SSL_CAFILE", "kafka.ssl_cafile", "", values.file, "PEM of the brokers' authority"),
    Variable("KAFKA_SSL_CERTFILE", "kafka.ssl_certfile", "", values.file, "PEM of our own certificate"),
    Variable("KAFKA_SSL_KEYFILE", "kafka.ssl_keyfile", "", values.file, "PEM of its key"),
    Variable(
        "KAFKA_GROUP",
        "kafka.group",
        "streamproc",
        values.text,
        "consumer group: its workers share the work",
    ),
    Variable(
        "KAFKA_PARTITIONS",
        "kafka.partitions",
        "4",
        values.count,
        "of `requests` when it is created here",
    ),
    Variable("KAFKA_REPLICATION", "kafka.replication", "1", values.count, "copies of each topic that is created here"),
    Variable(
        "KAFKA_SESSION_S", "kafka.session_timeout_s", "30", values.seconds, "a worker silent for this long is dead"
    ),
    Variable("TOPIC_REQUESTS", "topics.requests", "requests", values.topic, "in: one request each"),
    Variable("TOPIC_DEAD", "topics.dead", "requests.dead", values.topic, "out: refused requests with their reason"),
    Variable("TOPIC_USES", "topics.uses", "uses", values.topic, "between the two reducers"),
    Variable("TOPIC_ENFORCEMENT", "topics.enforcement", "enforcement", values.topic, "out: what is in force for whom"),
    Variable("TOPIC_CAMPAIGNS", "topics.campaigns", "campaigns", values.topic, "out: the state of each campaign"),
    Variable("TOPIC_ROUNDS", "topics.rounds", "rounds", values.topic, "out: what the last round saw and left alone"),
    Variable("TOPIC_LABELS", "topics.labels", "labels", values.topic, "in: what analysts say"),
    Variable(
        "STATE_URL", "state_url", "./state", values.text, "folder or fsspec URL of the snapshots, shared by workers"
    ),
    Variable("POLICY", "policy", "", values.file, "policy file; default: the one in the package"),
    Variable("MODE", "mode", "", values.mode, "shadow or enforce, over what the policy says"),
    Variable("HTTP_HOST", "http_host", "localhost", values.text, "where /metrics, /healthz and /readyz listen"),
    Variable("HTTP_PORT", "http_port", "8321", values.port, "their port"),
    Variable("IDLE_S", "idle_s", "60", values.seconds, "a partition silent for this long no longer holds time back"),
    Variable("STOP_S", "stop_s", "25", values.seconds, "told to stop, it ends after this at the latest"),
    Variable(
        "GATEWAY_UNREADY",
        "gateway.unready",
        "open",
        values.one_of(*UNREADY, case=str.lower),
        "until the verdicts are read: open lets requests pass, closed refuses them",
    ),
    Variable(
        "GATEWAY_MOST_SUBJECTS", "gateway.most_subjects", "1000000", values.subjects, "that the gateway remembers"
    ),
    Variable(
        "GATEWAY_AHEAD_S", "gateway.ahead_s", "600", values.seconds, "a decision further ahead of the clock is ignored"
    ),
    Variable(
        "GATEWAY_REQUESTS_PER_MIN", "gateway.requests_per_min", "1", values.per_min, "where a throttle names no limit"
    ),
    Variable(
        "GATEWAY_TOKENS_PER_MIN", "gateway.tokens_per_min", "2000", values.per_min, "where a throttle names no limit"
    ),
    Variable(
        "APPEAL_URL", "gateway.appeal_url", "", values.appeal, "told to who is refused; {decision} becomes the id"
    ),
    Variable(
        "IDENTITY_PEPPER", "gateway.identity_pepper", "", values.pepper, "secret of pseudonyms, for good; never shown"
    ),
    Variable(
        "CONTENT_PEPPER", "gateway.content_pepper", "", values.pepper, "secret of fingerprints, an epoch's; never shown"
    ),
    Variable("PEPPER_EPOCH", "gateway.pepper_epoch", "0", values.epoch, "one more with each new CONTENT_PEPPER"),
    Variable("GATEWAY_MOST_WAITING", "gateway.most_waiting", "10000", values.subjects, "request events held at most"),
    Variable(
        "REDIS_URL", "gateway.redis_url", "", values.redis, "where the limiter mirrors what is in force; never shown"
    ),
    Variable("REDIS_PREFIX", "gateway.redis_prefix", "streamproc:", values.text, "what all keys in Redis begin with"),
    Variable(
        "GATEWAY_BUCKETS",
        "gateway.buckets",
        "memory",
        values.one_of(*BUCKETS, case=str.lower),
        "of throttles: in each gateway's memory, or in Redis for all of them together",
    ),
    Variable("GATEWAY_BUCKETS_WAIT_S", "gateway.buckets_wait_s", "0.03", values.seconds, "then memory counts instead"),
    Variable(
        "AUTHZ_GRPC", "authz.grpc", "localhost:8322", values.grpc, "where Envoy asks: host:port, unix:/path or off"
    ),
    Variable("AUTHZ_ACCOUNT", "authz.account", "", values.places, "header that the proxy itself sets, or metadata:..."),
    Variable("AUTHZ_ORG", "authz.org", "", values.places, "the same for the organisation"),
    Variable(
        "AUTHZ_KEY",
        "authz.key",
        "authorization,x-api-key,api-key,x-goog-api-key",
        values.places,
        "the same for the key; of several the first that is there",
    ),
    Variable(
        "AUTHZ_ADDRESS", "authz.address", "", values.places, "the same for the address; default: the proxy's peer"
    ),
    Variable("AUTHZ_ANSWER_S", "authz.answer_s", "600", values.seconds, "an event waits for its answer for this long"),
    Variable("AUTHZ_MOST_OPEN", "authz.most_open", "20000", values.subjects, "events that wait for answers at most"),
    Variable(
        "CONSOLE_TOKEN", "console.token", "", values.token, "whoever has it may label; without one nobody; never shown"
    ),
    Variable(
        "CONSOLE_TOKENS",
        "console.own_tokens",
        "",
        values.own_tokens,
        "as `ana:token,ben:token`: these label by their own names alone; never shown",
    ),
    Variable(
        "CONSOLE_HOSTS", "console.hosts", "", values.names, "host names that the page is called by, beside localhost"
    ),
    Variable("CONSOLE_MOST_SUBJECTS", "console.most_subjects", "500000", values.subjects, "that the page remembers"),
    Variable(
        "INGEST_TOKEN", "ingest_token", "", values.optional, "what senders to `ingest --listen` show; never shown"
    ),
    Variable(
        "GATEWAY_HTTP_PORT",
        "gateway.http_port",
        "",
        values.port_or_none,
        "inside LiteLLM: /metrics and /readyz on HTTP_HOST, this port or the next free one; default: nowhere",
    ),
    Variable("SNAPSHOT_S", "snapshot_s", "30", values.seconds, "between snapshots: what a restart does again at most"),
)


# -- all of them ---------------------------------------------------------------------------------------


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that this environment gives; an empty variable counts as an unset one.

    Raises:
        SettingsError: a value that is wrong, or that does not go with another.
    """
    parts: dict[str, dict[str, Any]] = {"kafka": {}, "topics": {}, "gateway": {}, "authz": {}, "console": {}, "": {}}
    for variable in VARIABLES:
        part, _, name = variable.setting.rpartition(".")
        try:
            parts[part][name] = variable.parse(environment.get(variable.name) or variable.default)
        except ValueError as reason:
            raise SettingsError(f"{variable.name}: {reason}") from None
    settings = Settings(
        kafka=KafkaSettings(**parts["kafka"]),
        topics=TopicNames(**parts["topics"]),
        gateway=GatewaySettings(**parts["gateway"]),
        authz=AuthzSettings(**parts["authz"]),
        console=ConsoleSettings(**parts["console"]),
        **parts[""],
    )
    for wrong, text in _contradictions(settings):
        if wrong:
            raise SettingsError(text)
    return settings


def _contradictions(settings: Settings) -> tuple[tuple[bool, str], ...]:
    """Return what would be wrong between values, each with its one line."""
    kafka, topics = settings.kafka, settings.topics
    names = [getattr(topics, name) for name in topics.__slots__]
    credentials = kafka.sasl_username is not None or kafka.sasl_password is not None
    files = (kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile)
    protocol = kafka.security_protocol
    return (
        (
            kafka.uses_sasl and kafka.sasl_username is None,
            f"KAFKA_SASL_USERNAME: {protocol} needs one, set it",
        ),
        (
            kafka.uses_sasl and kafka.sasl_password is None,
            f"KAFKA_SASL_PASSWORD: {protocol} needs one, set it",
        ),
        (
            credentials and not kafka.uses_sasl,
            f"KAFKA_SECURITY_PROTOCOL: a user or password is given and {protocol} uses none: set SASL_SSL",
        ),
        (
            any(files) and not kafka.uses_tls,
            f"KAFKA_SECURITY_PROTOCOL: SSL files are given and {protocol} uses none: set SSL or SASL_SSL",
        ),
        (
            (kafka.ssl_keyfile is not None) and (kafka.ssl_certfile is None),
            "KAFKA_SSL_CERTFILE: KAFKA_SSL_KEYFILE is given without it, set both",
        ),
        (
            len(set(names)) < len(names),
            "TOPIC_*: two topics have the same name, give each its own",
        ),
        (
            settings.gateway.buckets == "redis" and settings.gateway.redis_url is None,
            "REDIS_URL: GATEWAY_BUCKETS is redis, set it",
        ),
    )
