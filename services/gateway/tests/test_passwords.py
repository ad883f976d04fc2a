"""Passwords are checked slowly, a few at a time, and hashed anew when that has become cheap."""

import asyncio
from uuid import UUID

from argon2 import PasswordHasher

from common.caller import acting_as, service_caller
from common.testing import rows_of
from gateway import tables
from gateway.errors import TooManyAtOnce
from gateway.passwords import Passwords

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def test_a_hash_fits_its_password_only():
    passwords = Passwords(CHEAP)
    stored = await passwords.hash("correct horse")

    assert stored.startswith("$argon2id$")
    assert await passwords.fits(stored, "correct horse")
    assert not await passwords.fits(stored, "Correct horse")
    assert not await passwords.fits(None, "correct horse")
    assert not await passwords.fits("no hash", "correct horse")


async def test_no_more_wait_than_there_is_room_for():
    passwords = Passwords(threads=1, most_waiting=1)

    outcomes = await asyncio.gather(
        *(passwords.fits(None, "x") for _ in range(4)), return_exceptions=True
    )

    assert [type(one) for one in outcomes].count(TooManyAtOnce) == 2
    assert outcomes.count(False) == 2


async def test_the_event_loop_goes_on_meanwhile():
    passwords = Passwords()
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    await passwords.fits(None, "x")
    turning.cancel()

    assert turns > 10


async def test_a_login_renews_a_hash_of_old_parameters(
    browser, company, database, gateway_database
):
    old = CHEAP.hash(company.password)
    company_id = UUID(company.id)
    with acting_as(service_caller("gateway", company_id)):
        async with database.tenant_transaction() as tx:
            await tx.execute(tables.users.update().values(password_hash=old))

    first = await browser.log_in(company)

    query = "SELECT password_hash FROM users WHERE tenant_id = %s"
    ((stored,),) = rows_of(gateway_database.operator, query, company_id)
    assert first.status_code == 200
    assert stored != old
    assert "m=65536" in stored
    assert (await browser.log_in(company)).status_code == 200
