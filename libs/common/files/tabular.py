"""Rows as text: CSV (RFC 4180) and NDJSON, read so that nothing is guessed and written safely."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from common.errors import InvalidField, InvalidRequest

CSV, NDJSON = "csv", "ndjson"
_BYTE_ORDER_MARK = "\ufeff"
# What spreadsheets take for the beginning of a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LARGEST_CELL = 32_768


@dataclass(frozen=True)
class Columns:
    """The columns of a kind of file.

    `read` are understood; `ignored` may stand in a file, since exports have them, and change
    nothing. `nested` says which columns are one object in JSON: {"list_price": {"amount":
    "list_price"}} takes the column list_price from {"list_price": {"amount": …}}.
    """

    read: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    nested: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def all(self) -> tuple[str, ...]:
        """Every column, in the order of exports."""
        return self.read + self.ignored


@dataclass(frozen=True)
class Row:
    """A row of a file: its number as people count, and its cells by column, or what is wrong."""

    number: int
    cells: Mapping[str, str] = field(default_factory=dict)
    problem: InvalidField | None = None


def check_head(content: str, form: str, columns: Columns) -> None:
    """Check what makes a file unusable as a whole.

    Raises:
        InvalidRequest: it is empty, or the header of a CSV file cannot be read, or is not one of
            these columns.
    """
    text = content.removeprefix(_BYTE_ORDER_MARK)
    if not text.strip():
        raise InvalidRequest.of("/content", "must not be empty")
    if form == CSV:
        try:
            names = next(_records(text), [])
        except csv.Error as error:
            rule = f"begins with a row that cannot be read: {error}"
            raise InvalidRequest.of("/content", rule) from error
        _header(names, columns)


def read_rows(content: str, form: str, columns: Columns) -> Iterator[Row]:
    """The rows of a file; lines without anything in them are passed over, and counted."""
    text = content.removeprefix(_BYTE_ORDER_MARK)
    return _read_csv(text, columns) if form == CSV else _read_ndjson(text, columns)


def write_head(form: str, columns: Columns) -> str:
    """What a file begins with."""
    return _csv_line(columns.all) if form == CSV else ""


def write_rows(form: str, columns: Columns, rows: Iterable[Sequence[str]]) -> str:
    """Rows, each with a cell for each column."""
    if form == CSV:
        return "".join(_csv_line(map(_guard, row)) for row in rows)
    return "".join(_json_line(columns, row) for row in rows)


def _records(text: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), strict=True)


def _header(names: Sequence[str], columns: Columns) -> list[str]:
    header = [name.strip() for name in names]
    known = ", ".join(columns.all)
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise InvalidRequest.of("/content", "must have commas between its columns")
    for name in header:
        if name not in columns.all:
            raise InvalidRequest.of("/content", f"has a column {name[:100]!r}; known are {known}")
        if header.count(name) > 1:
            raise InvalidRequest.of("/content", f"has two columns {name}")
    if not header:
        raise InvalidRequest.of("/content", f"must begin with a row that names columns of {known}")
    return header


def _read_csv(text: str, columns: Columns) -> Iterator[Row]:
    records = _records(text)
    number = 0
    header: list[str] = []
    while True:
        number += 1
        try:
            record = next(records, None)
        except csv.Error as error:
            # Where the next row begins is anybody's guess.
            yield Row(number, problem=InvalidField("", f"and what follows cannot be read: {error}"))
            return
        if record is None:
            return
        if not header:
            header = _header(record, columns)
        elif any(cell.strip() for cell in record):
            yield _csv_row(number, header, record, columns)


def _csv_row(number: int, header: Sequence[str], record: list[str], columns: Columns) -> Row:
    if len(record) != len(header):
        rule = f"has {len(record)} cells, but the header has {len(header)}"
        return Row(number, problem=InvalidField("", rule))
    cells = dict(zip(header, map(_unguard, record), strict=True))
    # An empty cell says nothing, so that it leaves as it is what is there.
    given = {name: cell for name, cell in cells.items() if cell and name in columns.read}
    return _checked(number, given)


def _read_ndjson(text: str, columns: Columns) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _json_row(number, line, columns)


def _json_row(number: int, line: str, columns: Columns) -> Row:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Row(number, problem=InvalidField("", f"must be JSON: {error.msg}"))
    if type(value) is not dict:
        return Row(number, problem=InvalidField("", "must be a JSON object"))
    try:
        return _checked(number, dict(_flat(value, columns)))
    except InvalidRequest as error:
        return Row(number, problem=error.violations[0])


def _flat(value: Mapping[str, Any], columns: Columns) -> Iterator[tuple[str, str]]:
    for name, item in value.items():
        parts = columns.nested.get(name)
        if parts is not None and type(item) is dict:
            for part, text in item.items():
                if part not in parts:
                    raise InvalidRequest.of(f"/{name}/{part[:100]}", "is not known here")
                yield parts[part], _text(text, f"/{name}/{part}")
        elif name in columns.ignored or item is None:
            continue
        elif name not in columns.read or parts is not None:
            raise InvalidRequest.of(f"/{name[:100]}", "is not known here, or must be an object")
        else:
            yield name, _text(item, f"/{name}")


def _text(value: Any, pointer: str) -> str:
    if type(value) is not str:
        raise InvalidRequest.of(pointer, "must be a string")
    return value


def _checked(number: int, cells: dict[str, str]) -> Row:
    for name, cell in cells.items():
        if "\0" in cell:
            problem = "must not contain the character U+0000"
        elif "\ufffd" in cell:
            problem = "contains U+FFFD: the file was not UTF-8 when it was read"
        elif len(cell) > _LARGEST_CELL:
            problem = f"is longer than {_LARGEST_CELL} characters"
        else:
            continue
        return Row(number, problem=InvalidField(f"/{name}", problem))
    return Row(number, cells)


def _guard(cell: str) -> str:
    """The cell so that no spreadsheet takes it for a formula; a guarded one is guarded again."""
    return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA) else cell


def _unguard(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _json_line(columns: Columns, row: Sequence[str]) -> str:
    cells = dict(zip(columns.all, row, strict=True))
    inner = {column for parts in columns.nested.values() for column in parts.values()}
    value: dict[str, Any] = {}
    for name, cell in cells.items():
        if name in columns.nested:
            value[name] = {part: cells[of] for part, of in columns.nested[name].items()}
        elif name not in inner:
            value[name] = cell
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE).decode()
