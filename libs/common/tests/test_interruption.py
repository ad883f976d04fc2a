"""A task that is to end ends between transactions, never inside one."""

import asyncio

import pytest

from common.interruption import Interrupted, Interruption, holding


class Enough(Interrupted):
    pass


class Handler:
    """Does one thing after another, and says how far it came."""

    def __init__(self) -> None:
        self.interruption = Interruption()
        self.steps: list[str] = []
        self.going_on = asyncio.Event()
        self.entered = asyncio.Event()

    async def run(self) -> None:
        with self.interruption.allowed():
            await self.first()
            with holding():
                self.steps.append("second")

    async def first(self) -> None:
        with holding():
            self.entered.set()
            await self.going_on.wait()
            self.steps.append("first")

    async def wait_alone(self) -> None:
        with self.interruption.allowed():
            self.entered.set()
            await self.going_on.wait()
            self.steps.append("waited")


async def test_who_holds_a_connection_is_stopped_at_the_end_of_its_transaction() -> None:
    handler = Handler()
    task = asyncio.create_task(handler.run())
    await handler.entered.wait()

    handler.interruption.interrupt(Enough())
    await asyncio.sleep(0)
    handler.going_on.set()

    with pytest.raises(Enough):
        await task
    assert handler.steps == ["first"]
    assert task.cancelling() == 0


async def test_who_waits_outside_is_stopped_where_it_waits() -> None:
    handler = Handler()
    task = asyncio.create_task(handler.wait_alone())
    await handler.entered.wait()

    handler.interruption.interrupt(Enough())

    with pytest.raises(asyncio.CancelledError):
        await task
    assert handler.steps == []


async def test_who_ignores_being_stopped_begins_no_other_transaction() -> None:
    interruption = Interruption()
    began = False

    async def stubborn() -> None:
        nonlocal began
        with interruption.allowed():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                with holding():
                    began = True

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    interruption.interrupt(Enough())

    with pytest.raises(Enough):
        await task
    assert not began


async def test_a_child_that_holds_a_connection_keeps_its_parent_from_being_struck() -> None:
    handler = Handler()

    async def parent() -> None:
        with handler.interruption.allowed():
            await asyncio.gather(handler.first(), asyncio.sleep(0))

    task = asyncio.create_task(parent())
    await handler.entered.wait()
    handler.interruption.interrupt(Enough())
    await asyncio.sleep(0)
    handler.going_on.set()

    with pytest.raises(Enough):
        await task
    assert handler.steps == ["first"]
