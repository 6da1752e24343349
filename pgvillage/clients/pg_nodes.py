"""Asking every node of a cluster about itself, all at the same time: a node that does not answer delays no other."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pgvillage.clients.pg_connect import Endpoint, connect
from pgvillage.clients.pg_control_file import CONTROL_FILE, standby_sensitive
from pgvillage.clients.pg_read import OLDEST, server_words
from pgvillage.core.errors import PgVillageError, ReadError
from pgvillage.core.guc import Guc
from pgvillage.core.topology import NodeSql, Sender, SlotFact

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

NODE_SECONDS = 5.0
_APPLICATION = "pgvillage nodes"
# A standby's control file tells the timeline of its last restart point, which may be long ago.
_FACTS = """
WITH here AS (
  SELECT pg_catalog.pg_is_in_recovery() AS recovering, pg_catalog.pg_last_wal_receive_lsn() AS received,
         pg_catalog.pg_last_wal_replay_lsn() AS replayed),
receiver AS (
  SELECT status, received_tli, sender_host, sender_port, status IS NULL OR status = 'streaming' AS streaming
  FROM pg_catalog.pg_stat_wal_receiver WHERE pid IS NOT NULL)
SELECT recovering, (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
       CASE WHEN recovering THEN greatest((SELECT received_tli FROM receiver),
                                          (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()),
                                          (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()))::bigint
            ELSE ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
       END,
       (CASE WHEN recovering THEN replayed ELSE pg_catalog.pg_current_wal_lsn() END - '0/0'::pg_lsn)::bigint,
       (received - '0/0'::pg_lsn)::bigint,
       CASE WHEN NOT recovering THEN NULL
            WHEN received = replayed AND (SELECT streaming FROM receiver) THEN 0
            ELSE greatest(0, extract(epoch FROM clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()))
       END::float8,
       (SELECT sender_host FROM receiver), (SELECT sender_port FROM receiver),
       coalesce((SELECT streaming FROM receiver), false), pg_catalog.pg_postmaster_start_time(),
       pg_catalog.has_table_privilege('pg_catalog.pg_file_settings', 'SELECT')
         AND pg_catalog.has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE')
FROM here
"""
# Our own session's and our role's settings are not what the server runs with.
_SETTINGS = """
SELECT name, vartype, unit, context, enumvals, boot_val, reset_val, source = 'configuration file', pending_restart,
       min_val, max_val, setting, source IN ('client', 'session', 'user', 'database', 'database user')
FROM pg_catalog.pg_settings WHERE pending_restart OR lower(name) = ANY(%s)
"""
_SENDERS = """
SELECT coalesce(application_name, ''), coalesce(usename::text, ''), coalesce(host(client_addr), ''),
       coalesce(state, ''), coalesce(sync_state, ''), (sent_lsn - '0/0'::pg_lsn)::bigint,
       (flush_lsn - '0/0'::pg_lsn)::bigint, (replay_lsn - '0/0'::pg_lsn)::bigint,
       extract(epoch FROM replay_lag)::float8
FROM pg_catalog.pg_stat_replication
WHERE state IS DISTINCT FROM 'backup' AND application_name IS DISTINCT FROM 'pg_basebackup' ORDER BY 1, 3
"""
_SLOTS = """
SELECT slot_name::text, slot_type = 'physical', active,
       greatest(0, CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                        ELSE pg_catalog.pg_current_wal_lsn() END - restart_lsn)::bigint, coalesce(wal_status, '')
FROM pg_catalog.pg_replication_slots WHERE NOT temporary ORDER BY 1
"""
# "could not be applied" is said of a parameter that waits for a restart too: pending_restart tells that better.
_FILE_ERRORS = """
SELECT f.sourcefile, f.sourceline, f.name, f.error FROM pg_catalog.pg_file_settings f
LEFT JOIN pg_catalog.pg_settings s ON lower(s.name) = lower(f.name)
WHERE f.error IS NOT NULL AND NOT (f.error = 'setting could not be applied' AND s.context = 'postmaster')
ORDER BY f.seqno
"""
_FILES = "files"

_Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class _Question:
    name: str
    sql: str
    parameters: tuple[Any, ...] = ()


async def ask_nodes(
    endpoint: Endpoint, nodes: Mapping[str, str], parameters: Collection[str] = (), seconds: float = NODE_SECONDS
) -> dict[str, NodeSql | str]:
    """What each node (name -> HOST:PORT) says of itself, or in words why it doesn't; raises nothing.

    `endpoint` gives credential, TLS and time limits; its own hosts are not asked. The credential's host patterns hold
    for each node: who can write these addresses can send our password nowhere. `seconds` are for one node with all that
    it is asked. `parameters` are names of server parameters that `NodeSql.running` and `gucs` are wanted of.
    """
    names = sorted({name.lower() for name in parameters})
    asked = [_ask_node(replace(endpoint, hosts=(address,)), names, seconds) for address in nodes.values()]
    return dict(zip(nodes, await asyncio.gather(*asked), strict=True))


async def _ask_node(endpoint: Endpoint, parameters: list[str], seconds: float) -> NodeSql | str:
    import psycopg

    try:
        async with asyncio.timeout(seconds), AsyncExitStack() as stack:
            connection = await connect(
                endpoint, None, application=_APPLICATION, settings=_session(endpoint, seconds), primary=False
            )
            stack.push_async_callback(connection.close)
            return await _node(connection, endpoint.cluster, parameters)
    except TimeoutError:
        return f"no answer within {seconds:g} s: is the host down or cut off, or does PostgreSQL there hang?"
    except PgVillageError as error:
        return str(error).removeprefix(f"{endpoint.cluster}: ")
    except psycopg.Error as error:
        return server_words(error)
    except (TypeError, ValueError) as error:
        return f"it answered what no PostgreSQL answers: {error}"


def _session(endpoint: Endpoint, seconds: float) -> dict[str, str]:
    limit = str(round(1000 * min(seconds, endpoint.timeouts.read)))
    return {"search_path": "", "default_transaction_read_only": "on", "statement_timeout": limit, "lock_timeout": limit}


async def _node(connection: AsyncConnection[TupleRow], cluster: str, parameters: list[str]) -> NodeSql:
    # Asked of the session itself: an older server does not even understand the questions.
    version = connection.info.server_version
    if version < OLDEST * 10000:
        raise ReadError(cluster, f"PostgreSQL {version // 10000} is too old: PgVillage works with {OLDEST} and later")
    superuser = connection.info.parameter_status("is_superuser") == "on"
    questions = [
        _Question("facts", _FACTS),
        _Question("settings", _SETTINGS, (parameters,)),
        _Question("senders", _SENDERS),
        _Question("slots", _SLOTS),
    ]
    if superuser:
        questions += [_Question("control", CONTROL_FILE), _Question(_FILES, _FILE_ERRORS)]
    rows = await _answers(connection, questions)
    facts = rows["facts"]
    if isinstance(facts, Exception):
        raise facts
    if not superuser and facts[0][-1]:
        rows |= await _answers(connection, [_Question(_FILES, _FILE_ERRORS)])
    found = {name: () if isinstance(answer, Exception) else answer for name, answer in rows.items()}
    return _parsed(version, found)


async def _answers(
    connection: AsyncConnection[TupleRow], questions: Iterable[_Question]
) -> dict[str, _Rows | Exception]:
    """All in one round trip; what one of them fails with is its own, and those after it are asked again."""
    import psycopg

    answers: dict[str, _Rows | Exception] = {}
    left = list(questions)
    while left:
        cursors = []
        try:
            async with connection.pipeline():
                for question in left:
                    cursors.append(connection.cursor())
                    await cursors[-1].execute(question.sql.encode(), question.parameters or None)
        except psycopg.Error as error:
            done = next((at for at, cursor in enumerate(cursors) if cursor.description is None), len(cursors) - 1)
            answers[left[done].name] = error
            if connection.closed:
                raise
        else:
            done = len(left)
        for question, cursor in zip(left[:done], cursors, strict=False):
            answers[question.name] = await cursor.fetchall()
        left = left[done + 1 :]
    return answers


def _parsed(version: int, rows: Mapping[str, _Rows]) -> NodeSql:
    recovering, system, timeline, position, received, delay, host, port, streaming, started, _ = rows["facts"][0]
    settings = rows.get("settings", ())
    ours = [row for row in settings if not row[-1]]
    return NodeSql(
        recovering=recovering,
        system_identifier=system,
        timeline=timeline,
        position=position or 0,
        version=version,
        received=received,
        replay_seconds=delay,
        streams_from=_address(host, port),
        streaming=streaming,
        pending_restart=tuple(sorted(row[0] for row in settings if row[8])),
        file_errors=tuple(map(_file_error, rows.get(_FILES, ()))),
        running={row[0]: row[11] for row in ours if row[11] is not None},
        gucs={row[0]: _guc(row) for row in settings},
        controldata={} if not rows.get("control") else standby_sensitive(rows["control"][0][0], system),
        senders=tuple(Sender(*row) for row in rows.get("senders", ())),
        slots=tuple(SlotFact(*row) for row in rows.get("slots", ())),
        started_at=started,
    )


def _address(host: str | None, port: int | None) -> str:
    if not host:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _file_error(row: Sequence[Any]) -> str:
    file, line, name, error = row
    return f"{file}:{line}: {error}" + (f" ({name})" if name else "")


def _guc(row: Sequence[Any]) -> Guc:
    name, vartype, unit, context, enumvals, *rest = row[:11]
    return Guc(name, vartype, unit, context, tuple(enumvals or ()), *rest)
