"""`python -m accounting server`, `worker` or `migrate`."""

from accounting.app import NAME, migrate, serve, work
from common.command_line import service_command_line

if __name__ == "__main__":
    service_command_line(NAME, serve, work, migrate)
