"""Companies of which nothing has to be left over, and the document that is to be believed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from companies import client_of, found
from records import records
from shop import Shop

from ops.background import BackgroundStack


@dataclass(frozen=True)
class Tried:
    """Who asks, and the records that they can name."""

    url: str
    # Of the company's admin and of the platform's operator.
    token: str
    operator_token: str
    ids: Mapping[str, str]


@pytest.fixture(scope="session")
async def tried(stack: BackgroundStack) -> Tried:
    """A company of its own: what is tried on it is felt by no other test."""
    victim, company = await found(stack), await found(stack)
    async with client_of(stack, company) as client:
        ids = await records(Shop(client))
    state = stack.state
    operator_token = state["operator"]["token"]
    return Tried(state["gateway"], company.token, operator_token, {**ids, "tenant_id": victim.id})


@pytest.fixture(scope="session")
def document(tried: Tried) -> Any:
    """The served document, its answers closed: a field that it does not name is a mistake."""
    document = httpx.get(f"{tried.url}/api/openapi.json", verify=False, trust_env=False).json()
    for name, schema in document["components"]["schemas"].items():
        # The values that explain a problem are its own, and an event's are its type's.
        if name not in ("Problem", "CloudEvent") and "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return schemathesis.openapi.from_dict(document)
