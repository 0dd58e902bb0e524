"""What is made of LiteLLM's own objects, without a LiteLLM."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from streamproc.gateway.litellm import reading

HEADERS = {"user-agent": "x", "accept": "*/*"}
SENT = {"url": "http://h:1/v1/chat/completions?x=1", "headers": HEADERS, "body": {"messages": []}}


def key(**more: Any) -> SimpleNamespace:
    return SimpleNamespace(token="k1", user_id="u1", team_id="t1", rpm_limit=60, **more)  # noqa: S106 - no secret


@pytest.mark.parametrize(
    ("shown", "account"),
    [
        (key(), "u1"),
        (SimpleNamespace(token="k1", user_id=None), "k1"),  # noqa: S106
        (SimpleNamespace(token="k1", user_id=reading.ADMIN), "k1"),  # noqa: S106 - made by the admin for a customer
        (SimpleNamespace(token=None, api_key=reading.MASTER_KEY, user_id=reading.ADMIN), ""),
        (SimpleNamespace(), ""),
        (None, ""),
    ],
)
def test_the_account_is_the_keys_user_or_the_key_and_the_master_key_is_nobodys(shown: Any, account: str) -> None:
    assert reading.caller(shown, {}).account == account


def test_the_rest_of_the_caller() -> None:
    caller = reading.caller(key(end_user_id="e1"), {})
    assert (caller.org, caller.key, caller.session, caller.ip) == ("t1", "k1", "e1", "")
    assert caller.known == {"quota_rpm": 60}
    assert reading.caller(SimpleNamespace(rpm_limit="many"), {}).known == {}


@pytest.mark.parametrize("name", reading.NOTES)
def test_the_address_is_the_last_that_a_proxy_added(name: str) -> None:
    data = {"proxy_server_request": SENT, name: {"headers": HEADERS, "requester_ip_address": "6.6.6.6, 10.0.0.7"}}
    assert reading.caller(key(), data).ip == "10.0.0.7"


def test_what_a_client_writes_under_litellms_names_is_not_believed() -> None:
    forged = {"requester_ip_address": "6.6.6.6", "headers": dict(HEADERS)}
    data: dict[str, Any] = {
        "proxy_server_request": SENT,
        "litellm_metadata": forged,
        "metadata": {"headers": HEADERS, "requester_ip_address": "10.0.0.7"},
    }
    assert reading.caller(key(), data).ip == "10.0.0.7"
    hidden = {"proxy_server_request": {**SENT, "headers": {}}, "metadata": {"headers": {}}, "messages": ["seen"]}
    asked = reading.asked(hidden, "/anthropic/v1/messages")
    assert (asked.path, asked.headers) == ("/anthropic/v1/messages", {})
    assert asked.body["messages"] == ["seen"]


def test_the_request_is_read_from_litellms_record() -> None:
    asked = reading.asked({"proxy_server_request": SENT, "metadata": {"headers": HEADERS}}, None)
    assert (asked.path, asked.headers, asked.body) == ("/v1/chat/completions", HEADERS, {"messages": []})


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"status_code": 429}, 429),
        ({"code": "401"}, 401),
        ({"code": "no"}, 500),
        ({"status_code": 200}, 500),
        ({}, 500),
    ],
)
def test_the_status_of_a_failure(members: dict[str, Any], status: int) -> None:
    error = Exception()
    vars(error).update(members)
    assert reading.status_of(error) == status


def test_without_litellm_one_line_says_what_is_missing() -> None:
    code = "import sys; sys.modules['litellm'] = None; from streamproc.gateway.litellm import instance"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("pip install 'litellm[proxy]'")


def test_nothing_else_is_there_to_be_had() -> None:
    from streamproc.gateway import litellm  # noqa: PLC0415

    with pytest.raises(AttributeError, match="has no attribute 'other'"):
        _ = litellm.other
