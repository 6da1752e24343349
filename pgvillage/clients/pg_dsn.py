"""libpq's connection strings, and plain statements on a server of one's own."""

from __future__ import annotations

from typing import Any

from pgvillage.core.errors import PgVillageError, UsageError


def parse_dsn(dsn: str) -> dict[str, Any]:
    """The parameters of a DSN or postgresql:// URL. Raises UsageError in libpq's words."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        return dict(conninfo_to_dict(dsn))
    except psycopg.Error as error:
        raise UsageError(f"not a connection string: {' '.join(str(error).split())}") from None


def run_statements(parameters: dict[str, Any], statements: list[str]) -> None:
    """Each in its own transaction, in one session: what the demo does by hand. Raises PgVillageError."""
    import psycopg

    try:
        with psycopg.connect("", autocommit=True, **parameters) as connection:
            for statement in statements:
                connection.execute(statement.encode())
    except psycopg.Error as error:
        raise PgVillageError(" ".join(str(error).split())) from None
