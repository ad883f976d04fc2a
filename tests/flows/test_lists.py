"""Every field that a list declares can be asked for, over REST."""

import pytest
from tests.shop import Shop

from common import ids
from common.listing import declared, listed_field
from common.wire import enum_words
from gateway.contract import all_services
from gateway.routes import Route, Routes

LISTS = [
    route
    for route in Routes(all_services()).all
    if declared(route.method.input_type).filter
    # Those of the platform and of one webhook are asked in services/gateway/tests.
    and "tenants" not in route.template
    and "{" not in route.template
]
# One of them suits each kind of field.
VALUES = ("1", "true", "2026-01-31", "2026-01-31T00:00:00Z", str(ids.new()), '"oak"')


def values_of(route: Route, name: str) -> tuple[str, ...]:
    enum = listed_field(route.method.input_type, name).enum_type
    return enum_words(enum) if enum else VALUES


@pytest.mark.parametrize("route", LISTS, ids=lambda route: route.template)
async def test_every_declared_field_can_be_compared_and_ordered_by(
    acme: Shop, route: Route
) -> None:
    options, path = declared(route.method.input_type), route.template.removeprefix("/api/v1")

    for name in options.filter:
        sign = ":" if listed_field(route.method.input_type, name).is_repeated else "="
        asked = [f"{name} {sign} {value}" for value in values_of(route, name)]
        answers = [await acme.client.get(path, params={"filter": one}) for one in asked]
        assert 200 in {answer.status_code for answer in answers}, name
        assert {answer.status_code for answer in answers} <= {200, 400}, name
    for name in options.order_by:
        params = {"order_by": f"{name} desc", "page_size": "1"}
        answer = await acme.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        if token := answer.json()["next_page_token"]:
            answer = await acme.client.get(path, params=params | {"page_token": token})
            assert answer.status_code == 200, answer.text


async def test_a_mistake_in_a_filter_is_explained(acme: Shop) -> None:
    answer = await acme.client.get("/products", params={"filter": "oak"})

    assert answer.status_code == 400
    [problem] = answer.json()["errors"]
    assert problem["pointer"] == "/filter"
    assert "oak must be followed by one of" in problem["detail"]
