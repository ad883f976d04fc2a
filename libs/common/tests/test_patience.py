"""A request that has waited for Redis in vain asks it nothing more."""

from redis.asyncio import Redis

from common import ids, patience, rate_limit
from common.rate_limit import Bucket, RateLimiter


async def test_who_waited_in_vain_is_counted_without_redis_until_the_next_request(
    servers, monkeypatch
):
    monkeypatch.setattr(rate_limit, "ANSWER_SECONDS", 10.0)
    key = f"rate_limit:{ids.new()}"
    async with Redis.from_url(servers.valkey.url) as redis:
        limiter, buckets = RateLimiter(redis), [Bucket("user", key, 5, 60.0)]
        patience.begin()
        patience.lose()
        in_vain = await limiter.take(buckets)
        asked = await redis.exists(key)

        patience.begin()
        await limiter.take(buckets)

        assert (in_vain.taken, asked) == (True, 0)
        assert await redis.exists(key)
