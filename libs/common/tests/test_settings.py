import base64

import pytest

from common.settings import Address, Secret, SettingsError, load_settings


def problems_of(**environment):
    with pytest.raises(SettingsError) as caught:
        load_settings(environment)
    return caught.value.problems


def test_every_variable_is_read_and_typed():
    settings = load_settings(
        {
            "DATABASE_URL": "postgresql://app:hush@db/sales",
            "KV_ERP_GRPC_BIND": "0.0.0.0:5001",
            "KV_ERP_METRICS_BIND": "[::]:9000",
            "KV_ERP_WORKERS": "2",
            "KV_ERP_SHUTDOWN_GRACE_SECONDS": "2.5",
            "KV_ERP_LOG_LEVEL": "WARNING",
        }
    )

    assert settings.need_secret("database_url") == "postgresql://app:hush@db/sales"
    assert settings.grpc_bind == Address("0.0.0.0", 5001)
    assert settings.metrics_bind == Address("[::]", 9000)
    assert (settings.workers, settings.shutdown_grace_seconds) == (2, 2.5)
    assert settings.log_level == "warning"


def test_an_empty_variable_counts_as_absent():
    settings = load_settings({"KV_ERP_METRICS_BIND": "", "REDIS_URL": ""})

    assert (settings.metrics_bind, settings.redis_url) == (None, None)


def test_an_unknown_name_is_refused_and_the_nearest_known_one_suggested():
    assert problems_of(KV_ERP_LOG_LEVLE="info") == (
        "KV_ERP_LOG_LEVLE is not a setting. Did you mean KV_ERP_LOG_LEVEL?",
    )


def test_names_of_the_command_line_are_no_mistake_in_a_service():
    load_settings({"KV_ERP_DEV_DIR": "/tmp/dev", "KV_ERP_HTTP_PORT": "8080"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("KV_ERP_GRPC_BIND", "5001"),
        ("KV_ERP_GRPC_BIND", "localhost:99999"),
        ("KV_ERP_WORKERS", "0"),
        ("KV_ERP_WORKERS", "two"),
        ("KV_ERP_LOG_FORMAT", "xml"),
        ("KV_ERP_REQUEST_TIMEOUT_SECONDS", "nan"),
        ("KV_ERP_REQUEST_TIMEOUT_SECONDS", "-1"),
    ],
)
def test_a_malformed_value_is_named(name, text):
    (problem,) = problems_of(**{name: text})

    assert problem.startswith(f"{name} must be ")


def test_all_problems_are_told_at_once():
    problems = problems_of(KV_ERP_WORKERS="none", KV_ERP_COLOUR="red", KV_ERP_LOG_FORMAT="xml")

    assert len(problems) == 3


@pytest.mark.parametrize(
    "environment",
    [
        {"KV_ERP_WORKERS": "2"},
        {"KV_ERP_GRPC_BIND": "127.0.0.1:7000", "KV_ERP_METRICS_BIND": "127.0.0.1:7000"},
        {"KV_ERP_IDENTITY_KEY": "sales:abc"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(environment):
    assert len(problems_of(**environment)) == 1


def test_a_missing_setting_is_named_when_it_is_needed():
    with pytest.raises(SettingsError, match=r"^DATABASE_URL is not set\. "):
        load_settings({}).need_secret("database_url")
    with pytest.raises(SettingsError, match=r"^KV_ERP_SALES_TARGET is not set\. "):
        load_settings({}).need_target("sales")


def test_a_secret_never_prints_itself():
    settings = load_settings({"DATABASE_URL": "postgresql://app:hush@db/sales"})

    assert "hush" not in f"{settings!r} {settings.database_url!s} {Secret('hush')!r}"


def test_a_session_key_has_a_name_and_32_bytes():
    key = "k2:" + base64.urlsafe_b64encode(b"2" * 32).decode()

    settings = load_settings({"KV_ERP_SESSION_KEY": key})

    assert settings.need_secret("session_key") == key
    for wrong in ("k2", "k2:", ":" + key[3:], key[:-4], f"{key},k1"):
        with pytest.raises(SettingsError, match="KV_ERP_SESSION_KEY must be name:key"):
            load_settings({"KV_ERP_SESSION_KEY": wrong})


def test_a_session_cannot_be_shorter_than_its_pause():
    with pytest.raises(SettingsError, match="SESSION_LONGEST is less than SESSION_LIFETIME"):
        load_settings({"SESSION_LIFETIME": "60", "SESSION_LONGEST": "59"})
