from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from streamproc.settings import VARIABLES, SettingsError, read

if TYPE_CHECKING:
    from pathlib import Path


def test_the_defaults_need_no_environment() -> None:
    told = read({})
    assert told.kafka.bootstrap_servers == ("localhost:9092",)
    assert told.kafka.group == "streamproc"
    assert told.topics.dead == "requests.dead"
    assert (told.state_url, told.http_host, told.http_port) == ("./state", "localhost", 8321)
    assert (told.policy, told.mode) == (None, None)
    assert told.kafka.client_options() == {
        "bootstrap_servers": ["localhost:9092"],
        "security_protocol": "PLAINTEXT",
        "ssl_context": None,
    }


def test_every_variable_is_read_and_an_empty_one_is_unset(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    given = {
        "KAFKA_BOOTSTRAP_SERVERS": "a:1, [::1]:2",
        "KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "KAFKA_SASL_MECHANISM": "scram-sha-512",
        "KAFKA_SASL_USERNAME": "me",
        "KAFKA_SASL_PASSWORD": "secret",
        "KAFKA_SSL_CAFILE": str(file),
        "KAFKA_SSL_CERTFILE": str(file),
        "KAFKA_SSL_KEYFILE": str(file),
        "POLICY": str(file),
        "MODE": "Enforce",
        "HTTP_PORT": "0",
        "KAFKA_PARTITIONS": "12",
        "KAFKA_REPLICATION": "3",
        "KAFKA_SESSION_S": "6",
        "IDLE_S": "2.5",
        "SNAPSHOT_S": "5",
        "STOP_S": "8",
        "GATEWAY_UNREADY": "Closed",
        "GATEWAY_MOST_SUBJECTS": "5",
        "GATEWAY_AHEAD_S": "7",
        "GATEWAY_REQUESTS_PER_MIN": "0.5",
        "GATEWAY_TOKENS_PER_MIN": "0",
        "GATEWAY_MOST_WAITING": "9",
        "GATEWAY_HTTP_PORT": "8400",
        "IDENTITY_PEPPER": "an identity pepper",
        "CONTENT_PEPPER": "a content pepper",
        "PEPPER_EPOCH": "4",
        "APPEAL_URL": "https://example.org/?id={decision}",
        "REDIS_URL": "rediss://me:secret@cache:6380/2",
        "GATEWAY_BUCKETS": "Redis",
        "GATEWAY_BUCKETS_WAIT_S": "0.05",
        "AUTHZ_GRPC": "unix:/run/streamproc.sock",
        "AUTHZ_ANSWER_S": "1",
        "AUTHZ_MOST_OPEN": "2",
        "CONSOLE_TOKEN": "0123456789abcdef",
        "CONSOLE_TOKENS": "ana:0123456789abcdef",
        "CONSOLE_HOSTS": "Console.example.org, [::1]",
        "CONSOLE_MOST_SUBJECTS": "5",
    }
    given |= {variable.name: f"x.{variable.name}" for variable in VARIABLES if variable.name not in given}
    told, plain = read(given), read(dict.fromkeys(given, ""))
    for variable in VARIABLES:
        assert _value(told, variable.setting) != _value(plain, variable.setting), variable.name
    assert plain == read({})
    assert told.mode == "enforce"


def _value(settings: object, path: str) -> object:
    for name in path.split("."):
        settings = getattr(settings, name)
    return settings


def test_a_password_is_in_no_repr_and_no_error() -> None:
    given = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_USERNAME": "me",
        "KAFKA_SASL_PASSWORD": "hunter2",
    }
    told = read(given)
    assert "hunter2" not in repr(told)
    assert "hunter2" in told.kafka.client_options().values()
    with pytest.raises(SettingsError) as caught:
        read({**given, "KAFKA_SECURITY_PROTOCOL": "SSL"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(read({"REDIS_URL": "redis://:hunter2@cache:6379"}))
    with pytest.raises(SettingsError) as caught:
        read({"REDIS_URL": "http://:hunter2@cache"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(read({"CONSOLE_TOKEN": "hunter2-hunter2-"}))
    assert "hunter2" not in repr(read({"CONSOLE_TOKENS": "ana:hunter2-hunter2-"}))
    with pytest.raises(SettingsError) as caught:
        read({"CONSOLE_TOKENS": "ana:hunter2"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingsError) as caught:
        read({"CONSOLE_TOKEN": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka://a:1"),
        ("AUTHZ_GRPC", "somewhere"),
        ("AUTHZ_ACCOUNT", "metadata:envoy.filters.http.jwt_authn"),
        ("AUTHZ_ORG", "x-org/id"),
        ("AUTHZ_KEY", "metadata:a//b"),
        ("KAFKA_BOOTSTRAP_SERVERS", "broker"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:0"),
        ("KAFKA_BOOTSTRAP_SERVERS", ","),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("KAFKA_SASL_MECHANISM", "GSSAPI"),
        ("KAFKA_SSL_CAFILE", "/no/such/file"),
        ("KAFKA_PARTITIONS", "0"),
        ("KAFKA_SESSION_S", "-1"),
        ("TOPIC_USES", "no spaces"),
        ("TOPIC_USES", ".."),
        ("HTTP_PORT", "65536"),
        ("IDLE_S", "nan"),
        ("IDLE_S", "soon"),
        ("SNAPSHOT_S", "0"),
        ("MODE", "loud"),
        ("GATEWAY_UNREADY", "ajar"),
        ("GATEWAY_MOST_SUBJECTS", "0"),
        ("GATEWAY_REQUESTS_PER_MIN", "-1"),
        ("GATEWAY_TOKENS_PER_MIN", "nan"),
        ("APPEAL_URL", "https://example.org/appeal"),
        ("APPEAL_URL", "javascript:{decision}"),
        ("POLICY", "/no/such/policy.toml"),
        ("REDIS_URL", "cache:6379"),
        ("CONSOLE_TOKEN", "short"),
        ("CONSOLE_TOKENS", "0123456789abcdef"),
        ("CONSOLE_TOKENS", ":0123456789abcdef"),
        ("CONSOLE_TOKENS", "ana:short"),
        ("CONSOLE_TOKENS", "ana:0123456789abcdef,ana:0123456789abcdeg"),
        ("CONSOLE_HOSTS", "https://console.example.org"),
        ("CONSOLE_MOST_SUBJECTS", "0"),
        ("GATEWAY_BUCKETS", "disk"),
        ("GATEWAY_BUCKETS_WAIT_S", "0"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_it(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: [^\n]+$"):
        read({name: value})


SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "me", "KAFKA_SASL_PASSWORD": "x"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({**SASL, "KAFKA_SASL_USERNAME": ""}, "KAFKA_SASL_USERNAME"),
        ({**SASL, "KAFKA_SASL_PASSWORD": ""}, "KAFKA_SASL_PASSWORD"),
        ({**SASL, "KAFKA_SECURITY_PROTOCOL": "SSL"}, "KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_SSL_CAFILE": __file__}, "KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEYFILE": __file__}, "KAFKA_SSL_CERTFILE"),
        ({"TOPIC_USES": "requests"}, "TOPIC_"),
        ({"GATEWAY_BUCKETS": "redis"}, "REDIS_URL"),
    ],
)
def test_values_that_contradict_each_other_are_refused_in_one_line(given: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=f"^{named}[^\n]+$"):
        read(given)


def test_certificates_are_loaded_and_files_that_are_none_are_refused(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=t",
            "-out",
            certificate,
            "-keyout",
            key,
        ],
        check=True,
        capture_output=True,
    )
    given = {
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CAFILE": str(certificate),
        "KAFKA_SSL_CERTFILE": str(certificate),
        "KAFKA_SSL_KEYFILE": str(key),
    }
    assert read(given).kafka.client_options()["ssl_context"] is not None
    with pytest.raises(SettingsError, match="KAFKA_SSL_CAFILE"):
        read({**given, "KAFKA_SSL_CAFILE": __file__}).kafka.ssl_context()
