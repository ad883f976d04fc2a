"""Wire in, wire out: accounting's rpcs. Every rule lives in the modules that they call."""
# ruff: noqa: D102 (named by gRPC, described in the proto)

from accounting import (
    accounts,
    credit_notes,
    crediting,
    invoices,
    journal,
    manual_entries,
    payments,
    periods,
    planning,
    receiving,
    taxes,
    trial_balance,
)
from accounting.accounts import CreateAccount
from accounting.credit_notes import CreditNoteFilter
from accounting.crediting import CreditInvoice
from accounting.dates import parse_date
from accounting.entries import JournalEntry
from accounting.invoices import InvoiceFilter
from accounting.journal import EntryFilter, ReverseEntry
from accounting.manual_entries import PostDraft, WriteEntry
from accounting.payments import AllocatePayment, CreatePayment, Payment, VoidPayment
from accounting.periods import CLOSED, LOCKED, OPEN, ChangePeriod
from accounting.receiving import ResolveCustomers
from accounting.taxes import CreateTaxRate
from common import ids
from common.database import Database
from common.group_commit import GroupCommit
from common.held_locks import OpenLocks
from common.pagination import Page
from common.rehearsal import rehearsing
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb
from erp.accounting.v1 import accounting_service_pb2_grpc as rpc


