"""`kv-erp migrate`: the running stack's databases to the newest schema."""

import os
import subprocess
import sys

from ops.commands.console import dev_directory, failures_as_sentences, out, running_state
from ops.credentials import DATABASES, Credentials
from ops.dev_directory import DevDirectory
from ops.errors import StackFailure
from ops.urls import with_account


def migrate() -> None:
    """Apply the migrations that the databases of the running stack lack."""
    with failures_as_sentences():
        urls = running_state()["databases"]
        credentials = Credentials(DevDirectory(dev_directory()).secrets)
        for service in DATABASES:
            role = f"{service}_owner"
            url = with_account(urls[service], role, credentials.role_password(role))
            _migrate(service, url)
            out.print(f"{service}: newest schema")


def _migrate(service: str, url: str) -> None:
    environment = {**os.environ, "KV_ERP_MIGRATION_DATABASE_URL": url}
    environment.pop("KV_ERP_DEV_DIR", None)
    environment.pop("KV_ERP_HTTP_PORT", None)
    command = [sys.executable, "-m", service, "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackFailure(f"The migrations of {service} failed.", done.stderr)
