"""The whole system, started once for all tests that need real processes."""

import os
import sys
from collections.abc import AsyncIterator, Iterator

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
def stack(
    tmp_path_factory: pytest.TempPathFactory, collector: TraceSink
) -> Iterator[BackgroundStack]:
    """The system, started as `make run` starts it, on free ports and with data of its own."""
    traces = {"KV_ERP_TRACES_URL": collector.url, "KV_ERP_TRACES_RATIO": "0"}
    with running(tmp_path_factory.mktemp("stack") / "dev", {**os.environ, **traces}) as stack:
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
