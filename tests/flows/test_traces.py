"""A trace goes from the request through events to their effects, over real processes."""

import secrets

from shop import Shop, eventually
from trace_sink import Received, TraceSink

SAMPLED, NOT_SAMPLED = "01", "00"
REQUEST = ("sales", "gateway")


async def confirm_an_order(acme: Shop, flags: str) -> tuple[str, str]:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=10)
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    body = acme.order_body(customer, warehouse, (product, 1)) | {"confirm": True}
    headers = {"traceparent": f"00-{trace_id}-{span_id}-{flags}", "prefer": "wait=20"}
    answer = await acme.client.post("/orders", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return trace_id, span_id


def way_to(name: str, spans: list[Received]) -> list[Received]:
    """A span and those that it is part of, up to the outermost."""
    by_id = {span.span_id: span for span in spans}
    way = [next(span for span in spans if span.name == name)]
    while way[-1].parent_id in by_id:
        way.append(by_id[way[-1].parent_id])
    return way


async def test_an_order_is_one_trace_from_the_client_to_its_settlement(
    acme: Shop, collector: TraceSink
) -> None:
    trace_id, client_span = await confirm_an_order(acme, SAMPLED)

    async def complete() -> list[Received] | None:
        spans = collector.of(trace_id)
        names = {(span.process, span.name) for span in spans}
        wanted = {
            ("gateway", "POST /api/v1/orders"),
            ("sales", "erp.sales.v1.SalesService/CreateOrder"),
            ("inventory-worker", "process erp.sales.v1.OrderConfirmed"),
            ("accounting-worker", "process erp.sales.v1.OrderConfirmed"),
            ("sales-worker", "process erp.accounting.v1.InvoicePosted"),
            ("sales-worker", "process erp.inventory.v1.StockReserved"),
            ("sales-worker", "process erp.sales.v1.ConfirmationMail"),
        }
        return spans if wanted <= names else None

    collected = await eventually(complete, "all spans of the order have been collected")
    # Where another test has made a webhook, the gateway's worker hears of the order as well.
    spans = [span for span in collected if span.process != "gateway-worker"]
    by_id = {span.span_id: span for span in spans}
    roots = [span for span in spans if span.parent_id not in by_id]
    assert [(root.name, root.parent_id) for root in roots] == [("POST /api/v1/orders", client_span)]
    posted = way_to("process erp.accounting.v1.InvoicePosted", spans)
    assert [one.process for one in posted] == ["sales-worker", "accounting-worker", *REQUEST]
    mail = way_to("process erp.sales.v1.ConfirmationMail", spans)
    assert [one.process for one in mail] == ["sales-worker", "sales-worker", *REQUEST]
    assert len({one.attributes["kv_erp.request_id"] for one in (*posted, *mail)}) == 1


async def test_who_is_not_sampled_is_not_recorded(acme: Shop, collector: TraceSink) -> None:
    unseen, _ = await confirm_an_order(acme, NOT_SAMPLED)
    seen, _ = await confirm_an_order(acme, SAMPLED)

    async def collected() -> bool:
        return any(span.process == "sales-worker" for span in collector.of(seen))

    await eventually(collected, "what came later has been collected")
    assert collector.of(unseen) == []
