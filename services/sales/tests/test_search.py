"""Customers are found by words: of their number, their name and their address."""

import pytest

from common.errors import InvalidRequest
from common.testing import as_user
from erp.sales.v1 import sales_service_pb2 as messages
from sales.tests.selling import Shop
from sales.tests.test_customers import update


async def found(shop: Shop, query: str, **others: str) -> list[str]:
    request = messages.ListCustomersRequest(query=query, **others)  # type: ignore[arg-type]
    return [customer.name for customer in (await shop.rpc("ListCustomers", request)).customers]


async def test_customers_are_found_by_the_beginnings_of_words_of_all_their_names(
    shop: Shop,
) -> None:
    muller = await shop.add_customer(name="Müller & Söhne", email="einkauf@mueller.example")
    await shop.add_customer(name="Łódź Trading", email="Kontakt@Lodz-Trading.example")
    queries = {
        "müll": [muller.name],
        "SOHNE muller": [muller.name],
        "einkauf@mueller": [muller.name],
        "łódź": ["Łódź Trading"],
        "kontakt trad": ["Łódź Trading"],
        muller.number: [muller.name],
        # Of one customer all words, not some of one and some of another.
        "einkauf trading": [],
        # In the middle of a word.
        "ller": [],
    }

    answers = {query: await found(shop, query) for query in queries}

    assert answers == queries


async def test_a_new_address_is_found_and_the_old_one_is_not(shop: Shop) -> None:
    gate = await shop.add_customer(name="Gate", email="old@gate.example")

    await update(shop, gate, email="new@gate.example")

    answers = [await found(shop, query) for query in ("old", "new", "gate")]
    assert answers == [[], ["Gate"], ["Gate"]]


async def test_what_stands_for_anything_elsewhere_parts_words_here(shop: Shop) -> None:
    await shop.add_customer(name="Oak_Door 100%")
    await shop.add_customer(name="Oaken Gate")

    queries = {
        "oak_door": ["Oak_Door 100%"],
        "oak%door": ["Oak_Door 100%"],
        "oak* 100%": ["Oak_Door 100%"],
        "o_k": [],
        "oak'; DROP TABLE customers; --": [],
    }

    answers = {query: await found(shop, query) for query in queries}

    assert answers == queries
    for query in ("%", "_", "*", "\\"):
        with pytest.raises(InvalidRequest, match=r"^/query "):
            await found(shop, query)


async def test_a_search_finds_one_s_own_customers_page_by_page(shop: Shop, stranger: Shop) -> None:
    for name in ("Oak 1", "Pine 2", "Oak 3", "Oak 4"):
        await shop.add_customer(name=name)
    await stranger.add_customer(name="Oak of others")

    newest_first = await found(shop, "oak", filter='name != "Oak 3"', order_by="number desc")
    request = messages.ListCustomersRequest(query="oak", page_size=2)
    first = await shop.rpc("ListCustomers", request)
    request.page_token = first.next_page_token
    second = await shop.rpc("ListCustomers", request)
    with as_user(stranger.tenant), pytest.raises(InvalidRequest, match=r"^/page_token "):
        await stranger.servicer.ListCustomers(request, None)
    request.query = "pine"
    with pytest.raises(InvalidRequest, match=r"^/page_token "):
        await shop.rpc("ListCustomers", request)

    assert newest_first == ["Oak 4", "Oak 1"]
    pages = [[customer.name for customer in page.customers] for page in (first, second)]
    assert pages == [["Oak 1", "Oak 3"], ["Oak 4"]]
    assert await found(stranger, "oak") == ["Oak of others"]
