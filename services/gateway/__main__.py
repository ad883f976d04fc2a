"""`python -m gateway server`, `worker`, `migrate`, or `seed` for tenants of a local stack."""

import sys

from common.command_line import service_command_line
from common.process import stop_misconfigured
from common.settings import SettingsError, load_settings
from gateway.app import NAME, migrate, serve, work
from gateway.seed import TENANTS, seed, tenants_for_load


def main() -> None:
    """Run what the command line asks for."""
    match sys.argv[1:]:
        case ["seed"]:
            tenants = TENANTS
        case ["seed", count] if count.isdecimal():
            tenants = tenants_for_load(int(count))
        case _:
            service_command_line(NAME, serve, work, migrate)
            return
    try:
        seed(load_settings(), tenants)
    except SettingsError as error:
        stop_misconfigured(error)


if __name__ == "__main__":
    main()
