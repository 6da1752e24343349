"""A few lines of a program for each driver: connecting by the printed string, the password from outside."""

from __future__ import annotations

import json

from pgvillage.core.client_target import ClientTarget, Driver, Role
from pgvillage.report.dsn import Dsn, service_section

_IN_RECOVERY = {Role.PRIMARY: "false", Role.STANDBY: "true", Role.PREFER_STANDBY: "true", Role.ANY: "null"}


def snippet(target: ClientTarget, driver: Driver, dsn: Dsn) -> str:
    """Source text without a password: drivers read PGPASSWORD or the password file, or the lines say where it goes."""
    if driver is Driver.LIBPQ:
        return f"{service_section(target, target.cluster)}\n\n# psql service={target.cluster}"
    if driver is Driver.NODE:
        return _node(target, dsn)
    text = dsn.strings[0]
    quoted = repr(text) if driver in (Driver.PYTHON, Driver.ODBC) else json.dumps(text, ensure_ascii=False)
    return _TEMPLATES[driver].format(text=quoted, seconds=target.connect_timeout)


_PYTHON = """\
import psycopg  # the password comes from PGPASSWORD or ~/.pgpass

with psycopg.connect({text}, connect_timeout={seconds}) as connection:
    print(connection.execute("SELECT pg_is_in_recovery()").fetchone())

# asyncpg: connection = await asyncpg.connect({text}, timeout={seconds})"""

_JDBC = """\
var login = new java.util.Properties();
login.setProperty("password", System.getenv("PGPASSWORD"));
try (var connection = java.sql.DriverManager.getConnection({text}, login)) {{
    System.out.println(connection.isReadOnly());
}}"""

_NPGSQL = """\
// the password comes from PGPASSWORD or the password file
await using var connection = new Npgsql.NpgsqlConnection({text});
await connection.OpenAsync();
// NpgsqlDataSourceBuilder.BuildMultiHost takes no Target Session Attributes: leave it out there, and call
// dataSource.WithTargetSession(TargetSessionAttributes.…)"""

_GO = """\
// import "github.com/jackc/pgx/v5"; the password comes from PGPASSWORD or ~/.pgpass
connection, err := pgx.Connect(ctx, {text})"""

_ODBC = """\
import os, pyodbc  # the password goes to libpq by PGPASSWORD or ~/.pgpass

connection = pyodbc.connect({text})"""

_TEMPLATES = {
    Driver.PYTHON: _PYTHON,
    Driver.JDBC: _JDBC,
    Driver.NPGSQL: _NPGSQL,
    Driver.GO: _GO,
    Driver.ODBC: _ODBC,
}

_NODE = """\
const {{ Client }} = require('pg') // the password comes from PGPASSWORD or ~/.pgpass
const hosts = {hosts}
const wantRecovery = {wanted} // of pg_is_in_recovery(); null takes any

async function connect() {{
  let fallback = null, last
  for (const connectionString of hosts) {{
    const client = new Client({{ connectionString, connectionTimeoutMillis: {milliseconds} }})
    client.on('error', () => {{}}) // the connection breaks when its server dies: the next query says so
    try {{
      await client.connect()
      const {{ rows }} = await client.query('SELECT pg_is_in_recovery() AS found')
      if (wantRecovery === null || rows[0].found === wantRecovery) {{
        if (fallback) await fallback.end()
        return client
      }}
      if ({prefers} && !fallback) fallback = client
      else await client.end()
    }} catch (error) {{
      last = error
      await client.end().catch(() => {{}})
    }}
  }}
  if (fallback) return fallback
  throw last ?? new Error('no host has the role that was asked for')
}}"""


def _node(target: ClientTarget, dsn: Dsn) -> str:
    hosts = "[\n" + "".join(f"  {json.dumps(text, ensure_ascii=False)},\n" for text in dsn.strings) + "]"
    prefers = "true" if target.role is Role.PREFER_STANDBY else "false"
    milliseconds = target.connect_timeout * 1000
    return _NODE.format(hosts=hosts, wanted=_IN_RECOVERY[target.role], prefers=prefers, milliseconds=milliseconds)
