"""The supervisor with tiny processes in place of services."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ops.processes import ProcessSpec
from ops.supervisor import ProcessExited, Supervisor, restart_delay_seconds
from ops.tests.conditions import is_running, until, until_blocking

SLEEPS = "import signal; print('up', flush=True); signal.pause()"
REFUSES_TO_END = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
print("up", flush=True)
while True: signal.pause()
"""
WITH_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
child.wait()
"""
TELLS_ITS_END = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(open("journal", "a").write(sys.argv[1] + " ")))
print("up", flush=True)
while True: signal.pause()
"""


def spec(directory: Path, name: str, code: str, *, grace_seconds: float = 15.0) -> ProcessSpec:
    """A Python one-liner as a process."""
    return ProcessSpec(
        name=name,
        argv=(sys.executable, "-c", code, name),
        environment=dict(os.environ),
        log=directory / f"{name}.log",
        directory=directory,
        grace_seconds=grace_seconds,
    )


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    supervisor.hasten.set()
    await supervisor.stop()


def written(directory: Path, name: str) -> str:
    """What a process has logged so far."""
    return (directory / f"{name}.log").read_text()


def only_pid(supervisor: Supervisor, name: str = "it") -> int:
    """The pid of a process, which must have just one."""
    (pid,) = supervisor.pids()[name]
    return pid


async def test_a_killed_process_is_back_at_once_with_a_new_pid(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.start(spec(tmp_path, "it", SLEEPS))
    supervisor.settle()

    # Also for the tenth time in a row.
    for _ in range(10):
        killed = only_pid(supervisor)
        async with asyncio.timeout(1):
            os.kill(killed, signal.SIGKILL)
            await until(lambda: only_pid(supervisor) not in {None, killed})  # noqa: B023
        assert is_running(only_pid(supervisor))
        assert not is_running(killed)


async def test_what_a_killed_process_had_started_ends_with_it(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.start(spec(tmp_path, "it", WITH_A_CHILD))
    supervisor.settle()
    await until(lambda: written(tmp_path, "it"))
    grandchild = int(written(tmp_path, "it").split()[0])

    os.kill(only_pid(supervisor), signal.SIGKILL)

    await until(lambda: not is_running(grandchild))


def test_a_process_that_cannot_start_is_restarted_ever_more_slowly() -> None:
    delays = [restart_delay_seconds(deaths) for deaths in (0, 1, 2, 3, 4, 1000)]

    assert delays == [0, 0, 0.2, 0.4, 0.8, 10]


async def test_a_process_that_ends_while_the_stack_starts_stops_the_start(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.start(spec(tmp_path, "it", "print('port taken'); raise SystemExit(3)"))

    with pytest.raises(ProcessExited, match="it ended with exit code 3") as failure:
        await supervisor.while_running(asyncio.Event().wait())

    assert failure.value.log_tail == "port taken"


async def test_a_command_that_fails_shows_its_last_20_lines(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    code = "import sys; [print(n, file=sys.stderr) for n in range(99)]; sys.exit(1)"

    with pytest.raises(ProcessExited) as failure:
        await supervisor.complete(spec(tmp_path, "it", code), spec(tmp_path, "other", SLEEPS))

    assert failure.value.log_tail.split() == [str(number) for number in range(79, 99)]


async def test_groups_stop_in_the_reverse_order_of_their_start(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    names = ("servers", "workers", "gateway")
    for name in names:
        await supervisor.start(spec(tmp_path, name, TELLS_ITS_END))
    await until(lambda: all(written(tmp_path, name) for name in names))

    await supervisor.stop()

    assert (tmp_path / "journal").read_text().split() == ["gateway", "workers", "servers"]


async def test_a_process_that_refuses_to_end_is_killed_after_its_grace(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.start(spec(tmp_path, "it", REFUSES_TO_END, grace_seconds=0.1))
    await until(lambda: written(tmp_path, "it"))
    pid = only_pid(supervisor)

    await supervisor.stop()

    assert not is_running(pid)


async def test_hastening_kills_without_waiting_for_the_grace(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.start(spec(tmp_path, "it", REFUSES_TO_END, grace_seconds=3600))
    await until(lambda: written(tmp_path, "it"))
    pid = only_pid(supervisor)
    stop = asyncio.create_task(supervisor.stop())
    await until(lambda: "no" in written(tmp_path, "it"))

    supervisor.hasten.set()

    async with asyncio.timeout(10):
        await stop
    assert not is_running(pid)


async def test_a_stop_during_the_pause_before_a_restart_starts_nothing(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    await supervisor.start(spec(tmp_path, "it", "print('x')"))
    supervisor.settle()
    await until(lambda: supervisor.restarts >= 3)

    await supervisor.stop()

    runs = written(tmp_path, "it").count("x")
    assert runs <= supervisor.restarts + 1
    assert supervisor.pids() == {}


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from ops.supervisor import Supervisor
from ops.tests.test_supervisor import SLEEPS, spec
async def main():
    supervisor = Supervisor()
    await supervisor.start(spec(Path({str(tmp_path)!r}), "it", SLEEPS))
    print(*supervisor.pids()["it"], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    here = Path(__file__).parent
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=here
    ) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        until_blocking(lambda: written(tmp_path, "it"))

        supervisor.kill()

    until_blocking(lambda: not is_running(child))
