"""Calendar days, and the months that they belong to."""

from datetime import date

from common.errors import InvalidRequest


def parse_date(text: str, field: str) -> date:
    """The day in a request's field, ISO 8601.

    Raises:
        InvalidRequest: there is no such day; names the field by its JSON pointer.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest.of(f"/{field}", "is not a day of the calendar") from None


def period_of(day: date) -> str:
    """The month of a day as the id of its period, such as "2026-11"."""
    return day.isoformat()[:7]
