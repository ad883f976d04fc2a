"""Companies are made, kept out and let in by the platform's operators, and by nobody else."""

import httpx
import psycopg
import pytest
from psycopg import sql

from common.cache_testing import until_true
from common.testing import rows_of
from gateway.platform import PLATFORM, put_operator_token

PASSWORD = "correct horse battery"


def client(url: str, token: str) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {token}"}
    return httpx.AsyncClient(verify=False, base_url=url, headers=headers, timeout=30)


@pytest.fixture(scope="session")
async def operator_token(database) -> str:
    return await put_operator_token(database)


@pytest.fixture
async def operator(gateway, operator_token):
    async with client(gateway, operator_token) as one:
        yield one


def body(slug: str, **more):
    admin = {"email": f"boss@{slug}.example", "name": "Boss", "password": PASSWORD}
    return {"slug": slug, "name": "New", "currency_code": "EUR", "admin": admin} | more


@pytest.fixture
async def made(operator, company) -> dict[str, object]:
    answer = await operator.post("/tenants", json=body("n" + company.slug))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_company_is_made_with_an_admin_who_can_log_in(operator, made, browser):
    answer = await browser.send(
        "POST",
        "/auth/login",
        {"tenant": made["slug"], "email": made["admin"]["email"], "password": PASSWORD},
    )
    roles = (await browser.send("GET", "/roles")).json()["roles"]

    assert (made["state"], made["plan"], made["version"]) == ("active", "default", 1)
    assert made["awaiting"] == ["accounting", "inventory", "sales"]
    assert made["admin"]["setup_token"] == ""
    assert answer.json()["permissions"] == ["*"]
    assert len(roles) == 5


async def test_an_admin_without_a_password_has_a_setup_token(operator, company, browser):
    admin = {"email": "boss@x.example"}
    answer = await operator.post("/tenants", json=body("i" + company.slug, admin=admin))
    token = answer.json()["admin"]["setup_token"]

    chosen = await browser.send(
        "POST", "/auth/password:set", {"setup_token": token, "password": PASSWORD}
    )
    login = {"tenant": "i" + company.slug, "email": "boss@x.example", "password": PASSWORD}

    assert chosen.status_code == 204
    assert (await browser.send("POST", "/auth/login", login)).status_code == 200


async def test_a_company_is_read_and_listed_and_the_platform_is_none(operator, made):
    read = await operator.get(f"/tenants/{made['id']}")
    listed, token = [], ""
    while True:
        query = {"page_size": 200, "page_token": token}
        page = (await operator.get("/tenants", params=query)).json()
        listed += [one["id"] for one in page["tenants"]]
        token = page["next_page_token"]
        if not token:
            break

    assert read.json()["slug"] == made["slug"]
    assert made["id"] in listed
    assert str(PLATFORM) not in listed
    assert (await operator.get(f"/tenants/{PLATFORM}")).status_code == 404
    refused = await operator.post(f"/tenants/{PLATFORM}:suspend", json={"reason": "x"})
    assert refused.status_code == 404


async def test_companies_are_found_by_filter_and_come_in_order(operator, company):
    for number in (1, 3, 2):
        made = await operator.post("/tenants", json=body(f"o{number}{company.slug}"))
        assert made.status_code == 201, made.text
    query = {"filter": f'slug:"{company.slug}" AND slug:"o"', "order_by": "slug desc"}

    first = (await operator.get("/tenants", params=query | {"page_size": 2})).json()
    token = first["next_page_token"]
    second = (await operator.get("/tenants", params=query | {"page_token": token})).json()
    wrong = await operator.get("/tenants", params={"filter": "reason = x"})

    found = [one["slug"][:2] for page in (first, second) for one in page["tenants"]]
    assert [slug for slug in found if slug[1].isdigit()] == ["o3", "o2", "o1"]
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "/filter")


async def test_short_names_are_unique_and_nothing_of_the_second_is_left(
    operator, made, gateway_database
):
    again = await operator.post("/tenants", json=body(made["slug"]))

    query = "SELECT count(*) FROM users WHERE email = %s"
    assert (again.status_code, again.json()["reason"]) == (409, "TENANT_EXISTS")
    assert rows_of(gateway_database.operator, query, made["admin"]["email"]) == [(1,)]


async def test_the_answer_to_an_operator_is_kept_with_its_effect(
    operator, company, gateway_database
):
    headers = {"idempotency-key": f"make-{company.slug}"}
    request = body("k" + company.slug, admin={"email": "boss@x.example"})
    first = await operator.post("/tenants", json=request, headers=headers)
    tenant = first.json()
    suspend, why = f"/tenants/{tenant['id']}:suspend", {"reason": "unpaid"}
    await operator.post(suspend, json=why, headers=headers)

    # Written by one transaction, so that nothing can come between the two.
    query = """
        SELECT method FROM idempotency_keys AS kept JOIN operator_actions AS done
            ON done.xmin = kept.xmin AND done.tenant_id = %s
        WHERE kept.key = %s AND kept.tenant_id = %s ORDER BY method"""
    values = (tenant["id"], headers["idempotency-key"], PLATFORM)
    service = "/erp.gateway.v1.TenantService/"
    assert rows_of(gateway_database.operator, query, *values) == [
        (service + "CreateTenant",),
        (service + "SuspendTenant",),
    ]
    again = await operator.post("/tenants", json=request, headers=headers)
    assert (again.json(), again.headers["idempotent-replayed"]) == (tenant, "true")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"slug": "No Spaces"}, "/slug"),
        ({"currency_code": "XXQ"}, "/currency_code"),
        ({"currency_code": "eur"}, "/currency_code"),
        ({"admin": {"email": "x"}}, "/admin/email"),
        ({"admin": {"email": "a@b.example", "password": "short"}}, "/admin/password"),
        ({"admin": None}, "/admin"),
    ],
)
async def test_a_wrong_request_names_what_is_wrong(operator, company, change, pointer):
    answer = await operator.post("/tenants", json=body("w" + company.slug) | change)

    assert answer.status_code == 400
    assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]


