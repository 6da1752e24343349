"""What an account that runs jobs' SQL may not be able to become."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvillage.clients.job_sql.sending import plain_names
from pgvillage.core.address import quote_part
from pgvillage.core.errors import ReadError

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

# Who may write the server's files, or run programs there, is one step from superuser. MEMBER is enough: what is not
# inherited may be SET, and with ADMIN an account grants the rest to itself.
_MIGHTY = """
SELECT r.rolname::text, r.rolsuper, r.rolcreaterole AND pg_catalog.current_setting('server_version_num')::int < 160000,
       ARRAY(SELECT x.rolname::text FROM pg_catalog.pg_roles x
             WHERE NOT r.rolsuper AND x.oid <> r.oid AND pg_catalog.pg_has_role(r.oid, x.oid, 'MEMBER')
               AND (x.rolsuper OR x.rolname IN (
                 'pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files'))
             ORDER BY 1)
FROM pg_catalog.pg_roles r WHERE r.rolname = session_user
"""
_HINT = "; give jobs a login of their own in the settings (jobs.credentials), or name the job in jobs.superuser"


async def refuse_mighty(session: AsyncConnection[TupleRow], cluster: str) -> None:
    """Raises ReadError: why a job must not have this session. SET ROLE keeps nothing in, for SQL can RESET it."""
    async with plain_names(session):
        why = await _why(session)
    if why:
        raise ReadError(cluster, why)


async def _why(session: AsyncConnection[TupleRow]) -> str:
    row = await (await session.execute(_MIGHTY)).fetchone()
    if row is None:
        return f"nobody knows what the account may do{_HINT}"
    name, superuser, makes_roles, through = row
    if superuser:
        return f"{quote_part(name)} is a superuser, and SQL can undo SET ROLE{_HINT}"
    if makes_roles:
        return f"{quote_part(name)} has CREATEROLE, with which it may join any role before PostgreSQL 16{_HINT}"
    if through:
        return f"{quote_part(name)} may become {', '.join(map(quote_part, through))}{_HINT}"
    return ""
