"""A worker that reads products in, as a process to be killed: file_worker.py APP SYSTEM REDIS."""

import asyncio
import sys

from redis.asyncio import Redis

from common.jobs_testing import job_worker, open_job_database
from inventory import product_files


async def main(app_url: str, system_url: str, redis_url: str) -> None:
    database = open_job_database("inventory", app_url, system_url, product_files)
    await job_worker("inventory", database, Redis.from_url(redis_url), product_files).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
