"""One place in the events of all services: a position in each, as one word."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from common.errors import InvalidRequest

__all__ = ["NOW", "Cursor"]

# Stands for the place at which nothing has happened yet.
NOW = "now"
# Stands for the place before the first event, as an empty text does.
_BEGINNING = "0"
_SHAPE = re.compile(r"(?:[a-z]{1,30}=(?:0|[1-9][0-9]{0,17})(?:,(?!$)|$))*", re.ASCII)


@dataclass(frozen=True)
class Cursor:
    """How far somebody has read in each service's events of one tenant; 0 where it says nothing.

    It holds nothing secret and gives no right: whose events are read is up to the reader's tenant.
    """

    positions: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The cursor that `text` was made from; the beginning when it is empty or "0".

        Raises:
            InvalidRequest: no answer has carried such a cursor.
        """
        if text == _BEGINNING:
            return cls()
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            plain = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
        except (UnicodeError, binascii.Error):
            plain = "?"
        if not _SHAPE.fullmatch(plain):
            raise InvalidRequest.of("/after", "must be a cursor of this feed, or now")
        pairs = (part.split("=") for part in plain.split(",") if part)
        return cls({source: int(position) for source, position in pairs})

    def __str__(self) -> str:
        plain = ",".join(f"{source}={at}" for source, at in sorted(self.positions.items()) if at)
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")

    def of(self, source: str) -> int:
        """The position in the events of one service."""
        return self.positions.get(source, 0)

    def moved(self, source: str, position: int) -> "Cursor":
        """The place after this event of that service."""
        return Cursor({**self.positions, source: position})
