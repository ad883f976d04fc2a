"""Users and roles: nobody gives, takes or changes what they do not hold themselves."""

import asyncio

import pytest

from common.testing import rows_of
from gateway.seed import seed_with
from gateway.tenants import NewTenant
from gateway.tests.whole import Company

PASSWORD = "correct horse battery"


async def role(browser, permissions, name="own"):
    answer = await browser.send("POST", "/roles", {"name": name, "permissions": permissions})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def built_in(browser, name):
    roles = (await browser.send("GET", "/roles?page_size=200")).json()["roles"]
    return next(one["id"] for one in roles if one["name"] == name)


async def add(browser, email, *role_ids, **more):
    body = {"email": email, "role_ids": role_ids, "password": PASSWORD} | more
    answer = await browser.send("POST", "/users", body)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
async def admin(browser, company):
    await browser.log_in(company)
    return browser


@pytest.fixture
async def clerk(admin, browsers, company):
    """Somebody who may manage users and roles, and sales, and nothing else."""
    held = ["gateway.users.*", "gateway.roles.*", "gateway.tokens.*", "sales.*"]
    made = await role(admin, held, "clerk")
    user = await add(admin, "clerk@x.example", made["id"])
    browser = browsers()
    await browser.log_in(company, PASSWORD, "clerk@x.example")
    browser.user = user
    browser.role = made
    return browser


async def test_a_company_has_the_usual_roles(admin):
    roles = (await admin.send("GET", "/roles")).json()["roles"]

    held = {one["name"]: one["permissions"] for one in roles if one["built_in"]}
    assert set(held) == {"admin", "sales", "warehouse", "accountant", "viewer"}
    assert held["admin"] == ["*"]
    assert "sales.*" in held["sales"]
    assert "accounting.invoices.read" in held["sales"]
    assert all(one.endswith(".read") for one in held["viewer"])
    assert not any(one.startswith(("gateway.", "platform.")) for one in held["viewer"])


async def test_the_permissions_are_those_of_the_contract(admin):
    shown = (await admin.send("GET", "/permissions")).json()["permissions"]

    by_name = {one["name"]: one["routes"] for one in shown}
    assert by_name["sales.orders.confirm"] == ["POST /api/v1/orders/{id}:confirm"]
    assert not any(name.startswith(("platform.", "events.")) for name in by_name)


async def test_a_user_is_added_read_listed_changed_and_logs_in(admin, browsers, company):
    viewer, sales = await built_in(admin, "viewer"), await built_in(admin, "sales")
    made = await add(admin, "New@x.example", viewer, name="New")

    read = (await admin.send("GET", f"/users/{made['id']}")).json()
    listed = (await admin.send("GET", "/users")).json()["users"]
    change = {"version": made["version"], "role_ids": [sales]}
    changed = await admin.send("PATCH", f"/users/{made['id']}", change)
    stale = await admin.send("PATCH", f"/users/{made['id']}", change)
    other = browsers()
    await other.log_in(company, PASSWORD, "new@x.example")

    assert (made["email"], made["state"], made["setup_token"]) == ("new@x.example", "active", "")
    assert read == made
    assert made["id"] in [one["id"] for one in listed]
    assert (changed.status_code, changed.json()["name"]) == (200, "New")
    assert (stale.status_code, stale.json()["reason"]) == (409, "CONCURRENT_MODIFICATION")
    assert "sales.*" in (await other.send("GET", "/auth/session")).json()["permissions"]


async def test_an_invited_user_chooses_a_password_once(admin, browsers, company):
    viewer = await built_in(admin, "viewer")
    made = await add(admin, "guest@x.example", viewer, password="")
    body = {"setup_token": made["setup_token"], "password": PASSWORD}
    stranger = browsers()

    early = await stranger.log_in(company, PASSWORD, "guest@x.example")
    chosen = await stranger.send("POST", "/auth/password:set", body)
    again = await stranger.send("POST", "/auth/password:set", body)
    in_now = await stranger.log_in(company, PASSWORD, "guest@x.example")

    assert (made["state"], early.status_code) == ("invited", 401)
    assert (chosen.status_code, in_now.status_code) == (204, 200)
    assert (again.status_code, again.json()["reason"]) == (409, "SETUP_TOKEN_INVALID")
    shown = (await admin.send("GET", f"/users/{made['id']}")).json()
    assert (shown["state"], shown["setup_token"]) == ("active", "")


