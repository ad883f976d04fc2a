"""A deleted company leaves nothing but the note of it, however often its deletion is begun."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import psycopg
import pytest
from psycopg import sql

from common.errors import Unavailable
from common.jobs_testing import job_worker, working
from common.tenant_rows_servicer import TenantRowsServicer
from gateway import removing
from gateway.platform import PLATFORM, put_operator_token
from gateway.removing import TenantRemover

TABLES = """
    SELECT c.relname::text FROM pg_class c JOIN pg_attribute a
        ON a.attrelid = c.oid AND a.attnum = 1 AND a.attname = 'tenant_id'
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition
"""


def rows_left(url, tenant_id):
    with psycopg.connect(url) as connection:
        counts = {
            name: connection.execute(
                sql.SQL("SELECT count(*) FROM {} WHERE tenant_id = %s").format(
                    sql.Identifier(name)
                ),
                [tenant_id],
            ).fetchone()[0]
            for (name,) in connection.execute(TABLES).fetchall()
        }
    return {name: count for name, count in counts.items() if count}


@pytest.fixture(scope="session")
async def operator_token(database):
    return await put_operator_token(database, "deletes")


@pytest.fixture
async def operator(gateway, operator_token):
    headers = {"authorization": f"Bearer {operator_token}"}
    async with httpx.AsyncClient(
        verify=False, base_url=gateway, headers=headers, timeout=30
    ) as client:
        yield client


async def ask(operator, company, slug=None):
    body = {"confirm_slug": slug or company.slug, "reason": "they left"}
    return await operator.post(f"/tenants/{company.id}:delete", json=body)


async def suspend(operator, company):
    await operator.post(f"/tenants/{company.id}:suspend", json={"reason": "they left"})


async def finished(operator, company):
    async with asyncio.timeout(60):
        while True:
            found = (await operator.get(f"/tenant-deletions/{company.id}")).json()
            if found.get("finish_time"):
                return found
            await asyncio.sleep(0.05)


class Failing(TenantRowsServicer):
    """Is away in the middle, once."""

    def __init__(self, database):
        super().__init__(database)
        self.asked = 0

    async def RemoveRows(self, request, context=None):
        self.asked += 1
        if self.asked == 10:
            raise Unavailable("The service")
        return await super().RemoveRows(request, context)


@pytest.fixture
def removal(database, redis, monkeypatch):
    monkeypatch.setattr(removing, "PAUSE_SECONDS", 0.1)

    @asynccontextmanager
    async def at_work(rows=None):
        rows = rows or TenantRowsServicer(database)
        handlers = TenantRemover(database, {"gateway": rows}).handlers
        async with working(job_worker("gateway", database, redis, handlers, tries=5)):
            yield rows

    return at_work


async def test_nothing_is_left_but_the_note_that_it_was_deleted(
    operator, company, browser, removal, database, gateway_database
):
    await browser.log_in(company)
    await suspend(operator, company)
    asked = await ask(operator, company)
    async with removal(Failing(database)) as rows:
        found = await finished(operator, company)
    again = await ask(operator, company)

    assert (asked.status_code, asked.json()["state"]) == (200, "waiting")
    assert (found["state"], found["slug"], found["reason"]) == (
        "finished",
        company.slug,
        "they left",
    )
    assert rows.asked > 2 * found["total_tables"]
    assert found["removed_tables"] == found["total_tables"]
    assert int(found["found"][0]["rows"]) > 10
    assert rows_left(gateway_database.operator, company.id) == {}
    assert again.json() == found


async def test_a_deleted_company_is_let_in_by_nothing_and_its_name_is_never_used_again(
    operator, company, removal, gateway
):
    await suspend(operator, company)
    await ask(operator, company)
    async with removal():
        await finished(operator, company)

    admin = {"email": "boss@x.example"}
    new = {"slug": company.slug, "name": "New", "currency_code": "EUR", "admin": admin}
    read = (await operator.get(f"/tenants/{company.id}")).json()
    made = await operator.post("/tenants", json=new)
    resumed = await operator.post(f"/tenants/{company.id}:resume", json={"reason": "x"})
    async with httpx.AsyncClient(verify=False, base_url=gateway, timeout=30) as client:
        headers = {"authorization": f"Bearer {company.token}"}
        refused = await client.get("/users", headers=headers)

    assert (read["state"], read["name"], read["slug"]) == ("deleted", "", company.slug)
    assert (made.status_code, made.json()["reason"]) == (409, "TENANT_EXISTS")
    assert (resumed.status_code, resumed.json()["reason"]) == (409, "TENANT_DELETED")
    assert refused.status_code == 401


async def test_only_a_suspended_company_whose_name_is_typed_is_deleted(operator, company):
    early = await ask(operator, company)
    await suspend(operator, company)
    mistyped = await ask(operator, company, slug="acme")
    platform = await operator.post(
        f"/tenants/{PLATFORM}:delete", json={"confirm_slug": "platform", "reason": "x"}
    )

    assert (early.status_code, early.json()["reason"]) == (409, "TENANT_NOT_SUSPENDED")
    assert mistyped.status_code == 400
    assert [one["pointer"] for one in mistyped.json()["errors"]] == ["/confirm_slug"]
    assert platform.status_code == 404
    assert (await operator.get(f"/tenant-deletions/{company.id}")).status_code == 404


async def test_a_company_that_was_let_in_again_before_it_began_stays(
    operator, company, removal, database
):
    await suspend(operator, company)
    await ask(operator, company)
    await operator.post(f"/tenants/{company.id}:resume", json={"reason": "they stay"})
    async with removal(Failing(database)) as rows:
        found = await finished(operator, company)

    assert (found["state"], rows.asked) == ("refused", 0)
    assert (await operator.get(f"/tenants/{company.id}")).json()["state"] == "active"
