"""The schemas are the contract's files, and the tables in code say what they say."""

from __future__ import annotations

import hashlib
from importlib import resources

import pytest
from jsonschema import Draft202012Validator

from streamproc.contract import ELICITS, ERRORS, TASK_CLASSES, schemas
from streamproc.contract.fields import REQUIRED, RequestEvent
from streamproc.contract.labels import WORDS, Label

FIXED = {
    "request-event": "126958c25c1f55fb991e0d3c540449377dd83b58daae839dd4d1e34203439644",
    "enforcement-event": "840def86f60c2e70bf1a36639328fed12e72dbfa922af6bcff44023ea1b538b6",
    "campaign-event": "856931e8e24679464cbe09057ef9e00abd6b9c64348daabf8745fd6bfd663569",
}


@pytest.mark.parametrize(("name", "digest"), FIXED.items())
def test_the_fixed_files_are_as_outside_systems_have_them(name: str, digest: str) -> None:
    text = resources.files(schemas).joinpath(f"{name}.schema.json").read_bytes()
    assert hashlib.sha256(text).hexdigest() == digest


@pytest.mark.parametrize("name", schemas.NAMES)
def test_every_schema_is_valid_and_carries_its_name(name: str) -> None:
    schema = schemas.load(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"streamproc.{name}/1"
    assert set(schema["required"]) <= set(schema["properties"])


def test_an_unknown_schema_is_refused() -> None:
    with pytest.raises(KeyError):
        schemas.load("../errors")


def test_codes_are_in_the_order_of_the_schema() -> None:
    properties = schemas.load("request-event")["properties"]
    assert list(ERRORS[1:]) == properties["error"]["enum"]
    assert list(TASK_CLASSES[1:]) == properties["task_class"]["enum"]
    assert list(ELICITS) == properties["elicits"]["items"]["enum"]
    assert list(WORDS) == schemas.load("label-event")["properties"]["label"]["enum"]


def test_fields_that_are_read_are_of_the_contract() -> None:
    schema = schemas.load("request-event")
    assert set(RequestEvent.__struct_fields__) <= set(schema["properties"])
    assert list(REQUIRED) == schema["required"]
    assert set(Label.__struct_fields__) == set(schemas.load("label-event")["properties"])
