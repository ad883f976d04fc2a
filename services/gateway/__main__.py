"""`python -m gateway server`, `migrate`, `seed` for the demo tenants, `operator` for a token."""

import sys

from common.command_line import service_command_line
from common.process import stop_misconfigured
from common.settings import SettingsError, load_settings
from gateway.app import NAME, migrate, serve, work
from gateway.first_operator import make_operator
from gateway.seed import seed

_OWN = {"seed": seed, "operator": make_operator}


def main() -> None:
    """Run what the command line asks for."""
    command = _OWN.get(" ".join(sys.argv[1:]))
    if command is None:
        service_command_line(NAME, serve, work, migrate)
        return
    try:
        command(load_settings())
    except SettingsError as error:
        stop_misconfigured(error)


if __name__ == "__main__":
    main()
