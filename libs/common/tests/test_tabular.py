"""Files as text: nothing is guessed, and nothing that is written can do harm."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidRequest
from common.files.tabular import (
    CSV,
    NDJSON,
    Columns,
    Row,
    check_head,
    read_rows,
    write_head,
    write_rows,
)

COLUMNS = Columns(
    ("sku", "name", "price", "currency"),
    ignored=("state",),
    nested={"price": {"amount": "price", "code": "currency"}},
)


def read(content: str, form: str = CSV) -> list[Row]:
    return list(read_rows(content, form, COLUMNS))


def cells(content: str, form: str = CSV) -> list[dict[str, str]]:
    return [dict(row.cells) for row in read(content, form)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_is_read_as_rfc_4180_says(mark: str, line_end: str) -> None:
    content = f'{mark}sku,name{line_end}A,"Oak, ""big""{line_end}table"{line_end}B,Stühle{line_end}'

    assert cells(content) == [
        {"sku": "A", "name": f'Oak, "big"{line_end}table'},
        {"sku": "B", "name": "Stühle"},
    ]


def test_rows_are_numbered_as_a_spreadsheet_does() -> None:
    assert [row.number for row in read("sku,name\nA,1\n\n,\nB,2\n")] == [2, 5]


def test_an_empty_cell_and_a_column_of_exports_say_nothing() -> None:
    assert cells("sku,name,state\nA,,archived\n") == [{"sku": "A"}]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("A", "has 1 cells, but the header has 2"),
        ("A,B,C", "has 3 cells, but the header has 2"),
        ("A,Sch\ufffdn", "UTF-8"),
        ('A,"B" C', "cannot be read"),
        ('A,"B', "cannot be read"),
    ],
)
def test_a_wrong_row_says_why(row: str, problem: str) -> None:
    (found,) = read(f"sku,name\n{row}")

    assert found.problem is not None
    assert problem in found.problem.rule


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "must not be empty"),
        ("\ufeff \n", "must not be empty"),
        ("sku;name\nA;B\n", "commas"),
        ("sku,colour\nA,B\n", "'colour'"),
        ("sku,sku\nA,B\n", "two columns sku"),
        ('".\x8cname', "begins with a row that cannot be read"),
        ('"sku"x,name\n', "begins with a row that cannot be read"),
    ],
)
def test_a_file_that_is_none_is_refused_at_once(content: str, problem: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_head(content, CSV, COLUMNS)

    assert refused.value.violations[0].pointer == "/content"
    assert problem in refused.value.violations[0].rule


def test_ndjson_is_one_object_a_line() -> None:
    second = '{"sku": "B", "price": {"amount": "1", "code": "EUR"}}'
    content = f'\ufeff{{"sku": "A", "name": ""}}\r\n\n{second}'

    assert cells(content, NDJSON) == [
        {"sku": "A", "name": ""},
        {"sku": "B", "price": "1", "currency": "EUR"},
    ]


@pytest.mark.parametrize(
    ("line", "pointer"),
    [
        ("{", ""),
        ("[]", ""),
        ('{"sku": 7}', "/sku"),
        ('{"colour": "red"}', "/colour"),
        ('{"price": "1"}', "/price"),
        ('{"price": {"amount": 1}}', "/price/amount"),
        ('{"price": {"weight": "1"}}', "/price/weight"),
        ('{"sku": "A\\u0000"}', "/sku"),
    ],
)
def test_a_wrong_line_says_where(line: str, pointer: str) -> None:
    (row,) = read(line, NDJSON)

    assert row.problem is not None
    assert row.problem.pointer == pointer


@pytest.mark.parametrize(
    "evil",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''@x", '=HYPERLINK("http://x")'],
)
def test_no_cell_is_a_formula_and_all_come_back(evil: str) -> None:
    written = write_head(CSV, COLUMNS) + write_rows(CSV, COLUMNS, [["A", evil, "1", "EUR", "x"]])

    (_, row) = csv.reader(io.StringIO(written, newline=""))
    assert row[1].startswith("'")
    assert cells(written) == [{"sku": "A", "name": evil, "price": "1", "currency": "EUR"}]


TEXT = st.text(st.characters(exclude_characters="\0\ufffd", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1), st.sampled_from([CSV, NDJSON]))
def test_what_is_written_reads_the_same(rows: list[tuple[str, str]], form: str) -> None:
    all_rows = [[sku, name, "1", "EUR", "active"] for sku, name in rows]

    written = write_head(form, COLUMNS) + write_rows(form, COLUMNS, all_rows)

    expected = [{"sku": sku, "name": name, "price": "1", "currency": "EUR"} for sku, name in rows]
    assert cells(written, form) == expected


def test_json_keeps_what_belongs_together() -> None:
    written = write_rows(NDJSON, COLUMNS, [["=A", "B", "1", "EUR", "active"]])

    assert json.loads(written) == {
        "sku": "=A",
        "name": "B",
        "price": {"amount": "1", "code": "EUR"},
        "state": "active",
    }
