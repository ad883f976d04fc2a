"""Filters of lists: a subset of AIP-160, read into a small tree.

filter     = either { "AND" either }            as in AIP-160, OR binds more tightly than AND
either     = term { "OR" term }
term       = [ "NOT" | "-" ] ( "(" filter ")" | comparison )
comparison = field ( "=" | "!=" | "<" | "<=" | ">" | ">=" | ":" ) value
value      = "quoted" | 'quoted' | a word without spaces, such as 12.50 or 2026-01-31T00:00:00Z
"""

import re
from dataclasses import dataclass

from common.errors import InvalidRequest

__all__ = ["All", "Comparison", "Either", "Filter", "Not", "parse"]

LONGEST_FILTER = 2000
DEEPEST = 10
MOST_COMPARISONS = 50

_SPACE = re.compile(r"\s*")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_OPERATOR = re.compile(r"<=|>=|!=|=|<|>|:")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'', re.DOTALL)
_WORD = re.compile(r"[^\s()\"'=<>!,]+")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_KEYWORDS = frozenset({"AND", "OR", "NOT"})


@dataclass(frozen=True)
class Comparison:
    """One field held against one value, both as they were written."""

    field: str
    operator: str
    value: str
    # `name:*` asks whether there is a name, `name:"*"` for an asterisk.
    quoted: bool = True


@dataclass(frozen=True)
class Not:
    """True where the term is not."""

    term: "Filter"


@dataclass(frozen=True)
class All:
    """True where all terms are."""

    terms: tuple["Filter", ...]


@dataclass(frozen=True)
class Either:
    """True where at least one term is."""

    terms: tuple["Filter", ...]


Filter = Comparison | Not | All | Either


def parse(text: str) -> Filter | None:
    """The filter in a text, None when it is blank.

    Raises:
        InvalidRequest: it is not one, is too long, too deep, or compares too often; says where.
    """
    if len(text) > LONGEST_FILTER:
        raise InvalidRequest.of("/filter", f"must not be longer than {LONGEST_FILTER} characters")
    reader = _Reader(text)
    if reader.at_end():
        return None
    parsed = reader.filter(0)
    if not reader.at_end():
        raise reader.wrong("AND or OR must stand here")
    return parsed


class _Reader:
    """Reads from left to right, one token ahead of nothing."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._comparisons = 0

    def at_end(self) -> bool:
        self._skip_space()
        return self._place == len(self._text)

    def wrong(self, what: str) -> InvalidRequest:
        return InvalidRequest.of("/filter", f"is wrong at character {self._place + 1}: {what}")

    def filter(self, depth: int) -> Filter:
        terms = [self._either(depth)]
        while self._takes_keyword("AND"):
            terms.append(self._either(depth))
        return terms[0] if len(terms) == 1 else All(tuple(terms))

    def _either(self, depth: int) -> Filter:
        terms = [self._term(depth)]
        while self._takes_keyword("OR"):
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else Either(tuple(terms))

    def _term(self, depth: int) -> Filter:
        if depth >= DEEPEST:
            raise self.wrong(f"it must not be nested deeper than {DEEPEST}")
        if self._takes_keyword("NOT") or self._takes("-"):
            return Not(self._term(depth + 1))
        if self._takes("("):
            inner = self.filter(depth + 1)
            if not self._takes(")"):
                raise self.wrong("a closing parenthesis must stand here")
            return inner
        return self._comparison()

    def _comparison(self) -> Comparison:
        self._comparisons += 1
        if self._comparisons > MOST_COMPARISONS:
            raise self.wrong(f"it must not compare more than {MOST_COMPARISONS} times")
        self._skip_space()
        begin, field = self._place, self._match(_FIELD)
        if field is None or field[0] in _KEYWORDS:
            self._place = begin
            raise self.wrong('a comparison such as name = "oak" must stand here')
        self._skip_space()
        operator = self._match(_OPERATOR)
        if operator is None:
            raise self.wrong(f"{field[0][:50]} must be followed by one of = != < <= > >= :")
        value, quoted = self._value()
        return Comparison(field[0], operator[0], value, quoted)

    def _value(self) -> tuple[str, bool]:
        self._skip_space()
        if quoted := self._match(_QUOTED):
            return _ESCAPED.sub(r"\1", quoted[1] if quoted[1] is not None else quoted[2]), True
        if word := self._match(_WORD):
            return word[0], False
        raise self.wrong('a value must stand here, such as "oak", 12.50 or 2026-01-31T00:00:00Z')

    def _takes(self, sign: str) -> bool:
        self._skip_space()
        found = self._text.startswith(sign, self._place)
        self._place += len(sign) if found else 0
        return found

    def _takes_keyword(self, word: str) -> bool:
        self._skip_space()
        begin, found = self._place, self._match(_FIELD)
        if found is not None and found[0] == word:
            return True
        self._place = begin
        return False

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._place)
        if found:
            self._place = found.end()
        return found

    def _skip_space(self) -> None:
        self._match(_SPACE)