async def test_a_locked_out_users_sessions_and_tokens_are_dead_at_once(
    admin, clerk, browsers, company, other_gateway
):
    body = {"name": "t", "permissions": ["sales.*"]}
    token = (await clerk.send("POST", "/api-tokens", body)).json()["token"]
    bearer = {"authorization": f"Bearer {token}"}
    assert (await browsers().send("GET", "/permissions", **bearer)).status_code == 403

    done = await admin.send("POST", f"/users/{clerk.user['id']}:deactivate")

    elsewhere = browsers(other_gateway)
    elsewhere.cookies = dict(clerk.cookies)
    assert done.json()["state"] == "deactivated"
    assert (await clerk.send("GET", "/auth/session")).status_code == 401
    assert (await elsewhere.send("GET", "/auth/session")).status_code == 401
    assert (await browsers().send("GET", "/permissions", **bearer)).status_code == 401
    assert (await browsers().log_in(company, PASSWORD, "clerk@x.example")).status_code == 401
    back = await admin.send("POST", f"/users/{clerk.user['id']}:reactivate")
    assert back.json()["state"] == "active"
    assert (await browsers().log_in(company, PASSWORD, "clerk@x.example")).status_code == 200
    assert (await browsers().send("GET", "/permissions", **bearer)).status_code == 401


async def test_ones_own_password_changes_and_other_sessions_end(browsers, company):
    here, there = browsers(), browsers()
    await here.log_in(company)
    await there.log_in(company)
    before = here.cookies["__Host-session"]
    new = {"new_password": PASSWORD}

    wrong = await here.send("POST", "/auth/password:change", {"current_password": "x", **new})
    right = {"current_password": company.password, **new}
    done = await here.send("POST", "/auth/password:change", right)

    assert (wrong.status_code, wrong.json()["reason"]) == (409, "WRONG_PASSWORD")
    assert done.status_code == 200
    assert here.cookies["__Host-session"] != before
    assert (await here.send("POST", "/auth/sessions:revokeOthers")).json() == {"revoked": 0}
    assert (await there.send("GET", "/auth/session")).status_code == 401
    assert (await browsers().log_in(company)).status_code == 401
    assert (await browsers().log_in(company, PASSWORD)).status_code == 200


async def test_other_rights_need_a_new_session_and_the_old_one_is_dead(
    admin, clerk, browsers, company
):
    change = {"version": clerk.role["version"], "permissions": ["sales.orders.read"]}

    changed = await admin.send("PATCH", f"/roles/{clerk.role['id']}", change)

    assert changed.status_code == 200
    assert (await clerk.send("GET", "/auth/session")).status_code == 401
    await clerk.log_in(company, PASSWORD, "clerk@x.example")
    assert (await clerk.send("GET", "/users")).status_code == 403


async def test_whose_own_rights_change_goes_on_under_a_new_session(admin, clerk):
    old = clerk.cookies["__Host-session"]
    held = ["gateway.roles.*", "gateway.tokens.*", "gateway.users.*"]
    change = {"version": clerk.role["version"], "permissions": held}

    await clerk.send("PATCH", f"/roles/{clerk.role['id']}", change)

    session = await clerk.send("GET", "/auth/session")
    assert session.json()["permissions"] == held
    assert clerk.cookies["__Host-session"] != old
    clerk.cookies["__Host-session"] = old
    assert (await clerk.send("GET", "/auth/session")).status_code == 401


@pytest.mark.parametrize("permissions", [["*"], ["accounting.entries.read"], ["gateway.*"]])
async def test_no_role_is_made_above_ones_own(clerk, permissions):
    answer = await clerk.send("POST", "/roles", {"name": "more", "permissions": permissions})

    assert (answer.status_code, answer.json()["reason"]) == (403, "NOT_PERMITTED")


async def test_holding_all_of_a_group_is_less_than_the_group(admin, browsers, company):
    shown = (await admin.send("GET", "/permissions")).json()["permissions"]
    all_of_sales = [one["name"] for one in shown if one["name"].startswith("sales.")]
    made = await role(admin, [*all_of_sales, "gateway.roles.write"])
    await add(admin, "s@x.example", made["id"])
    browser = browsers()
    await browser.log_in(company, PASSWORD, "s@x.example")

    group = await browser.send("POST", "/roles", {"name": "g", "permissions": ["sales.*"]})
    each = await browser.send("POST", "/roles", {"name": "e", "permissions": all_of_sales})

    assert (group.status_code, each.status_code) == (403, 201)


