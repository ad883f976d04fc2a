"""Webhooks: every event once, signed, tried for days, and a dead one disturbs nobody."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from common import ids
from common.caller import Caller, acting_as
from common.errors import InvalidRequest, NotFound, NotPermitted
from common.pagination import Page
from common.sealing import Seal
from common.testing import as_user, rows_of
from common.wire import timestamp
from erp.events.v1.events_pb2 import Event
from erp.gateway.v1 import webhook_pb2 as pb
from erp.gateway.v1.jobs_pb2 import DeliverWebhook
from erp.gateway.v1.webhook_service_pb2 import ListWebhookDeliveriesRequest
from erp.sales.v1.events_pb2 import CustomerCreated
from gateway import webhook_deliveries as deliveries
from gateway import webhooks
from gateway.outside_addresses import OutsideAddresses
from gateway.outside_http import Reply
from gateway.webhook_deliveries import DELAYS, FAILURES_TO_CLOSE, Sending
from gateway.webhook_secrets import Secrets, WebhooksOff, signed_headers
from gateway.webhooks import NewWebhook, Webhooks

CREATED = "erp.sales.v1.CustomerCreated"
SECRETS = Secrets(Seal({"test": bytes(32)}))
RULES = Webhooks(OutsideAddresses(), SECRETS)
OK, BROKEN = Reply(200, "", "thanks", 0.01), Reply(500, "It answered 500.", "oh", 0.01)


def new(url="https://example.com/hook", *types):
    return NewWebhook(url, "for a test", types)


def event(tenant, kind=CREATED, sequence=1):
    data = CustomerCreated(customer_id=str(ids.new())).SerializeToString()
    return Event(
        id=str(ids.new()),
        tenant_id=str(tenant),
        source="sales",
        sequence=sequence,
        type=kind,
        subject=str(ids.new()),
        time=timestamp(datetime.now(UTC)),
        data=data,
    )


@pytest.fixture
async def company(database, tenant, gateway_database):
    with psycopg.connect(gateway_database.operator) as operator:
        operator.execute(
            "INSERT INTO tenants (id, slug, name, currency_code, plan)"
            " VALUES (%s, %s, 'Test', 'EUR', 'unmetered')",
            [tenant, f"t-{tenant}"],
        )
    with as_user(tenant):
        yield tenant


async def made(database, *types, url="https://example.com/hook"):
    return await database.run(lambda tx: RULES.create(tx, new(url, *types), {"sales": 7}))


async def sent(database, *events):
    """The jobs that sending these events makes."""
    async with database.tenant_transaction() as tx:
        await deliveries.send_all(tx, events)
        return [DeliverWebhook.FromString(job.payload) for job in tx.pending_jobs]


async def begun(database, job, busy=False):
    async with database.tenant_transaction() as tx:
        return await deliveries.begin(tx, job, lambda _: busy)


async def tried(database, job, reply):
    """One attempt with this outcome; the job of the next one, and when that is, if there is one."""
    sending = await begun(database, job)
    assert isinstance(sending, Sending)
    async with database.tenant_transaction() as tx:
        await deliveries.record(tx, job, sending, reply)
        found = [
            (DeliverWebhook.FromString(new.payload), new.delay_seconds) for new in tx.pending_jobs
        ]
    return found[0] if found else (None, 0)


async def read(database, job):
    return await database.read(lambda tx: deliveries.get(tx, UUID(job.delivery_id)))


async def test_a_secret_is_shown_once_and_lies_sealed(database, company, gateway_database):
    webhook = await made(database)

    again = await database.read(lambda tx: webhooks.get(tx, UUID(webhook.id)))
    key = base64.b64decode(webhook.secret.removeprefix("whsec_"))
    stored = rows_of(
        gateway_database.operator, "SELECT secret FROM webhooks WHERE tenant_id = %s", company
    )[0][0]
    logged = rows_of(
        gateway_database.operator,
        "SELECT after::text FROM audit_entries WHERE tenant_id = %s AND kind = 'webhook'",
        company,
    )
    assert webhook.secret.startswith("whsec_")
    assert len(key) == 32
    assert again.secret == ""
    assert key not in bytes(stored)
    assert SECRETS.open(bytes(stored), UUID(webhook.id)) == key
    assert SECRETS.open(bytes(stored), ids.new()) is None
    assert logged
    assert "secret" not in str(logged)


def test_a_signature_is_what_the_standard_says():
    # The example of https://github.com/standard-webhooks/standard-webhooks, spec, "Verifying".
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'

    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, [key])

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


def test_no_key_means_no_webhooks():
    with pytest.raises(WebhooksOff):
        Secrets(None).make(ids.new())


async def test_with_two_secrets_there_are_two_signatures_for_a_day(
    database, company, gateway_database
):
    webhook = await made(database)
    first = webhook.secret
    webhook = await database.run(lambda tx: RULES.rotate_secret(tx, UUID(webhook.id)))
    (job,) = await sent(database, event(company))

    sending = await begun(database, job)
    keys = [SECRETS.open(secret, sending.webhook_id) for secret in sending.secrets]
    with psycopg.connect(gateway_database.operator) as operator:
        operator.execute(
            "UPDATE webhooks SET old_secret_until = now() WHERE tenant_id = %s", [company]
        )
    later = await begun(database, job)

    shown = [base64.b64decode(text.removeprefix("whsec_")) for text in (webhook.secret, first)]
    headers = signed_headers("id", 1, b"body", keys)
    expected = [
        "v1," + base64.b64encode(hmac.digest(key, b"id.1.body", hashlib.sha256)).decode()
        for key in shown
    ]
    assert headers["webhook-signature"].split(" ") == expected
    assert len(later.secrets) == 1


@pytest.mark.parametrize(
    ("url", "types", "pointer"),
    [
        ("http://example.com/", (), "/url"),
        ("https://10.0.0.1/", (), "/url"),
        ("https://example.com/", ("erp.sales.v1.Nothing",), "/types/0"),
    ],
)
async def test_what_cannot_be_sent_to_is_refused_by_name(database, company, url, types, pointer):
    with pytest.raises(InvalidRequest) as refused:
        await made(database, *types, url=url)

    assert [item.pointer for item in refused.value.violations] == [pointer]


async def test_nobody_has_events_sent_that_they_may_not_read(database, company):
    with acting_as(Caller(company, "user:clerk", frozenset({"gateway.*", "sales.*"}))):
        webhook = await made(database, CREATED)
        for types in ((), ("erp.accounting.v1.InvoicePosted",)):
            with pytest.raises(NotPermitted):
                await made(database, *types)
            with pytest.raises(NotPermitted):
                await database.run(
                    lambda tx, types=types: RULES.change(
                        tx, UUID(webhook.id), 1, {"types": list(types)}
                    )
                )


@pytest.mark.parametrize(
    ("asked", "order_by", "places"),
    [
        ("", "", [2, 1, 0]),
        ("", "create_time", [0, 1, 2]),
        (f'event_type = "{CREATED}"', "", [2, 0]),
        ("sequence < 3 AND state = pending", "create_time desc", [1, 0]),
        ("attempt_count = 1", "", []),
    ],
)
async def test_deliveries_are_found_by_filter_and_come_in_order(
    database, company, asked, order_by, places
):
    webhook = await made(database)
    types = (CREATED, "erp.sales.v1.OrderShipped", CREATED)
    happened = [event(company, kind, number) for number, kind in enumerate(types, 1)]
    for one in happened:
        await sent(database, one)
    request = ListWebhookDeliveriesRequest(
        id=webhook.id, page_size=2, filter=asked, order_by=order_by
    )
    listed = []
    for _ in range(2):
        page = Page.from_wire(request)
        rows, request.page_token = await database.read(
            lambda tx, page=page: deliveries.list_of(tx, UUID(webhook.id), page, 0)
        )
        listed += [row.event_id for row in rows]
        if not request.page_token:
            break

    assert listed == [happened[place].id for place in places]


async def test_each_event_goes_to_each_webhook_that_wants_it_once(database, company):
    wanting, all_of = await made(database, CREATED), await made(database)
    await made(database, "erp.accounting.v1.InvoicePosted")
    off = await made(database)
    await database.run(lambda tx: RULES.change(tx, UUID(off.id), 1, {"state": "disabled"}))
    happened = [event(company), event(company, "erp.sales.v1.OrderShipped", 2)]

    jobs = await sent(database, *happened)
    again = await sent(database, *happened)

    found = [await read(database, job) for job in jobs]
    assert again == []
    assert sorted((one.webhook_id, one.event_id) for one in found) == sorted(
        [
            (wanting.id, happened[0].id),
            (all_of.id, happened[0].id),
            (all_of.id, happened[1].id),
        ]
    )


async def test_what_is_taken_is_delivered_and_not_sent_again(database, company):
    await made(database)
    (job,) = await sent(database, event(company))

    following, _ = await tried(database, job, OK)

    delivery = await read(database, job)
    assert following is None
    assert delivery.state == pb.WEBHOOK_DELIVERY_STATE_DELIVERED
    assert [(one.number, one.status_code, one.response) for one in delivery.attempts] == [
        (1, 200, "thanks")
    ]
    assert await begun(database, job) is None


async def test_what_fails_is_tried_for_days_and_can_then_be_redelivered(
    database, company, gateway_database
):
    await made(database)
    (job,) = await sent(database, event(company))
    first, delays = job, []

    while job is not None:
        with psycopg.connect(gateway_database.operator) as operator:
            # Time passes: the breaker lets it through again.
            operator.execute("UPDATE webhook_health SET closed_until = NULL")
        job, delay = await tried(database, job, BROKEN)
        delays.append(delay)

    failed = await read(database, first)
    again = await database.run(lambda tx: deliveries.redeliver(tx, UUID(first.delivery_id)))
    with psycopg.connect(gateway_database.operator) as operator:
        operator.execute("UPDATE webhook_health SET closed_until = NULL")
    stale = await begun(database, first)
    await tried(
        database,
        DeliverWebhook(delivery_id=again.id, round=1, attempts=again.attempt_count),
        OK,
    )

    assert len(delays) == len(DELAYS) + 1
    assert all(
        0.8 * expected <= delay <= 1.2 * expected
        for delay, expected in zip(delays, DELAYS, strict=False)
    )
    assert sum(DELAYS) > timedelta(days=2).total_seconds()
    assert failed.state == pb.WEBHOOK_DELIVERY_STATE_FAILED
    assert failed.attempt_count == len(DELAYS) + 1
    assert stale is None
    assert (await read(database, first)).state == pb.WEBHOOK_DELIVERY_STATE_DELIVERED


async def test_a_dead_webhook_is_probed_by_one_and_all_others_wait(
    database, company, gateway_database
):
    await made(database)
    jobs = await sent(database, *(event(company, sequence=number) for number in range(1, 9)))
    for job in jobs[:FAILURES_TO_CLOSE]:
        await tried(database, job, BROKEN)

    waits = [await begun(database, job) for job in jobs[FAILURES_TO_CLOSE:]]
    with psycopg.connect(gateway_database.operator) as operator:
        operator.execute("UPDATE webhook_health SET closed_until = now()")
    probe, *others = [await begun(database, job) for job in jobs[FAILURES_TO_CLOSE:]]
    async with database.tenant_transaction() as tx:
        await deliveries.record(tx, jobs[FAILURES_TO_CLOSE], probe, OK)
    after = await begun(database, jobs[-1])

    assert all(isinstance(wait, float) and wait > 10 for wait in waits)
    assert isinstance(probe, Sending)
    assert all(isinstance(other, float) for other in others)
    assert isinstance(after, Sending)


async def test_a_busy_webhook_waits_and_that_is_no_attempt(database, company):
    await made(database)
    (job,) = await sent(database, event(company))

    wait = await begun(database, job, busy=True)
    async with database.tenant_transaction() as tx:
        await deliveries.postpone(tx, job, wait)
        (again,) = tx.pending_jobs

    assert 0 < wait < 3
    assert again.delay_seconds == wait
    assert (await read(database, job)).attempt_count == 0
    assert isinstance(await begun(database, job), Sending)


@pytest.mark.parametrize(
    ("reply", "days"), [(Reply(410, "It answered 410.", "", 0.01), 0), (BROKEN, 6)]
)
async def test_who_wants_no_more_or_fails_for_days_is_disabled(
    database, company, gateway_database, reply, days
):
    webhook = await made(database)
    jobs = await sent(database, event(company), event(company, sequence=2))
    if days:
        await tried(database, jobs[0], BROKEN)
        with psycopg.connect(gateway_database.operator) as operator:
            operator.execute(
                "UPDATE webhook_health SET failing_since = now() - make_interval(days => %s)"
                " WHERE tenant_id = %s",
                [days, company],
            )

    following, _ = await tried(database, jobs[1], reply)

    disabled = await database.read(lambda tx: webhooks.get(tx, UUID(webhook.id)))
    told = rows_of(
        gateway_database.operator, "SELECT type, subject FROM events WHERE tenant_id = %s", company
    )
    assert following is None
    assert disabled.state == pb.WEBHOOK_STATE_DISABLED
    assert disabled.disabled_reason
    assert ("erp.gateway.v1.WebhookDisabled", webhook.id) in told
    assert await begun(database, jobs[0]) is None


async def test_no_tenant_has_anothers_webhooks(database, company):
    webhook = await made(database)
    (job,) = await sent(database, event(company))

    with as_user(ids.new()):
        for look in (
            lambda tx: webhooks.get(tx, UUID(webhook.id)),
            lambda tx: webhooks.remove(tx, UUID(webhook.id)),
            lambda tx: deliveries.get(tx, UUID(job.delivery_id)),
            lambda tx: deliveries.redeliver(tx, UUID(job.delivery_id)),
            lambda tx: deliveries.test(tx, UUID(webhook.id)),
            lambda tx: RULES.rotate_secret(tx, UUID(webhook.id)),
        ):
            with pytest.raises(NotFound):
                await database.run(look)
        assert await begun(database, job) is None


async def test_removing_a_webhook_removes_what_was_sent_to_it(database, company):
    webhook = await made(database)
    (job,) = await sent(database, event(company))

    await database.run(lambda tx: webhooks.remove(tx, UUID(webhook.id)))

    assert await begun(database, job) is None
    with pytest.raises(NotFound):
        await read(database, job)
