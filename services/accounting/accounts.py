"""The accounts of a company: a tree, of which only the leaves can be posted to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from sqlalchemy import Row, exists, insert, select, text

from accounting.books import PostingAccount, currency_of_books, open_books
from accounting.chart import TEMPLATE
from accounting.errors import (
    AccountCodeTaken,
    AccountHasPostings,
    AccountIsProtected,
    AccountKindDiffers,
    GroupAccount,
)
from accounting.tables import account_totals, accounts
from common import ids
from common.bulk import insert_rows
from common.database import Transaction, translating
from common.errors import NotFound
from common.listing import Listing
from common.pagination import Page
from common.wire import enum_value, enum_word, timestamp
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb

_LIST = Listing(service_pb.ListAccountsRequest, accounts.c, "code")


@dataclass(frozen=True)
class CreateAccount:
    """Add an account, at the top or under another."""

    code: str
    name: str
    kind: str
    parent_id: UUID | None

    @classmethod
    def from_wire(cls, request: service_pb.CreateAccountRequest) -> Self:
        """Read the request."""
        kind = enum_word(pb.AccountKind, request.kind)
        parent_id = ids.parse(request.parent_id, "parent_id") if request.parent_id else None
        return cls(request.code, request.name, kind, parent_id)


@dataclass(frozen=True)
class Account:
    """A place in the books that amounts are posted to."""

    id: UUID
    code: str
    name: str
    kind: str
    parent_id: UUID | None
    role: str
    version: int
    created_at: datetime

    @classmethod
    def of(cls, row: Row[tuple[object, ...]]) -> Self:
        """Read a row of the table."""
        names = ("id", "code", "name", "kind", "parent_id", "role", "version", "created_at")
        return cls(*(getattr(row, name) for name in names))

    def to_wire(self) -> pb.Account:
        """The account as it travels."""
        return pb.Account(
            id=str(self.id),
            code=self.code,
            name=self.name,
            kind=enum_value(pb.AccountKind, self.kind),
            parent_id=str(self.parent_id or ""),
            role=self.role,
            version=self.version,
            create_time=timestamp(self.created_at),
        )


@dataclass(frozen=True)
class Chart:
    """The accounts that some entries name."""

    postable: Mapping[str, PostingAccount]
    groups: frozenset[str]

    def get(self, code: str) -> PostingAccount:
        """The account to post to.

        Raises:
            NotFound: no account has this code.
            GroupAccount: it groups others.
        """
        if code in self.groups:
            raise GroupAccount(code)
        account = self.postable.get(code)
        if account is None:
            raise NotFound("account", code)
        return account


async def open_chart(tx: Transaction) -> None:
    """Give a new company the accounts of the template."""
    new_ids = {item.code: ids.new() for item in TEMPLATE}
    rows = [
        {
            "id": new_ids[item.code],
            "code": item.code,
            "name": item.name,
            "kind": item.kind,
            "parent_id": new_ids.get(item.parent_code),
            "role": item.role,
        }
        for item in TEMPLATE
    ]
    await insert_rows(tx, accounts, rows)


async def create_account(tx: Transaction, command: CreateAccount) -> Account:
    """Add an account.

    Raises:
        NotFound: the account that it is to belong under does not exist.
        AccountKindDiffers, AccountIsProtected, AccountHasPostings: it cannot belong under that one.
        AccountCodeTaken: another account has the code.
    """
    # While the books are held, nobody posts to the parent.
    await open_books(tx)
    if command.parent_id is not None:
        await _demand_group(tx, command.parent_id, command.kind)
    new = insert(accounts).values(id=ids.new(), **vars(command)).returning(accounts)
    with translating({"accounts_code": AccountCodeTaken(command.code)}):
        row = (await tx.execute(new)).one()
    return Account.of(row)


async def get_account(tx: Transaction, account_id: UUID) -> Account:
    """Read one account.

    Raises:
        NotFound: it does not exist.
    """
    row = await tx.row(select(accounts).where(accounts.c.id == account_id))
    if row is None:
        raise NotFound("account", account_id)
    return Account.of(row)


async def list_accounts(tx: Transaction, page: Page) -> tuple[list[Account], str]:
    """A page of accounts by code, and the token of the next page.

    Raises:
        Unavailable: the company's books have not been opened yet.
    """
    await currency_of_books(tx)
    rows, token = await _LIST.read(tx, select(accounts), page)
    return [Account.of(row) for row in rows], token


_BY_CODE = text("""
    SELECT account.id, account.code,
           EXISTS (
               SELECT FROM accounts AS child
               WHERE child.tenant_id = account.tenant_id AND child.parent_id = account.id
           ) AS is_group
    FROM accounts AS account WHERE account.code = ANY(CAST(:codes AS text[]))
""")


async def chart_of(tx: Transaction, codes: Iterable[str]) -> Chart:
    """Those accounts of the company that have one of these codes."""
    rows = await tx.rows(_BY_CODE, {"codes": sorted(set(codes))})
    postable = {row.code: PostingAccount(row.id, row.code) for row in rows if not row.is_group}
    return Chart(postable, frozenset(row.code for row in rows if row.is_group))


async def _demand_group(tx: Transaction, account_id: UUID, kind: str) -> None:
    parent = await get_account(tx, account_id)
    if parent.kind != kind:
        raise AccountKindDiffers(kind, parent.kind)
    if parent.role:
        raise AccountIsProtected(parent.code, parent.role)
    if await tx.scalar(select(exists().where(account_totals.c.account_id == account_id))):
        raise AccountHasPostings(parent.code)
