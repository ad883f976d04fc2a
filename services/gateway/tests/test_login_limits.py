"""Guessing ends soon, and cannot be used to keep a user out for good."""

import pytest

from gateway import login_limits
from gateway.tests.whole import settings_of, whole_gateway


@pytest.fixture
def few(monkeypatch) -> None:
    """Few guesses, so that tests need few."""
    monkeypatch.setattr(login_limits, "ON_ACCOUNT", 2)
    monkeypatch.setattr(login_limits, "FROM_ADDRESS", 3)


async def test_an_account_allows_few_wrong_guesses_wherever_they_come_from(few, browsers, company):
    for _ in range(2):
        assert (await browsers().log_in(company, "wrong")).status_code == 401

    refused = await browsers().log_in(company)

    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= login_limits.WINDOW_SECONDS
    assert refused.json()["bucket"] == "account"


async def test_an_unknown_account_has_the_same_limit(few, browsers, company):
    for _ in range(2):
        await browsers().log_in(company, email="nobody@x.example")

    refused = await browsers().log_in(company, email="nobody@x.example")

    assert (refused.status_code, refused.json()["bucket"]) == (429, "account")


async def test_an_address_allows_few_wrong_guesses_whatever_they_are_at(few, browser, company):
    for number in range(3):
        await browser.log_in(company, email=f"nobody-{number}@x.example")

    refused = await browser.log_in(company)

    assert (refused.status_code, refused.json()["bucket"]) == (429, "address")


async def test_right_passwords_use_nothing_up(few, browser, company):
    statuses = []
    for _ in range(4):
        browser.cookies.clear()
        statuses.append((await browser.log_in(company)).status_code)

    assert statuses == [200] * 4


async def test_who_has_logged_in_here_before_is_not_locked_out_by_strangers(few, browsers, company):
    known = browsers()
    await known.log_in(company)
    for _ in range(3):
        await browsers().log_in(company, "wrong")

    assert (await browsers().log_in(company)).status_code == 429
    assert (await known.log_in(company)).status_code == 200


async def test_a_known_browser_allows_few_guesses_as_well(few, browsers, company):
    known = browsers()
    await known.log_in(company)
    for _ in range(2):
        await known.log_in(company, "wrong")

    assert (await known.log_in(company)).status_code == 429


async def test_the_mark_of_a_browser_is_good_for_its_account_only(few, browsers, company):
    known = browsers()
    await known.log_in(company)
    for _ in range(2):
        await browsers().log_in(company, "wrong", "other@x.example")

    refused = await known.log_in(company, "wrong", "other@x.example")

    assert (refused.status_code, refused.json()["bucket"]) == (429, "account")


async def test_without_redis_nobody_logs_in_and_who_is_in_stays(
    servers, gateway_database, browsers, company, browser
):
    await browser.log_in(company)
    nowhere = settings_of(servers, gateway_database, REDIS_CACHE_URL="redis://127.0.0.1:1/0")
    async with whole_gateway(nowhere) as url:
        there = browsers(url)
        there.cookies = dict(browser.cookies)

        refused = await browsers(url).log_in(company)
        known = await there.send("GET", "/auth/session")

    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert known.status_code == 200
