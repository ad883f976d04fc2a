"""Whatever a hundred people do to the same records at once happens as often as it may, and no more.

Each race asserts its exact outcome, and that all records still prove each other.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from races import AT_ONCE, Goods, at_once, outcome_of, outcomes_of, race
from shop import Shop, eur, eventually

pytestmark = pytest.mark.first


@pytest.fixture(params=[1, pytest.param(8, marks=pytest.mark.long)])
def rounds(request: pytest.FixtureRequest) -> range:
    return range(request.param)


@pytest.fixture
async def shop(acme: Shop) -> AsyncIterator[Shop]:
    """A shop whose records prove each other in the end."""
    yield acme
    assert await acme.violations() == []


async def test_reserve(shop: Shop, rounds: range) -> None:
    for _ in rounds:
        goods = await Goods.of(shop, stock=60)

        outcomes = await race(shop, "/reservations", goods.reservation(1))

        assert outcomes == {"OK": 60, "INSUFFICIENT_STOCK": 40}
        assert await goods.level() == ("60", "60", "0")


async def test_release(shop: Shop, rounds: range) -> None:
    for _ in rounds:
        goods = await Goods.of(shop, stock=10)
        held = await goods.reserved(4)
        await goods.reserved(3)

        outcomes = await race(shop, f"/reservations/{held['id']}:release", {})

        assert outcomes == {"OK": 1, "RESERVATION_NOT_HELD": AT_ONCE - 1}
        assert await goods.level() == ("10", "3", "7")


async def test_ship(shop: Shop, rounds: range) -> None:
    for _ in rounds:
        goods = await Goods.of(shop, stock=10)
        held = await goods.reserved(4)

        outcomes = await race(shop, f"/reservations/{held['id']}:ship", {})

        assert outcomes == {"OK": 1, "RESERVATION_NOT_HELD": AT_ONCE - 1}
        assert await goods.level() == ("6", "0", "6")


async def test_cancel_and_ship(shop: Shop, rounds: range) -> None:
    for _ in rounds:
        goods = await Goods.of(shop, stock=20)
        orders = await asyncio.gather(*(goods.ordered(2) for _ in range(10)))

        answers = await at_once(
            shop.try_post(f"/orders/{order['id']}:{verb}", {"reason": "race"} if turn else {})
            for _ in range(AT_ONCE // 20)
            for order in orders
            for turn, verb in enumerate(("ship", "cancel"))
        )

        ended = [await shop.settled(order["id"]) for order in orders]
        cancelled = [order for order in ended if order["state"] == "cancelled"]
        shipped = [order for order in ended if order["shipment_state"] == "shipped"]
        assert outcomes_of(answers)["OK"] == len(cancelled) + len(shipped) == len(orders)
        assert {order["invoice_state"] for order in cancelled} <= {"credited"}
        left = str(20 - 2 * len(shipped))
        assert await goods.level() == (left, "0", left)


async def test_pay_twice(shop: Shop, rounds: range) -> None:
    for _ in rounds:
        goods = await Goods.of(shop, stock=1)
        invoice = (await goods.ordered(1))["invoice_id"]

        outcomes = await race(shop, "/payments", goods.payment("142.80", invoice))

        assert outcomes == {"OK": 1, "INVOICE_NOT_OPEN": AT_ONCE - 1}
        assert await due(shop, invoice) == ("paid", "0.00")
        paid = await shop.get("/payments", customer_id=goods.customer)
        assert [one["unallocated"]["amount"] for one in paid["payments"]] == ["0.00"]


async def test_allocate_twice(shop: Shop, rounds: range) -> None:
    for _ in rounds:
        goods = await Goods.of(shop, stock=2)
        invoices = [(await goods.ordered(1))["invoice_id"] for _ in range(2)]
        payment = await shop.post("/payments", goods.payment("142.80"))
        bodies = [
            {"allocations": [{"invoice_id": invoice, "amount": eur("142.80")}]}
            for invoice in invoices
        ]

        answers = await at_once(
            shop.try_post(f"/payments/{payment['id']}:allocate", bodies[turn % 2])
            for turn in range(AT_ONCE)
        )

        assert outcomes_of(answers) == {"OK": 1, "ALLOCATIONS_EXCEED_PAYMENT": AT_ONCE - 1}
        dues = sorted([await due(shop, invoice) for invoice in invoices])
        assert dues == [("paid", "0.00"), ("posted", "142.80")]
        assert (await shop.get(f"/payments/{payment['id']}"))["unallocated"]["amount"] == "0.00"


async def test_credit_twice(shop: Shop, rounds: range) -> None:
    for _ in rounds:
        goods = await Goods.of(shop, stock=1)
        order = await goods.ordered(1)
        payment = await shop.post("/payments", goods.payment("142.80", order["invoice_id"]))

        outcomes = await race(shop, f"/invoices/{order['invoice_id']}:credit", {"reason": "race"})

        assert outcomes == {"OK": 1, "INVOICE_ALREADY_CREDITED": AT_ONCE - 1}
        assert await due(shop, order["invoice_id"]) == ("credited", "0.00")
        freed = await shop.get(f"/payments/{payment['id']}")
        assert (freed["unallocated"]["amount"], freed["allocations"]) == ("142.80", [])
        # What was credited by hand is not credited again with its order.
        cancelled = await shop.post(f"/orders/{order['id']}:cancel", {"reason": "race"}, wait=20)
        assert (cancelled["awaiting"], cancelled["invoice_state"]) == ([], "credited")
        notes = await shop.get("/credit-notes", invoice_id=order["invoice_id"])
        assert len(notes["credit_notes"]) == 1


async def test_number_series(shop: Shop, rounds: range) -> None:
    for _ in rounds:
        goods = await Goods.of(shop, stock=AT_ONCE)

        answers = await at_once(
            shop.try_post("/orders", goods.order(1), wait=25) for _ in range(AT_ONCE)
        )

        orders = [await shop.settled(answer.json()["id"]) for answer in answers]
        invoices = [await shop.get(f"/invoices/{order['invoice_id']}") for order in orders]
        assert_gapless([order["number"] for order in orders])
        assert_gapless([invoice["number"] for invoice in invoices])
        assert await goods.level() == (str(AT_ONCE), str(AT_ONCE), "0")


async def test_last_unit(shop: Shop, rounds: range) -> None:
    for _ in rounds:
        goods = await Goods.of(shop, stock=1)

        answers = await at_once(
            shop.try_post("/orders", goods.order(1, backorder="forbid"), wait=25)
            for _ in range(AT_ONCE)
        )

        assert outcomes_of(answers) == {"OK": 1, "INSUFFICIENT_STOCK": AT_ONCE - 1}
        [winner] = [answer.json() for answer in answers if answer.is_success]
        assert (await shop.settled(winner["id"]))["reservation_state"] == "reserved"
        assert await goods.level() == ("1", "1", "0")


async def test_version_update(shop: Shop, rounds: range) -> None:
    for _ in rounds:
        product = f"/products/{await shop.product()}"
        names = [f"Table {turn}" for turn in range(AT_ONCE)]

        answers = await at_once(
            shop.client.patch(product, json={"name": name, "version": 1}) for name in names
        )

        assert outcomes_of(answers) == {"OK": 1, "CONCURRENT_MODIFICATION": AT_ONCE - 1}
        [winner] = [answer.json() for answer in answers if answer.is_success]
        stored = await shop.get(product)
        assert (stored["name"], stored["version"]) == (winner["name"], 2)


async def test_expire_and_ship(shop: Shop, rounds: range) -> None:
    for _ in rounds:
        goods = await Goods.of(shop, stock=25)
        held = await asyncio.gather(*(goods.reserved(1, ttl_seconds=2) for _ in range(25)))

        attempts = await at_once(
            ship_near_its_end(shop, reservation, seconds)
            for reservation in held
            for seconds in (-0.1, -0.02, 0.02, 0.3)
        )

        states = await states_in_the_end(shop, [one["id"] for one in held])
        shipped = sum(outcome_of(answer) == "OK" for answer in attempts)
        assert states.count("shipped") == shipped
        assert states.count("expired") == 25 - shipped
        left = str(25 - shipped)
        assert await goods.level() == (left, "0", left)


async def test_transfer_both_ways(shop: Shop, rounds: range) -> None:
    for _ in rounds:
        goods = await Goods.of(shop, stock=50)
        here, there = goods.warehouse, await shop.warehouse()
        await shop.receive(there, goods.product, 50)
        worth = await inventory_account(shop)

        ways = [(here, there), (there, here)] * (AT_ONCE // 2)
        answers = await at_once(carry(goods, *way) for way in ways)
        path = await send(goods, 50, here, there)
        twice = await at_once(
            shop.try_post(f"{path}:{verb}", {})
            for _ in range(AT_ONCE // 2)
            for verb in ("receive", "cancel")
        )

        assert outcomes_of(answers) == {"OK": AT_ONCE}
        assert outcomes_of(twice) == {"OK": 1, "TRANSFER_NOT_IN_TRANSIT": AT_ONCE - 1}
        moved = 50 if (await shop.get(path))["state"] == "received" else 0
        assert await goods.level() == (str(50 - moved), "0", str(50 - moved))
        assert (await shop.level(there, goods.product))[0] == str(50 + moved)
        assert await inventory_account(shop) == worth


async def ship_near_its_end(shop: Shop, reservation: Any, seconds: float) -> httpx.Response:
    """Ship so long after the end of a hold, or before it when negative."""
    end = datetime.fromisoformat(reservation["expire_time"])
    await asyncio.sleep((end - datetime.now(UTC)).total_seconds() + seconds)
    return await shop.try_post(f"/reservations/{reservation['id']}:ship", {})


async def states_in_the_end(shop: Shop, reservations: list[str]) -> list[str]:
    """The states of reservations once none of them is held."""

    async def ended() -> list[str] | None:
        found = [await shop.get(f"/reservations/{one}") for one in reservations]
        states = [reservation["state"] for reservation in found]
        return None if "held" in states else states

    return list(await eventually(ended, "all holds have ended"))


async def send(goods: Goods, quantity: int, source: str, destination: str) -> str:
    """The path of a transfer that is on its way."""
    ends = {"source_warehouse_id": source, "destination_warehouse_id": destination}
    body = {**ends, "lines": goods.lines(quantity)}
    return f"/stock/transfers/{(await goods.shop.post('/stock/transfers', body))['id']}"


async def carry(goods: Goods, source: str, destination: str) -> httpx.Response:
    """Send one unit and receive it."""
    path = await send(goods, 1, source, destination)
    return await goods.shop.try_post(f"{path}:receive", {})


async def due(shop: Shop, invoice: str) -> tuple[str, str]:
    """An invoice's state, and what is due on it."""
    found = await shop.get(f"/invoices/{invoice}")
    return found["state"], found["amount_due"]["amount"]


