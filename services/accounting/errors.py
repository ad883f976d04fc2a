"""The rules of accounting, as the errors that their violation raises."""

from dataclasses import dataclass
from uuid import UUID

from common.errors import BrokenRule


@dataclass(eq=False)
class CurrencyNotKept(BrokenRule):
    """The books are kept in one currency."""

    detail = "The books are kept in {kept}, not in {currency}."

    currency: str
    kept: str


@dataclass(eq=False)
class UnbalancedEntry(BrokenRule):
    """An entry's debits equal its credits."""

    detail = "The entry's debits are {debit} {currency} and its credits are {credit} {currency}."

    debit: str
    credit: str
    currency: str


@dataclass(eq=False)
class GroupAccount(BrokenRule):
    """Amounts are posted to accounts that have none below them."""

    detail = "Account {account_code} groups others; post to one of those."

    account_code: str


@dataclass(eq=False)
class AccountCodeTaken(BrokenRule):
    """A code names one account."""

    detail = "There is an account {account_code} already."

    account_code: str


@dataclass(eq=False)
class AccountKindDiffers(BrokenRule):
    """An account is of the kind of the account it belongs under."""

    detail = "An account of kind {kind} cannot belong under one of kind {parent_kind}."

    kind: str
    parent_kind: str


@dataclass(eq=False)
class AccountIsProtected(BrokenRule):
    """What the system posts to stays as it is."""

    detail = "The system posts to account {account_code} as {role}; nothing can belong under it."

    account_code: str
    role: str


@dataclass(eq=False)
class AccountHasPostings(BrokenRule):
    """An account that amounts were posted to cannot become a group."""

    detail = "Amounts were posted to account {account_code}; nothing can belong under it."

    account_code: str


@dataclass(eq=False)
class EntryAlreadyPosted(BrokenRule):
    """An entry is posted once."""

    detail = "Journal entry {entry_id} has been posted already."

    entry_id: UUID


@dataclass(eq=False)
class EntryNotPosted(BrokenRule):
    """A draft does not count, so there is nothing to take back."""

    detail = "This entry is a draft. Only posted entries can be reversed."

    entry_id: UUID


@dataclass(eq=False)
class EntryAlreadyReversed(BrokenRule):
    """An entry is taken back once."""

    detail = "Entry {number} has been reversed already."

    entry_id: UUID
    number: str
    reversed_by_id: UUID


@dataclass(eq=False)
class EntryBelongsToRecord(BrokenRule):
    """The entry of a record is taken back together with its record."""

    detail = "Entry {number} belongs to {source_kind} {source_id}: take that back instead."

    entry_id: UUID
    number: str
    source_kind: str
    source_id: UUID


@dataclass(eq=False)
class PeriodIsClosed(BrokenRule):
    """Nothing counts for a day of a closed period but what counted when it was closed."""

    detail = "Period {period_id} is closed. Choose a later day, or reopen it."

    period_id: str


@dataclass(eq=False)
class PeriodNotBegun(BrokenRule):
    """Only a period that has begun can be closed."""

    detail = "Period {period_id} has not begun yet."

    period_id: str


@dataclass(eq=False)
class PeriodHasDrafts(BrokenRule):
    """A draft in a closed period could never be posted."""

    detail = "{drafts} drafts are dated in period {period_id}. Post them first."

    period_id: str
    drafts: int


@dataclass(eq=False)
class PeriodStateForbids(BrokenRule):
    """An open period can be closed, a closed one reopened or locked, a locked one nothing."""

    detail = "Period {period_id} is {state}, so it cannot become {wanted}."

    period_id: str
    state: str
    wanted: str


@dataclass(eq=False)
class InvoiceNotOpen(BrokenRule):
    """Only an invoice on which something is due can be paid."""

    detail = "Nothing is due on invoice {number}: it is {state}."

    invoice_id: UUID
    number: str
    state: str


@dataclass(eq=False)
class InvoiceOfAnotherCustomer(BrokenRule):
    """A payment pays invoices of the customer who paid."""

    detail = "Invoice {number} is owed by another customer."

    invoice_id: UUID
    number: str


@dataclass(eq=False)
class PaymentExceedsInvoice(BrokenRule):
    """No more is paid on an invoice than is due."""

    detail = "Only {amount_due} {currency} is due on invoice {number}, not {amount}."

    invoice_id: UUID
    number: str
    amount_due: str
    amount: str
    currency: str


@dataclass(eq=False)
class AllocationsExceedPayment(BrokenRule):
    """A payment pays no more than it has left."""

    detail = "The payment has {unallocated} {currency} left, {allocated} was to be allocated."

    unallocated: str
    allocated: str
    currency: str


@dataclass(eq=False)
class PaymentIsVoided(BrokenRule):
    """A payment that was taken back does not count."""

    detail = "Payment {number} has been voided."

    payment_id: UUID
    number: str


@dataclass(eq=False)
class TaxRateCodeTaken(BrokenRule):
    """A code names one tax rate."""

    detail = "There is a tax rate {code} already."

    code: str


@dataclass(eq=False)
class OrderWithoutInvoice(BrokenRule):
    """An order that is called off had been invoiced."""

    detail = "Order {order_id} has no invoice to credit."

    order_id: UUID


@dataclass(eq=False)
class InvoiceAlreadyCredited(BrokenRule):
    """An invoice is credited once."""

    detail = "Invoice {number} has been credited already."

    invoice_id: UUID
    number: str


@dataclass(eq=False)
class CreditsMoreThanInvoiced(BrokenRule):
    """No more of an invoice's line is taken back than is left of it."""

    detail = "{requested} of {sku} cannot be credited: {left} are left on the invoice."

    order_line_id: UUID
    sku: str
    requested: str
    left: str


@dataclass(eq=False)
class OrderAmountsDisagree(BrokenRule):
    """An order's amounts are the sums of its lines', none of them negative."""

    detail = "The lines of order {order_id} do not add up to its amounts."

    order_id: UUID
