"""The environment names of the reference architecture: obeyed, explained or refused."""

import pytest

from common.redis_clients import Role, url_of
from common.settings import SettingsError, load_settings

# The reference's own example for production, word for word, but for what is a service's own.
PRODUCTION = {
    "APP_ENV": "production",
    "APP_DEBUG": "false",
    "APP_URL": "https://api.example.com",
    "DB_CONNECTION": "pgsql",
    "DB_HOST": "primary.db.example.com",
    "DB_PORT": "5432",
    "DB_DATABASE": "kv_saas_erp",
    "DB_USERNAME": "app_user",
    "DB_PASSWORD": "secure_password",
    "DB_TIMEOUT": "5",
    "DB_PERSISTENT": "false",
    "DB_READ_HOST_1": "replica1.db.example.com",
    "DB_READ_HOST_2": "replica2.db.example.com",
    "REDIS_HOST": "redis.example.com",
    "REDIS_PORT": "6379",
    "REDIS_PASSWORD": "secure_redis_password",
    "REDIS_CLUSTER": "redis",
    "REDIS_DB": "0",
    "REDIS_CACHE_DB": "1",
    "REDIS_LOCK_DB": "2",
    "REDIS_SESSION_DB": "3",
    "CACHE_STORE": "redis",
    "CACHE_PREFIX": "prod_kv_erp_",
    "QUEUE_CONNECTION": "redis",
    "QUEUE_RETRY_AFTER": "90",
    "SESSION_DRIVER": "redis",
    "SESSION_CONNECTION": "session",
    "SESSION_LIFETIME": "120",
    "SESSION_ENCRYPT": "false",
    "SESSION_SECURE_COOKIE": "true",
    "SESSION_HTTP_ONLY": "true",
    "SESSION_SAME_SITE": "lax",
    "API_RATE_LIMIT": "120",
    "TENANCY_ENABLED": "true",
}


def problems_of(**environment):
    with pytest.raises(SettingsError) as caught:
        load_settings(environment)
    return caught.value.problems


def test_the_references_own_configuration_is_understood_in_full():
    settings = load_settings(PRODUCTION)

    assert settings.need_secret("database_url") == (
        "postgresql://app_user:secure_password@primary.db.example.com:5432/kv_saas_erp"
    )
    assert settings.read_hosts == ("replica1.db.example.com", "replica2.db.example.com")
    assert (settings.db_timeout_seconds, settings.db_persistent) == (5, False)
    assert url_of(settings, Role.LOCKS) == (
        "redis://:secure_redis_password@redis.example.com:6379/2"
    )
    assert (settings.api_rate_limit, settings.app_url) == (120, "https://api.example.com")


def test_what_decides_nothing_is_explained_at_start():
    leased, encrypted = load_settings(PRODUCTION).explanations()

    assert leased.startswith("QUEUE_RETRY_AFTER decides nothing here: ")
    assert encrypted.startswith("SESSION_ENCRYPT=false decides nothing here: ")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("APP_ENV", "moon", "APP_ENV must be one of production, staging, testing, local."),
        ("APP_DEBUG", "true", "APP_DEBUG is for development: APP_ENV says production."),
        ("APP_URL", "http://api.example.com", "APP_URL must begin with https://"),
        (
            "APP_URL",
            "https://api.example.com/erp",
            "APP_URL must be http:// or https:// and a host",
        ),
        ("CACHE_STORE", "file", "CACHE_STORE must be redis."),
        ("DB_CONNECTION", "mysql", "DB_CONNECTION must be pgsql."),
        ("QUEUE_CONNECTION", "sync", "QUEUE_CONNECTION must be redis."),
        ("QUEUE_RETRY_AFTER", "soon", "QUEUE_RETRY_AFTER must be a number of seconds."),
        ("REDIS_CLUSTER", "predis", "REDIS_CLUSTER must be redis."),
        ("SESSION_DRIVER", "file", "SESSION_DRIVER must be redis."),
        ("SESSION_SECURE_COOKIE", "false", "SESSION_SECURE_COOKIE must be true: browsers refuse"),
        ("SESSION_HTTP_ONLY", "false", "SESSION_HTTP_ONLY must be true: no script"),
        ("SESSION_SAME_SITE", "none", "SESSION_SAME_SITE must be lax."),
        ("TENANCY_ENABLED", "false", "TENANCY_ENABLED must be true: every row belongs to a tenant"),
    ],
)
def test_what_contradicts_the_system_is_refused(name, text, problem):
    (found,) = problems_of(**{**PRODUCTION, name: text})

    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        (
            {"DB_HOST": "db", "DB_DATABASE": "sales", "DATABASE_URL": "postgresql://a@db/sales"},
            "DB_HOST and a URL both say where the database is",
        ),
        ({"DB_HOST": "db", "DB_USERNAME": "app"}, "DB_HOST is set without DB_DATABASE."),
        ({"DB_HOST": "db", "DB_DATABASE": "sales"}, "DB_HOST is set without DB_USERNAME."),
        ({"DB_PORT": "5433"}, "DB_PORT: set without DB_HOST."),
        (
            {"DB_HOST": "db", "DB_DATABASE": "sales", "DB_USERNAME": "a", "DB_OWNER_PASSWORD": "p"},
            "DB_OWNER_PASSWORD is set without DB_OWNER_USERNAME.",
        ),
    ],
)
def test_half_a_database_is_refused(environment, problem):
    (found,) = problems_of(**environment)

    assert found.startswith(problem)


def test_every_role_has_its_account():
    settings = load_settings(
        {
            "DB_HOST": "fd00::5",
            "DB_DATABASE": "sales",
            "DB_USERNAME": "sales_app",
            "DB_PASSWORD": "p@ss/word",
            "DB_SYSTEM_USERNAME": "sales_system",
            "DB_OWNER_USERNAME": "sales_owner",
            "DB_OWNER_PASSWORD": "o",
        }
    )

    assert settings.need_secret("database_url") == (
        "postgresql://sales_app:p%40ss%2Fword@[fd00::5]:5432/sales"
    )
    assert settings.need_secret("system_database_url") == (
        "postgresql://sales_system@[fd00::5]:5432/sales"
    )
    assert settings.need_secret("migration_database_url") == (
        "postgresql://sales_owner:o@[fd00::5]:5432/sales"
    )


def test_debugging_turns_the_log_up_unless_it_is_set():
    assert load_settings({"APP_DEBUG": "true"}).log_level == "debug"
    assert load_settings({"APP_DEBUG": "true", "KV_ERP_LOG_LEVEL": "error"}).log_level == "error"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache:6379/0", "redis://:p%40ss@cache:6379/2"),
        ("redis://:own@cache:6379/0", "redis://:own@cache:6379/2"),
        ("redis://user@cache:6379/0", "redis://user:p%40ss@cache:6379/2"),
        ("redis+sentinel://a:1,b:2/kv-erp/0", "redis+sentinel://:p%40ss@a:1,b:2/kv-erp/2"),
    ],
)
def test_a_password_apart_from_the_url_is_used(url, expected):
    settings = load_settings({"REDIS_URL": url, "REDIS_PASSWORD": "p@ss"})

    assert url_of(settings, Role.LOCKS) == expected


def test_nothing_secret_is_told_when_something_is_wrong():
    with pytest.raises(SettingsError) as caught:
        load_settings({**PRODUCTION, "DATABASE_URL": "postgresql://app:hush@db/sales"})

    assert "hush" not in str(caught.value)
    assert "secure_password" not in str(caught.value)
