"""Search by words: every word of a query begins a word of the record, whatever case and accents.

The words lie in a table of their own, because row security lets an index serve only comparisons
that cannot leak: those of ranges of text can, LIKE, full text and trigrams cannot.
"""

from typing import Any

from sqlalchemy import ColumnElement, MetaData, Select, Table, Text, func, intersect, select
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.schema import Column

from common.errors import InvalidRequest
from common.schema import protect, tenant_table
from common.transaction import Transaction

__all__ = ["Search", "word_table", "words_of"]

MOST_WORDS = 10
# Behind every text that begins with what stands before it, as bytes compare.
_LAST = "\U0010ffff"

# One function for what is stored and what is asked, so that they cannot disagree. Its words are
# short enough for an index.
_WORDS = r"""
    CREATE FUNCTION search_words(value text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ARRAY(
        SELECT DISTINCT left(word, 64)
        FROM regexp_split_to_table(
            regexp_replace(
                lower(normalize(value COLLATE "pg_c_utf8", NFKD)), '[\u0300-\u036f]', '', 'g'),
            '(\W|_)+') AS word
        WHERE word <> ''
        ORDER BY 1);
"""
_TABLE = """
    CREATE TABLE {one}_words (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        word text COLLATE "C" NOT NULL,
        {one}_id uuid NOT NULL,
        PRIMARY KEY (tenant_id, word, {one}_id)
    );
"""
# In the order of the index, which is then written from left to right.
_FILL = """
    ALTER TABLE {of} NO FORCE ROW LEVEL SECURITY;
    INSERT INTO {one}_words (tenant_id, word, {one}_id)
        SELECT tenant_id, unnest(search_words({text})) AS word, id FROM {of}
        ORDER BY tenant_id, word, id;
    ALTER TABLE {of} FORCE ROW LEVEL SECURITY;
"""
_TRIGGERS = """
    CREATE FUNCTION add_{one}_words() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO {one}_words (tenant_id, word, {one}_id)
            SELECT tenant_id, unnest(search_words({text})), id FROM made;
        RETURN NULL;
    END $$;
    CREATE TRIGGER {of}_add_words AFTER INSERT ON {of}
        REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION add_{one}_words();

    CREATE FUNCTION change_{one}_words() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (
            SELECT tenant_id, id, {text} FROM made EXCEPT SELECT tenant_id, id, {text} FROM gone
        ) THEN
            RETURN NULL;
        END IF;
        DELETE FROM {one}_words WHERE (tenant_id, word, {one}_id) IN (
            SELECT tenant_id, unnest(search_words({text})), id FROM gone
            EXCEPT SELECT tenant_id, unnest(search_words({text})), id FROM made);
        INSERT INTO {one}_words (tenant_id, word, {one}_id)
            SELECT tenant_id, unnest(search_words({text})), id FROM made
            EXCEPT SELECT tenant_id, unnest(search_words({text})), id FROM gone;
        RETURN NULL;
    END $$;
    CREATE TRIGGER {of}_change_words AFTER UPDATE ON {of}
        REFERENCING OLD TABLE AS gone NEW TABLE AS made
        FOR EACH STATEMENT EXECUTE FUNCTION change_{one}_words();
"""


def word_table(service: str, of: str, *columns: str) -> str:
    """SQL that makes the table of a table's words, fills it, and keeps it by triggers.

    Args:
        service: whose database it is.
        of: the table to search, such as "products".
        columns: where its words stand.
    """
    names = {"one": of.removesuffix("s"), "of": of, "text": " || ' ' || ".join(columns)}
    made = "".join(sql.format(**names) for sql in (_TABLE, _FILL, _TRIGGERS))
    return _WORDS + made + protect(service, f"{names['one']}_words")


def words_of(table: str, metadata: MetaData) -> Table:
    """The table of the words of a table, as `word_table` makes it."""
    one = table.removesuffix("s")
    return tenant_table(
        f"{one}_words",
        metadata,
        Column("word", Text(collation="C"), primary_key=True),
        Column(f"{one}_id", UUID(as_uuid=True), primary_key=True),
    )


class Search:
    """Finds records by what they say.

    Args:
        key: the column of the records' ids.
        words: the table of their words.
    """

    def __init__(self, key: Column[Any], words: Table) -> None:
        self._key = key
        self._word = words.c.word
        self._found = words.c[f"{key.table.name.removesuffix('s')}_id"]

    async def condition(self, tx: Transaction, query: str) -> ColumnElement[bool]:
        """What is true of the records in which each word of the query begins one.

        Raises:
            InvalidRequest: the query has no word, or too many.
        """
        words = await tx.scalar(select(func.search_words(query)))
        if not 0 < len(words) <= MOST_WORDS:
            rule = f"must have one to {MOST_WORDS} words of letters and digits"
            raise InvalidRequest.of("/query", rule)
        return self._key.in_(intersect(*map(self._beginning_with, words)))

    def _beginning_with(self, word: str) -> Select[Any]:
        return select(self._found).where(self._word >= word, self._word < word + _LAST)
