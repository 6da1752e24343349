"""The splitter: pieces that join to the script, parameters that are parameters, refusals with a place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvillage.jobs.fault import TextFault
from pgvillage.jobs.statements import split
from tests.unit.jobs.sql_corpus import CORPUS


@pytest.mark.parametrize(("text", "count"), CORPUS)
def test_the_corpus(text: str, count: int) -> None:
    pieces = split(text)
    assert "".join(piece.text for piece in pieces) == text
    assert len([piece for piece in pieces if not piece.empty]) == count
    assert all(piece.bound == piece.text for piece in pieces)


PIECES = [
    *(
        "'",
        '"',
        "$$",
        "$a$",
        "/*",
        "*/",
        "--",
        "\n",
        ";",
        "(",
        ")",
        "[",
        "]",
        ":",
        "::",
        ":n",
        ":nn",
        "E'",
        "\\",
        "a",
        "1",
    ),
    *(
        " ",
        "begin",
        "end",
        "case",
        "create",
        "function",
        "or",
        "replace",
        "select",
        "copy",
        "stdin",
        "é",
        "$1",
        "array",
    ),
]


@settings(max_examples=120, deadline=None)
@given(st.one_of(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.text(max_size=30)))
def test_pieces_join_to_the_script(text: str) -> None:
    try:
        pieces = split(text)
    except TextFault as fault:
        assert 0 <= fault.at <= len(text)  # noqa: PT017
        return
    assert "".join(piece.text for piece in pieces) == text
    assert all(text.startswith(piece.text, piece.at) for piece in pieces)


@pytest.mark.parametrize(
    ("text", "bound", "names"),
    [
        ("SELECT :n, :nn, :n", "SELECT $1, $2, $1", ("n", "nn")),
        ("SELECT :a::text, x::int, ':a', $$:a$$ /* :a */ -- :a", None, ("a",)),
        ("SELECT a[1:2], a[lo:hi], a[1:hi], a[(:n)]", "SELECT a[1:2], a[lo:hi], a[1:hi], a[($1)]", ("n",)),
        ("SELECT ARRAY[:a, :b], ARRAY[[:a],[:b]]", "SELECT ARRAY[$1, $2], ARRAY[[$1],[$2]]", ("a", "b")),
        ("SELECT json_object('k':v), :v", "SELECT json_object('k':v), $1", ("v",)),
        ("SELECT f(a := :x, b => :y)", "SELECT f(a := $1, b => $2)", ("x", "y")),
        ("WITH x AS (SELECT :a) INSERT INTO t SELECT * FROM x", None, ("a",)),
        ("CREATE TABLE t AS SELECT :a", "CREATE TABLE t AS SELECT $1", ("a",)),
        ("(SELECT :a) UNION SELECT :b", "(SELECT $1) UNION SELECT $2", ("a", "b")),
    ],
)
def test_parameters(text: str, bound: str | None, names: tuple[str, ...]) -> None:
    (found,) = split(text)
    assert found.names == names
    assert found.bound == (bound or text.replace(":a", "$1", 1))


@pytest.mark.parametrize(
    ("text", "message", "line", "hint"),
    [
        ("SELECT 1;\n\\d foo\n", "a command of psql: \\d foo", 2, "psql is not there"),
        ("SELECT 1;\nCOPY t FROM STDIN;\n1\n\\.\n", "COPY FROM STDIN has no client", 2, ""),
        ("COPY t (a) FROM stdin WITH (FORMAT csv);", "COPY FROM STDIN has no client", 1, "INSERT"),
        ("COPY t TO STDOUT", "COPY TO STDOUT has no client", 1, ""),
        ("SELECT 1;\n SELECT 'x", "what begins with 'x has no end", 2, ""),
        ("SELECT $a$ x $b$", "the text that begins with $a$ has no end", 1, ""),
        ("/* /* */", "this comment has no end", 1, "one by one"),
        ("SELECT (1;\nSELECT 2", "the statement ends while ( is open", 1, ""),
        ("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1;", "ends while BEGIN ATOMIC is open", 1, ""),
        ("SELECT :'a'", "psql's :'a' is not known", 1, "write :name"),
        ("SELECT 1 AS :\"a\"", "psql's :\"a\" is not known", 1, ""),
        ("SELECT a[:n]", "after `[` this may be a parameter or a slice", 1, "[(:n)]"),
        ("SELECT :a, $1", "$1 stands beside :a", 1, ""),
        ("VACUUM :a", "VACUUM takes no parameter :a", 1, "set_config"),
        ("SELECT \0", "a zero byte", 1, ""),
    ],
)  # fmt: skip
def test_refusals(text: str, message: str, line: int, hint: str) -> None:
    with pytest.raises(TextFault) as caught:
        split(text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert text.count("\n", 0, caught.value.at) + 1 == line


@pytest.mark.parametrize(
    "text",
    [
        "VACUUM",
        "create database x",
        "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)",
        "ALTER SYSTEM SET a = 1",
        "REINDEX TABLE CONCURRENTLY t",
        "CLUSTER",
        "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
    ],
)
def test_what_goes_alone(text: str) -> None:
    assert split(text)[0].alone


@pytest.mark.parametrize(
    "text",
    ["SELECT 'vacuum'", "ANALYZE", "CREATE INDEX i ON t (a)", "CLUSTER t", "REFRESH MATERIALIZED VIEW CONCURRENTLY v"],
)
def test_what_goes_with_others(text: str) -> None:
    assert not split(text)[0].alone


def test_a_large_script_is_cut_in_time() -> None:
    text = "INSERT INTO t VALUES ('a;b', $$c;d$$, 1.5); -- row\n" * 1_000
    assert len(split(text)) == 1_001
