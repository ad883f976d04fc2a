"""Who logged in and out, who was refused, and whose sessions were ended, is written down."""

import asyncio

import orjson

from common.testing import rows_of

ENTRIES = """
    SELECT entry.action, entry.after::text, change.authors::text
    FROM audit_entries AS entry JOIN audit_changes AS change
        ON change.tenant_id = entry.tenant_id AND change.id = entry.change_id
    WHERE entry.tenant_id = %s AND entry.kind = 'user'
      AND entry.action IN ('logged in', 'login refused', 'logged out', 'sessions ended')
    ORDER BY entry.id
"""


async def entries_of(gateway_database, company, count):
    # A refusal is not waited for by who is refused.
    async with asyncio.timeout(20):
        while len(rows := rows_of(gateway_database.operator, ENTRIES, company.id)) < count:
            await asyncio.sleep(0.02)
    return rows


async def test_logins_refusals_and_logouts_are_written_down(company, browsers, gateway_database):
    browser = browsers()
    await browser.log_in(company, password="wrong and wrong")
    await entries_of(gateway_database, company, 1)
    await browser.log_in(company)
    await browser.send("POST", "/auth/logout", {})

    rows = await entries_of(gateway_database, company, 3)

    assert [action for action, _, _ in rows] == ["login refused", "logged in", "logged out"]
    ((author,),) = [orjson.loads(authors) for _, _, authors in rows[2:]]
    assert author["actor"].startswith("user:")
    assert author["address"].startswith("10.")


async def test_ended_sessions_are_written_down_and_a_name_nobody_has_is_not(
    company, browsers, gateway_database
):
    here, there, elsewhere = browsers(), browsers(), browsers()
    await here.log_in(company, email="nobody@x.example")
    session = (await there.log_in(company)).json()["session"]["id"]
    await elsewhere.log_in(company)
    await here.log_in(company)
    await here.send("DELETE", f"/auth/sessions/{session}")
    await here.send("POST", "/auth/sessions:revokeOthers", {})

    rows = await entries_of(gateway_database, company, 5)

    ended = [orjson.loads(said) for action, said, _ in rows if action == "sessions ended"]
    assert [action for action, _, _ in rows] == ["logged in"] * 3 + ["sessions ended"] * 2
    assert ended == [{"sessions": 1}, {"sessions": 1}]
