"""What becomes of root in a launched process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.postgres import account_for
from ops.processes import Account, ProcessSpec

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has anything to give up")

NOBODY = Account(65534, 65534)


def output_as_nobody(directory: Path, code: str) -> str:
    """What Python code prints when it is launched as nobody."""
    spec = ProcessSpec(
        name="it",
        argv=(sys.executable, "-I", "-c", code),
        environment={},
        log=directory / "it.log",
        account=NOBODY,
    )
    result = subprocess.run(spec.launch_argv, env={}, cwd="/", capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode().strip()


def test_it_can_read_in_a_directory_that_only_root_may_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").write_text("content")
    path = str(closed / "file")

    code = f"import os; print(os.access({path!r}, os.R_OK), open({path!r}).read(), os.getuid())"

    assert output_as_nobody(tmp_path, code) == "True content 65534"


def test_it_can_write_nowhere_that_is_not_its_own(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = str(tmp_path / "intruder")

    code = f"""
try:
    open({path!r}, "w")
except PermissionError:
    print("refused")
"""

    assert output_as_nobody(tmp_path, code) == "refused"


def test_it_can_not_become_root_again(tmp_path: Path) -> None:
    code = """
import os
try:
    os.setuid(0)
except PermissionError:
    print(os.getgroups(), "refused")
"""

    assert output_as_nobody(tmp_path, code) == "[] refused"


def test_a_cluster_that_a_user_made_runs_as_that_user(tmp_path: Path) -> None:
    os.chown(tmp_path, 1000, 1000)

    assert account_for(tmp_path) == Account(1000, 1000)
