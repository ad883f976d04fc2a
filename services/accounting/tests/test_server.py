"""Accounting as others reach it: over gRPC, with its own checks and its call to sales."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest

from accounting.app import customers_of
from accounting.errors import UnbalancedEntry
from accounting.servicer import AccountingServicer
from accounting.tests.company import Company, credit, debit, eur, new_id
from common import caller, ids
from common.errors import DomainError, StatusCode
from common.rpc_testing import channel_to, serving
from common.server import Service
from common.testing import as_user
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.accounting.v1 import accounting_service_pb2_grpc as rpc
from erp.sales.v1 import sales_pb2, sales_service_pb2, sales_service_pb2_grpc

ACCOUNTING = service_pb.DESCRIPTOR.services_by_name["AccountingService"]
SALES = sales_service_pb2.DESCRIPTOR.services_by_name["SalesService"]


class TinySales(sales_service_pb2_grpc.SalesServiceServicer):
    """Knows one customer of each tenant: the one whose id is the tenant's."""

    async def ResolveCustomers(self, request: Any, context: Any) -> Any:
        known = str(caller.current().tenant_id)
        found = [sales_pb2.Customer(id=known)] if known in request.customer_ids else []
        return sales_service_pb2.ResolveCustomersResponse(customers=found)


@pytest.fixture
async def accounting(company: Company) -> AsyncIterator[rpc.AccountingServiceStub]:
    """A stub of a served accounting, which asks a served sales."""
    register_sales = sales_service_pb2_grpc.add_SalesServiceServicer_to_server
    async with AsyncExitStack() as opened:
        tiny = Service(SALES, register_sales, TinySales())
        sales = await opened.enter_async_context(serving("sales", tiny))
        to_sales = await opened.enter_async_context(
            channel_to(f"127.0.0.1:{sales.port}", "sales", SALES, caller="accounting")
        )
        resolve = customers_of(sales_service_pb2_grpc.SalesServiceStub(to_sales))
        servicer = AccountingServicer(company.database, resolve, lambda: company.locks)
        own = Service(ACCOUNTING, rpc.add_AccountingServiceServicer_to_server, servicer)
        server = await opened.enter_async_context(serving("accounting", own))
        channel = await opened.enter_async_context(
            channel_to(f"127.0.0.1:{server.port}", "accounting", ACCOUNTING)
        )
        yield rpc.AccountingServiceStub(channel)


def payment(customer_id: UUID | str, amount: str = "10.00") -> service_pb.CreatePaymentRequest:
    return service_pb.CreatePaymentRequest(
        customer_id=str(customer_id), amount=eur(amount), method=pb.PAYMENT_METHOD_CASH
    )


async def test_who_may_record_payments_need_not_be_allowed_to_read_customers(
    accounting: rpc.AccountingServiceStub, company: Company
) -> None:
    with as_user(company.tenant_id, "accounting.payments.write"):
        received = await accounting.CreatePayment(payment(company.tenant_id))
        with pytest.raises(DomainError) as unknown:
            await accounting.CreatePayment(payment(ids.new()))

    assert received.number.startswith("PAY-")
    assert unknown.value.status is StatusCode.NOT_FOUND


async def test_a_broken_rule_arrives_with_its_values(
    accounting: rpc.AccountingServiceStub, company: Company
) -> None:
    lines = [debit("1000", "10"), credit("3000", "9")]
    request = service_pb.CreateJournalEntryRequest(description="x", lines=lines, post=True)

    with company.user(), pytest.raises(DomainError) as refused:
        await accounting.CreateJournalEntry(request)

    assert refused.value.status is StatusCode.FAILED_PRECONDITION
    assert refused.value.reason == UnbalancedEntry.reason
    assert refused.value.values() == {"debit": "10.00", "credit": "9.00", "currency": "EUR"}


def entry(amount: str = "1", date: str | None = None) -> service_pb.CreateJournalEntryRequest:
    lines = [debit("1000", amount), credit("3000", amount)]
    return service_pb.CreateJournalEntryRequest(description="x", lines=lines, post=True, date=date)


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        *(("CreateJournalEntry", entry(amount)) for amount in ("1e999", "NaN", "-1", "", "0.001")),
        *(("CreateJournalEntry", entry(date=day)) for day in ("2026-02-30", "0000-01-01", "today")),
        ("CreateJournalEntry", entry("1" * 14)),
        ("CreateJournalEntry", service_pb.CreateJournalEntryRequest(description="x")),
        ("GetJournalEntry", service_pb.GetJournalEntryRequest(id="7")),
        ("ListJournalEntries", service_pb.ListJournalEntriesRequest(page_token="x")),
        ("ListJournalEntries", service_pb.ListJournalEntriesRequest(source_kind="wish")),
        ("ListAccounts", service_pb.ListAccountsRequest(page_size=-1)),
        ("ListInvoices", service_pb.ListInvoicesRequest(order_id="order")),
        ("GetTrialBalance", service_pb.GetTrialBalanceRequest(as_of="2026-02-31")),
        ("CreateTaxRate", service_pb.CreateTaxRateRequest(code="x", name="x", rate="1.5")),
        ("CreateTaxRate", service_pb.CreateTaxRateRequest(code="X", name="x", rate="0.5")),
        ("CreateAccount", service_pb.CreateAccountRequest(code="1", name="x")),
        ("CreatePayment", payment(new_id(), "0.00")),
        ("CreatePayment", service_pb.CreatePaymentRequest(customer_id=new_id())),
        ("AllocatePayment", service_pb.AllocatePaymentRequest(id=new_id())),
    ],
)
async def test_nonsense_is_an_invalid_request(
    accounting: rpc.AccountingServiceStub, company: Company, name: str, request_: Any
) -> None:
    with company.user(), pytest.raises(DomainError) as refused:
        await getattr(accounting, name)(request_)

    assert refused.value.status is StatusCode.INVALID_ARGUMENT
    assert await company.balances() == {}
