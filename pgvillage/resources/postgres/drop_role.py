"""Dropping a role: hand over what it owns in every database, check that nothing is left, then drop it."""

from __future__ import annotations

from collections.abc import Iterable

from pgvillage.core.change import Change
from pgvillage.core.step import Step
from pgvillage.engine.kind import Context
from pgvillage.resources.postgres.sql import ident, literal, step

# What may be left for DROP OWNED to clear: privileges, default privileges, user mappings. Anything owned is a stop.
_CHECK = """DO $pgvillage$ BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_shdepend d
             JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid AND r.rolname = {role}
             WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.deptype = 'o'
               AND d.classid <> 'pg_catalog.pg_default_acl'::pg_catalog.regclass
               AND d.classid <> 'pg_catalog.pg_user_mapping'::pg_catalog.regclass
               AND d.dbid IN (0, (SELECT oid FROM pg_catalog.pg_database
                                  WHERE datname = pg_catalog.current_database()))) THEN
    RAISE EXCEPTION USING ERRCODE = '2BP01',
      MESSAGE = 'the role still owns objects here: name an heir for it, or give them away first';
  END IF;
END $pgvillage$"""


def drop_steps(change: Change, context: Context) -> Iterable[Step]:
    """One transaction a database, the role itself last of all.

    A database that goes is gone before (see `waits_for`).
    """
    name = change.address.name[0]
    going = {d.name for d in context.view.databases if d.spec.ensure == "absent"}
    databases = sorted(set(context.capabilities.databases) - going) if context.capabilities else []
    text = literal(name)
    if "$pgvillage$" in text:
        # The one name that could close our dollar quote; as escapes it can't.
        text = "U&'" + "".join(f"\\+{ord(c):06x}" for c in name) + "'"
    for database in databases:
        if change.heir:
            yield step(change.address, f"REASSIGN OWNED BY {ident(name)} TO {ident(change.heir)}", database=database)
        yield step(change.address, _CHECK.format(role=text), database=database)
        yield step(change.address, f"DROP OWNED BY {ident(name)}", database=database)
    yield step(change.address, f"DROP ROLE {ident(name)}")
