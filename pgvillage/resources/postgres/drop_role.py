"""Dropping a role: hand over what it owns in every database, check that nothing is left, then drop it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change
from pgvillage.core.step import Step
from pgvillage.engine.kind import Context
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.holdings import Holdings, closed_in_words, to_visit
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


def drop_steps(change: Change, found: Holdings | None, context: Context) -> Iterable[Step]:
    """One transaction a database where it has anything, the role itself last of all.

    A database that goes is gone before (see `waits_for`). What comes to be after the look makes DROP ROLE fail, which
    PostgreSQL itself checks in all databases.
    """
    name = change.address.name[0]
    maintenance = context.capabilities.maintenance if context.capabilities else ""
    text = literal(name)
    if "$pgvillage$" in text:
        # The one name that could close our dollar quote; as escapes it can't.
        text = "U&'" + "".join(f"\\+{ord(c):06x}" for c in name) + "'"
    for database in sorted(to_visit(found, going(context.view), maintenance)):
        if change.heir and found and any(place in ("", database) for place, _ in found.owned):
            yield step(change.address, f"REASSIGN OWNED BY {ident(name)} TO {ident(change.heir)}", database=database)
        yield step(change.address, _CHECK.format(role=text), database=database)
        yield step(change.address, f"DROP OWNED BY {ident(name)}", database=database)
    yield step(change.address, f"DROP ROLE {ident(name)}")


def going(view: ClusterView) -> set[str]:
    return {d.name for d in view.databases if d.spec.ensure == "absent"}


def what_becomes(found: Holdings | None, heir: str | None, view: ClusterView) -> str:
    """To whom things go, in words; '' when there is nothing to say."""
    if found is None:
        return ""
    without = going(view)
    owned, policies = found.in_words(without), found.policies_in_words(without)
    parts = [f"{quote_part(heir)} gets {owned}" if heir else f"owns {owned} and has no heir"] if owned else []
    if policies:
        parts.append(f"it is taken out of {policies} (a policy that names nobody else is dropped)")
    return "; ".join(parts)


def why_not_dropped(change: Change, found: Holdings | None, others: Mapping[Address, Change], context: Context) -> str:
    """What would stop the drop half-way, in words that say what to do; then it does not begin."""
    capabilities = context.capabilities
    open_ = capabilities.databases if capabilities else {}
    closed = capabilities.closed if capabilities else {}
    without = going(context.view)
    unread = {name for name, reached in open_.items() if not reached}
    visited = (found.databases - {""} if found else set()) - without
    if shut := closed_in_words(visited | unread, open_, closed):
        return f"a role is dropped only when every database could be reached; not reached: {shut}"
    if found and found.prepared:
        gid, database = found.prepared[0]
        return (
            f"it left the prepared transaction {gid!r} in {quote_part(database)}: COMMIT PREPARED or ROLLBACK PREPARED "
            "it first"
        )
    return _without_heir(change, found, without, others, context)


def _without_heir(
    change: Change, found: Holdings | None, without: Collection[str], others: Mapping[Address, Change], context: Context
) -> str:
    owned = found.in_words(without) if found else ""
    if not owned:
        return ""
    if not change.heir:
        return f"it owns {owned}: name an `heir`, or give them away first"
    address = change.address._replace(name=(change.heir,))
    heir = context.snapshot.live.get(address)
    coming = others.get(address)
    if coming is not None:
        if coming.action is Action.DELETE:
            return f"its heir {quote_part(change.heir)} is to be dropped too: name another `heir`"
        heir = coming.after
    if heir is None:
        return f"its heir {quote_part(change.heir)} does not exist: declare that role, or name another `heir`"
    things = found.superusers_things(without) if found else ""
    if things and not getattr(heir, "superuser", False):
        return (
            f"only a superuser can own {things}, and the heir {quote_part(change.heir)} is none: give them away first"
        )
    return ""
