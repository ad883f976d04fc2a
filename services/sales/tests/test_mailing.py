"""Customers are written to, once."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from redis.asyncio import Redis

from common import ids, mailing
from common.caller import acting_as, service_caller
from common.jobs_testing import eventually, job_states, job_worker, working
from common.listening import Heard
from common.mail_testing import PostOffice, mailer_for, post_office
from common.testing import TestServers, rows_of
from erp.accounting.v1 import events_pb2 as accounting
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_pb2 as pb
from sales import mailing as mails_of_sales
from sales import notices
from sales.tests.selling import Shop

SCRIPT = Path(__file__).with_name("mail_worker.py")


@pytest.fixture
async def office() -> AsyncIterator[PostOffice]:
    async with post_office() as office:
        yield office


@pytest.fixture
async def redis(servers: TestServers) -> AsyncIterator[Redis]:
    async with Redis.from_url(servers.valkey.url) as client:
        yield client


@pytest.fixture(autouse=True)
def no_jobs(shop: Shop) -> None:
    with psycopg.connect(shop.urls.operator) as connection:
        connection.execute("DELETE FROM jobs")


async def confirmed(shop: Shop, email: str = "buy@bluedoor.example", **fields: str) -> pb.Order:
    customer = await shop.add_customer(email=email or None, **fields)
    return await shop.create(
        (shop.add_product(), "2"), customer_id=customer.id, confirm=True, reference="PO & 7"
    )


async def hear_of(
    shop: Shop, office: PostOffice, *orders: pb.Order, ago: timedelta = timedelta()
) -> None:
    """The sales worker hears that orders were confirmed."""
    heard = [
        Heard(events.OrderConfirmed(order_id=order.id), "r", place, datetime.now(UTC) - ago)
        for place, order in enumerate(orders, 1)
    ]
    with (
        mailing.sending_by(mailer_for(office.port)),
        acting_as(service_caller("sales", shop.tenant)),
    ):
        async with shop.database.tenant_transaction() as tx:
            await notices.tell_of_confirmed(tx, heard)


async def work_until(
    shop: Shop, office: PostOffice, redis: Redis, done: Callable[[], bool]
) -> None:
    with mailing.sending_by(mailer_for(office.port)):
        async with working(job_worker("sales", shop.database, redis, mails_of_sales)):
            await eventually(done)


def all_ended(shop: Shop) -> bool:
    return not job_states(shop.urls, shop.tenant).keys() & {"ready", "delayed", "running"}


async def test_a_customer_reads_what_they_ordered(
    shop: Shop, office: PostOffice, redis: Redis
) -> None:
    order = await confirmed(shop, name="<b>Blue Door</b> & Sons")
    await hear_of(shop, office, order)

    await work_until(shop, office, redis, lambda: all_ended(shop))

    (mail,) = office.taken
    text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert mail["Subject"] == f"Your order {order.number} at Acme"
    assert mail["To"] == "buy@bluedoor.example"
    assert mail["From"] == "Acme <orders@acme.example>"
    for part in ("Dear <b>Blue Door</b> & Sons", "PO & 7", "2 x Oak-Table (OAK-TABLE)", "285.60"):
        assert part in text
    assert "&lt;b&gt;Blue Door&lt;/b&gt; &amp; Sons" in html
    assert job_states(shop.urls, shop.tenant) == {"succeeded": 1}


async def test_the_invoice_is_mailed_when_it_is_posted(
    shop: Shop, office: PostOffice, redis: Redis
) -> None:
    order = await confirmed(shop)
    posted = accounting.InvoicePosted(
        invoice_id=str(ids.new()), number="INV-2026-000001", order_id=order.id
    )

    with mailing.sending_by(mailer_for(office.port)):
        await shop.hear(posted)
    await work_until(shop, office, redis, lambda: all_ended(shop))

    assert office.subjects() == [f"Invoice INV-2026-000001 for your order {order.number}"]


async def test_nobody_is_written_to_without_an_address_or_about_the_past(
    shop: Shop, office: PostOffice
) -> None:
    await hear_of(shop, office, await confirmed(shop, email=""))
    await hear_of(shop, office, await confirmed(shop), ago=timedelta(days=2))

    assert job_states(shop.urls, shop.tenant) == {}


async def test_a_confirmation_that_has_become_untrue_is_not_sent(
    shop: Shop, office: PostOffice, redis: Redis
) -> None:
    order = await confirmed(shop)
    await hear_of(shop, office, order)
    await shop.cancel(order)

    await work_until(shop, office, redis, lambda: all_ended(shop))

    assert office.taken == []


async def test_an_order_is_confirmed_once_however_often_it_is_asked_for(
    shop: Shop, office: PostOffice, redis: Redis
) -> None:
    order = await confirmed(shop)
    await hear_of(shop, office, order)
    await work_until(shop, office, redis, lambda: all_ended(shop))

    await hear_of(shop, office, order)
    await work_until(shop, office, redis, lambda: all_ended(shop))

    assert len(office.taken) == 1
    assert job_states(shop.urls, shop.tenant) == {"succeeded": 2}


async def test_a_server_that_is_busy_is_tried_again_and_one_that_refuses_is_not(
    shop: Shop, office: PostOffice, redis: Redis
) -> None:
    order = await confirmed(shop)
    refusals = ["554 looks like spam", "451 try later"]
    office.at = lambda point: refusals.pop() if point == "." and refusals else None
    await hear_of(shop, office, order)

    await work_until(
        shop, office, redis, lambda: job_states(shop.urls, shop.tenant) == {"delayed": 1}
    )
    assert (
        rows_of(shop.urls.operator, "SELECT * FROM mails WHERE tenant_id = %s", shop.tenant) == []
    )
    hasten(shop)
    await work_until(shop, office, redis, lambda: all_ended(shop))

    assert office.taken == []
    ((error,),) = rows_of(
        shop.urls.operator, "SELECT error FROM failed_jobs WHERE tenant_id = %s", shop.tenant
    )
    assert "554 looks like spam" in str(error)


def hasten(shop: Shop) -> None:
    """Let the pause before the next try be over."""
    with psycopg.connect(shop.urls.operator) as connection:
        connection.execute("UPDATE jobs SET ready_at = now() WHERE tenant_id = %s", [shop.tenant])


def ask_again(shop: Shop) -> None:
    """Retry what is parked, as an operator does."""
    with psycopg.connect(shop.urls.operator) as connection:
        connection.execute(
            """
            WITH parked AS (DELETE FROM failed_jobs WHERE tenant_id = %s RETURNING *)
            INSERT INTO jobs (tenant_id, id, name, queue, state, payload, request_id, ready_at)
            SELECT tenant_id, job_id, name, queue, 'ready', payload, request_id, now() FROM parked
            """,
            [shop.tenant],
        )


async def kill_at(point: str, shop: Shop, office: PostOffice, servers: TestServers) -> None:
    """Have a worker send what is waiting, and kill it when the server is at this point."""
    urls = shop.urls
    argv = [sys.executable, str(SCRIPT), urls.app, urls.system, servers.valkey.url]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(*argv, str(office.port), env=environment)

    def kill(now: str) -> None:
        if now == point:
            os.kill(process.pid, signal.SIGKILL)

    office.at = kill
    async with asyncio.timeout(60):
        assert await process.wait() == -signal.SIGKILL
    office.at = lambda _point: None


async def test_a_worker_killed_before_it_sends_costs_nothing(
    shop: Shop, office: PostOffice, redis: Redis, servers: TestServers
) -> None:
    order = await confirmed(shop)
    await hear_of(shop, office, order)

    await kill_at("RCPT", shop, office, servers)
    await work_until(shop, office, redis, lambda: all_ended(shop))

    assert office.subjects() == [f"Your order {order.number} at Acme"]
    assert job_states(shop.urls, shop.tenant) == {"succeeded": 1}


async def test_a_worker_killed_after_it_sent_does_not_send_twice_and_people_are_asked(
    shop: Shop, office: PostOffice, redis: Redis, servers: TestServers
) -> None:
    await hear_of(shop, office, await confirmed(shop))

    await kill_at(".", shop, office, servers)
    await work_until(shop, office, redis, lambda: all_ended(shop))

    assert len(office.taken) == 1
    assert job_states(shop.urls, shop.tenant) == {"parked": 1}
    ask_again(shop)
    await work_until(shop, office, redis, lambda: all_ended(shop))
    assert len({mail["Message-ID"] for mail in office.taken}) == 1
    assert len(office.taken) == 2
    assert job_states(shop.urls, shop.tenant) == {"succeeded": 1}


async def test_a_worker_killed_between_leaves_it_to_people_whether_to_send(
    shop: Shop, office: PostOffice, redis: Redis, servers: TestServers
) -> None:
    await hear_of(shop, office, await confirmed(shop))

    await kill_at("DATA", shop, office, servers)
    await work_until(shop, office, redis, lambda: all_ended(shop))
    assert office.taken == []
    assert job_states(shop.urls, shop.tenant) == {"parked": 1}

    ask_again(shop)
    await work_until(shop, office, redis, lambda: all_ended(shop))
    assert len(office.taken) == 1
