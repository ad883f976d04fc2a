import asyncio

from common.tasks import end


async def test_a_task_that_forgets_a_cancellation_is_ended_all_the_same():
    forgotten = asyncio.Event()

    async def forgetful():
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if forgotten.is_set():
                    raise
                forgotten.set()

    task = asyncio.create_task(forgetful())
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await end(task)

    assert forgotten.is_set()
    assert task.cancelled()


async def test_what_an_ended_task_raises_reaches_nobody():
    async def fails():
        raise ValueError

    await end(asyncio.create_task(fails()), asyncio.create_task(asyncio.sleep(60)))
