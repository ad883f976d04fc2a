"""Reports are written to files."""

import csv
import io
from typing import Any

import pytest
from redis.asyncio import Redis

from accounting import report_files
from accounting.file_servicer import ReportFileServiceServicer
from accounting.tests.company import Company
from common.errors import InvalidRequest
from common.jobs_testing import eventually, job_worker, open_job_database, working
from common.testing import ServiceDatabase, TestServers
from erp.accounting.v1 import accounting_service_pb2 as api
from erp.accounting.v1 import report_file_service_pb2 as messages


async def test_the_trial_balance_is_written_as_it_is_read(
    company: Company, urls: ServiceDatabase, servers: TestServers
) -> None:
    await company.bill("119.00")
    database = open_job_database("accounting", urls.app, urls.system, report_files)
    servicer = ReportFileServiceServicer(database)

    async def ask(name: str, **fields: Any) -> Any:
        request = getattr(messages, f"{name}Request")(**fields)
        with company.user():
            return await getattr(servicer, name)(request, None)

    made = [await ask("CreateTrialBalanceExport", **at) for at in ({}, {"as_of": "2000-01-01"})]

    async def all_ended() -> bool:
        now = [await ask("GetTrialBalanceExport", id=each.id) for each in made]
        return all(each.HasField("finish_time") for each in now)

    async with (
        Redis.from_url(servers.valkey.url) as redis,
        working(job_worker("accounting", database, redis, report_files)),
    ):
        await eventually(all_ended)
    today, long_ago = [await ask("GetTrialBalanceExport", id=each.id) for each in made]
    with pytest.raises(InvalidRequest):
        await ask("CreateTrialBalanceExport", as_of="2026-02-30")
    await database.close()

    shown = await company.call("GetTrialBalance", api.GetTrialBalanceRequest())
    rows = list(csv.DictReader(io.StringIO(today.content, newline="")))
    assert len(rows) >= 2
    assert [(row["account_code"], row["debit"], row["credit"]) for row in rows] == [
        (row.account_code, row.debit.amount, row.credit.amount) for row in shown.rows
    ]
    assert long_ago.content == "account_code,account_name,debit,credit,currency_code\r\n"
