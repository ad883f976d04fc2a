"""What campaigns tell of what they measured."""

from collections.abc import Callable

Report = Callable[[str], None]
