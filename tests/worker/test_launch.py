from __future__ import annotations

import logging

from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from streamproc.settings import read
from streamproc.worker.launch import _Seldom, make_app, seldom_loggers

LOGIN = {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_SASL_USERNAME": "me", "KAFKA_SASL_PASSWORD": "secret"}


def authentication(given: dict[str, str]) -> dict[str, object]:
    app = make_app(read(given))
    options = dict(credentials_to_aiokafka_auth(app.conf.broker_credentials, app.conf.ssl_context))
    return {name: option for name, option in options.items() if name != "ssl_context"}


def test_brokers_group_and_login_reach_faust_as_they_reach_other_clients() -> None:
    app = make_app(read({"KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2", "KAFKA_GROUP": "watchers", "KAFKA_SESSION_S": "12"}))
    assert [f"{url.host}:{url.port}" for url in app.conf.broker] == ["a:1", "b:2"]
    assert (app.conf.id, app.conf.broker_session_timeout) == ("watchers", 12)
    for protocol in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"):
        given = {"KAFKA_SECURITY_PROTOCOL": protocol, **(LOGIN if protocol.startswith("SASL") else {})}
        expected = read(given).kafka.client_options()
        del expected["bootstrap_servers"], expected["ssl_context"]
        assert authentication(given) == expected


def test_a_text_said_again_and_again_is_let_through_once_in_a_hundred() -> None:
    seldom = _Seldom()
    record = logging.LogRecord("aiokafka", logging.ERROR, "", 0, "no broker %s", (1,), None)
    other = logging.LogRecord("aiokafka", logging.ERROR, "", 0, "something else", (), None)
    assert [seldom.filter(record) for _ in range(101)] == [True, *[False] * 99, True]
    assert seldom.filter(other)
    assert {"aiokafka.conn", "aiokafka.cluster", "aiokafka.consumer.group_coordinator"} <= set(seldom_loggers())
