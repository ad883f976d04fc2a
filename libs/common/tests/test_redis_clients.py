import time

import pytest
from fault_proxy import FaultProxy
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.redis_clients import Role, connect, url_of
from common.redis_urls import parse_redis_url
from common.settings import SettingsError, load_settings


def test_each_role_has_its_database_on_the_common_server():
    settings = load_settings({"REDIS_URL": "redis://cache:6379/0"})

    urls = {role: url_of(settings, role) for role in Role}

    assert urls[Role.QUEUE] == urls[Role.EVENTS] == "redis://cache:6379/0"
    assert urls[Role.CACHE] == urls[Role.LIMITS] == "redis://cache:6379/1"
    assert urls[Role.LOCKS] == "redis://cache:6379/2"
    assert urls[Role.SESSIONS] == "redis://cache:6379/3"


def test_a_role_with_a_url_of_its_own_lives_there():
    settings = load_settings(
        {"REDIS_URL": "redis://common:6379/0", "REDIS_LOCK_URL": "redis://locks:6379/9"}
    )

    assert url_of(settings, Role.LOCKS) == "redis://locks:6379/9"


def test_host_port_password_and_databases_make_the_urls():
    settings = load_settings(
        {
            "REDIS_HOST": "redis.example",
            "REDIS_PASSWORD": "p@ss/word",
            "REDIS_DB": "4",
            "REDIS_SESSION_DB": "7",
        }
    )

    assert url_of(settings, Role.QUEUE) == "redis://:p%40ss%2Fword@redis.example:6379/4"
    assert url_of(settings, Role.SESSIONS) == "redis://:p%40ss%2Fword@redis.example:6379/7"


def test_without_redis_the_sentence_says_which_variables_are_missing():
    with pytest.raises(SettingsError, match="Neither REDIS_URL nor REDIS_HOST"):
        url_of(load_settings({}), Role.QUEUE)


def test_a_role_without_a_url_of_its_own_shares_the_sentinels_and_the_cluster():
    sentinels = load_settings({"REDIS_URL": "redis+sentinel://u:p@a:1,b/main/0"})
    cluster = load_settings({"REDIS_URL": "redis+cluster://a:1,b:2"})

    assert url_of(sentinels, Role.LOCKS) == "redis+sentinel://u:p@a:1,b/main/2"
    assert url_of(cluster, Role.LOCKS) == "redis+cluster://a:1,b:2"


def test_a_url_names_sentinels_the_master_and_the_account():
    url = parse_redis_url("redis+sentinel://u:p%40ss@a:1,[::1]/main/2")

    assert url.servers == (("a", 1), ("::1", 26379))
    assert (url.username, url.password, url.master, url.database) == ("u", "p@ss", "main", 2)


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("redis+sentinel://a:1,b:2", "must name the master"),
        ("redis+sentinel://a:1/main/x", "number of a database"),
        ("redis+cluster://a:1/2", "no database but 0"),
        ("redis://a:1,b:2/0", "must name one server"),
        ("redis+cluster://a:1,:2", "host:port,host:port"),
        ("redis://a:99999/0", "host:port,host:port"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_with_its_rule(url, rule):
    with pytest.raises(SettingsError, match=f"REDIS_LOCK_URL .*{rule}"):
        load_settings({"REDIS_LOCK_URL": url})


async def seconds_until_given_up(redis: Redis) -> float:
    started = time.monotonic()
    with pytest.raises((RedisError, OSError)):
        await redis.get("anything")
    return time.monotonic() - started


@pytest.mark.parametrize("role", [role for role in Role if role not in (Role.QUEUE, Role.LOGINS)])
async def test_a_half_open_redis_costs_a_request_a_tenth_of_a_second(servers, role):
    async with FaultProxy(servers.valkey.port) as proxy:
        redis = connect(f"redis://127.0.0.1:{proxy.port}/0", role)
        await redis.ping()
        proxy.stall()

        waits = [await seconds_until_given_up(redis) for _ in range(4)]

        # The first wait was on the old connection, the others on new ones. A machine that is busy
        # can make any of them longer, none of them shorter.
        assert min(waits[1:]) < 0.15
        assert max(waits) < 1.0
        await redis.aclose()


async def test_no_client_sends_a_command_twice(servers):
    async with FaultProxy(servers.valkey.port) as proxy:
        redis = connect(f"redis://127.0.0.1:{proxy.port}/0", Role.LIMITS)
        key = f"count:{proxy.seed}"
        await redis.incr(key)
        proxy.cut_reply(b"INCR")

        with pytest.raises(RedisError):
            await redis.incr(key)

        assert int(await redis.get(key)) == 2
        await redis.aclose()


@pytest.mark.parametrize("url", ["http://redis:6379", "redis.example:6379", "redis://"])
def test_what_is_no_redis_url_is_refused(url):
    with pytest.raises(SettingsError, match="REDIS_URL must be a URL that begins with"):
        load_settings({"REDIS_URL": url})


def test_two_ways_to_say_where_redis_is_contradict_each_other():
    with pytest.raises(SettingsError, match="REDIS_URL and REDIS_HOST both"):
        load_settings({"REDIS_URL": "redis://a:1/0", "REDIS_HOST": "b"})
