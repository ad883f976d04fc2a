"""Books go as a whole when their company is deleted: what never changes, and locked months, too."""

from accounting.tests.company import Company
from accounting.tests.test_periods import change
from common.caller import acting_as, service_caller
from common.tenant_rows_servicer import TenantRowsServicer
from erp.tenants.v1 import tenant_rows_service_pb2 as pb


async def rows_of(servicer: TenantRowsServicer) -> dict[str, int]:
    tables = (await servicer.ListTables(pb.ListTablesRequest())).tables
    return {table.name: table.rows for table in tables}


async def test_entries_whose_tables_refer_to_each_other_and_locked_months_are_removed(
    company: Company,
) -> None:
    await company.bill("120.00")
    await company.invest("500.00")
    for verb in ("Close", "Lock"):
        await change(company, verb, "2019-01")
    servicer = TenantRowsServicer(company.database)

    with acting_as(service_caller("gateway", company.tenant_id)):
        before = await rows_of(servicer)
        for name in before:
            await servicer.RemoveRows(pb.RemoveRowsRequest(table=name))
        after = await rows_of(servicer)

    assert min(before[name] for name in ("journal_entries", "journal_lines", "periods")) > 0
    assert {name: rows for name, rows in after.items() if rows} == {}
