"""Products are found by words."""

import psycopg
import pytest
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from common.database import Database
from common.errors import InvalidRequest
from common.search import Search
from common.testing import ServiceDatabase
from erp.inventory.v1 import inventory_service_pb2 as api
from inventory.tables import product_words, products
from inventory.tests.stockroom import Stockroom
from inventory.tests.test_products import archive, change


async def found(inventory: Stockroom, query: str, **others: str) -> list[str]:
    with inventory.me():
        page = await inventory.rpc.ListProducts(
            api.ListProductsRequest(query=query, **others),  # type: ignore[arg-type]
            None,
        )
    return [product.sku for product in page.products]


async def test_products_are_found_by_the_beginnings_of_their_words(inventory: Stockroom) -> None:
    oak = await inventory.add_product("OAK-TABLE")
    await change(inventory, oak, name="Möbel aus Eiche, geölt")
    await inventory.add_product("OAK-CHAIR")
    await inventory.add_product("Żółty_stół")

    answers = {
        query: await found(inventory, query)
        for query in ("oak", "TABLE oa", "mobel", "GEÖL eich", "able", "zoł stoł", "oak zebra")
    }

    assert answers == {
        "oak": ["OAK-TABLE", "OAK-CHAIR"],
        "TABLE oa": ["OAK-TABLE"],
        "mobel": ["OAK-TABLE"],
        "GEÖL eich": ["OAK-TABLE"],
        # In the middle of a word.
        "able": [],
        "zoł stoł": ["Żółty_stół"],
        "oak zebra": [],
    }


async def test_a_new_name_is_found_and_the_old_one_is_not(inventory: Stockroom) -> None:
    product = await inventory.add_product("A-1")
    product = await change(inventory, product, name="Beech bench")
    product = await change(inventory, product, description="of the same name")

    await change(inventory, product, name="Bench of pine")

    answers = [await found(inventory, query) for query in ("beech", "bench", "pine", "a 1")]
    assert answers == [[], ["A-1"], ["A-1"], ["A-1"]]


async def test_a_search_goes_with_filter_order_and_pages(inventory: Stockroom) -> None:
    for sku in ("OAK-1", "OAK-3", "PINE-2", "OAK-2"):
        await inventory.add_product(sku)

    both = await found(inventory, "oak", filter="sku != OAK-1", order_by="sku desc")
    with inventory.me():
        asked = api.ListProductsRequest(query="oak", page_size=2)
        first = await inventory.rpc.ListProducts(asked, None)
        asked.page_token = first.next_page_token
        second = await inventory.rpc.ListProducts(asked, None)

    assert both == ["OAK-3", "OAK-2"]
    assert [product.sku for product in second.products] == ["OAK-2"]


async def test_what_stands_for_anything_elsewhere_parts_words_here(inventory: Stockroom) -> None:
    for sku in ("OAK_100%", "OAKEN-100", "X" * 60 + "Y" * 4):
        await inventory.add_product(sku)
    queries = {
        "oak_100": ["OAK_100%", "OAKEN-100"],
        "oak% 1*": ["OAK_100%", "OAKEN-100"],
        "o_k": [],
        "oak\\": ["OAK_100%", "OAKEN-100"],
        "oak'--": ["OAK_100%", "OAKEN-100"],
        "OAK\U0010ffff": ["OAK_100%", "OAKEN-100"],
        "x" * 60: ["X" * 60 + "Y" * 4],
        "x" * 61: [],
    }

    answers = {query: await found(inventory, query) for query in queries}

    assert answers == queries


async def test_a_search_finds_what_is_archived_too_and_nothing_of_others(
    inventory: Stockroom, stranger: Stockroom
) -> None:
    await archive(inventory, (await inventory.add_product("OAK-1")).id)
    await inventory.add_product("OAK-2")
    await stranger.add_product("OAK-3")

    assert await found(inventory, "oak") == ["OAK-1", "OAK-2"]
    assert await found(inventory, "oak", filter="state = active") == ["OAK-2"]
    assert await found(stranger, "oak") == ["OAK-3"]


@pytest.mark.parametrize("query", ["-", "%", "_*", "\\", "\u0301", " ".join(map(str, range(11)))])
async def test_a_query_of_no_word_or_too_many_is_refused(inventory: Stockroom, query: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await found(inventory, query)

    assert refused.value.violations[0].pointer == "/query"


async def test_below_row_security_the_words_are_read_by_a_range_of_the_index(
    inventory: Stockroom, database: Database, urls: ServiceDatabase
) -> None:
    search = Search(products.c.id, product_words)
    with inventory.me():
        async with database.read_transaction() as tx:
            asked = select(products).where(await search.condition(tx, "oak tab"))
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    sql = asked.compile(dialect=dialect, compile_kwargs={"literal_binds": True})

    with psycopg.connect(urls.app) as connection:
        tenant = str(inventory.tenant_id)
        connection.execute("SELECT set_config('erp.tenant_id', %s, true)", [tenant])
        connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        plan = connection.execute(f"EXPLAIN {sql}".encode()).fetchall()

    conditions = [step for (step,) in plan if "Index Cond" in step and "word" in step]
    for word in ("oak", "tab"):
        assert any(f"word >= '{word}'" in step and "word <" in step for step in conditions), plan
