"""Filters as text, read into a tree."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidRequest
from common.filters import (
    DEEPEST,
    LONGEST_FILTER,
    MOST_COMPARISONS,
    All,
    Comparison,
    Either,
    Filter,
    Not,
    parse,
)


def is_(field: str, value: str) -> Comparison:
    return Comparison(field, "=", value, quoted=False)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", None),
        ("  ", None),
        ("a=1", is_("a", "1")),
        ('name:"oak table"', Comparison("name", ":", "oak table")),
        (r'name = "a \"b\" \\ c"', Comparison("name", "=", r'a "b" \ c')),
        ("name='it is'", Comparison("name", "=", "it is")),
        ("gross.amount >= -12.50", Comparison("gross.amount", ">=", "-12.50", quoted=False)),
        (
            "create_time<2026-01-31T00:00:00+01:00",
            Comparison("create_time", "<", "2026-01-31T00:00:00+01:00", quoted=False),
        ),
        ("number:*", Comparison("number", ":", "*", quoted=False)),
        ("a=1 AND b=2 AND c=3", All((is_("a", "1"), is_("b", "2"), is_("c", "3")))),
        ("a=1 AND b=2 OR c=3", All((is_("a", "1"), Either((is_("b", "2"), is_("c", "3")))))),
        ("(a=1 AND b=2) OR c=3", Either((All((is_("a", "1"), is_("b", "2"))), is_("c", "3")))),
        ("NOT a=1 AND -b=2", All((Not(is_("a", "1")), Not(is_("b", "2"))))),
        ("NOT (a=1 OR b=2)", Not(Either((is_("a", "1"), is_("b", "2"))))),
        ("android=1 AND orchid=2", All((is_("android", "1"), is_("orchid", "2")))),
    ],
)
def test_a_filter_means_what_aip_160_says(text: str, meant: Filter | None) -> None:
    assert parse(text) == meant


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("oak", "oak must be followed by"),
        ('"oak"', "character 1: a comparison"),
        ("state", "state must be followed by"),
        ("a=", "a value must stand here"),
        ("a = 1 b = 2", "character 7: AND or OR"),
        ("a = 1 AND", "a comparison"),
        ("AND a = 1", "a comparison"),
        ("(a = 1", "a closing parenthesis"),
        ("a = 1)", "AND or OR"),
        ('a = "open', "a value must stand here"),
        ("a == 1", "a value must stand here"),
        ("a ~ 1", "a must be followed by"),
        ("a = 1; DROP TABLE orders", "AND or OR"),
        ("NOT " * (DEEPEST + 1) + "a=1", "deeper"),
        ("(" * 900 + "a=1" + ")" * 900, "deeper"),
        (" OR ".join(["a=1"] * (MOST_COMPARISONS + 1)), "more than 50 times"),
        ("a" * (LONGEST_FILTER + 1), "longer than"),
    ],
)
def test_what_is_no_filter_is_refused_with_the_place(text: str, complaint: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(text)

    [problem] = refused.value.violations
    assert problem.pointer == "/filter"
    assert complaint in problem.rule


@given(st.text(alphabet="ab.=<>!:()-\"'\\ ANDORT1*,%\x00", max_size=60))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    with contextlib.suppress(InvalidRequest):
        parse(text)


def written(parsed: Filter) -> str:
    match parsed:
        case Comparison(field, operator, value, quoted):
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f"{field} {operator} " + (f'"{escaped}"' if quoted else value)
        case Not(term):
            return f"NOT ({written(term)})"
        case All(terms):
            return " AND ".join(f"({written(term)})" for term in terms)
        case Either(terms):
            return " OR ".join(f"({written(term)})" for term in terms)


comparisons = st.builds(
    Comparison,
    st.from_regex(r"[a-z_]{1,8}(\.[a-z]{1,4})?", fullmatch=True),
    st.sampled_from(["=", "!=", "<", "<=", ">", ">=", ":"]),
    st.text(max_size=10),
)


def combined(terms: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(terms, min_size=2, max_size=3).map(tuple)
    return st.one_of(terms.map(Not), several.map(All), several.map(Either))


@given(st.recursive(comparisons, combined, max_leaves=6))
def test_every_filter_is_read_as_it_was_written(parsed: Filter) -> None:
    assert parse(written(parsed)) == parsed
