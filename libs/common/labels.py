"""Labels that cannot grow without end: the first so many values by name, the rest together."""

__all__ = ["OTHER", "Bounded"]

OTHER = "other"


class Bounded:
    """Names for a metric's label.

    Who has a name keeps it while the process lives, so that no counter ever falls.

    Args:
        most: how many get a name of their own; all others are "other".
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, value: str) -> str:
        """The label for a value."""
        if value in self._known:
            return value
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(value)
        return value
