"""What Alembic runs for every migration: on the connection, and in the transaction, that it is given."""

from __future__ import annotations

from alembic import context

from pgvillage.clients.state.migrate import VERSION_TABLE
from pgvillage.clients.state.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite alters no table: it is copied
)
context.run_migrations()
