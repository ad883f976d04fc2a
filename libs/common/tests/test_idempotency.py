"""A request that names itself has effect once, whoever carries it out, however often it comes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import pytest
from sqlalchemy import text

from common import ids, trailers
from common.caller import Caller, acting_as
from common.database import Database, Transaction
from common.errors import DomainError, InvalidRequest, NotFound
from common.group_commit import GroupCommit
from common.idempotency import IdempotencyKeyInProgress, IdempotencyKeyReused
from common.repetitions import NotAnsweredBefore, Repetitions, refuse_first
from common.rpc_policy import read_policies
from common.testing import as_user
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api

POLICIES = read_policies(api.DESCRIPTOR.services_by_name["InventoryService"])
CREATE = POLICIES["/erp.inventory.v1.InventoryService/CreateProduct"]
GET = POLICIES["/erp.inventory.v1.InventoryService/GetProduct"]
_INSERT = text("INSERT INTO notes (id, body) VALUES (:id, :body)")
_COUNT = text("SELECT count(*) FROM notes")


class Note:
    """An outcome that becomes a message, as those of services do."""

    def __init__(self, sku: str) -> None:
        self.sku = sku

    def to_wire(self) -> pb.Product:
        return pb.Product(sku=self.sku)


class Shop:
    """One process of a service: stores a note for each request, alone or in groups."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.repetitions = Repetitions(database)
        self.storing = GroupCommit[str, Note](database, self.store)
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self.in_transaction = asyncio.Event()

    async def store(self, tx: Transaction, skus: Sequence[str]) -> list[Note | DomainError]:
        good = [sku for sku in skus if sku != "refused"]
        for _ in good:
            await tx.execute(_INSERT, {"id": ids.new(), "body": str(ids.new())})
        self.in_transaction.set()
        await self.may_commit.wait()
        return [NotFound("product", sku) if sku == "refused" else Note(sku) for sku in skus]

    async def alone(self, sku: str) -> pb.Product:
        async def work(tx: Transaction) -> Note:
            (outcome,) = await self.store(tx, [sku])
            if isinstance(outcome, DomainError):
                raise outcome
            return outcome

        return (await self.database.run(work)).to_wire()

    async def grouped(self, sku: str) -> pb.Product:
        return (await self.storing.run(sku)).to_wire()

    async def ask(self, key: str | None, sku: str = "OAK", *, way: str = "grouped") -> pb.Product:
        carry_out: Callable[[str], Awaitable[pb.Product]] = getattr(self, way)
        request = api.CreateProductRequest(sku=sku)
        answer = await self.repetitions.answer(CREATE, request, key, lambda: carry_out(sku))
        assert isinstance(answer, pb.Product)
        return answer

    async def notes(self) -> int:
        async with self.database.read_transaction() as tx:
            return int(await tx.scalar(_COUNT))


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


@pytest.mark.parametrize("way", ["alone", "grouped"])
async def test_a_repeated_request_gets_its_first_answer_and_nothing_happens(
    shop: Shop, database: Database, tenant: UUID, way: str
) -> None:
    with as_user(tenant):
        first = await shop.ask("k-1", way=way)
        carried = trailers.collect()
        again = await Shop(database).ask("k-1", way=way)

        assert again == first
        assert carried == {trailers.IDEMPOTENT_REPLAYED: "true"}
        assert await shop.notes() == 1


async def test_a_hundred_twins_in_many_processes_have_one_effect(
    database: Database, tenant: UUID
) -> None:
    processes = [Shop(database) for _ in range(10)]

    with as_user(tenant):
        outcomes = await asyncio.gather(
            *(processes[number % 10].ask("k-1") for number in range(100)), return_exceptions=True
        )

        answers = [outcome for outcome in outcomes if isinstance(outcome, pb.Product)]
        others = [outcome for outcome in outcomes if not isinstance(outcome, pb.Product)]
        assert answers
        assert {type(other) for other in others} <= {IdempotencyKeyInProgress}
        assert await processes[0].notes() == 1


