"""What Redis does for locks: each step is one script, so nobody sees half of it.

A lock is a string (its holder's token) that expires; who waits for it stands in a sorted set by the
server's time. Both live in one slot of a Cluster. A token begins with the channel on which its
process is woken.
"""

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoScriptError

from common.held_locks import Lock

__all__ = ["CLAIM_SECONDS", "LockScripts"]

# Who is handed a lock confirms within this time; if it died meanwhile, the next one waits so long.
CLAIM_SECONDS = 0.3
# A queue that nobody asks about is forgotten; who stands in it asks far more often.
_QUEUE_SECONDS = 10
# Questions at the same time; further ones wait for a connection.
_CONNECTIONS = 16

_HAND_OVER = """
-- Hands a free lock to the first in its queue who is still there; returns who that is, or false.
local function hand_over(lock, queue, me, claim, subscribers_count)
  while true do
    local first = redis.call('ZPOPMIN', queue)[1]
    if not first then return false end
    if first == me then return me end
    redis.call('SET', lock, first, 'PX', claim)
    local heard = redis.call('PUBLISH', string.match(first, '^(.*)/'), first)
    if heard > 0 or subscribers_count == '0' then return first end
  end
end
"""

# Returns {0, 0} when all is taken, else the number of the first busy lock and its ms to live.
_ASK = f"""#!lua
{_HAND_OVER}
local me, ttl, claim, may_wait, counted = unpack(ARGV)
for i = 1, #KEYS, 2 do
  local lock, queue = KEYS[i], KEYS[i + 1]
  local holder = redis.call('GET', lock) or hand_over(lock, queue, me, claim, counted) or me
  if holder ~= me then
    if may_wait == '1' then
      local now = redis.call('TIME')
      redis.call('ZADD', queue, 'NX', now[1] .. string.format('%06d', now[2]), me)
      redis.call('EXPIRE', queue, {_QUEUE_SECONDS})
    end
    return {{(i + 1) / 2, math.max(redis.call('PTTL', lock), 1)}}
  end
  redis.call('SET', lock, me, 'PX', ttl)
end
return {{0, 0}}
"""

# Gives up what is ours, and our places in queues. Frees memory, so it may run without any.
_RELEASE = f"""#!lua flags=allow-oom
{_HAND_OVER}
local me, claim, counted = unpack(ARGV)
for i = 1, #KEYS, 2 do
  local lock, queue = KEYS[i], KEYS[i + 1]
  if redis.call('GET', lock) ~= me then
    redis.call('ZREM', queue, me)
  elseif not hand_over(lock, queue, me, claim, counted) then
    redis.call('DEL', lock)
  end
end
return 1
"""

# Returns 1 when every lock was still ours and lives on.
_RENEW = """#!lua flags=allow-oom
for i = 1, #KEYS, 2 do
  if redis.call('GET', KEYS[i]) ~= ARGV[1] then return 0 end
end
for i = 1, #KEYS, 2 do redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
return 1
"""


class LockScripts:
    """Takes, renews and releases locks on one Redis; every call ends in time.

    In a Cluster the locks of one call may live on different servers, so there they are taken one
    by one, in the same order.

    Args:
        redis: where the locks are.
        answer_seconds: after this a call fails with TimeoutError, whatever the connection does.
    """

    def __init__(self, redis: Redis, answer_seconds: float) -> None:
        self._redis = redis
        self._answer_seconds = answer_seconds
        self._is_cluster = isinstance(redis, RedisCluster)
        # In a Cluster PUBLISH counts only the subscribers of one server.
        self._counted = "0" if self._is_cluster else "1"
        self._connections = asyncio.Semaphore(_CONNECTIONS)

    async def ask(self, lock: Lock, may_wait: bool) -> tuple[str, float] | None:
        """Take the lock, or stand in the queue; the busy resource and its seconds to live."""
        for keys, resources in self._steps(lock):
            ttl, claim = _milliseconds(lock.ttl_seconds), _milliseconds(CLAIM_SECONDS)
            index, left = await self._run(
                _ASK, keys, lock.token, ttl, claim, int(may_wait), self._counted
            )
            if index:
                return resources[int(index) - 1], int(left) / 1000
        return None

    async def release(self, lock: Lock) -> None:
        """Hand it to who waits first; what is not ours stays as it is."""
        for keys, _ in self._steps(lock):
            claim = _milliseconds(CLAIM_SECONDS)
            await self._run(_RELEASE, keys, lock.token, claim, self._counted)

    async def renew(self, lock: Lock, ttl_seconds: float) -> bool:
        """Let it live on from now; whether it was still ours."""
        ttl = _milliseconds(ttl_seconds)
        return all(
            [await self._run(_RENEW, keys, lock.token, ttl) for keys, _ in self._steps(lock)]
        )

    def _steps(self, lock: Lock) -> list[tuple[Sequence[str], Sequence[str]]]:
        """The keys of each call, with the resources that they stand for."""
        pairs = [(key, f"lock_queue:{{{key}}}") for key in lock.keys]
        if self._is_cluster:
            return [(pair, [name]) for pair, name in zip(pairs, lock.resources, strict=True)]
        return [([key for pair in pairs for key in pair], lock.resources)]

    async def _run(self, script: str, keys: Sequence[str], *arguments: object) -> Any:
        async with asyncio.timeout(self._answer_seconds), self._connections:
            try:
                return await self._redis.evalsha(
                    _DIGESTS[script], len(keys), *keys, *map(str, arguments)
                )
            except NoScriptError:
                return await self._redis.eval(script, len(keys), *keys, *map(str, arguments))


# Redis knows scripts by their SHA-1.
_DIGESTS = {text: sha1(text.encode()).hexdigest() for text in (_ASK, _RELEASE, _RENEW)}  # noqa: S324


def _milliseconds(seconds: float) -> int:
    return max(round(seconds * 1000), 1)