async def test_no_company_operates_others_not_even_with_all_its_permissions(gateway, company, made):
    async with client(gateway, company.token) as admin:
        answers = [
            await admin.get("/tenants"),
            await admin.post("/tenants", json=body("x" + company.slug)),
            await admin.get(f"/tenants/{company.id}"),
            await admin.post(f"/tenants/{made['id']}:suspend", json={"reason": "x"}),
            await admin.post(
                "/api-tokens", json={"name": "x", "permissions": ["platform.tenants.read"]}
            ),
        ]

    assert [one.status_code for one in answers] == [403] * 5


def test_the_database_lets_no_company_hold_what_is_above_companies(gateway_database, company):
    insert = sql.SQL(
        "INSERT INTO roles (tenant_id, id, name, permissions) "
        "VALUES ({}, gen_random_uuid(), 'p', ARRAY['sales.*', {}])"
    )
    for permission in ("platform.*", "platform.tenants.read"):
        with (
            psycopg.connect(gateway_database.operator) as connection,
            pytest.raises(psycopg.errors.CheckViolation),
        ):
            connection.execute(insert.format(company.id, permission))


async def test_a_suspended_company_is_refused_everywhere_and_told_why(
    operator, gateway, other_gateway, company, browser, browsers
):
    await browser.log_in(company)
    elsewhere = browsers(other_gateway)
    elsewhere.cookies = dict(browser.cookies)
    async with (
        client(gateway, company.token) as here,
        client(other_gateway, company.token) as there,
    ):
        assert (await here.get("/users")).status_code == 200
        assert (await there.get("/users")).status_code == 200

        done = await operator.post(f"/tenants/{company.id}:suspend", json={"reason": "unpaid"})

        refused = await here.get("/users")
        await until_true(lambda: _is(there, 403), seconds=5)
        by_cookie = await browser.send("GET", "/auth/session")
        by_cookie_elsewhere = await elsewhere.send("GET", "/auth/session")
        login = await browsers().log_in(company)
        back = await operator.post(f"/tenants/{company.id}:resume", json={"reason": "paid"})
        await until_true(lambda: _is(there, 200), seconds=5)
        again = await browser.send("GET", "/auth/session")

    assert done.json()["state"] == "suspended"
    assert (refused.status_code, refused.json()["reason"]) == (403, "TENANT_SUSPENDED")
    assert (by_cookie.status_code, by_cookie.json()["reason"]) == (403, "TENANT_SUSPENDED")
    assert by_cookie_elsewhere.status_code == 403
    assert login.json()["detail"] == "Company, mail address or password are not right."
    assert back.json()["state"] == "active"
    assert again.status_code == 200


async def _is(one: httpx.AsyncClient, status: int) -> bool:
    return (await one.get("/users")).status_code == status


async def test_another_plan_counts_at_once(operator, made, gateway, browser):
    login = {"tenant": made["slug"], "email": made["admin"]["email"], "password": PASSWORD}
    await browser.send("POST", "/auth/login", login)
    before = await browser.send("GET", "/roles")

    change = {"version": made["version"], "plan": "unmetered", "reason": "bought"}
    changed = await operator.patch(f"/tenants/{made['id']}", json=change)
    after = await browser.send("GET", "/roles")
    stale = await operator.patch(f"/tenants/{made['id']}", json=change)

    assert (changed.status_code, changed.json()["plan"]) == (200, "unmetered")
    assert changed.json()["name"] == made["name"]
    assert int(before.headers["x-ratelimit-limit"]) == 60
    assert int(after.headers["x-ratelimit-limit"]) == 1_000_000_000
    assert (stale.status_code, stale.json()["reason"]) == (409, "CONCURRENT_MODIFICATION")


async def test_a_plan_that_is_none_and_a_blank_name_are_refused(operator, made):
    new = {"slug": "x", "currency_code": "EUR", "admin": {"email": "a@b.example"}, "reason": "x"}

    for method, path, body, pointer in (
        ("POST", "/tenants", {**new, "name": "X", "plan": "unmeterd"}, "/plan"),
        ("POST", "/tenants", {**new, "name": "\t "}, "/name"),
        ("PATCH", f"/tenants/{made['id']}", {"version": made["version"], "plan": "gold"}, "/plan"),
    ):
        answer = await operator.request(method, path, json=body)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)


async def test_a_company_sees_what_operators_did_to_it_and_why(
    operator, gateway, company, operator_token
):
    for verb, reason in (("suspend", "unpaid"), ("suspend", "again"), ("resume", "paid")):
        await operator.post(f"/tenants/{company.id}:{verb}", json={"reason": reason})

    async with client(gateway, company.token) as admin:
        await until_true(lambda: _is(admin, 200), seconds=5)
        actions = (await admin.get("/operator-actions")).json()["operator_actions"]

    assert [(one["action"], one["reason"]) for one in actions] == [
        ("suspend", "unpaid"),
        ("resume", "paid"),
    ]
    assert all(one["operator"].startswith("token:") for one in actions)
    assert all(one["request_id"] for one in actions)


async def test_a_suspension_says_why(operator, company):
    answer = await operator.post(f"/tenants/{company.id}:suspend", json={})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/reason")