async def inventory_account(shop: Shop) -> Any:
    """What the books say that stock is worth, once they have heard of all of it."""

    async def told() -> Any:
        levels = await value_of_stock(shop)
        rows = (await shop.get("/reports/trial-balance"))["rows"]
        [row] = [row for row in rows if row["account_code"] == "1400"]
        return row["debit"]["amount"] if row["debit"]["amount"] == levels else None

    return await eventually(told, "the books are worth what is in stock")


async def value_of_stock(shop: Shop) -> str:
    """What stock and goods in transit are worth by the inventory's own records."""
    levels = await everything(shop, "/stock/levels", "stock_levels")
    transfers = await everything(shop, "/stock/transfers", "stock_transfers")
    values = [level["value"] for level in levels]
    values += [line["in_transit_value"] for transfer in transfers for line in transfer["lines"]]
    cents = sum(int(value["amount"].replace(".", "")) for value in values)
    return f"{cents // 100}.{cents % 100:02d}"


async def everything(shop: Shop, path: str, plural: str) -> list[Any]:
    """All pages of a list."""
    page = await shop.get(path, page_size=200)
    found = list(page[plural])
    while token := page["next_page_token"]:
        page = await shop.get(path, page_size=200, page_token=token)
        found += page[plural]
    return found


def assert_gapless(numbers: list[str]) -> None:
    taken = sorted(int(number.rpartition("-")[2]) for number in numbers)
    assert taken == list(range(taken[0], taken[0] + len(numbers)))
