"""Whatever is sent, within the document or beside it, the answer is one that the document names."""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation import GenerationMode

from common.caller import ABOVE_TENANTS
from common.rpc_policy import Access
from gateway.contract import all_services
from gateway.routes import Route, Routes

pytestmark = pytest.mark.first

# Found a failure? The seed of a long run is in its message: put it here and run that test again.
SEED = 20261127
FEW, MANY = 3, 60
# Each is a wrong guess at a password, of which an address has a hundred for all tests together.
GUESSES = 2
ROUTES = Routes(all_services()).all
load_all_checks()
CONFORMS = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)
COUNTED = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit")
# Refused before anybody counts.
UNCOUNTED = (414, 431)


def named(route: Route) -> str:
    return f"{route.verb} {route.template.removeprefix('/api/v1')}"


@pytest.fixture(scope="session")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_an_answer_is_as_documented(
    route: Route, mode: GenerationMode, document: Any, tried: Any, session: requests.Session
) -> None:
    attempt(route, mode, document, tried, session, FEW, SEED)


@pytest.mark.long
@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("route", ROUTES, ids=named)
def test_an_answer_is_as_documented_however_often_it_is_asked_for(
    route: Route, mode: GenerationMode, document: Any, tried: Any, session: requests.Session
) -> None:
    attempt(route, mode, document, tried, session, MANY, secrets.randbits(32))


def attempt(
    route: Route,
    mode: GenerationMode,
    document: Any,
    tried: Any,
    session: requests.Session,
    times: int,
    start: int,
) -> None:
    operation = document[route.template][route.verb]
    by_operator = route.policy.permission.startswith(ABOVE_TENANTS)
    token = tried.operator_token if by_operator else tried.token
    if route.policy.access is Access.ANYBODY:
        times = min(times, GUESSES)

    @seed(start)
    @settings(
        max_examples=times,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), choose=st.randoms())
    def conforms(case: Any, choose: Any) -> None:
        if mode is GenerationMode.POSITIVE:
            name_records(case, route, tried.ids, choose)
        headers = {"Authorization": f"Bearer {token}"}
        answer = case.call(base_url=tried.url, session=session, headers=headers)
        case.validate_response(answer, checks=CONFORMS)
        if answer.status_code not in UNCOUNTED:
            assert not [name for name in COUNTED if name not in answer.headers]

    try:
        conforms()
    except (AssertionError, Failure, FailureGroup) as failure:
        pytest.fail(f"{named(route)}, seed {start}: {failure}")


def name_records(case: Any, route: Route, ids: Mapping[str, str], choose: Any) -> None:
    """Let a request name records that there are: one in four stays as it was made up."""
    # What it waits for would take longer than all the rest.
    case.headers.pop("Prefer", None)
    own = ids.get(f"{snake(route.method.output_type.name)}_id")
    if own and "id" in (case.path_parameters or {}) and choose.random() < 0.75:
        case.path_parameters["id"] = own
    for place in (case.query, case.body):
        refer(place, ids, choose)


def refer(value: Any, ids: Mapping[str, str], choose: Any) -> None:
    if isinstance(value, list):
        for item in value:
            refer(item, ids, choose)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in ids and choose.random() < 0.75:
                value[name] = [ids[name]] if isinstance(item, list) else ids[name]
            else:
                refer(item, ids, choose)


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]