async def test_nobody_touches_who_stands_above_them(admin, clerk, company):
    me = (await admin.send("GET", "/auth/session")).json()["user"]["id"]
    version = (await admin.send("GET", f"/users/{me}")).json()["version"]
    above = await role(admin, ["accounting.*"], "above")
    accountant = await built_in(admin, "accountant")
    own = clerk.user
    refused = [
        await clerk.send("PATCH", f"/users/{me}", {"version": version, "name": "x"}),
        await clerk.send("POST", f"/users/{me}:deactivate"),
        await clerk.send("POST", f"/users/{me}:invite"),
        await clerk.send("PATCH", f"/roles/{above['id']}", {"version": 1, "permissions": []}),
        await clerk.send("DELETE", f"/roles/{above['id']}"),
        await clerk.send("POST", "/users", {"email": "a@x.example", "role_ids": [accountant]}),
        await clerk.send(
            "PATCH",
            f"/users/{own['id']}",
            {"version": own["version"], "role_ids": [clerk.role["id"], accountant]},
        ),
        await clerk.send("POST", "/api-tokens", {"name": "x", "permissions": ["accounting.*"]}),
    ]

    assert [one.status_code for one in refused] == [403] * len(refused)
    assert (await admin.send("GET", "/auth/session")).status_code == 200


async def test_a_token_does_no_more_than_its_user_still_may(admin, clerk, browsers):
    body = {"name": "t", "permissions": ["gateway.users.read"]}
    token = (await clerk.send("POST", "/api-tokens", body)).json()["token"]
    bearer = {"authorization": f"Bearer {token}"}
    before = await browsers().send("GET", "/users", **bearer)

    change = {"version": clerk.role["version"], "permissions": ["sales.*"]}
    await admin.send("PATCH", f"/roles/{clerk.role['id']}", change)

    assert before.status_code == 200
    assert (await browsers().send("GET", "/users", **bearer)).status_code == 403


async def test_no_company_holds_what_is_above_companies(admin):
    answer = await admin.send("POST", "/roles", {"name": "p", "permissions": ["platform.*"]})

    assert answer.status_code in (400, 403)


async def test_the_last_admin_stays(admin, browsers, company):
    me = (await admin.send("GET", "/auth/session")).json()["user"]["id"]
    version = (await admin.send("GET", f"/users/{me}")).json()["version"]
    viewer = await built_in(admin, "viewer")

    refused = [
        await admin.send("POST", f"/users/{me}:deactivate"),
        await admin.send("PATCH", f"/users/{me}", {"version": version, "role_ids": [viewer]}),
    ]

    assert [one.json()["reason"] for one in refused] == ["LAST_ADMIN"] * 2
    assert (await admin.send("GET", "/auth/session")).status_code == 200


async def test_of_two_admins_who_remove_each_other_one_stays(
    admin, browsers, company, gateway_database
):
    second = await add(admin, "second@x.example", await built_in(admin, "admin"))
    me = (await admin.send("GET", "/auth/session")).json()["user"]["id"]
    other = browsers()
    await other.log_in(company, PASSWORD, "second@x.example")

    await asyncio.gather(
        admin.send("POST", f"/users/{second['id']}:deactivate"),
        other.send("POST", f"/users/{me}:deactivate"),
    )

    query = "SELECT count(*) FROM users WHERE tenant_id = %s AND state = 'active'"
    assert rows_of(gateway_database.operator, query, company.id) == [(1,)]


async def test_roles_in_use_and_those_of_every_company_stay(admin, clerk):
    refused = [
        await admin.send("DELETE", f"/roles/{clerk.role['id']}"),
        await admin.send("DELETE", f"/roles/{await built_in(admin, 'viewer')}"),
        await admin.send("POST", "/roles", {"name": "clerk", "permissions": []}),
    ]

    reasons = [one.json()["reason"] for one in refused]
    assert reasons == ["ROLE_IN_USE", "BUILT_IN_ROLE", "ROLE_NAME_TAKEN"]


async def test_what_belongs_to_another_company_is_not_there(
    admin, browsers, company, database, password
):
    slug = "o" + company.slug
    tenant = NewTenant(slug, "O", "EUR", "unmetered")
    foreign = Company(slug, await seed_with(database, tenant, *password))
    other = browsers()
    await other.log_in(foreign)
    viewer = await built_in(other, "viewer")
    me = (await other.send("GET", "/auth/session")).json()["user"]["id"]

    answers = [
        await admin.send("GET", f"/users/{me}"),
        await admin.send("POST", f"/users/{me}:deactivate"),
        await admin.send("GET", f"/roles/{viewer}"),
        await admin.send("POST", "/users", {"email": "n@x.example", "role_ids": [viewer]}),
    ]

    assert [one.status_code for one in answers] == [404, 404, 404, 400]
