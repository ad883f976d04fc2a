"""A page of somebody else cannot act for a user who is logged in."""

import pytest

REVOKE = ("POST", "/auth/sessions:revokeOthers")


async def test_the_sessions_own_page_may_act(browser, company):
    await browser.log_in(company)

    assert (await browser.send(*REVOKE)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"x_csrf_token": ""}, "missing"),
        ({"x_csrf_token": "x"}, "not of this session"),
        ({"x_csrf_token": "salt." + "0" * 64}, "not of this session"),
        ({"x_csrf_token": "ä.ö"}, "not of this session"),
        ({"origin": "https://evil.example"}, "evil.example"),
        ({"origin": "https://erp.example.evil.example"}, "not trusted"),
        ({"origin": "https://erp.example:8443"}, "not trusted"),
        ({"origin": "null"}, "not trusted"),
        ({"origin": "ftp://erp.example"}, "not trusted"),
    ],
)
async def test_a_forged_request_does_nothing(browsers, browser, company, headers, why):
    other = browsers()
    await other.log_in(company)
    await browser.log_in(company)
    encoded = {name: value.encode() for name, value in headers.items()}

    answer = await browser.send(*REVOKE, **encoded)

    assert answer.status_code == 403
    assert answer.json()["reason"] == "FORGED_REQUEST"
    assert why in answer.json()["detail"]
    assert (await other.send("GET", "/auth/session")).status_code == 200


async def test_the_token_of_another_session_of_the_same_user_is_not_enough(
    browsers, browser, company
):
    other = browsers()
    await other.log_in(company)
    await browser.log_in(company)

    answer = await browser.send(*REVOKE, x_csrf_token=other.csrf)

    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("none", 200)]
)
async def test_without_an_origin_the_browsers_word_on_the_site_counts(
    browsers, company, site, status
):
    browser = browsers(origin=None)
    await browser.log_in(company)

    answer = await browser.send(*REVOKE, sec_fetch_site=site)

    assert answer.status_code == status


async def test_each_answer_has_another_token_and_all_of_them_work(browser, company):
    await browser.log_in(company)
    first = browser.csrf
    await browser.send("GET", "/auth/session")

    assert browser.csrf != first
    assert (await browser.send(*REVOKE, x_csrf_token=first)).status_code == 200


async def test_nobody_is_logged_in_by_a_page_of_somebody_else(browser, company):
    body = {"tenant": company.slug, "email": company.email, "password": company.password}

    answer = await browser.send("POST", "/auth/login", body, origin="https://evil.example")

    assert (answer.status_code, browser.cookies) == (403, {})


async def test_reading_needs_no_token(browser, company):
    await browser.log_in(company)

    answer = await browser.send("GET", "/users", origin="https://evil.example")

    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
