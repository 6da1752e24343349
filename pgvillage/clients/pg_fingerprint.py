"""Cheap looks at a PostgreSQL: counters that move when anything of what we manage may have changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pgvillage.clients.pg_connect import connect
from pgvillage.clients.pg_read import server_words
from pgvillage.clients.pg_way import Way
from pgvillage.core.errors import ReadError

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

_APPLICATION = "pgvillage watch"
_KEPT = 4  # connections to other databases than the maintenance one
_QUIET = 12  # looks without a change before such a connection is given back
# Without pg_shdepend, which moves with every temporary table, and pg_statistic, which moves with ANALYZE.
_SHARED = (
    "pg_authid", "pg_auth_members", "pg_database", "pg_db_role_setting", "pg_tablespace", "pg_subscription",
    "pg_parameter_acl", "pg_shdescription", "pg_shseclabel",
)  # fmt: skip
_LOCAL = (
    "pg_namespace", "pg_class", "pg_attribute", "pg_proc", "pg_type", "pg_language", "pg_extension",
    "pg_foreign_data_wrapper", "pg_foreign_server", "pg_user_mapping", "pg_publication", "pg_publication_rel",
    "pg_publication_namespace", "pg_event_trigger", "pg_policy", "pg_default_acl", "pg_init_privs",
    "pg_largeobject_metadata", "pg_description", "pg_seclabel",
)  # fmt: skip
_COUNTERS = """
SELECT relname::text, concat_ws(',', pg_catalog.pg_stat_get_tuples_inserted(oid),
       pg_catalog.pg_stat_get_tuples_updated(oid), pg_catalog.pg_stat_get_tuples_deleted(oid))
FROM pg_catalog.pg_class WHERE relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND relname = ANY(%s::name[])
"""
_FACTS = """
SELECT 'server', concat_ws(' ', pg_catalog.pg_postmaster_start_time(), pg_catalog.pg_is_in_recovery(),
                           (SELECT system_identifier FROM pg_catalog.pg_control_system()),
                           (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()))
UNION ALL SELECT 'configuration', pg_catalog.pg_conf_load_time()::text
UNION ALL SELECT 'slots', (SELECT pg_catalog.string_agg(concat_ws(' ', slot_name, plugin, slot_type, database), ', '
                                                        ORDER BY slot_name) FROM pg_catalog.pg_replication_slots
                           WHERE NOT temporary)
UNION ALL SELECT 'counting', pg_catalog.current_setting('track_counts')
UNION ALL SELECT 'files', rolsuper::text FROM pg_catalog.pg_roles WHERE rolname = current_user
"""
# ALTER SYSTEM and an edited file count before anybody reloads; only a superuser may look at files.
_FILES = """
SELECT 'files', pg_catalog.string_agg(concat_ws(' ', name, f.size, f.modification), ', ' ORDER BY name)
FROM (VALUES ('postgresql.auto.conf'), (pg_catalog.current_setting('config_file')),
             (pg_catalog.current_setting('hba_file'))) AS named(name), pg_catalog.pg_stat_file(name, true) f
