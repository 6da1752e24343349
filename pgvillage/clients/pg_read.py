"""Reading PostgreSQL: one snapshot for each database, all questions of it in one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from pgvillage.clients.pg_connect import Endpoint, addresses_of, connect
from pgvillage.clients.pg_ledger import PRIMARY, parse_ledger, read_rows
from pgvillage.core.errors import ReadError
from pgvillage.core.leadership import Session
from pgvillage.core.ledger import Ledger
from pgvillage.core.live import Capabilities, Live, Query, Rows

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

OLDEST = 13
_PARALLEL_DATABASES = 4

# Not by to_regclass(): without USAGE on the ledger's schema that is an error, and the ledger is only not for us.
_PROBE = """
WITH ledger AS (
  SELECT c.oid, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = 'pgvillage' AND c.relname IN ('ledger', 'target') AND c.relkind = 'r'
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'))
SELECT pg_catalog.current_setting('server_version_num')::integer, r.rolsuper, r.rolcreaterole,
       pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT'),
       pg_catalog.has_table_privilege('pg_catalog.pg_file_settings', 'SELECT')
         AND pg_catalog.has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE'),
       current_user::text, pg_catalog.pg_is_in_recovery(),
       (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
       pg_catalog.current_database()::text,
       (SELECT pg_catalog.array_agg(datname) FROM pg_catalog.pg_database WHERE datallowconn),
       (SELECT count(*) = 2 FROM ledger WHERE pg_catalog.has_table_privilege(oid, 'SELECT')),
       (SELECT CASE WHEN bool_or(attname = 'suspended_until') THEN 3 WHEN bool_or(attname = 'secret') THEN 2 ELSE 1 END
        FROM pg_catalog.pg_attribute WHERE attrelid IN (SELECT oid FROM ledger) AND attnum > 0 AND NOT attisdropped),
       coalesce((SELECT pg_catalog.pg_has_role(nspowner, 'USAGE') FROM pg_catalog.pg_namespace
                 WHERE nspname = 'pgvillage'),
                pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')),
       pg_catalog.has_table_privilege('pg_catalog.pg_hba_file_rules', 'SELECT')
         AND pg_catalog.has_function_privilege('pg_catalog.pg_hba_file_rules()', 'EXECUTE'),
       (SELECT pg_catalog.array_agg(datname) FROM pg_catalog.pg_database
        WHERE datallowconn AND NOT pg_catalog.has_database_privilege(oid, 'CONNECT')),
       r.rolcreatedb, r.rolreplication, r.rolbypassrls, {roles}, {primary}
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
"""
# Whose pg_database_owner is, hangs on the database: kinds ask for the owner.
_ROLES = """CASE WHEN NOT r.rolsuper THEN (
  SELECT pg_catalog.array_agg(x.rolname::text) FROM pg_catalog.pg_roles x
  WHERE x.oid <> r.oid AND x.rolname <> 'pg_database_owner' AND pg_catalog.pg_has_role(x.oid, '{}')) END"""
# Not by pg_has_role(…, 'MEMBER WITH ADMIN OPTION'): that walks all our memberships for each role.
_ADMINISTERED = """CASE WHEN NOT r.rolsuper THEN (
  SELECT pg_catalog.array_agg(DISTINCT x.rolname::text) FROM pg_catalog.pg_auth_members a
  JOIN pg_catalog.pg_roles x ON x.oid = a.roleid
  WHERE a.admin_option AND pg_catalog.pg_has_role(a.member, 'USAGE')) END"""
_SET_SINCE = 16

QueriesOf = Callable[[Capabilities], Iterable[Query]]


def read_session(endpoint: Endpoint) -> dict[str, str]:
    """Settings of a reading session: names resolve nowhere but where they say, and nothing waits for ever."""
    return {
        "search_path": "",
        "default_transaction_read_only": "on",
        "default_transaction_isolation": "repeatable read",
        "statement_timeout": str(round(endpoint.timeouts.read * 1000)),
        "lock_timeout": str(round(endpoint.timeouts.lock * 1000)),
        "idle_in_transaction_session_timeout": str(round(endpoint.timeouts.read * 1000)),
    }


async def read_postgres(
    endpoint: Endpoint, databases: Collection[str], queries_of: QueriesOf
) -> tuple[Live, Capabilities, Ledger]:
    """Everything the kinds ask, from the primary.

    Raises ReadError when the maintenance database can't be read; another database that can't be is in `failures`.
    """
    async with asyncio.timeout(endpoint.timeouts.read):
        async with AsyncExitStack() as stack:
            main = await connect(endpoint, None, application="pgvillage read", settings=read_session(endpoint))
            stack.push_async_callback(main.close)
            capabilities, ledger_rows = await _probe(main, endpoint)
            queries = list(queries_of(capabilities))
            shared = [q for q in queries if not q.each_database]
            each = [q for q in queries if q.each_database]
            ledger_queries = [Query("ledger", ledger_rows)] if ledger_rows else []
            present = [name for name in sorted(databases) if name in capabilities.databases]
            rows, per_database = await asyncio.gather(
                ask(main, [*shared, *ledger_queries], endpoint),
                _each(endpoint, present, each),
            )
            shut = await _shut(endpoint, queries, rows, set(capabilities.databases) - set(present))
    failures = {name: str(error) for name, error in per_database.items() if isinstance(error, ReadError)}
    by_database = {name: found for name, found in per_database.items() if not isinstance(found, ReadError)}
    closed = failures | shut
    reachable = {name: open_ and name not in closed for name, open_ in capabilities.databases.items()}
    capabilities = replace(capabilities, databases=reachable, closed=closed)
    ledger = Ledger()
    if ledger_rows:
        ledger = parse_ledger(endpoint.cluster, capabilities.system_identifier, rows["ledger"])
    return Live(endpoint.cluster, rows, by_database, failures), capabilities, ledger


async def _shut(
    endpoint: Endpoint, queries: Iterable[Query], rows: Mapping[str, Rows], unvisited: Collection[str]
) -> dict[str, str]:
    """Which databases that nobody declares, and that steps may have to go into, don't let us in, and why."""
    named = {row[q.leads_into] for q in queries if q.leads_into is not None for row in rows.get(q.name, ())}
    wanted = sorted(named.intersection(unvisited) - {endpoint.credential.database})
    found = await _each(endpoint, wanted, []) if wanted else {}
    return {name: str(error) for name, error in found.items() if isinstance(error, ReadError)}


async def _probe(main: AsyncConnection[TupleRow], endpoint: Endpoint) -> tuple[Capabilities, str]:
    """What the server is, and how to read the ledger's rows there; "" when there is none."""
    import psycopg

    # Asked of the session itself: an older server does not even understand the questions.
    version = main.info.server_version
    if version < OLDEST * 10000:
        raise ReadError(
            endpoint.cluster, f"PostgreSQL {version // 10000} is too old: PgVillage works with {OLDEST} and later"
        )
    try:
        becoming = "SET" if version >= _SET_SINCE * 10000 else "MEMBER"
        roles = ", ".join([_ROLES.format("USAGE"), _ROLES.format(becoming), _ADMINISTERED])
        probe = _PROBE.format(roles=roles, primary=PRIMARY)
        row = await (await main.execute(probe)).fetchone()
    except psycopg.Error as error:
        raise ReadError(endpoint.cluster, server_words(error)) from None
    assert row is not None
    version, superuser, createrole, authid, files, role, recovering, system, current, databases, *rest = row
    has_ledger, ledger_format, keeps_ledger, reads_hba, closed, createdb, replication, bypassrls, *rest = rest
    acts_as, becomes, administers = (frozenset(names or ()) for names in rest[:3])
    if recovering:
        raise ReadError(endpoint.cluster, "the server is in recovery: no primary among the hosts")
    endpoint.object_to(Session(addresses_of(main), system, rest[-1]))
    capabilities = Capabilities(
        version=version,
        superuser=superuser,
        createrole=createrole,
        reads_verifiers=authid,
        reads_file_settings=files,
        role=role,
        system_identifier=system,
        maintenance=current,
        databases={name: name not in (closed or ()) for name in databases or ()},
        keeps_ledger=bool(keeps_ledger),
        reads_hba=reads_hba,
        reads_ledger=bool(has_ledger),
        createdb=createdb,
        replication=replication,
        bypassrls=bypassrls,
        acts_as=acts_as,
        becomes=becomes,
        administers=administers,
    )
    return capabilities, read_rows(ledger_format) if has_ledger else ""


async def ask(connection: AsyncConnection[TupleRow], queries: Iterable[Query], endpoint: Endpoint) -> dict[str, Rows]:
    """The answers to all queries from one snapshot, pipelined.

    What stands in a pipeline is one transaction without BEGIN and COMMIT: the server ends it at the Sync.

    Raises ReadError with the server's words.
    """
    import psycopg

    cursors = []
    try:
        async with connection.pipeline():
            for query in queries:
                cursor = connection.cursor()
                await cursor.execute(query.sql, query.parameters or None)
                cursors.append((query.name, cursor))
        return {name: await cursor.fetchall() for name, cursor in cursors}
    except (psycopg.Error, UnicodeDecodeError) as error:
        words = server_words(error) if isinstance(error, psycopg.Error) else "a name is not valid in UTF-8"
        raise ReadError(endpoint.cluster, words) from None


async def _each(
    endpoint: Endpoint, databases: Iterable[str], queries: Collection[Query]
) -> dict[str, Mapping[str, Rows] | ReadError]:
    limit = asyncio.Semaphore(_PARALLEL_DATABASES)

    async def one(name: str) -> Mapping[str, Rows] | ReadError:
        async with limit, AsyncExitStack() as stack:
            try:
                session = read_session(endpoint)
                connection = await connect(endpoint, name, application="pgvillage read", settings=session)
                stack.push_async_callback(connection.close)
                return await ask(connection, queries, endpoint)
            except ReadError as error:
                return error

    names = list(databases)
    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


def server_words(error: Exception) -> str:
    """What the server said, without the statement: that could hold what must not be shown."""
    diag = getattr(error, "diag", None)
    if diag is None or diag.message_primary is None:
        return " ".join(str(error).split()) or type(error).__name__
    parts = [diag.message_primary, diag.message_detail, diag.message_hint]
    return "; ".join(" ".join(part.split()) for part in parts if part) + f" (SQLSTATE {diag.sqlstate})"
