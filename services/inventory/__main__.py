"""`python -m inventory server`, `worker` or `migrate`."""

from common.command_line import service_command_line
from inventory import app

if __name__ == "__main__":
    service_command_line("inventory", app.serve, app.work, app.migrate)
