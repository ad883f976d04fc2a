"""A worker that sends mail, as a process to be killed: mail_worker.py APP SYSTEM REDIS PORT."""

import asyncio
import sys

from redis.asyncio import Redis

from common.jobs_testing import job_worker, open_job_database
from common.mailer import Mailer
from common.settings import Settings
from sales import mailing


def mailer_for(port: int) -> Mailer:
    return Mailer(
        Settings(
            mail_host="127.0.0.1",
            mail_port=port,
            mail_encryption="none",
            mail_from_address="orders@acme.example",
        )
    )


async def main(app_url: str, system_url: str, redis_url: str, port: str) -> None:
    database = open_job_database("sales", app_url, system_url, mailing)
    with mailing.sending_by(mailer_for(int(port))):
        await job_worker("sales", database, Redis.from_url(redis_url), mailing).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
