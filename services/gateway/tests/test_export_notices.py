"""Who asked for an archive is told by mail that it is whole; software that asks is not."""

from common.jobs_testing import eventually, job_states, job_worker, working
from common.mail_testing import mailer_for, post_office
from common.mailing import sending_by
from common.tenant_rows_servicer import TenantRowsServicer
from gateway import export_notices
from gateway.tenant_writing import TenantWriter


async def test_a_user_is_written_to_once_the_archive_is_whole(
    browsers, company, database, redis, gateway_database
):
    admin, by_token = browsers(), {"Authorization": f"Bearer {company.token}"}
    await admin.log_in(company)
    writer = TenantWriter({"gateway": TenantRowsServicer(database)})
    worker = job_worker("gateway", database, redis, writer.handlers, export_notices)

    async def done(jobs):
        await eventually(lambda: job_states(gateway_database, company.id) == {"succeeded": jobs})

    async with post_office() as office:
        with sending_by(mailer_for(office.port)):
            asked = (await admin.send("POST", "/tenant-exports", {})).json()
            async with working(worker):
                await done(2)
                await admin.send("POST", "/tenant-exports", {}, **by_token)
                await done(4)

    (mail,) = office.taken
    whole = (await admin.send("GET", f"/tenant-exports/{asked['id']}")).json()
    text = mail.get_body(("plain",)).get_content()
    assert (mail["To"], whole["state"]) == (company.email, "finished")
    assert mail["Subject"] == "The archive of Test is ready"
    assert f"/api/v1/tenant-exports/{asked['id']}?part=0" in text
    assert f"{whole['bytes']} bytes in {whole['parts']} parts" in text
    assert whole["expire_time"][:10] in text
