"""The rows that make a step happen once: in schema `pgvillage` of the run's own database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvillage.clients.job_sql.place import JobDoor
from pgvillage.clients.pg_connect import Endpoint, connect
from pgvillage.clients.pg_read import server_words
from pgvillage.core.errors import ReadError

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

    Connection = AsyncConnection[TupleRow]

# `open` points to a row that never is, and is looked at when the transaction commits: a COMMIT that comes before our
# own UPDATE is refused by the server, with everything that was done.
_CREATE = """
SELECT pg_catalog.pg_advisory_xact_lock(1886807401, 2);
CREATE SCHEMA IF NOT EXISTS pgvillage;
REVOKE ALL ON SCHEMA pgvillage FROM PUBLIC;
CREATE TABLE IF NOT EXISTS pgvillage.job_never (never text PRIMARY KEY);
CREATE TABLE IF NOT EXISTS pgvillage.job_run (
    run text PRIMARY KEY,
    token bigint NOT NULL,
    begun timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE TABLE IF NOT EXISTS pgvillage.job_step (
    key text PRIMARY KEY,
    run text NOT NULL,
    step text NOT NULL,
    token bigint NOT NULL,
    rows bigint,
    value text,
    begun timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    ended timestamptz,
    open text CONSTRAINT committed_by_its_script REFERENCES pgvillage.job_never DEFERRABLE INITIALLY DEFERRED
);
COMMENT ON TABLE pgvillage.job_step IS 'Steps of jobs that are done: none is done again. PgVillage keeps it.';
"""
_TABLES = ("job_run", "job_step", "job_never")
_GRANTED = ("job_run", "job_step")
# A schema that somebody else made first could hold triggers that run as us.
_FOREIGN = """
SELECT o.rolname::text FROM pg_catalog.pg_roles o WHERE NOT o.rolsuper AND o.rolname <> %s AND (
  o.oid IN (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'pgvillage')
  OR o.oid IN (SELECT c.relowner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'pgvillage' AND c.relname = ANY (%s)))
"""
_READY = """
SELECT count(*) = 2 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'pgvillage' AND c.relname = ANY (%s) AND c.relkind = 'r'
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
  AND pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
"""

# A claim with a greater token has nothing to wait for but a transaction of the one before: that is ended.
END_OLDER = """
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
WHERE usename = session_user AND pid <> pg_catalog.pg_backend_pid() AND pg_catalog.starts_with(application_name, %s)
  AND pg_catalog.split_part(application_name, '/', 3) ~ '^[0-9]{1,18}$'
  AND CASE WHEN pg_catalog.split_part(application_name, '/', 3) ~ '^[0-9]{1,18}$'
      THEN pg_catalog.split_part(application_name, '/', 3)::bigint < %s END
"""
NOTE_CLAIM = """
INSERT INTO pgvillage.job_run AS r (run, token) VALUES (%s, %s)
ON CONFLICT (run) DO UPDATE SET token = EXCLUDED.token WHERE r.token < EXCLUDED.token
"""
# FOR SHARE: steps of one run go side by side, and a greater token waits until they have ended.
CHECK_CLAIM = "SELECT token FROM pgvillage.job_run WHERE run = %s FOR SHARE"
BEGIN_STEP = """
INSERT INTO pgvillage.job_step (key, run, step, token, open) VALUES (%s, %s, %s, %s, 'open')
ON CONFLICT (key) DO NOTHING RETURNING key
"""
FIND_STEP = "SELECT rows, value FROM pgvillage.job_step WHERE key = %s"
END_STEP = """
UPDATE pgvillage.job_step SET open = NULL, rows = %s, value = %s, ended = pg_catalog.clock_timestamp()
WHERE key = %s AND open IS NOT NULL RETURNING key
"""
COMMITTED_EARLY = "committed_by_its_script"


async def make_ready(session: Connection, door: JobDoor, database: str) -> None:
    """Make what is missing, by the cluster's own credential. Raises ReadError: it can't be, or it is another's."""
    endpoint = await door.main()
    await _refuse_foreign(session, endpoint)
    row = await (await session.execute(_READY, (list(_GRANTED),))).fetchone()
    if row is None or not row[0]:
        await _make(endpoint, database, (await door.jobs()).credential.user)


async def _make(endpoint: Endpoint, database: str, login: str) -> None:
    import psycopg
    from psycopg import sql

    settings = {"search_path": "", "lock_timeout": str(round(endpoint.timeouts.lock * 1000))}
    main = await connect(endpoint, database, application="pgvillage job", settings=settings)
    async with main:
        try:
            async with main.transaction():
                await main.execute(_CREATE)
                await _refuse_foreign(main, endpoint)
                if login != endpoint.credential.user:
                    to = sql.Identifier(login)
                    await main.execute(sql.SQL("GRANT USAGE ON SCHEMA pgvillage TO {}").format(to))
                    grant = "GRANT SELECT, INSERT, UPDATE ON pgvillage.job_run, pgvillage.job_step TO {}"
                    await main.execute(sql.SQL(grant).format(to))
        except psycopg.Error as error:
            words = f"schema pgvillage, where steps that are done are noted, can't be made: {server_words(error)}"
            raise ReadError(endpoint.cluster, words) from None


async def _refuse_foreign(session: Connection, endpoint: Endpoint) -> None:
    found = await (await session.execute(_FOREIGN, (endpoint.credential.user, list(_TABLES)))).fetchall()
    if found:
        who = ", ".join(repr(name) for (name,) in found)
        words = (
            f"schema pgvillage or a table in it belongs to {who}, not to the credential's user or a superuser: nothing "
            "is noted there; drop it, or give it to the credential's user"
        )
        raise ReadError(endpoint.cluster, words)