class AccountingServicer(rpc.AccountingServiceServicer):
    """The books of the caller's company."""

    def __init__(
        self, database: Database, resolve_customers: ResolveCustomers, open_locks: OpenLocks
    ) -> None:
        self._database = database
        self._open_locks = open_locks
        self._posting: GroupCommit[WriteEntry | PostDraft, JournalEntry] = GroupCommit(
            database, manual_entries.post
        )
        self._receiving: GroupCommit[CreatePayment, Payment] = GroupCommit(
            database,
            receiving.receive,
            prepare=lambda commands: receiving.of_known_customers(commands, resolve_customers),
        )

    async def PlanInvoice(
        self, request: service_pb.PlanInvoiceRequest, context: object
    ) -> service_pb.PlanInvoiceResponse:
        with rehearsing():
            return await self._database.run(lambda tx: planning.plan_invoice(tx, request.event))

    async def CreateAccount(
        self, request: service_pb.CreateAccountRequest, context: object
    ) -> pb.Account:
        command = CreateAccount.from_wire(request)
        created = await self._database.run(lambda tx: accounts.create_account(tx, command))
        return created.to_wire()

    async def GetAccount(
        self, request: service_pb.GetAccountRequest, context: object
    ) -> pb.Account:
        async with self._database.read_transaction() as tx:
            return (await accounts.get_account(tx, ids.parse(request.id, "id"))).to_wire()

    async def ListAccounts(
        self, request: service_pb.ListAccountsRequest, context: object
    ) -> service_pb.ListAccountsResponse:
        async with self._database.read_transaction() as tx:
            found, token = await accounts.list_accounts(tx, Page.from_wire(request))
        wire = [item.to_wire() for item in found]
        return service_pb.ListAccountsResponse(accounts=wire, next_page_token=token)

    async def CreateJournalEntry(
        self, request: service_pb.CreateJournalEntryRequest, context: object
    ) -> pb.JournalEntry:
        command = WriteEntry.from_wire(request)
        if command.post:
            return (await self._posting.run(command)).to_wire()
        draft = await self._database.run(lambda tx: manual_entries.write_draft(tx, command))
        return draft.to_wire()

    async def GetJournalEntry(
        self, request: service_pb.GetJournalEntryRequest, context: object
    ) -> pb.JournalEntry:
        async with self._database.read_transaction() as tx:
            return (await journal.get_entry(tx, ids.parse(request.id, "id"))).to_wire()

    async def ListJournalEntries(
        self, request: service_pb.ListJournalEntriesRequest, context: object
    ) -> service_pb.ListJournalEntriesResponse:
        wanted = EntryFilter.from_wire(request)
        async with self._database.read_transaction() as tx:
            found, token = await journal.list_entries(tx, Page.from_wire(request), wanted)
        wire = [item.to_wire() for item in found]
        return service_pb.ListJournalEntriesResponse(journal_entries=wire, next_page_token=token)

    async def PostJournalEntry(
        self, request: service_pb.PostJournalEntryRequest, context: object
    ) -> pb.JournalEntry:
        return (await self._posting.run(PostDraft.from_wire(request))).to_wire()

    async def ReverseJournalEntry(
        self, request: service_pb.ReverseJournalEntryRequest, context: object
    ) -> pb.JournalEntry:
        command = ReverseEntry.from_wire(request)
        return (await self._database.run(lambda tx: journal.reverse(tx, command))).to_wire()

    async def GetPeriod(self, request: service_pb.GetPeriodRequest, context: object) -> pb.Period:
        async with self._database.read_transaction() as tx:
            return (await periods.get_period(tx, request.id)).to_wire()

    async def ListPeriods(
        self, request: service_pb.ListPeriodsRequest, context: object
    ) -> service_pb.ListPeriodsResponse:
        async with self._database.read_transaction() as tx:
            found, token = await periods.list_periods(tx, Page.from_wire(request))
        wire = [item.to_wire() for item in found]
        return service_pb.ListPeriodsResponse(periods=wire, next_page_token=token)

    async def ClosePeriod(
        self, request: service_pb.ClosePeriodRequest, context: object
    ) -> pb.Period:
        return await self._change_period(ChangePeriod(request.id, CLOSED, request.version))

    async def ReopenPeriod(
        self, request: service_pb.ReopenPeriodRequest, context: object
    ) -> pb.Period:
        return await self._change_period(ChangePeriod(request.id, OPEN, request.version))

    async def LockPeriod(self, request: service_pb.LockPeriodRequest, context: object) -> pb.Period:
        return await self._change_period(ChangePeriod(request.id, LOCKED, request.version))

    async def _change_period(self, command: ChangePeriod) -> pb.Period:
        async with self._open_locks().hold(f"period:{command.id}"):
            changed = await self._database.run(lambda tx: periods.change_period(tx, command))
        return changed.to_wire()

    async def CreditInvoice(
        self, request: service_pb.CreditInvoiceRequest, context: object
    ) -> pb.CreditNote:
        command = CreditInvoice.from_wire(request)
        note = await self._database.run(lambda tx: crediting.credit_invoice(tx, command))
        return note.to_wire()

    async def GetInvoice(
        self, request: service_pb.GetInvoiceRequest, context: object
    ) -> pb.Invoice:
        async with self._database.read_transaction() as tx:
            return (await invoices.get_invoice(tx, ids.parse(request.id, "id"))).to_wire()

    async def ListInvoices(
        self, request: service_pb.ListInvoicesRequest, context: object
    ) -> service_pb.ListInvoicesResponse:
        wanted = InvoiceFilter.from_wire(request)
        async with self._database.read_transaction() as tx:
            found, token = await invoices.list_invoices(tx, Page.from_wire(request), wanted)
        wire = [item.to_wire() for item in found]
        return service_pb.ListInvoicesResponse(invoices=wire, next_page_token=token)

    async def GetCreditNote(
        self, request: service_pb.GetCreditNoteRequest, context: object
    ) -> pb.CreditNote:
        async with self._database.read_transaction() as tx:
            return (await credit_notes.get_credit_note(tx, ids.parse(request.id, "id"))).to_wire()

    async def ListCreditNotes(
        self, request: service_pb.ListCreditNotesRequest, context: object
    ) -> service_pb.ListCreditNotesResponse:
        wanted = CreditNoteFilter.from_wire(request)
        async with self._database.read_transaction() as tx:
            found, token = await credit_notes.list_credit_notes(tx, Page.from_wire(request), wanted)
        wire = [item.to_wire() for item in found]
        return service_pb.ListCreditNotesResponse(credit_notes=wire, next_page_token=token)

    async def CreatePayment(
        self, request: service_pb.CreatePaymentRequest, context: object
    ) -> pb.Payment:
        return (await self._receiving.run(CreatePayment.from_wire(request))).to_wire()

    async def GetPayment(
        self, request: service_pb.GetPaymentRequest, context: object
    ) -> pb.Payment:
        async with self._database.read_transaction() as tx:
            return (await payments.get_payment(tx, ids.parse(request.id, "id"))).to_wire()

    async def ListPayments(
        self, request: service_pb.ListPaymentsRequest, context: object
    ) -> service_pb.ListPaymentsResponse:
        customer_id = ids.parse_optional(request.customer_id, "customer_id")
        async with self._database.read_transaction() as tx:
            found, token = await payments.list_payments(tx, Page.from_wire(request), customer_id)
        wire = [item.to_wire() for item in found]
        return service_pb.ListPaymentsResponse(payments=wire, next_page_token=token)

    async def AllocatePayment(
        self, request: service_pb.AllocatePaymentRequest, context: object
    ) -> pb.Payment:
        command = AllocatePayment.from_wire(request)
        return (await self._database.run(lambda tx: receiving.allocate(tx, command))).to_wire()

    async def VoidPayment(
        self, request: service_pb.VoidPaymentRequest, context: object
    ) -> pb.Payment:
        command = VoidPayment.from_wire(request)
        return (await self._database.run(lambda tx: receiving.void(tx, command))).to_wire()

    async def CreateTaxRate(
        self, request: service_pb.CreateTaxRateRequest, context: object
    ) -> pb.TaxRate:
        command = CreateTaxRate.from_wire(request)
        return (await self._database.run(lambda tx: taxes.create_tax_rate(tx, command))).to_wire()

    async def ListTaxRates(
        self, request: service_pb.ListTaxRatesRequest, context: object
    ) -> service_pb.ListTaxRatesResponse:
        async with self._database.read_transaction() as tx:
            found, token = await taxes.list_tax_rates(tx, Page.from_wire(request))
        wire = [item.to_wire() for item in found]
        return service_pb.ListTaxRatesResponse(tax_rates=wire, next_page_token=token)

    async def GetTrialBalance(
        self, request: service_pb.GetTrialBalanceRequest, context: object
    ) -> service_pb.TrialBalance:
        as_of = parse_date(request.as_of, "as_of") if request.HasField("as_of") else None
        async with self._database.read_transaction() as tx:
            return (await trial_balance.weigh(tx, as_of)).to_wire()

    async def GetBillingDefaults(
        self, request: service_pb.GetBillingDefaultsRequest, context: object
    ) -> service_pb.BillingDefaults:
        async with self._database.read_transaction() as tx:
            return (await taxes.billing_defaults(tx)).to_wire()
