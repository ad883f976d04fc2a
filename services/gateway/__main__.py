"""`python -m gateway server`, `worker`, `migrate`, `seed` for tenants, `operator` for a token."""

import sys
from collections.abc import Callable
from functools import partial

from common.command_line import service_command_line
from common.process import stop_misconfigured
from common.settings import Settings, SettingsError, load_settings
from gateway.app import NAME, migrate, serve, work
from gateway.first_operator import make_operator
from gateway.seed import seed, tenants_for_load


def main() -> None:
    """Run what the command line asks for."""
    command: Callable[[Settings], None]
    match sys.argv[1:]:
        case ["seed"]:
            command = seed
        case ["seed", count] if count.isdecimal():
            command = partial(seed, tenants=tenants_for_load(int(count)))
        case ["operator"]:
            command = make_operator
        case ["operator", name]:
            command = partial(make_operator, name=name)
        case _:
            service_command_line(NAME, serve, work, migrate)
            return
    try:
        command(load_settings())
    except SettingsError as error:
        stop_misconfigured(error)


if __name__ == "__main__":
    main()
