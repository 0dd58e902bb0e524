"""The topics and their settings, as a table: created where the broker allows it, checked where they exist."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streamproc.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamproc.settings import KafkaSettings, Settings

__all__ = ["TOPICS", "Topic", "TopicError", "ensure"]

log = logging.getLogger(__name__)

DAY_MS: Final = 86_400_000
AS_TOLD: Final = 0  # partitions: as many as KAFKA_PARTITIONS says
VISIBLE_TRIES: Final = 200
VISIBLE_EVERY_S: Final = 0.1


class TopicError(SettingsError):
    """A topic is missing or set wrongly: one line that says which and how to put it right."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: the setting that names it, how it is created, and why so.

    An existing topic may have another number of partitions unless it is `single`, and another retention, but
    not another cleanup policy. Without an `optional` one, where it may not be created, the worker does without it.
    """

    setting: str
    partitions: int
    cleanup: str
    retention_ms: int | None
    reason: str
    single: bool = False
    optional: bool = False

    def config(self) -> dict[str, str]:
        """Return the settings to create it with."""
        config = {"cleanup.policy": self.cleanup}
        if self.retention_ms is not None:
            config["retention.ms"] = str(self.retention_ms)
        return config


TOPICS: Final = (
    Topic("requests", AS_TOLD, "delete", 7 * DAY_MS, "a lost state is rebuilt from the last 72 hours"),
    Topic("dead", 1, "delete", 14 * DAY_MS, "someone has two weeks to look at them"),
    Topic("uses", 1, "delete", 4 * DAY_MS, "the global reducer needs them all, in one order", single=True),
    Topic("enforcement", AS_TOLD, "compact", None, "the newest of a subject is the whole truth about it"),
    Topic("campaigns", 1, "compact", None, "the newest of a campaign is the whole truth about it"),
    Topic("rounds", 1, "compact", None, "the newest round is the whole truth about what came near", optional=True),
    Topic("labels", 1, "compact", None, "what an analyst said of a subject must not lapse with time"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a broker says of a topic; `cleanup` is None where it does not answer such questions."""

    partitions: int
    cleanup: str | None


async def ensure(settings: Settings) -> dict[str, int]:
    """Create the topics that are missing, check the others, and return topic name -> number of partitions.

    An optional topic that may not be created is said in the log and left out.

    Raises:
        TopicError: a topic that may not be created, or one whose partitions or cleanup.policy are wrong.
        SettingsError: the brokers do not answer.
    """
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # what it would say is in the errors below
    kafka = settings.kafka
    wanted = {getattr(settings.topics, topic.setting): topic for topic in TOPICS}
    client = AIOKafkaAdminClient(**kafka.client_options(), request_timeout_ms=10_000)
    try:
        await client.start()
    except (KafkaError, OSError) as reason:
        servers = ",".join(kafka.bootstrap_servers)
        raise SettingsError(f"KAFKA_BOOTSTRAP_SERVERS: no broker answers at {servers} ({reason})") from reason
    try:
        found = await _found(client, wanted)
        missing = {name: topic for name, topic in wanted.items() if name not in found}
        if missing and await _create(client, missing, kafka):
            found = await _visible(client, wanted)
    finally:
        await client.close()
    for name, one in found.items():
        _check(name, wanted[name], one)
    return {name: one.partitions for name, one in found.items()}


async def _partitions(client: AIOKafkaAdminClient, names: list[str]) -> dict[str, int]:
    """Ask for all topics: asking for one by name makes a broker create it, with settings of its own."""
    existing = set(await client.list_topics()) & set(names)
    if not existing:
        return {}
    said = await client.describe_topics(sorted(existing))
    return {topic["topic"]: len(topic["partitions"]) for topic in said if topic["partitions"]}


async def _found(client: AIOKafkaAdminClient, wanted: Mapping[str, Topic]) -> dict[str, Found]:
    counts = await _partitions(client, list(wanted))
    policies = await _cleanup_policies(client, sorted(counts))
    return {name: Found(count, policies.get(name)) for name, count in counts.items()}


async def _visible(client: AIOKafkaAdminClient, wanted: Mapping[str, Topic]) -> dict[str, Found]:
    """Wait until every topic can be seen: a broker says that it has created one before all of it knows."""
    found: dict[str, Found] = {}
    for _ in range(VISIBLE_TRIES):
        found = await _found(client, wanted)
        if set(found) == set(wanted):
            return found
        await asyncio.sleep(VISIBLE_EVERY_S)
    names = ", ".join(sorted(set(wanted) - set(found)))
    raise TopicError(f"topics {names} were created and cannot be seen: look at the brokers' logs, start again")


async def _cleanup_policies(client: AIOKafkaAdminClient, names: list[str]) -> dict[str, str]:
    """Return topic -> cleanup.policy; empty if the broker does not say (the embedded one does not)."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, {"cleanup.policy": ""}) for name in names]
    try:
        replies = await client.describe_configs(resources)
    except (KafkaError, NotImplementedError):
        return {}
    return {
        resource[3]: entry[1]
        for reply in replies
        for resource in reply.resources
        for entry in resource[4]
        if entry[0] == "cleanup.policy"
    }


async def _create(client: AIOKafkaAdminClient, missing: Mapping[str, Topic], kafka: KafkaSettings) -> bool:
    """Create them; False if that is not allowed and all of them are optional."""
    try:
        await _ask_for(client, missing, kafka)
    except TopicError as reason:
        if not all(topic.optional for topic in missing.values()):
            raise
        log.warning("going on without: %s", reason)
        return False
    return True


async def _ask_for(client: AIOKafkaAdminClient, missing: Mapping[str, Topic], kafka: KafkaSettings) -> None:
    new = [
        NewTopic(
            name=name,
            num_partitions=topic.partitions or kafka.partitions,
            replication_factor=kafka.replication,
            topic_configs=topic.config(),
        )
        for name, topic in missing.items()
    ]
    try:
        reply = await client.create_topics(new)
    except AttributeError as reason:  # aiokafka's way of meeting a cluster that names no controller
        raise TopicError(_by_hand(missing, kafka, "it names no controller")) from reason
    except (KafkaError, NotImplementedError) as reason:
        raise TopicError(_by_hand(missing, kafka, str(reason) or type(reason).__name__)) from reason
    for name, code, *rest in reply.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:  # another worker was first
            text = next((part for part in rest if part), error.__name__)
            raise TopicError(_by_hand({name: missing[name]}, kafka, text))


def _by_hand(missing: Mapping[str, Topic], kafka: KafkaSettings, reason: str) -> str:
    commands = "; ".join(
        f"kafka-topics.sh --create --topic {name} --partitions {topic.partitions or kafka.partitions} "
        f"--replication-factor {kafka.replication} "
        + " ".join(f"--config {key}={value}" for key, value in topic.config().items())
        for name, topic in missing.items()
    )
    return f"topics are missing and this broker lets us create none ({reason}), create them: {commands}"


def _check(name: str, topic: Topic, found: Found) -> None:
    if topic.single and found.partitions != 1:
        raise TopicError(
            f"topic {name} has {found.partitions} partitions, must have 1 ({topic.reason}): "
            f"delete it, or name another in TOPIC_{topic.setting.upper()}"
        )
    if found.cleanup is not None and set(found.cleanup.split(",")) != {topic.cleanup}:
        raise TopicError(
            f"topic {name} has cleanup.policy={found.cleanup}, must have {topic.cleanup} ({topic.reason}): "
            f"kafka-configs.sh --alter --topic {name} --add-config cleanup.policy={topic.cleanup}"
        )
