import jsonschema
import pytest

from gateway.contract import all_services
from gateway.examples import examples, filled, story
from gateway.openapi import openapi
from gateway.reference_page import reference_page
from gateway.routes import Routes

DOCUMENT = openapi(Routes(all_services()).all)
OPERATIONS = {
    operation["operationId"]: operation
    for verbs in DOCUMENT["paths"].values()
    for operation in verbs.values()
}


def test_every_operation_has_an_example():
    assert OPERATIONS.keys() == examples().keys()


def test_every_step_of_the_story_is_an_operation():
    assert {step.operation for step in story()} <= OPERATIONS.keys()


def schema_of(content):
    return {**content["schema"], "components": DOCUMENT["components"]}


@pytest.mark.parametrize("name", sorted(examples()))
def test_an_example_is_what_its_schema_says(name):
    operation, example = OPERATIONS[name], examples()[name]
    asked = operation.get("requestBody", {}).get("content", {}).get("application/json")
    answered = next(
        (
            one["content"]["application/json"]
            for status, one in operation["responses"].items()
            if status.startswith("2") and "content" in one
        ),
        None,
    )

    for content, value in ((asked, example.body), (answered, example.answer)):
        if content is not None and value is not None:
            jsonschema.validate(value, schema_of(content), cls=jsonschema.Draft202012Validator)


def test_references_are_replaced_wherever_they_stand():
    known = {"order": {"id": "7", "lines": [{"id": "8"}]}}

    found = filled({"a": "$order.id", "b": [{"c": "$order.lines.0.id"}], "d": "X{run}"}, known)

    assert found == {"a": "7", "b": [{"c": "8"}], "d": "X"}


def test_the_page_shows_what_to_type():
    page = reference_page(DOCUMENT)

    assert "curl &quot;$URL/api/v1/customers&quot;" in page
    assert "Blue Door Ltd" in page
