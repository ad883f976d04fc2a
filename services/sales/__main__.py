"""`python -m sales server`, `worker` or `migrate`."""

from common.command_line import service_command_line
from sales.app import NAME, migrate, serve, work

if __name__ == "__main__":
    service_command_line(NAME, serve, work, migrate)
