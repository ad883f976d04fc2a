"""Logging in: a session that is the user's alone, and nothing learnt by who only guesses."""

import time

import pytest

from gateway.tests.whole import Browser, Company


async def test_a_user_logs_in_and_is_known_by_the_cookie(browser: Browser, company: Company):
    answer = await browser.log_in(company)
    session = await browser.send("GET", "/auth/session")

    assert answer.status_code == 200, answer.text
    assert answer.json()["tenant"]["slug"] == company.slug
    assert answer.json()["session"]["current"] is True
    assert answer.headers["cache-control"] == "no-store"
    assert session.status_code == 200
    assert session.json()["user"]["email"] == company.email
    assert session.json()["permissions"] == ["*"]


async def test_the_cookie_is_out_of_reach_of_scripts_other_hosts_and_plain_http(browser, company):
    await browser.log_in(company)

    (session,) = (one for one in browser.set_cookies if one.startswith("__Host-session="))
    assert session.partition("; ")[2] == "Path=/; Secure; HttpOnly; SameSite=Lax"
    assert (
        browser.cookies["__Host-session"] not in (await browser.send("GET", "/auth/session")).text
    )


async def test_capital_letters_do_not_matter(browser, company):
    answer = await browser.log_in(company, email=company.email.upper())

    assert answer.status_code == 200


async def test_every_login_has_a_new_session(browser, company):
    await browser.log_in(company)
    first = browser.cookies["__Host-session"]

    await browser.log_in(company)

    assert browser.cookies["__Host-session"] != first


async def test_logging_in_again_ends_the_session_that_the_browser_had(browser, browsers, company):
    await browser.log_in(company)
    other = browsers()
    other.cookies, other.csrf = dict(browser.cookies), browser.csrf
    known = await other.send("GET", "/auth/session")

    again = await browser.log_in(company)

    assert (known.status_code, again.status_code) == (200, 200)
    assert (await other.send("GET", "/auth/session")).status_code == 401
    assert (await browser.send("GET", "/auth/session")).status_code == 200


async def test_a_planted_cookie_does_not_become_the_users(browser, company):
    browser.cookies["__Host-session"] = planted = "A" * 64

    await browser.log_in(company)

    assert browser.cookies["__Host-session"] != planted
    browser.cookies["__Host-session"] = planted
    assert (await browser.send("GET", "/auth/session")).status_code == 401


async def test_a_session_is_known_to_every_gateway_and_dead_at_all_once_logged_out(
    browsers, browser, company, other_gateway
):
    elsewhere = browsers(other_gateway)
    await browser.log_in(company)
    elsewhere.cookies = dict(browser.cookies)
    known = await elsewhere.send("GET", "/auth/session")

    out = await browser.send("POST", "/auth/logout")

    assert (known.status_code, out.status_code) == (200, 204)
    assert out.headers["set-cookie"].endswith("Max-Age=0")
    assert (await elsewhere.send("GET", "/auth/session")).status_code == 401


async def test_users_see_and_end_their_own_sessions_only(browsers, company, other_gateway):
    here, there = browsers(), browsers(other_gateway)
    mine = (await here.log_in(company)).json()["session"]
    theirs = (await there.log_in(company)).json()["session"]

    listed = (await here.send("GET", "/auth/sessions")).json()["sessions"]
    ended = await here.send("DELETE", f"/auth/sessions/{theirs['id']}")
    again = await here.send("DELETE", f"/auth/sessions/{theirs['id']}")

    shown = {one["id"]: one["current"] for one in listed}
    assert shown == {mine["id"]: True, theirs["id"]: False}
    assert listed[0]["about"].startswith("Test/1 at 10.")
    assert (ended.status_code, again.status_code) == (204, 404)
    assert (await there.send("GET", "/auth/session")).status_code == 401
    assert (await here.send("GET", "/auth/session")).status_code == 200


async def test_a_session_of_another_user_cannot_be_ended(browsers, browser, company, database):
    admin = await browser.log_in(company)
    roles = (await browser.send("GET", "/roles")).json()["roles"]
    viewer = next(role["id"] for role in roles if role["name"] == "viewer")
    body = {"email": "v@b.example", "role_ids": [viewer], "password": "correct horse battery"}
    assert (await browser.send("POST", "/users", body)).status_code == 201
    other = browsers()
    await other.log_in(company, body["password"], body["email"])

    refused = await other.send("DELETE", f"/auth/sessions/{admin.json()['session']['id']}")

    assert refused.status_code == 404
    assert (await browser.send("GET", "/auth/session")).status_code == 200


async def test_all_other_sessions_end_at_once(browsers, company):
    here, there, elsewhere = browsers(), browsers(), browsers()
    for one in (here, there, elsewhere):
        await one.log_in(company)

    ended = await here.send("POST", "/auth/sessions:revokeOthers")

    assert ended.json() == {"revoked": 2}
    statuses = [
        (await one.send("GET", "/auth/session")).status_code for one in (here, there, elsewhere)
    ]
    assert statuses == [200, 401, 401]


@pytest.mark.parametrize("wrong", ["tenant", "email", "password"])
async def test_whatever_is_wrong_the_answer_is_the_same(browser, company, wrong):
    body = {"tenant": company.slug, "email": company.email, "password": company.password}

    answer = await browser.send("POST", "/auth/login", body | {wrong: "x" + body[wrong]})

    problem = answer.json()
    assert answer.status_code == 401
    assert problem["detail"] == "Company, mail address or password are not right."
    assert set(problem) == {"type", "title", "status", "detail", "instance", "reason", "why"}
    assert browser.cookies == {}


async def test_an_unknown_user_costs_as_much_work_as_a_wrong_password(browsers, company):
    browser = browsers()

    async def seconds(email: str) -> float:
        started = time.perf_counter()
        await browser.log_in(company, "wrong", email)
        return time.perf_counter() - started

    known, unknown = [], []
    for turn in range(4):
        known.append(await seconds(company.email))
        unknown.append(await seconds(f"nobody-{turn}@x.example"))

    # Argon2id takes several times what everything else does.
    assert min(unknown) > 0.5 * min(known)
    assert min(known) > 0.5 * min(unknown)


async def test_software_with_a_token_has_no_session(browser, company):
    bearer = {"authorization": f"Bearer {company.token}"}

    answer = await browser.send("GET", "/auth/session", **bearer)

    assert (answer.status_code, answer.json()["reason"]) == (409, "NO_SESSION")


async def test_an_authorization_header_decides_alone(browser, company, browsers):
    await browser.log_in(company)

    wrong = await browser.send("GET", "/auth/session", authorization="Bearer kv_" + "A" * 43)
    # No browser adds the header unasked, so a token needs no proof against forgery.
    right = await browser.send(
        "POST",
        "/api-tokens",
        {"name": "x", "permissions": ["gateway.tokens.read"]},
        authorization=f"Bearer {company.token}",
        origin="https://evil.example",
        x_csrf_token="",
    )

    assert wrong.status_code == 401
    assert right.status_code == 201


async def test_two_session_cookies_are_nobodys(browser, company):
    await browser.log_in(company)
    token = browser.cookies["__Host-session"]

    answer = await browser.send(
        "GET", "/auth/session", cookie=f"__Host-session={token}; __Host-session={'A' * 64}"
    )

    assert answer.status_code == 401
