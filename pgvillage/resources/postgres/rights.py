"""What an account without superuser may do: refusals in words, before an apply would stop in the middle.

An account that may change nothing at all looks plans for the one that applies them: nothing is refused for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change
from pgvillage.core.live import Capabilities
from pgvillage.engine.kind import Context
from pgvillage.resources.postgres.privilege_inventory import Inventory

ADMIN_SINCE = 16  # from then on CREATEROLE is not enough: it takes ADMIN OPTION on the role
DATABASE_OWNER = "pg_database_owner"


def lesser(context: Context) -> Capabilities | None:
    """The account we connect as, where what it may do is limited and it is meant to apply."""
    me = context.capabilities
    return None if me is None or me.superuser or me.only_looks else me


def can_act_as(owner: object, database: str, context: Context) -> bool:
    """Has the account the privileges of this owner? Whose `pg_database_owner` is, hangs on the database."""
    me = lesser(context)
    if owner == DATABASE_OWNER:
        live = context.snapshot.live.get(Address(context.view.name, "database", (database,)))
        owner = getattr(live, "owner", None)
    return me is None or owner in (None, me.role) or owner in me.acts_as | context.once(_joining)


def _joining(context: Context) -> frozenset[str]:
    """Roles that the estate makes the account a member of: memberships come before what needs them."""
    me, view = context.capabilities, context.view
    ours = me.role if me else ""
    named = {g.document.role for g in view.groups if (m := g.document.spec.members) and ours in (m.roles or ())}
    wishes = (d.document.spec.member_of for d in view.role_documents if d.document.role == ours)
    return frozenset(named | {w if isinstance(w, str) else w.role for wish in wishes for w in wish})


def not_ours(change: Change, context: Context) -> str:
    """Why an object that has an owner can't be changed, dropped or given away by this account."""
    me = lesser(context)
    if me is None:
        return ""
    kind, name = change.address.kind, change.address.name
    before, after = (getattr(state, "owner", None) for state in (change.before, change.after))
    if change.before is not None and not can_act_as(before, name[0], context):
        return belongs_to(before, me)
    gives = change.after is not None and isinstance(after, str) and after != before
    if gives and (lacking := cannot_become(str(after), context)):
        return lacking
    if kind == "database" and not me.createdb and (change.before is None or gives):
        return f"{me.role} may not create databases or give them away: ALTER ROLE {quote_part(me.role)} CREATEDB"
    if change.before is None and kind != "database" and len(name) == 2:
        return cannot_create_in(name[0], context)
    return ""


def belongs_to(owner: object, me: Capabilities) -> str:
    who = quote_part(str(owner))
    return (
        f"it belongs to {who}: only {who}, its members and superusers change it; GRANT {who} TO {quote_part(me.role)}"
    )


def cannot_become(role: str, context: Context) -> str:
    """Giving something to a role takes SET on it."""
    me = lesser(context)
    if me is None or role == me.role or role in me.becomes | context.once(_joining):
        return ""
    who, ours = quote_part(role), quote_part(me.role)
    if me.major >= ADMIN_SINCE:
        return f"needs SET on role {who}: GRANT {who} TO {ours} WITH INHERIT TRUE, SET TRUE"
    return f"needs membership in role {who}: GRANT {who} TO {ours}"


def cannot_create_in(database: str, context: Context) -> str:
    """Schemas, publications and extensions that are trusted need CREATE on their database."""
    me = lesser(context)
    target = context.view.name
    live = context.snapshot.live.get(Address(target, "database", (database,)))
    if me is None or live is None or can_act_as(getattr(live, "owner", None), database, context):
        return ""
    for role in (*sorted(me.acts_as), me.role, "public"):
        held = context.snapshot.live.get(Address(target, "privilege", ("database", database, role)))
        if held is not None and any(name.startswith("CREATE") for name in held.as_fields()):
            return ""
    return f"needs CREATE on database {quote_part(database)}: GRANT CREATE ON DATABASE … TO {quote_part(me.role)}"


def cannot_administer(role: str, context: Context) -> str:
    """Why a role that exists can't be altered, commented, granted or dropped."""
    me = lesser(context)
    live = context.snapshot.live.get(Address(context.view.name, "role", (role,)))
    if me is None:
        return ""
    who = quote_part(role)
    if getattr(live, "superuser", False):
        return f"{who} is a superuser: only a superuser may do that"
    if role in me.administers:
        return ""
    if me.major >= ADMIN_SINCE and (live is not None or role.startswith("pg_")):
        return f"needs ADMIN OPTION on role {who}: GRANT {who} TO {quote_part(me.role)} WITH ADMIN OPTION"
    return "" if me.createrole else "needs CREATEROLE"


def role_refusal(change: Change, context: Context) -> str:
    """What of a role is not for us to make, change or drop."""
    me = lesser(context)
    role = change.address.name[0]
    if me is None:
        return ""
    only_own_password = role == me.role and {f.name for f in change.fields} <= {"password"}
    if change.before is not None and not only_own_password and (lacking := cannot_administer(role, context)):
        return lacking
    if not me.createrole and not only_own_password:
        return f"needs CREATEROLE: ALTER ROLE {quote_part(me.role)} CREATEROLE"
    if change.action is Action.DELETE:
        return "" if role in me.acts_as else _cannot_reassign(role, me)
    return _attributes_beyond(change, me)


def _attributes_beyond(change: Change, me: Capabilities) -> str:
    if me.major < ADMIN_SINCE and getattr(change.before, "replication", False):
        return f"{quote_part(change.address.name[0])} has REPLICATION: only a superuser may change it"
    held = _attributes(me)
    asked = (f.name for f in change.fields if f.name in held and bool(f.before) != bool(f.after))
    beyond = next((name for name in asked if not held[name]), "")
    if not beyond:
        return ""
    who = "only a superuser" if beyond == "superuser" or me.major < ADMIN_SINCE else "only who has it"
    return f"{who} may give or take {beyond.upper()}"


def _cannot_reassign(role: str, me: Capabilities) -> str:
    who, ours = quote_part(role), quote_part(me.role)
    return f"needs the privileges of role {who} to hand over what it owns: GRANT {who} TO {ours}"


def _attributes(me: Capabilities) -> dict[str, bool]:
    """Which attributes we may set; before 16 CREATEROLE allowed CREATEDB to anybody and the others to superusers."""
    if me.major < ADMIN_SINCE:
        return {"superuser": False, "replication": False, "bypassrls": False}
    return {"superuser": False, "createdb": me.createdb, "replication": me.replication, "bypassrls": me.bypassrls}


def owners_out_of_reach(owners: Iterable[str], database: str, context: Context) -> str:
    """The first owner, of those that objects have, whose privileges we lack; empty when there is none."""
    return next((owner for owner in sorted(owners) if not can_act_as(owner, database, context)), "")


def table_out_of_reach(database: str, schema: str, table: str, context: Context) -> str:
    """Row security and policies are the table owner's."""
    me, inventory = lesser(context), context.snapshot.inventory.get("privilege")
    if me is None or not isinstance(inventory, Inventory):
        return ""
    owners = [o for o, names in inventory.owned.get(("table", database, schema), {}).items() if table in names]
    owner = owners_out_of_reach(owners, database, context)
    return belongs_to(owner, me) if owner else ""
