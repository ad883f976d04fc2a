"""docs/reference/, written from the code: `python docs/generate`."""

from collections.abc import Callable

from generate.errors import errors_page
from generate.events import events_page
from generate.permissions import permissions_page
from generate.roles import roles_page
from generate.settings import settings_page
from ops.command_reference import command_line_page

PAGES: dict[str, Callable[[], str]] = {
    "command-line.md": command_line_page,
    "errors.md": errors_page,
    "events.md": events_page,
    "permissions.md": permissions_page,
    "roles.md": roles_page,
    "settings.md": settings_page,
}
