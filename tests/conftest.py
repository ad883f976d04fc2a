"""The whole system, started once for all tests that need real processes."""

import fcntl
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from reports import Report
from shop import Shop, client_of
from trace_sink import TraceSink, collecting

from ops.background import BackgroundStack, running


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Report:
    """Prints what a campaign has measured, even when its test passes."""

    def say(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return say


@pytest.fixture(scope="session")
def collector() -> Iterator[TraceSink]:
    """Where the system sends the spans of traces that are sampled."""
    with collecting() as sink:
        yield sink


@pytest.fixture(scope="session")
def began(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a system that was started for the first time and stopped again.

    Systems of tests begin with a copy of it, which takes half the time of a first start. It is made
    once for all processes of a test run.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    directory = folder / "began"
    with (folder / "began.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            with running(folder / "beginning"):
                pass
            (folder / "beginning").rename(directory)
    return directory


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, collector: TraceSink, began: Path
) -> Iterator[BackgroundStack]:
    """The system, started as `make run` starts it, on free ports and with data of its own."""
    environment = {
        **os.environ,
        "KV_ERP_TRACES_URL": collector.url,
        "KV_ERP_TRACES_RATIO": "0",
    }
    with running(tmp_path_factory.mktemp("stack") / "dev", environment, like=began) as stack:
        yield stack


@pytest.fixture
async def acme(stack: BackgroundStack) -> AsyncIterator[Shop]:
    """The tenant acme."""
    async with client_of(stack, "acme") as client:
        yield Shop(client)


@pytest.fixture
async def globex(stack: BackgroundStack) -> AsyncIterator[Shop]:
    """The tenant globex."""
    async with client_of(stack, "globex") as client:
        yield Shop(client)
