# ruff: noqa: E501 - a table reads better with a case on a line
"""PostgreSQL is asked whether the splitter's pieces are its statements: one by one, and as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg.pq import ExecStatus

from pgvillage.jobs.statements import split
from tests.servers.postgres import PostgresServer, of_major, postgres_server
from tests.unit.jobs.sql_corpus import CORPUS

GOOD = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Of a major version that knows everything in the corpus, 0x1F for one."""
    with postgres_server(tmp_path_factory.mktemp("newest"), of_major(18)) as server:
        yield server


def _at_once(connection: psycopg.Connection[object], text: str) -> int:
    """How many statements the server finds in it by itself."""
    connection.pgconn.send_query(text.encode())
    statuses = []
    while (result := connection.pgconn.get_result()) is not None:
        assert result.status in (*GOOD, ExecStatus.EMPTY_QUERY), result.error_message
        statuses.append(ExecStatus(result.status))
    return len([status for status in statuses if status in GOOD])


def test_each_piece_is_one_statement_of_the_server(newest: PostgresServer) -> None:
    for text, count in CORPUS:
        with closing(newest.connect()) as connection:
            for piece in split(text):
                # the extended protocol takes one statement at a time, and refuses two
                result = connection.pgconn.exec_params(piece.bound.encode(), [])
                expected = (ExecStatus.EMPTY_QUERY,) if piece.empty else GOOD
                assert result.status in expected, (piece.text, result.error_message)
        with closing(newest.connect()) as connection:
            assert _at_once(connection, text) == count, text


@pytest.mark.parametrize(
    ("text", "values", "row"),
    [
        ("SELECT :n::int + :nn::int, ':n', $$:n$$, :n::text", {"n": b"1", "nn": b"20"}, (b"21", b":n", b":n", b"1")),
        ("SELECT (ARRAY[:a, :b]::text[])[1:1], (ARRAY['x','y'])[(:i::int)]", {"a": b"p", "b": b"q", "i": b"2"}, (b"{p}", b"y")),
        ("SELECT :v::text", {"v": "'; DROP TABLE x; -- é".encode()}, ("'; DROP TABLE x; -- é".encode(),)),
        ("CREATE TEMP TABLE made AS SELECT :v::text AS v", {"v": b"x"}, ()),
        ("CALL pg_temp.none(:v)", {"v": b"x"}, None),
    ],
)  # fmt: skip
def test_parameters_reach_the_server_as_values(
    newest: PostgresServer, text: str, values: dict[str, bytes], row: tuple[bytes, ...] | None
) -> None:
    (piece,) = split(text)
    with closing(newest.connect()) as connection:
        result = connection.pgconn.exec_params(piece.bound.encode(), [values[name] for name in piece.names])
        if row is None:
            assert b"does not exist" in result.error_message, "understood, and there is no such procedure"
            return
        assert result.status in GOOD, result.error_message
        assert tuple(result.get_value(0, column) for column in range(result.nfields if row else 0)) == row
