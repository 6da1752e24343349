"""Signatures of functions: however people write them, the server's own text is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvillage.resources.postgres.signature import Signatures, column_name, column_parts, parse_signature

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("written", "types"),
    [
        ("f()", ()),
        ("F ( INT4 , x  Varchar(20) )", ("integer", "character varying")),
        ("f(a double precision, timestamp(3) with time zone, t timestamptz)",
         ("double precision", "timestamp with time zone", "timestamp with time zone")),
        ("f(INOUT a numeric(10, 2) DEFAULT 3, OUT b int, VARIADIC c text[])", ("numeric", "text[]")),
        ('f("char", char, pg_catalog.int8, int [ ])', ('"char"', "character", "bigint", "integer[]")),
        ('f(app.mood, "A, b"."C(d"[], "my arg" bool)', ("app.mood", '"A, b"."C(d"[]', "boolean")),
    ],
)  # fmt: skip
def test_types_are_named_as_the_server_names_them(written: str, types: tuple[str, ...]) -> None:
    assert parse_signature(written) == ("f", types)


def test_a_type_without_a_schema_is_found_where_there_is_but_one() -> None:
    known = Signatures(["feel(app.mood)", "feel(other.mood, integer)", "two(a.t)", "two(b.t)", '"We ""x"()'])
    assert known.find("feel(mood)") == "feel(app.mood)"
    assert known.find("feel(other.mood)") is None
    assert known.find("two(t)") is None
    assert known.find('"We ""x"()') == '"We ""x"()'
    assert known.nearest("feel(mood, text)") in ("feel(app.mood)", "feel(other.mood, integer)")


@pytest.mark.parametrize("text", ["refund", "refund(", "(int)", "a b(int)"])
def test_what_is_no_signature(text: str) -> None:
    with pytest.raises(ValueError, match="expected a name"):
        parse_signature(text)


@given(names, names)
def test_columns_are_read_back(table: str, column: str) -> None:
    assert column_parts(column_name(table, column)) == (table, column)