"""
# Everything that is written in a database counts here: it only tells where to look closer.
_WRITTEN = """
SELECT datname::text, (tup_inserted + tup_updated + tup_deleted)::text || ' ' || coalesce(stats_reset::text, '')
FROM pg_catalog.pg_stat_database WHERE datname = ANY(%s::name[])
"""


class PgWatch:
    """One target's kept connections. Not for two tasks at a time; after an error it begins anew at the next look.

    `blind` says why counters do not move on this server, "" where they do.
    """

    def __init__(self, way: Way, databases: Collection[str]) -> None:
        self._way = way
        self._endpoint = way.endpoint
        self._others = sorted(set(databases) - {way.endpoint.credential.database})
        self._main: AsyncConnection[TupleRow] | None = None
        self._kept: dict[str, AsyncConnection[TupleRow]] = {}
        self._quiet: dict[str, int] = {}
        self._written: dict[str, str] = {}
        self._local: dict[str, Mapping[str, str]] = {}
        self._stack = contextlib.AsyncExitStack()
        self.blind = ""

    @property
    def connections(self) -> int:
        return len(self._kept) + (self._main is not None)

    async def look(self) -> Mapping[str, str]:
        """`server`, `configuration`, `slots`, `files`, `leader`, and counters by `catalogue` or `database/catalogue`.

        Raises ReadError; TimeoutError after `timeouts.connect`.
        """
        try:
            async with asyncio.timeout(self._endpoint.timeouts.connect):
                return await self._look()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        found = [*self._kept.values(), *([self._main] if self._main else [])]
        self._kept, self._main = {}, None
        for connection in found:
            with contextlib.suppress(Exception):  # what is broken is gone already
                await connection.close()
        await self._stack.aclose()

    async def _look(self) -> dict[str, str]:
        leader = await self._with_the_leader()
        assert self._main is not None
        facts, counters, written = await self._asked(
            self._main,
            (_FACTS, None), (_COUNTERS, [[*_SHARED, *_LOCAL]]), (_WRITTEN, [self._others]),
        )  # fmt: skip
        found, counting = {**facts, **counters}, facts.pop("counting", "on")
        if found.pop("files", "") == "true":
            found |= (await self._asked(self._main, (_FILES, None)))[0]
        self.blind = "" if counting == "on" else "track_counts is off: only full looks see what changed"
        for database in self._others:
            if database in written:
                found |= await self._of_database(database, written[database])
        await self._give_back(set(written))
        return found | ({"leader": leader} if leader else {})

    async def _with_the_leader(self) -> str:
        """A kept connection may be with a node that leads no more, and whose counters stand still: come anew."""
        if self._main is not None and self._endpoint.leadership is not None:
            if await self._way.term() == self._endpoint.leadership.term:
                return self._endpoint.leadership.term
            await self.close()
        if self._main is None:
            await self._stack.enter_async_context(self._way)
            self._endpoint = await self._way.find()
            self._main = await self._connected(None)
        return self._endpoint.leadership.term if self._endpoint.leadership else ""

    async def _of_database(self, name: str, written: str) -> dict[str, str]:
        if self._written.get(name) != written:
            try:
                self._local[name] = await self._counters_of(name)
            except ReadError:
                # One that lets nobody in is the full look's to tell.
                self._local[name] = {"closed": "yes"}
            self._written[name] = written
            self._quiet[name] = 0
        else:
            self._quiet[name] = self._quiet.get(name, 0) + 1
        return {f"{name}/{catalogue}": value for catalogue, value in self._local[name].items()}

    async def _counters_of(self, name: str) -> Mapping[str, str]:
        connection = self._kept.get(name) or await self._connected(name)
        self._kept[name] = connection
        try:
            return (await self._asked(connection, (_COUNTERS, [list(_LOCAL)])))[0]
        except ReadError:
            del self._kept[name]
            await connection.close()
            raise

    async def _give_back(self, present: Collection[str]) -> None:
        """Databases that are written to all the time keep their connection, as far as there are few of them."""
        busy = sorted(self._kept, key=lambda name: self._quiet.get(name, 0))
        for name in list(self._kept):
            if name not in present or self._quiet.get(name, 0) >= _QUIET or name not in busy[:_KEPT]:
                await self._kept.pop(name).close()

    async def _connected(self, database: str | None) -> AsyncConnection[TupleRow]:
        limit = str(round(self._endpoint.timeouts.connect * 1000))
        settings = {
            "search_path": "",
            "default_transaction_read_only": "on",
            "statement_timeout": limit,
            "lock_timeout": limit,
        }
        return await connect(self._endpoint, database, application=_APPLICATION, settings=settings)

    async def _asked(
        self, connection: AsyncConnection[TupleRow], *questions: tuple[str, list[Any] | None]
    ) -> list[dict[str, str]]:
        import psycopg

        cursors = []
        try:
            async with connection.pipeline():
                for text, parameters in questions:
                    cursor = connection.cursor()
                    await cursor.execute(text.encode(), parameters, prepare=True)
                    cursors.append(cursor)
            return [{str(key): str(value) for key, value in await each.fetchall()} for each in cursors]
        except psycopg.Error as error:
            raise ReadError(self._endpoint.cluster, server_words(error)) from None
