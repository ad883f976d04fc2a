"""Orders show what other services did for them."""

from datetime import UTC, datetime, timedelta

import pytest

from common import ids
from common.errors import NotFound
from erp.accounting.v1 import events_pb2 as accounting
from erp.gateway.v1 import events_pb2 as gateway
from erp.inventory.v1 import events_pb2 as inventory
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_pb2 as pb
from sales.errors import ImpossibleMove
from sales.tests.selling import (
    LISTENERS,
    Shop,
    cost_posted,
    counted_statements,
    credited,
    posted,
    released,
    reserved,
    settled_orders,
)


def backordered(order: pb.Order, **missing: str) -> inventory.StockBackordered:
    lines = [
        inventory.PromisedLine(product_id=product, shortage=shortage)
        for product, shortage in missing.items()
    ]
    return inventory.StockBackordered(
        reservation_id=str(ids.new()), order_id=order.id, lines=lines, origin="order"
    )


async def test_an_order_settles_when_it_is_reserved_and_invoiced(shop: Shop) -> None:
    order = await shop.create((shop.add_product(), "1"), confirm=True)
    invoice = posted(order)

    await shop.hear(reserved(order))
    half_way = await shop.get(order)
    await shop.hear(invoice)
    done = await shop.get(order)

    assert half_way.reservation_state == pb.ORDER_RESERVATION_STATE_RESERVED
    assert half_way.awaiting == ["invoice"]
    assert (done.invoice_state, done.invoice_id) == (
        pb.ORDER_INVOICE_STATE_POSTED,
        invoice.invoice_id,
    )
    assert (list(done.awaiting), done.version) == ([], 3)
    assert settled_orders(shop) == [order.id]


async def test_missing_goods_show_on_the_lines_that_come_last(shop: Shop) -> None:
    table, chair = shop.add_product(), shop.add_product("CHAIR")
    order = await shop.create((table, "3"), (chair, "1"), (table, "2"), confirm=True)

    await shop.hear(backordered(order, **{str(table): "2.5", str(chair): "0"}))
    short = await shop.get(order)
    await shop.hear(posted(order))
    await shop.hear(backordered(order, **{str(table): "1"}))
    less_short = await shop.get(order)
    await shop.hear(reserved(order))
    filled = await shop.get(order)

    assert short.reservation_state == pb.ORDER_RESERVATION_STATE_BACKORDERED
    assert [line.shortage for line in short.lines] == ["0.5", "0", "2"]
    assert [line.shortage for line in less_short.lines] == ["0", "0", "1"]
    assert filled.reservation_state == pb.ORDER_RESERVATION_STATE_RESERVED
    assert [line.shortage for line in filled.lines] == ["0", "0", "0"]
    # Being backordered settles an order; that goods came in later does not do so again.
    assert settled_orders(shop) == [order.id]
    assert await shop.violations() == []


async def test_a_reservation_that_merely_names_an_order_changes_nothing(shop: Shop) -> None:
    table = shop.add_product()
    order = await shop.create((table, "1"), confirm=True)
    line = inventory.PromisedLine(product_id=str(table), quantity="1", shortage="1")

    await shop.hear(reserved(order, origin="direct"), reserved(pb.Order(), order_id=""))
    await shop.hear(released(order, origin="direct"))
    await shop.hear(inventory.StockBackordered(order_id=order.id, lines=[line], origin="direct"))
    await shop.hear(cost_posted(order, ""), cost_posted(pb.Order(), ""))

    assert await shop.get(order) == order


async def test_news_of_drafts_and_of_orders_that_are_not_ours_change_nothing(shop: Shop) -> None:
    draft, stranger = await shop.create((shop.add_product(), "1")), pb.Order(id=str(ids.new()))

    for order in (draft, stranger):
        for news in (reserved(order), released(order), posted(order), credited(order)):
            await shop.hear(news)
        await shop.hear(cost_posted(order, str(ids.new())))

    assert await shop.get(draft) == draft
    assert settled_orders(shop) == []


async def test_a_hold_with_an_end_is_not_yet_the_order_s_reservation(shop: Shop) -> None:
    order = await shop.create((shop.add_product(), "1"), confirm=True)
    soon = reserved(order)
    soon.expire_time.FromDatetime(datetime.now(UTC) + timedelta(seconds=300))

    await shop.hear(soon)
    await shop.hear(released(order, expired=True), released(order))

    assert await shop.get(order) == order


async def test_a_shipment_that_nobody_knows_is_an_error(shop: Shop) -> None:
    order = await shop.reserved_order((shop.add_product(), "1"))

    with pytest.raises(NotFound, match="shipment"):
        await shop.hear(cost_posted(order, str(ids.new())))


async def test_what_cannot_have_happened_is_an_error(shop: Shop) -> None:
    order = await shop.create((shop.add_product(), "1"), confirm=True)

    with pytest.raises(ImpossibleMove) as refused:
        await shop.hear(credited(order))

    assert refused.value.values() == {"aspect": "invoice", "now": "pending", "wanted": "credited"}


async def test_hearing_twice_of_a_company_changes_nothing(shop: Shop) -> None:
    again = gateway.TenantCreated(tenant_id=str(shop.tenant), name="Acme", currency_code="USD")

    await shop.hear(again)

    assert (await shop.add_customer()).currency_code == "EUR"


async def test_news_carry_on_the_request_that_caused_them(shop: Shop) -> None:
    order = await shop.create((shop.add_product(), "1"), confirm=True)

    await shop.hear(reserved(order))
    await shop.hear(posted(order))

    # As `hear` says it came from.
    assert shop.request_ids(events.OrderSettled) == ["elsewhere"]
    assert shop.request_ids(events.OrderConfirmed) == ["test"]


@pytest.mark.parametrize("many", [1, 100])
async def test_news_of_many_orders_cost_the_statements_of_one(shop: Shop, many: int) -> None:
    table = shop.add_product()
    orders = [await shop.create((table, "2"), (table, "1"), confirm=True) for _ in range(many)]

    counts = []
    for news in (
        [backordered(order, **{str(table): "1"}) for order in orders],
        [reserved(order) for order in orders],
        [posted(order) for order in orders],
    ):
        with counted_statements() as statements:
            await shop.hear(*news)
        counts.append(len(statements))
    sent = [await shop.ship(order) for order in orders]
    for news in (
        [cost_posted(order, order.shipments[0].id) for order in sent[: many // 2 + 1]],
        [
            inventory.ShipmentRefused(order_id=order.id, shipment_id=order.shipments[0].id)
            for order in sent[many // 2 + 1 :]
        ],
    ):
        with counted_statements() as statements:
            if news:
                await shop.hear(*news)
                counts.append(len(statements))

    # Lock, read what is needed, write it, and tell who settled.
    assert counts == [4, 4, 3, 5, 7][: len(counts)]
    assert len(settled_orders(shop)) == many * 2
    assert await shop.violations() == []


def test_sales_listens_to_what_it_waits_for() -> None:
    assert set(LISTENERS) == {
        message.DESCRIPTOR.full_name
        for message in (
            gateway.TenantCreated,
            inventory.ProductChanged,
            inventory.StockReserved,
            inventory.StockBackordered,
            inventory.StockReleased,
            inventory.ShipmentRefused,
            accounting.InvoicePosted,
            accounting.InvoicePaid,
            accounting.InvoiceCredited,
            accounting.CostOfSalesPosted,
            events.OrderConfirmed,
        )
    }
