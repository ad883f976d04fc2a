import asyncio

import pytest
from fault_proxy import FaultProxy
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from common import ids
from common.shared_redis import SharedRedis


@pytest.fixture
async def proxied(servers):
    """A client of Redis behind a proxy, and the proxy."""
    async with FaultProxy(servers.valkey.port) as proxy:
        redis = SharedRedis.from_url(
            f"redis://127.0.0.1:{proxy.port}/0", socket_timeout=2, retry=Retry(NoBackoff(), 0)
        )
        yield redis, proxy
        await redis.aclose()


async def connections_of(redis, name):
    return [one for one in await redis.client_list() if one["name"] == name]


async def test_each_task_gets_the_answer_to_its_own_question(proxied):
    redis, _ = proxied
    words = [str(ids.new()) for _ in range(200)]

    answers = await asyncio.gather(*(redis.echo(word) for word in words))

    assert answers == [word.encode() for word in words]


async def test_many_tasks_share_one_connection(proxied):
    redis, _ = proxied
    name = f"shared-{ids.new()}"
    await redis.client_setname(name)

    await asyncio.gather(*(redis.ping() for _ in range(50)))

    assert len(await connections_of(redis, name)) == 1
    assert {await redis.client_getname() for _ in range(5)} == {name}


async def test_a_refusal_reaches_who_asked_and_nobody_else(proxied):
    redis, _ = proxied
    key = f"text:{ids.new()}"
    await redis.set(key, "no number")

    outcomes = await asyncio.gather(
        redis.ping(), redis.incr(key), redis.get(key), return_exceptions=True
    )

    assert outcomes[0] is True
    assert isinstance(outcomes[1], ResponseError)
    assert outcomes[2] == b"no number"


async def test_a_task_that_leaves_does_not_shift_the_answers_of_the_others(proxied):
    redis, _ = proxied
    leaving = [asyncio.create_task(redis.echo(f"left {number}")) for number in range(20)]
    await asyncio.sleep(0)
    for task in leaving[::2]:
        task.cancel()

    assert await redis.echo("stayed") == b"stayed"
    assert await leaving[1] == b"left 1"


async def test_after_a_silence_the_next_question_has_a_new_connection(proxied):
    redis, proxy = proxied
    await redis.ping()
    proxy.stall()
    with pytest.raises(TimeoutError):
        await redis.echo("late")

    await proxy.pass_all()

    # What was asked before is not answered to whoever asks next.
    assert await redis.echo("new") == b"new"


async def test_a_lost_connection_fails_all_that_wait_and_is_made_anew(proxied):
    redis, proxy = proxied
    await redis.ping()
    proxy.cut_reply(b"ECHO")

    outcomes = await asyncio.gather(redis.echo("one"), redis.echo("two"), return_exceptions=True)

    assert all(isinstance(outcome, RedisError) for outcome in outcomes)
    assert await redis.echo("three") == b"three"
