"""Bringing a state database to this version's tables, once, however many processes start at the same time."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from pgvillage.core.errors import StateError

VERSION_TABLE = "state_version"
_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x7067_7669_6C6C_6167  # "pgvillag": the advisory lock of who migrates
_ours = threading.Lock()  # Alembic keeps what it works on in globals


def migrate(engine: Engine) -> None:
    """Raises StateError when it is of a later version, which is left as it is."""
    with _ours, engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # The driver begins a transaction by itself only for changes of rows, not of tables.
            connection.exec_driver_sql("BEGIN EXCLUSIVE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if version_of(connection) != newest_version():
            _refuse_later(connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        connection.commit()


def require_this_version(engine: Engine) -> bool:
    """False when there are no tables at all; raises StateError when they are of another version."""
    with engine.connect() as connection:
        found = version_of(connection)
        if found is None:
            return False
        _refuse_later(connection)
    if found != newest_version():
        raise StateError(
            f"the state database is of version {found}, this PgVillage needs {newest_version()}: "
            "its daemon (`pgvillage serve`) brings it up to date when it starts"
        )
    return True


def version_of(connection: Connection) -> str | None:
    """None before the first migration."""
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


@cache
def newest_version() -> str:
    """The one this PgVillage needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _refuse_later(connection: Connection) -> None:
    found = version_of(connection)
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise StateError(
            f"the state database is of version {found}, and this PgVillage knows none after {newest_version()}: "
            "a later PgVillage has used it; run that one, or give this one a state database of its own"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config
