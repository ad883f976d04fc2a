"""The chart of accounts, tax rates, and companies that are new."""

import asyncio
from uuid import UUID

import pytest

from accounting.errors import (
    AccountCodeTaken,
    AccountHasPostings,
    AccountIsProtected,
    AccountKindDiffers,
    GroupAccount,
    TaxRateCodeTaken,
)
from accounting.tests.company import Company, credit, debit, new_id, reason_of
from common.database import Database
from common.errors import NotFound, Unavailable
from common.locks import Locks
from common.testing import ServiceDatabase
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb


async def accounts_of(company: Company) -> dict[str, pb.Account]:
    request = service_pb.ListAccountsRequest(page_size=200)
    return {item.code: item for item in (await company.call("ListAccounts", request)).accounts}


async def add_account(company: Company, code: str, **values: object) -> pb.Account:
    request = service_pb.CreateAccountRequest(
        code=code, name="Vans", kind=pb.ACCOUNT_KIND_ASSET, **values
    )
    return await company.call("CreateAccount", request)


async def test_a_new_company_has_a_chart_of_accounts_as_a_tree(company: Company) -> None:
    accounts = await accounts_of(company)

    assert list(accounts) == sorted(accounts)
    assert accounts["1200"].role == "receivable"
    assert accounts["1200"].parent_id == accounts["1"].id
    assert accounts["1"].parent_id == ""
    assert {accounts[code].kind for code in ("5", "5000", "6000")} == {pb.ACCOUNT_KIND_EXPENSE}


async def test_a_company_is_set_up_once(company: Company) -> None:
    await company.found()

    assert len(await accounts_of(company)) == 19


async def test_a_company_without_books_yet_is_asked_to_come_back(
    database: Database, urls: ServiceDatabase, locks: Locks, tenant: UUID
) -> None:
    company = Company(database, urls.operator, tenant, locks)

    for name, request in (
        ("GetBillingDefaults", service_pb.GetBillingDefaultsRequest()),
        ("ListAccounts", service_pb.ListAccountsRequest()),
        ("ListTaxRates", service_pb.ListTaxRatesRequest()),
        ("GetTrialBalance", service_pb.GetTrialBalanceRequest()),
    ):
        with pytest.raises(Unavailable):
            await company.call(name, request)
    with pytest.raises(Unavailable):
        await company.invest("1")


async def test_an_account_is_added_under_another_and_can_be_posted_to(company: Company) -> None:
    assets = (await accounts_of(company))["1"]

    vans = await add_account(company, "1600", parent_id=assets.id)
    await company.write(debit("1600", "20000"), credit("1010", "20000"))

    request = service_pb.GetAccountRequest(id=vans.id)
    assert await company.call("GetAccount", request) == vans
    assert (vans.parent_id, vans.role, vans.version) == (assets.id, "", 1)
    assert (await company.balances())["1600"] == 2_000_000


async def test_an_account_is_added_only_where_it_belongs(company: Company) -> None:
    accounts = await accounts_of(company)
    plain = await add_account(company, "1600")
    await company.write(debit("1600", "1"), credit("3000", "1"))

    with pytest.raises(AccountCodeTaken):
        await add_account(company, "1200")
    with pytest.raises(AccountKindDiffers):
        await add_account(company, "1700", parent_id=accounts["2"].id)
    with pytest.raises(AccountIsProtected):
        await add_account(company, "1700", parent_id=accounts["1200"].id)
    with pytest.raises(AccountHasPostings):
        await add_account(company, "1700", parent_id=plain.id)
    with pytest.raises(NotFound):
        await add_account(company, "1700", parent_id=new_id())


async def test_a_group_is_not_posted_to(company: Company) -> None:
    with pytest.raises(GroupAccount):
        await company.write(debit("1", "5"), credit("3000", "5"))


async def test_an_account_is_never_both_a_group_and_posted_to(company: Company) -> None:
    plain = await add_account(company, "1600")

    outcomes = await asyncio.gather(
        *(add_account(company, f"16{place}", parent_id=plain.id) for place in range(10, 15)),
        *(company.write(debit("1600", "1"), credit("3000", "1")) for _ in range(5)),
        return_exceptions=True,
    )

    reasons = sorted(set(map(reason_of, outcomes)))
    assert reasons in (["ACCOUNT_HAS_POSTINGS", "OK"], ["GROUP_ACCOUNT", "OK"])


async def test_a_new_company_has_a_default_tax_rate(company: Company) -> None:
    defaults = await company.call("GetBillingDefaults", service_pb.GetBillingDefaultsRequest())

    assert (defaults.tax_rate, defaults.currency_code) == ("0.19", "EUR")


async def test_a_new_default_takes_the_place_of_the_one_before(company: Company) -> None:
    def rate(code: str) -> service_pb.CreateTaxRateRequest:
        return service_pb.CreateTaxRateRequest(code=code, name=code, rate="0.2", is_default=True)

    await asyncio.gather(*(company.call("CreateTaxRate", rate(f"new{n}")) for n in range(5)))

    rates = (await company.call("ListTaxRates", service_pb.ListTaxRatesRequest())).tax_rates
    assert sum(item.is_default for item in rates) == 1
    assert len(rates) == 8
    defaults = await company.call("GetBillingDefaults", service_pb.GetBillingDefaultsRequest())
    assert defaults.tax_rate == "0.2"
    with pytest.raises(TaxRateCodeTaken):
        await company.call("CreateTaxRate", rate("standard"))


async def test_accounts_come_in_pages_by_code(company: Company) -> None:
    codes: list[str] = []
    token = ""
    while True:
        request = service_pb.ListAccountsRequest(page_size=7, page_token=token)
        page = await company.call("ListAccounts", request)
        codes += [item.code for item in page.accounts]
        token = page.next_page_token
        if not token:
            break

    assert codes == list(await accounts_of(company))