async def test_a_twin_of_another_process_is_told_that_the_first_still_runs(
    shop: Shop, database: Database, tenant: UUID
) -> None:
    shop.may_commit.clear()
    with as_user(tenant):
        first = asyncio.create_task(shop.ask("k-1"))
        await shop.in_transaction.wait()

        with pytest.raises(IdempotencyKeyInProgress) as running:
            await Shop(database).ask("k-1")

        shop.may_commit.set()
        await first
    assert running.value.retry_after_seconds == 1.0


async def test_a_key_with_another_request_is_refused(shop: Shop, tenant: UUID) -> None:
    with as_user(tenant):
        await shop.ask("k-1", "OAK")

        with pytest.raises(IdempotencyKeyReused):
            await shop.ask("k-1", "PINE")

        assert await shop.notes() == 1


@pytest.mark.parametrize("way", ["alone", "grouped"])
async def test_a_request_that_failed_had_no_effect_and_may_come_again(
    shop: Shop, tenant: UUID, way: str
) -> None:
    with as_user(tenant):
        with pytest.raises(NotFound):
            await shop.ask("k-1", "refused", way=way)

        assert (await shop.ask("k-1", "OAK", way=way)).sku == "OAK"
        assert await shop.notes() == 1


async def test_keys_of_others_are_other_keys(shop: Shop, tenant: UUID) -> None:
    callers = [
        Caller(tenant, "user:alice", frozenset({"*"})),
        Caller(tenant, "user:bob", frozenset({"*"})),
        Caller(ids.new(), "user:alice", frozenset({"*"})),
    ]

    for sku, caller in zip(("A", "B", "C"), callers, strict=True):
        with acting_as(caller):
            assert (await shop.ask("k-1", sku)).sku == sku


async def test_in_a_group_only_what_comes_again_is_left_out(shop: Shop, tenant: UUID) -> None:
    with as_user(tenant):
        await shop.ask("k-2", "second")

        answers = await asyncio.gather(
            shop.ask("k-1", "first"), shop.ask("k-2", "second"), shop.ask(None, "third")
        )

        assert [answer.sku for answer in answers] == ["first", "second", "third"]
        assert await shop.notes() == 3


async def test_without_a_key_each_request_is_new(shop: Shop, tenant: UUID) -> None:
    with as_user(tenant):
        await shop.ask(None)
        await shop.ask(None)

        assert await shop.notes() == 2


async def test_what_only_reads_is_read_each_time(shop: Shop, tenant: UUID) -> None:
    answers = iter((pb.Product(sku="OLD"), pb.Product(sku="NEW")))

    async def read() -> pb.Product:
        return next(answers)

    with as_user(tenant):
        request = api.GetProductRequest()
        seen = [await shop.repetitions.answer(GET, request, "k-1", read) for _ in range(2)]

    assert seen == [pb.Product(sku="OLD"), pb.Product(sku="NEW")]


@pytest.mark.parametrize("key", ["", "two words", "ä", "x" * 256])
async def test_a_malformed_key_is_refused(shop: Shop, tenant: UUID, key: str) -> None:
    with as_user(tenant), pytest.raises(InvalidRequest) as refused:
        await shop.ask(key)

    assert refused.value.violations[0].pointer == "/idempotency-key"


async def test_who_may_only_repeat_gets_the_first_answer_or_none(
    database: Database, tenant: UUID
) -> None:
    shop, request = Shop(database), api.CreateProductRequest(sku="OAK")

    with as_user(tenant):
        with pytest.raises(NotAnsweredBefore):
            await shop.repetitions.answer(CREATE, request, "key", refuse_first)
        first = await shop.ask("key")
        again = await shop.repetitions.answer(CREATE, request, "key", refuse_first)

    assert again == first
