"""Bodies that are no JSON of ours: each is refused with the rule or the field that it breaks."""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.contract import all_services
from gateway.openapi import openapi
from gateway.routes import Routes

DOCUMENT = openapi(Routes(all_services()).all)
# What ends a text; `anyOf` has one of them beside the empty text.
ENDS = {"maxLength", "format", "pattern", "enum", "anyOf"}
CUSTOMERS = "/api/v1/customers"
JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "pointer", "rule"),
    [
        (b'{"name": NaN}', "", "must be JSON"),
        (b'{"name": Infinity}', "", "must be JSON"),
        (b'{"name": -Infinity}', "", "must be JSON"),
        (b'{"name": 1e999}', "", "must be JSON"),
        (b'{"name": ' + b"9" * 400 + b"}", "", "must be JSON"),
        (b'{"name": 99999999999999999999}', "/name", "must be a string"),
        (b'{"name": "\\ud800"}', "", "surrogate"),
        (b'{"name": "\\udc00\\ud800"}', "", "surrogate"),
        (b'{"\\ud800": 1}', "", "surrogate"),
        (b'{"name": "\xed\xa0\x80"}', "", "must be JSON"),
        (b'{"name": "a", "name": "b"}', "", 'must not name "name" twice'),
        (b'{"name": "a", "n\\u0061me": "b"}', "", 'must not name "name" twice'),
        (b'{"name": "a\\u0000b"}', "/name", "U+0000"),
        (b'{"name": "a\x00b"}', "", "must be JSON"),
        (b'\xef\xbb\xbf{"name": "a"}', "", "must be JSON"),
        (b'{"name": "a"}'.decode().encode("utf-16"), "", "must be JSON"),
        (b'{"name": ' * 1000 + b"1" + b"}" * 1000, "/name", "must be a string"),
        (b'{"name": ' * 5000 + b"1" + b"}" * 5000, "", "must be JSON"),
        (b'{"name": ' + b"[" * 5000 + b"]" * 5000 + b"}", "", "must be JSON"),
        (b'{"__proto__": {"name": "a"}}', "/__proto__", "is not a field that is known here"),
    ],
)
async def test_json_that_is_none_of_ours_is_refused_by_its_rule(client, sales, body, pointer, rule):
    answer = await client.post(CUSTOMERS, content=body, headers={"content-type": JSON})

    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert rule in error["detail"]
    assert sales.asked == []


async def test_of_too_many_names_the_first_hundred_are_refused(client, sales):
    body = {f"n{number}": 1 for number in range(100_000)}

    answer = await client.post(CUSTOMERS, json=body)

    assert answer.status_code == 400
    assert len(answer.json()["errors"]) == 100
    assert len(answer.content) < 50_000
    assert sales.asked == []


@pytest.mark.parametrize(
    "kind",
    [
        f"{JSON}; charset=latin-1",
        f"{JSON}; charset=utf-16",
        f"{JSON}; charset=utf-7",
        f"{JSON}; charset=utf-8; charset=utf-16",
        "application/jsonp",
        "text/json",
        "application/x-www-form-urlencoded",
        "",
    ],
)
async def test_a_body_that_is_not_said_to_be_json_in_utf_8_is_415(client, sales, kind):
    answer = await client.post(CUSTOMERS, content=b'{"name": "a"}', headers={"content-type": kind})

    assert answer.status_code == 415
    assert answer.json()["reason"] == "UNSUPPORTED_MEDIA_TYPE"
    assert sales.asked == []


async def test_a_body_that_is_packed_is_415(client, sales):
    headers = {"content-type": JSON, "content-encoding": "gzip"}

    answer = await client.post(CUSTOMERS, content=b'{"name": "a"}', headers=headers)

    assert answer.status_code == 415
    assert sales.asked == []


async def test_what_is_wrong_with_the_whole_body_is_a_sentence(client):
    answer = await client.post(CUSTOMERS, content=b"[]", headers={"content-type": JSON})

    assert answer.json()["detail"] == "The request must be a JSON object"


async def test_a_body_that_is_too_large_is_413_before_it_is_read_as_json(client, sales):
    body = b'{"name": "' + b"a" * (4 * 1024 * 1024) + b'"}'

    answer = await client.post(CUSTOMERS, content=body, headers={"content-type": JSON})

    assert answer.status_code == 413
    assert sales.asked == []


@pytest.mark.parametrize(
    ("query", "pointer", "rule"),
    [
        ("filter=" + "x" * 2001, "/filter", "2000"),
        ("order_by=" + "x" * 501, "/order_by", "500"),
        ("query=" + "x" * 201, "/query", "200"),
        ("fields=" + "x" * 501, "/fields", "500"),
        ("query=%00", "/query", "U+0000"),
        ("fields=%00", "/fields", "must not name"),
        ("fields=%ff", "", "UTF-8"),
        ("query=%ff", "", "UTF-8"),
    ],
)
async def test_a_parameter_that_is_too_long_is_named(client, sales, query, pointer, rule):
    answer = await client.get(f"{CUSTOMERS}?{query}")

    assert answer.status_code == 400, answer.text
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert rule in error["detail"]
    assert sales.asked == []


def test_every_text_and_list_that_can_be_sent_has_a_documented_end():
    sent = [
        (operation["operationId"], name, schema)
        for operations in DOCUMENT["paths"].values()
        for operation in operations.values()
        for name, schema in schemas_of(operation)
    ]

    endless = {
        name
        for _, name, schema in sent
        if (schema.get("type") == "string" and not ENDS & set(schema))
        or (schema.get("type") == "array" and "maxItems" not in schema)
    }

    # Files end with the body, at 4 MiB.
    assert endless == {"content"}


def schemas_of(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Parameters and the fields of the body, by name."""
    for parameter in operation["parameters"]:
        if parameter.get("in") == "query":
            yield parameter["name"], parameter["schema"]
    if body := operation.get("requestBody"):
        yield from fields_of("", body["content"]["application/json"]["schema"])


def fields_of(name: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    yield name, schema
    for inner, field in schema.get("properties", {}).items():
        yield from fields_of(inner, field)
    if "items" in schema:
        yield from fields_of(name, schema["items"])


async def test_a_mask_that_is_too_long_is_named(client, sales):
    body = {"version": 1, "update_mask": "name," * 101}

    answer = await client.patch(f"{CUSTOMERS}/01890000-0000-7000-8000-00000000000a", json=body)

    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert (error["pointer"], "500" in error["detail"]) == ("/update_mask", True)
    assert sales.asked == []
