"""One directory, one stack."""

import os
from pathlib import Path

import pytest

from ops.credentials import Credentials
from ops.dev_directory import DevDirectory
from ops.errors import StackFailure
from ops.files import read_json, write_json


def test_a_second_stack_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    first, second, third = (DevDirectory(tmp_path / ".dev") for _ in range(3))
    first.claim()

    for refused in (second, third):
        with pytest.raises(StackFailure, match=f"pid {os.getpid()}"):
            refused.claim()

    first.release()
    second.claim()
    second.release()


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StackFailure, match="Cannot write in"):
        DevDirectory(tmp_path / "file" / ".dev").claim()


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"

    Credentials(path)

    assert path.stat().st_mode & 0o777 == 0o600


def test_secrets_are_made_once(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"

    first, second = Credentials(path), Credentials(path)

    assert first.superuser_password == second.superuser_password
    assert first.role_password("sales_app") == second.role_password("sales_app")
    assert first.trusted_keys() == second.trusted_keys()


def test_secrets_of_an_older_version_are_completed_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    write_json(path, {"postgres": "old", "roles": {"sales_app": "old"}})

    credentials = Credentials(path)

    assert credentials.superuser_password == credentials.role_password("sales_app") == "old"
    assert read_json(path)["roles"].keys() > {"gateway_owner", "inventory_system"}


def test_a_damaged_file_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{")

    with pytest.raises(StackFailure, match=r"secrets\.json is not JSON"):
        Credentials(tmp_path / "secrets.json")
