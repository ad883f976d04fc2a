import pytest

from common.redis_clients import Role, url_of
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


@pytest.mark.parametrize("url", ["http://redis:6379", "redis.example:6379", "redis://"])
def test_what_is_no_redis_url_is_refused(url):
    with pytest.raises(SettingsError, match="REDIS_URL must be a URL that begins with"):
        load_settings({"REDIS_URL": url})


def test_two_ways_to_say_where_redis_is_contradict_each_other():
    with pytest.raises(SettingsError, match="REDIS_URL and REDIS_HOST both"):
        load_settings({"REDIS_URL": "redis://a:1/0", "REDIS_HOST": "b"})
