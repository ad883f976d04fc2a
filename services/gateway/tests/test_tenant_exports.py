"""A company takes along all that is held of it, whole and checkable, and nobody else's."""

import base64
import hashlib
import io
import json
import zipfile

import psycopg
import pytest

from common import jobs, tenant_rows
from common.errors import Unavailable
from common.jobs.bell import JobBell
from common.jobs.handlers import handlings_of, queues_of
from common.jobs.schedules import keep_schedules, schedules_of
from common.jobs_testing import eventually, job_states, job_worker, working
from common.tenant_rows_servicer import TenantRowsServicer
from common.testing import rows_of
from gateway import tenant_writing
from gateway.forgetting import forgetting_by
from gateway.tenant_writing import TenantWriter
from gateway.tests.test_deletions import TABLES, operator, operator_token, rows_left

__all__ = ["operator", "operator_token"]


class Failing(TenantRowsServicer):
    """Is away in the middle, once."""

    def __init__(self, database):
        super().__init__(database)
        self.asked = 0

    async def ReadRows(self, request, context=None):
        self.asked += 1
        if self.asked == 12:
            raise Unavailable("The service")
        return await super().ReadRows(request, context)


@pytest.fixture
async def admin(browsers, company):
    browser = browsers()
    await browser.log_in(company)
    return browser


@pytest.fixture
def at_work(database, redis, monkeypatch):
    # Many parts, and many pages of a table.
    monkeypatch.setattr(tenant_writing, "PART_BYTES", 1000)
    monkeypatch.setattr(tenant_rows, "_PAGE_ROWS", 3)

    def working_on(rows=None):
        writer = TenantWriter({"gateway": rows or TenantRowsServicer(database)})
        return working(job_worker("gateway", database, redis, writer.handlers, tries=5))

    return working_on


async def by_the_clock(database, redis, urls):
    """Let the hour be over, and what is scheduled for it be done."""
    last_hour = "INSERT INTO job_schedules (tenant_id, name, tick) VALUES (%s, %s, 'epoch')"
    forgetting = forgetting_by(database)
    with psycopg.connect(urls.operator) as connection:
        connection.execute(last_hour, [jobs.SERVICE_WIDE, forgetting.every_hour.name])
    queues, bell = queues_of(handlings_of([forgetting])), JobBell("gateway", redis)
    await keep_schedules(database, schedules_of([forgetting]), queues, bell).work()
    async with working(job_worker("gateway", database, redis, forgetting)):
        await eventually(lambda: job_states(urls, jobs.SERVICE_WIDE) == {"succeeded": 1})


async def fetched(client, path):
    async def done():
        return (await client("GET", path)).json()["state"] == "finished"

    await eventually(done)
    export = (await client("GET", path)).json()
    parts = [(await client("GET", f"{path}?part={n}")).json() for n in range(export["parts"])]
    return export, b"".join(base64.b64decode(part["content"]) for part in parts)


async def test_the_archive_holds_every_row_and_says_so(
    admin, company, at_work, database, gateway_database
):
    asked = await admin.send("POST", "/tenant-exports", {})
    again = await admin.send("POST", "/tenant-exports", {})
    async with at_work(Failing(database)):
        export, content = await fetched(admin.send, f"/tenant-exports/{asked.json()['id']}")

    archive = zipfile.ZipFile(io.BytesIO(content))
    manifest = json.loads(archive.read("manifest.json"))
    files = {one["name"]: one for one in manifest["files"]}
    assert (asked.status_code, again.json()["id"]) == (201, export["id"])
    assert hashlib.sha256(content).hexdigest() == export["sha256"]
    assert (len(content), export["parts"] > 3) == (int(export["bytes"]), True)
    tables = {f"gateway/{name}.ndjson" for (name,) in rows_of(gateway_database.operator, TABLES)}
    assert set(files) == tables == set(archive.namelist()) - {"manifest.json"}
    for name, said in files.items():
        lines = archive.read(name)
        assert hashlib.sha256(lines).hexdigest() == said["sha256"]
        rows = [json.loads(line) for line in lines.splitlines()]
        assert len(rows) == said["rows"]
        assert {row["tenant_id"] for row in rows} <= {company.id}
    assert files["gateway/roles.ndjson"]["rows"] == 5
    assert sum(one["rows"] for one in files.values()) == int(export["total_rows"])
    written = "SELECT action FROM audit_entries WHERE record_id = %s"
    # That a table is done is no change that somebody made; each attempt and the end are.
    assert 3 <= len(rows_of(gateway_database.operator, written, export["id"])) < len(tables)


async def test_no_secret_is_in_an_archive(admin, company, at_work, gateway_database):
    asked = (await admin.send("POST", "/tenant-exports", {})).json()
    async with at_work():
        _, content = await fetched(admin.send, f"/tenant-exports/{asked['id']}")

    archive = zipfile.ZipFile(io.BytesIO(content))
    (user,) = map(json.loads, archive.read("gateway/users.ndjson").splitlines())
    (session,) = map(json.loads, archive.read("gateway/sessions.ndjson").splitlines())
    whole = b"".join(archive.read(name) for name in archive.namelist()).decode()
    hashes = rows_of(
        gateway_database.operator,
        "SELECT password_hash FROM users WHERE tenant_id = %s"
        " UNION ALL SELECT encode(hash, 'hex') FROM sessions WHERE tenant_id = %s"
        " UNION ALL SELECT encode(hash, 'hex') FROM api_tokens WHERE tenant_id = %s",
        company.id, company.id, company.id,
    )  # fmt: skip
    assert user["email"] == company.email
    assert session["user_id"] == user["id"]
    assert [one for (one,) in hashes if one in whole] == []
    assert len(hashes) == 3


async def test_an_operator_exports_a_company_that_is_kept_out(operator, company, at_work):
    async def ask(method, path, body=None):
        return await operator.request(method, path, json=body)

    why = {"reason": "they leave"}
    await ask("POST", f"/tenants/{company.id}:suspend", why)
    asked = await ask("POST", f"/tenants/{company.id}/exports", why)
    async with at_work():
        path = f"/tenants/{company.id}/exports/{asked.json()['id']}"
        export, content = await fetched(ask, path)

    actions = zipfile.ZipFile(io.BytesIO(content)).read("gateway/operator_actions.ndjson")
    assert [json.loads(line)["action"] for line in actions.splitlines()] == ["suspend", "export"]
    assert export["requested_by"].startswith("token:")


async def test_an_export_is_forgotten_after_its_week(
    admin, company, at_work, database, redis, gateway_database
):
    asked = (await admin.send("POST", "/tenant-exports", {})).json()
    path = f"/tenant-exports/{asked['id']}"
    async with at_work():
        await fetched(admin.send, path)
    later = "UPDATE tenant_exports SET expires_at = now() WHERE tenant_id = %s RETURNING id"
    rows_of(gateway_database.operator, later, company.id)

    gone = await admin.send("GET", path)
    await by_the_clock(database, redis, gateway_database)

    assert gone.status_code == 404
    assert not {"tenant_exports", "tenant_export_parts"} & set(
        rows_left(gateway_database.operator, company.id)
    )
