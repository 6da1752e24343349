"""The statements of a script, one after the other, on a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvillage.clients.job_sql import fault
from pgvillage.clients.job_sql.printed import Printed
from pgvillage.clients.job_sql.sending import Unsendable, encoded, send
from pgvillage.clients.pg_write import QUIET
from pgvillage.core.job_work import SqlWork
from pgvillage.core.secret import Secret

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

    Connection = AsyncConnection[TupleRow]

_LOUD = "WARNING:  the account may not switch statement logging off: secrets may be in the server's log"
_SETTINGS = """
SELECT name, setting, pg_catalog.current_setting('is_superuser') = 'on'
FROM pg_catalog.pg_settings WHERE name = ANY (%s)
"""
# By the server's word, not by ours: ROLLBACK AND CHAIN leaves a transaction open that does not hold the step's row.
_ENDS = ("COMMIT", "ROLLBACK", "PREPARE TRANSACTION")
_SET = "SELECT pg_catalog.set_config(%s, %s, %s)"


class ScriptFailed(Exception):
    """A statement failed: `words` for people, `first` when nothing was done before it. Its cause is psycopg's error."""

    def __init__(self, words: str, *, first: bool = False) -> None:
        super().__init__(words)
        self.words, self.first = words, first


async def run_script(session: Connection, work: SqlWork, printed: Printed) -> None:
    """Raises ScriptFailed."""
    import psycopg
    from psycopg.pq import TransactionStatus

    line = 1
    for number, statement in enumerate(work.statements):
        begins, line = statement.line or line, (statement.line or line) + statement.text.count("\n")
        try:
            values = [encoded(name, work.values[name]) for name in statement.names]
            tag = await send(session, statement.text, values, printed)
        except KeyError as error:
            raise ScriptFailed(f"line {fault.line_of(statement, begins)}: no value for :{error.args[0]}") from None
        except Unsendable as error:
            raise ScriptFailed(f"line {fault.line_of(statement, begins)}: {error}") from None
        except psycopg.Error as error:
            at = fault.line_of(statement, begins, fault.position_of(error))
            raise ScriptFailed(fault.words_of(error, printed, at), first=number == 0) from error
        inside = session.info.transaction_status == TransactionStatus.INTRANS
        if work.transaction and (tag in _ENDS or not inside):
            at = fault.line_of(statement, begins)
            raise ScriptFailed(f"line {at}: {tag} in a step that is one transaction; set `transaction: false` for it")


async def hush(session: Connection, work: SqlWork, printed: Printed) -> list[str]:
    """Where a secret is bound, the server logs nothing of the session from now on, if the account may say so.

    The settings that were changed: to the transaction's end, or until somebody resets them.
    """
    if not any(isinstance(value, Secret) for value in work.values.values()):
        return []
    rows = await (await session.execute(_SETTINGS, (list(QUIET),))).fetchall()
    changed = [name for name, _, superuser in rows if superuser]
    if not changed and any(QUIET[name] != setting for name, setting, _ in rows if name.startswith("log_")):
        printed.line(_LOUD)
    for name in changed:
        await session.execute(_SET, (name, QUIET[name], work.transaction))
    return changed
