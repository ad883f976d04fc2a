"""A worker that sends mail, as a process to be killed: mail_worker.py APP SYSTEM REDIS PORT."""

import asyncio
import sys

from redis.asyncio import Redis

from common import mailing
from common.jobs_testing import job_worker, open_job_database
from common.mail_testing import mailer_for
from sales import mailing as mails_of_sales


async def main(app_url: str, system_url: str, redis_url: str, port: str) -> None:
    database = open_job_database("sales", app_url, system_url, mails_of_sales)
    with mailing.sending_by(mailer_for(int(port))):
        await job_worker("sales", database, Redis.from_url(redis_url), mails_of_sales).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
