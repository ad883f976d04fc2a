"""`python -m gateway server`, `migrate`, or `seed` for the demo tenants."""

import sys

from common.command_line import service_command_line
from common.process import stop_misconfigured
from common.settings import SettingsError, load_settings
from gateway.app import NAME, migrate, serve, work
from gateway.seed import seed


def main() -> None:
    """Run what the command line asks for."""
    if sys.argv[1:] != ["seed"]:
        service_command_line(NAME, serve, work, migrate)
        return
    try:
        seed(load_settings())
    except SettingsError as error:
        stop_misconfigured(error)


if __name__ == "__main__":
    main()
