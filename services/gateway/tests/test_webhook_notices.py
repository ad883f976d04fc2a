"""Who may enable a webhook again is told by mail when it was disabled, once."""

from uuid import UUID

import pytest

from common.caller import acting_as, service_caller
from common.jobs_testing import eventually, job_states, job_worker, working
from common.mail_testing import mailer_for, post_office
from common.mailing import sending_by
from common.testing import rows_of
from gateway import webhook_deliveries as deliveries
from gateway import webhook_notices, webhooks
from gateway.outside_http import Reply
from gateway.tests.test_webhooks import RULES, begun, event, new, sent
from gateway.users import NewUser, create_user

GONE = Reply(410, "It answered 410.", "", 0.01)
SECRET_ADDRESS = "https://example.com/hook?key=canary"


@pytest.fixture
async def webhook(database, company):
    """A webhook of a company with an admin and a clerk, and a delivery to it."""
    with acting_as(service_caller("gateway", UUID(company.id))):
        clerk = NewUser("clerk@x.example", "Clerk", [], "hash")
        await database.run(lambda tx: create_user(tx, clerk))
        made = await database.run(lambda tx: RULES.create(tx, new(SECRET_ADDRESS), {}))
        (job,) = await sent(database, event(company.id))
        yield made, job


async def disable(database, office, job):
    with sending_by(mailer_for(office.port)):
        step = await begun(database, job)
        await database.run(lambda tx: deliveries.record(tx, job, step, GONE))


async def work(database, redis, office, company, gateway_database):
    def ended():
        # The attempt itself is nobody's to make here.
        left = rows_of(
            gateway_database.operator,
            "SELECT id FROM jobs WHERE tenant_id = %s AND name LIKE '%%WebhookDisabledMail'",
            company.id,
        )
        return not left

    with sending_by(mailer_for(office.port)):
        async with working(job_worker("gateway", database, redis, webhook_notices)):
            await eventually(ended)


async def test_who_may_mend_it_is_told_once(database, redis, company, webhook, gateway_database):
    made, job = webhook
    async with post_office() as office:
        await disable(database, office, job)
        await work(database, redis, office, company, gateway_database)
        await work(database, redis, office, company, gateway_database)

    (mail,) = office.taken
    counted = "SELECT name, total, succeeded FROM job_batches WHERE tenant_id = %s"
    batches = rows_of(gateway_database.operator, counted, company.id)
    assert batches == [(f"mails about webhook {made.id}", 1, 1)]
    assert mail["To"] == company.email
    assert mail["Subject"] == "A webhook of Test is disabled"
    text = mail.get_body(("plain",)).get_content()
    assert "https://example.com/hook" in text
    assert "It answered 410 Gone." in text
    assert made.id in text
    assert "canary" not in str(mail)


async def test_nobody_is_told_what_is_no_longer_true(
    database, redis, company, webhook, gateway_database
):
    made, job = webhook
    async with post_office() as office:
        await disable(database, office, job)
        enabled = {"state": webhooks.ENABLED}
        await database.run(lambda tx: RULES.change(tx, UUID(made.id), 0, enabled))
        await work(database, redis, office, company, gateway_database)

    assert office.taken == []
    assert job_states(gateway_database, company.id).get("parked", 0) == 0
