"""What Redis does for locks: each step is one script, so nobody sees half of it.

A lock is a string (its holder's token) that expires; who waits for it stands in a sorted set by the
server's time. Both live in one slot of a Cluster. A token begins with the channel on which its
process is woken.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha1
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoScriptError

from common.held_locks import Lock
from common.shared_redis import SharedRedis

__all__ = ["CLAIM_SECONDS", "LockScripts"]

# Who is handed a lock ends or renews within this time; if it died, the next one waits so long.
CLAIM_SECONDS = 0.5
# A queue that nobody asks about is forgotten; who stands in it asks far more often.
_QUEUE_SECONDS = 10
# Questions at the same time; further ones wait for a connection.
_CONNECTIONS = 16
# How long, and of how many locks, a process remembers that others want them.
_WANTED_SECONDS = 1.0
_MOST_WANTED = 1_000

# In a Cluster PUBLISH counts only the subscribers of one server, so there the count says nothing.
_HAND_OVER = """
-- Hands a free lock to the first in its queue who is still there; returns who that is, or false.
local function hand_over(lock, queue, me)
  while true do
    local first = redis.call('ZPOPMIN', queue)[1]
    if not first then return false end
    if first == me then return me end
    redis.call('SET', lock, first, 'PX', CLAIM_MILLISECONDS)
    local heard = redis.call('PUBLISH', string.match(first, '^(.*)/'), first)
    if heard > 0 or not SUBSCRIBERS_ARE_COUNTED then return first end
  end
end
"""

# Returns {0, 0} when all is taken, else the number of the first busy lock and its ms to live.
_ASK = f"""#!lua
{_HAND_OVER}
local me, ttl, may_wait = unpack(ARGV)
for i = 1, #KEYS, 2 do
  local lock, queue = KEYS[i], KEYS[i + 1]
  local holder = redis.call('GET', lock) or hand_over(lock, queue, me) or me
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
local me = ARGV[1]
for i = 1, #KEYS, 2 do
  local lock, queue = KEYS[i], KEYS[i + 1]
  if redis.call('GET', lock) ~= me then
    redis.call('ZREM', queue, me)
  elseif not hand_over(lock, queue, me) then
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
        self._ask, self._release, self._renew = (
            _Script.of(text, subscribers_are_counted=not self._is_cluster)
            for text in (_ASK, _RELEASE, _RENEW)
        )
        # It has one connection for all, and one clock for all questions.
        self._keeps_time = isinstance(redis, SharedRedis)
        self._connections = asyncio.Semaphore(_CONNECTIONS)
        # The locks that others held lately, and until when that counts.
        self._wanted: dict[str, float] = {}

    async def ask(self, lock: Lock, may_wait: bool) -> tuple[str, float] | None:
        """Take the lock, or stand in the queue; the busy resource and its seconds to live."""
        ttl = _milliseconds(lock.ttl_seconds)
        if len(lock.keys) == 1 and await self._take_at_once(lock, ttl):
            return None
        for keys, resources in self._steps(lock):
            index, left = await self._run(self._ask, keys, lock.token, ttl, int(may_wait))
            if index:
                return resources[int(index) - 1], int(left) / 1000
        return None

    async def _take_at_once(self, lock: Lock, ttl: int) -> bool:
        """Whether a lock that nobody holds is ours now, by one plain command.

        Where somebody else held it lately that is not tried: it would be a question more for all
        who stand in a queue.
        """
        (key,) = lock.keys
        if self._wanted.get(key, 0.0) > time.monotonic():
            return False
        if await self._answer(lambda: self._redis.set(key, lock.token, nx=True, px=ttl)):
            return True
        if len(self._wanted) >= _MOST_WANTED:
            self._wanted.clear()
        self._wanted[key] = time.monotonic() + _WANTED_SECONDS
        return False

    async def release(self, lock: Lock) -> None:
        """Hand it to who waits first; what is not ours stays as it is."""
        for keys, _ in self._steps(lock):
            await self._run(self._release, keys, lock.token)

    async def renew(self, lock: Lock, ttl_seconds: float) -> bool:
        """Let it live on from now; whether it was still ours."""
        ttl = _milliseconds(ttl_seconds)
        return all(
            [await self._run(self._renew, keys, lock.token, ttl) for keys, _ in self._steps(lock)]
        )

    def _steps(self, lock: Lock) -> list[tuple[Sequence[str], Sequence[str]]]:
        """The keys of each call, with the resources that they stand for."""
        pairs = [(key, f"lock_queue:{{{key}}}") for key in lock.keys]
        if self._is_cluster:
            return [(pair, [name]) for pair, name in zip(pairs, lock.resources, strict=True)]
        return [([key for pair in pairs for key in pair], lock.resources)]

    async def _run(self, script: "_Script", keys: Sequence[str], *arguments: str | int) -> Any:
        count, words = len(keys), (*keys, *arguments)
        try:
            return await self._answer(lambda: self._redis.evalsha(script.digest, count, *words))
        except NoScriptError:
            return await self._answer(lambda: self._redis.eval(script.text, count, *words))

    async def _answer(self, question: Callable[[], Awaitable[Any]]) -> Any:
        if self._keeps_time:
            return await question()
        async with asyncio.timeout(self._answer_seconds), self._connections:
            return await question()


class _Script(NamedTuple):
    text: str
    digest: str

    @classmethod
    def of(cls, text: str, *, subscribers_are_counted: bool) -> "_Script":
        """A script with what is always the same in it: arguments are packed for every call."""
        counted = str(subscribers_are_counted).lower()
        text = text.replace("SUBSCRIBERS_ARE_COUNTED", counted)
        text = text.replace("CLAIM_MILLISECONDS", str(_milliseconds(CLAIM_SECONDS)))
        # Redis knows scripts by their SHA-1.
        return cls(text, sha1(text.encode()).hexdigest())  # noqa: S324


def _milliseconds(seconds: float) -> int:
    return max(round(seconds * 1000), 1)
