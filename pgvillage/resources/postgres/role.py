"""Kind role: attributes, expiry, comment and password of roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Any, ClassVar

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change, Leaver, Resource, Risk, Source
from pgvillage.core.plan import Finding
from pgvillage.core.secret import Secret, SecretRef
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step, Verifier
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.common import RoleAttributes
from pgvillage.estate.manifest.estate import UserDefaults
from pgvillage.estate.manifest.user import Auth, UserSpec
from pgvillage.estate.people import Person
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.postgres.as_it_is import comment_steps
from pgvillage.resources.postgres.drop_role import drop_steps, what_becomes, why_not_dropped
from pgvillage.resources.postgres.holdings import Holdings, RolesSeen, holdings_of, holdings_query
from pgvillage.resources.postgres.leavers import clock_words, is_due, leavers, out_of_bounds
from pgvillage.resources.postgres.password import NEW, UNKNOWN, md5_finding, no_password, settle, unseen_finding
from pgvillage.resources.postgres.rights import role_refusal
from pgvillage.resources.postgres.sql import chunks, ident, literal, step

ORDER = 10
_NAMES_A_STATEMENT = 500

# %s: pg_authid and its verifier where we may read it, else pg_roles and no verifier
_SQL = """
SELECT r.rolname, r.rolcanlogin, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolinherit, r.rolreplication,
       r.rolbypassrls, r.rolconnlimit,
       CASE r.rolvaliduntil WHEN 'infinity' THEN NULL WHEN '-infinity' THEN '-infinity'
            ELSE to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END,
       d.description, {password}
FROM {table} r
LEFT JOIN pg_catalog.pg_shdescription d
       ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
WHERE r.rolname !~ '^pg_'
"""
_PASSWORD = """CASE WHEN r.rolpassword IS NULL THEN 'none'
            WHEN r.rolpassword NOT LIKE 'SCRAM-SHA-256$%%' THEN 'md5'
            WHEN r.rolname = ANY(%s) THEN r.rolpassword
            ELSE 'scram' END"""
_FLAGS = {
    "login": "LOGIN",
    "superuser": "SUPERUSER",
    "createdb": "CREATEDB",
    "createrole": "CREATEROLE",
    "inherit": "INHERIT",
    "replication": "REPLICATION",
    "bypassrls": "BYPASSRLS",
}


@dataclass(frozen=True, slots=True)
class RoleState(State):
    """`valid_until` is UTC text or None for no end; `password` one of none, scram, md5, unknown, or `new`.

    `sessions` is "ended" for a leaver whose last apply did not come to that; nothing else asks for it.
    """

    SENSITIVE: ClassVar[frozenset[str]] = frozenset({"password"})
    CONTEXT: ClassVar[frozenset[str]] = frozenset({"secret"})

    login: bool
    superuser: bool = False
    createdb: bool = False
    createrole: bool = False
    inherit: bool = True
    replication: bool = False
    bypassrls: bool = False
    connection_limit: int = -1
    valid_until: str | None = None
    comment: str | Unmanaged | None = None
    password: str | Unmanaged = "none"
    secret: str | None = None
    sessions: str | None = None

    def as_fields(self) -> Mapping[str, Any]:
        found = dict(State.as_fields(self))
        if self.sessions is None:
            del found["sessions"]
        return found


class Role(Kind):
    name = "role"

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for user in view.users:
            spec = user.document.spec
            source = source_of(user, "spec", "role" if spec.role else "clusters")
            heir = spec.heir or view.default_heir
            state = _user_state(spec, view.user_defaults) if spec.ensure == "present" else None
            yield Resource(_address(view, user.document.role), state, source, heir=heir, wish=state)
        for group in view.groups:
            group_spec = group.document.spec
            source = source_of(group, "spec", "role" if group_spec.role else "clusters")
            heir = group_spec.heir or view.default_heir
            wanted = _state(group_spec, group_spec.login) if group_spec.ensure == "present" else None
            yield Resource(_address(view, group.document.role), wanted, source, heir=heir, wish=wanted)
        documents = {d.document.role for d in view.role_documents}
        for person in view.people.by_role.values():
            if person.role not in documents:
                yield _person(view, person)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        if capabilities.reads_verifiers:
            with_secret = [u.document.role for u in view.users if u.document.spec.auth]
            text = _SQL.format(table="pg_catalog.pg_authid", password=_PASSWORD)
            yield Query("role", text, parameters=(with_secret,))
        else:
            yield Query("role", _SQL.format(table="pg_catalog.pg_roles", password="'unknown'"))
        absent = [d.document.role for d in view.role_documents if d.document.spec.ensure == "absent"]
        yield holdings_query(absent, with_ledger=capabilities.reads_ledger)

    def parse(self, live: Live) -> Parsed:
        states: dict[Address, State] = {}
        verifiers: dict[str, Secret] = {}
        for name, *attributes, password in live.rows["role"]:
            if password.startswith("SCRAM-SHA-256$"):
                verifiers[name] = Secret(password)
                password = "scram"  # noqa: PLW2901 - the verifier itself goes no further than `verifiers`
            states[Address(live.target, "role", (name,))] = _live(attributes, password)
        return Parsed(states, inventory=RolesSeen(verifiers, holdings_of(live.rows["role_holdings"])))

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        resolved: Desired = {}
        findings: list[Finding] = []
        taboo = context.once(out_of_bounds)
        for address, resource in desired.items():
            live = context.snapshot.live.get(address)
            assert live is None or isinstance(live, RoleState)
            if address.name[0] in taboo:
                findings.append(_claims_the_mighty(address, resource))
                continue
            if isinstance(resource.state, RoleState):
                resource, found = _settle(resource, live, context)  # noqa: PLW2901
                findings += found
            elif resource.state is None and (words := _what_becomes(address, resource.heir, context)):
                resource = resource._replace(reason=words)  # noqa: PLW2901
            resolved[address] = resource
        _add_leavers(resolved, context)
        return resolved, findings + list(_about_passwords(desired, context))

    def waits_for(self, change: Change, others: Mapping[Address, Change]) -> Iterable[Address]:
        """A role goes when its heir is there, and after databases that go: nothing is done about it in those."""
        if change.action is not Action.DELETE:
            return
        for address, other in others.items():
            heir = address == change.address._replace(name=(change.heir or "",))
            if (heir and other.action is not Action.DELETE) or _is_going(other):
                yield address

    def judge(self, change: Change, context: Context) -> Judgement:
        refused = _protected(change, context)
        before, after = change.before, change.after
        if change.action is Action.DELETE:
            return Judgement(Risk.DROP, drops=1, refused=refused or role_refusal(change, context))
        refused = refused or role_refusal(change, context)
        if not isinstance(before, RoleState):
            return Judgement(Risk.ADDITIVE, refused=refused)
        assert isinstance(after, RoleState)
        lost = [f.name for f in change.fields if f.name in _FLAGS and f.before and not f.after and f.name != "inherit"]
        risk = Risk.ACCESS if lost else Risk.CHANGE
        return Judgement(risk, revokes=int("login" in lost), refused=refused)

    def hindered(self, change: Change, others: Mapping[Address, Change], context: Context) -> str:
        if change.action is not Action.DELETE:
            return ""
        return why_not_dropped(change, _holdings(change.address, context), others, context)

    def weight(self, address: Address, state: State) -> int:
        return int(isinstance(state, RoleState) and state.login)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            yield from _alter(change)
        yield from _end_sessions([change.address for change in changes if _shuts_out(change)])
        for change in changes:
            if change.action is Action.DELETE:
                yield from drop_steps(change, _holdings(change.address, context), context)


KIND = Role()


def _live(attributes: Sequence[Any], password: str) -> RoleState:
    return RoleState(*[*attributes, password])


def _address(view: ClusterView, role: str) -> Address:
    return Address(view.name, "role", (role,))


def _state(spec: RoleAttributes, login: bool, **more: Any) -> RoleState:
    return RoleState(
        login=login,
        superuser=spec.superuser,
        createdb=spec.createdb,
        createrole=spec.createrole,
        inherit=spec.inherit,
        replication=spec.replication,
        bypassrls=spec.bypassrls,
        connection_limit=spec.connection_limit,
        comment=spec.comment if spec.comment is not None else UNMANAGED,
        **{"password": UNMANAGED, **more},
    )


def _user_state(spec: UserSpec, defaults: UserDefaults) -> RoleState:
    password, secret = _wished_password(spec.auth)
    state = _state(spec, spec.login, valid_until=utc_text(spec.valid_until), password=password, secret=secret)
    if defaults.connection_limit is not None and "connection_limit" not in spec.model_fields_set:
        return replace(state, connection_limit=defaults.connection_limit)
    return state


def _wished_password(auth: Auth | None) -> tuple[str | Unmanaged, str | None]:
    if auth is None:
        return UNMANAGED, None
    if auth.password is not None:
        # By the secret's name, so that a manifest that names another one is seen to ask for something else.
        return str(SecretRef(auth.password.secret)), auth.password.secret
    return "none", None


def utc_text(moment: datetime | date | None) -> str | None:
    """`2027-06-30T00:00:00Z`; a time without a zone is UTC."""
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time(), UTC)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=256)  # people are alike
def _persons_state(connection_limit: int) -> RoleState:
    return RoleState(login=True, connection_limit=connection_limit, comment=UNMANAGED, password=UNMANAGED)


@lru_cache(maxsize=256)
def _staying(days: int | None, heir: str | None) -> Leaver:
    return Leaver(None, days, heir)


def _person(view: ClusterView, person: Person) -> Resource:
    state = _persons_state(person.connection_limit)
    leaver = _staying(person.on_leave.days, person.on_leave.heir or view.default_heir)
    return Resource(_address(view, person.role), state, person.source, wish=state, leaver=leaver)


def _claims_the_mighty(address: Address, resource: Resource) -> Finding:
    return Finding(
        "error",
        f"{resource.source} asks for role {quote_part(address.name[0])}, which exists and has special rights: "
        "left alone. Declare it in a manifest, or rename the directory's entry",
        address,
    )


@lru_cache(maxsize=4096)
def _as_it_is(wish: RoleState, live: RoleState | None) -> RoleState:
    """The wish with what it leaves alone taken from live; people of a directory are all alike, so it is remembered."""
    comment = (live.comment if live else None) if wish.comment is UNMANAGED else wish.comment
    if wish.password is not UNMANAGED:
        return replace(wish, comment=comment)
    return replace(wish, comment=comment, password=live.password if live else "none", secret=None)


def _settle(resource: Resource, live: RoleState | None, context: Context) -> tuple[Resource, list[Finding]]:
    """The wish with every "as it is" filled in, and the password compared."""
    wish = resource.state
    assert isinstance(wish, RoleState)
    if live is not None and context.view.authority.roles == "none":
        return resource.with_state(live), []
    state = _as_it_is(wish, live)
    if wish.password is UNMANAGED:
        return resource.with_state(state), []
    current = str(live.password) if live else None
    if wish.secret is None:
        password = no_password(resource, current, context) if current else "none"
        return resource.with_state(replace(state, password=password)), []
    settled, found = settle(resource.address, wish.secret, current, context)
    state = replace(state, password=settled.password, secret=wish.secret if settled.password == NEW else None)
    return resource._replace(
        state=state,
        secret=SecretRef(wish.secret),
        remembered=settled.remembered,
        moved=settled.moved,
        reason=settled.reason or resource.reason,
    ), found


def _about_passwords(desired: Desired, context: Context) -> Iterable[Finding]:
    """What holds for many roles is said once."""
    managed = {a for a, r in desired.items() if isinstance(r.state, RoleState) and r.state.password is not UNMANAGED}
    live = {a: s for a, s in context.snapshot.live.items() if isinstance(s, RoleState)}
    yield from unseen_finding((a.name[0] for a in managed & live.keys() if live[a].password == UNKNOWN), context)
    yield from md5_finding(a.name[0] for a, s in live.items() if s.password == "md5" and s.login and a not in managed)


def _add_leavers(resolved: Desired, context: Context) -> None:
    for role, entry in context.once(leavers).items():
        address = Address(context.view.name, "role", (role,))
        live = context.snapshot.live.get(address)
        source = context.view.located.at("spec")
        why = context.view.people.disabled.get(role, f"no group of directory {entry.directory} names it any more")
        resource = Resource(
            address,
            None,
            Source(source.file, source.line, entry.directory, role),
            reason=why,
            heir=entry.heir,
            declared=False,
        )
        words = _what_becomes(address, entry.heir, context)
        if not isinstance(live, RoleState) or is_due(entry, context):
            resource = resource._replace(reason="; ".join(filter(None, (why, words))))
        else:
            since = entry.disabled_since or context.now
            if entry.disabled_since is not None:
                resource = resource._replace(reason="; ".join(filter(None, (why, clock_words(entry), words))))
            # Not noted as disabled, yet it may not log in: what ended its sessions may have been stopped before.
            unsure = entry.disabled_since is None and not live.login
            resource = resource._replace(
                state=replace(live, login=False, sessions="ended" if unsure else None),
                wish=RoleState(login=False),
                leaver=Leaver(since, entry.drop_after_days, entry.heir),
            )
        resolved[address] = resource


def _is_going(change: Change) -> bool:
    return change.address.kind == "database" and change.action is Action.DELETE


def _protected(change: Change, context: Context) -> str:
    """The roles that nothing may lock out: the one we connect as, postgres, and who replicates."""
    role, before = change.address.name[0], change.before
    if not isinstance(before, RoleState):
        return ""
    ours = context.capabilities.role if context.capabilities else ""
    loses = change.action is Action.DELETE or any(
        f.name in ("login", "superuser", "createrole") and f.before and not f.after for f in change.fields
    )
    if role in (ours, "postgres") and loses:
        return f"{quote_part(role)} is protected: it is " + (
            "the role PgVillage connects as" if role == ours else "postgres"
        )
    if change.action is Action.DELETE and before.replication:
        return f"{quote_part(role)} is protected: it may replicate. Take REPLICATION away first if it should go"
    return ""


def _holdings(address: Address, context: Context) -> Holdings | None:
    seen = context.snapshot.inventory.get("role")
    return seen.holdings.get(address.name[0]) if isinstance(seen, RolesSeen) else None


def _what_becomes(address: Address, heir: str | None, context: Context) -> str:
    return what_becomes(_holdings(address, context), heir, context.view)


def _alter(change: Change) -> Iterable[Step]:
    """What makes or changes a role; of one that goes, that nobody comes in any more."""
    role, after = ident(change.address.name[0]), change.after
    if not isinstance(after, RoleState):
        if isinstance(change.before, RoleState) and change.before.login:
            yield step(change.address, f"ALTER ROLE {role} NOLOGIN")
        return
    verb = "CREATE" if change.action is Action.CREATE else "ALTER"
    options = _options(change, after)
    if options or verb == "CREATE":
        yield step(change.address, " ".join([verb, "ROLE", role, *options]))
    names = {f.name for f in change.fields}
    if "password" in names and (change.before is not None or after.secret is not None):
        yield step(change.address, f"ALTER ROLE {role} PASSWORD ", *_password(change, after))
    yield from comment_steps(change, f"ROLE {role}")


def _options(change: Change, after: RoleState) -> list[str]:
    """The attribute clauses of what differs; a new role names every one, so that nothing hangs on defaults."""
    changed = {f.name for f in change.fields} if change.before is not None else {f.name for f in fields(after)}
    options = [word if getattr(after, name) else f"NO{word}" for name, word in _FLAGS.items() if name in changed]
    if "connection_limit" in changed:
        options.append(f"CONNECTION LIMIT {after.connection_limit}")
    if "valid_until" in changed and (after.valid_until or change.before is not None):
        options.append(f"VALID UNTIL {literal(after.valid_until or 'infinity')}")
    return options


def _password(change: Change, after: RoleState) -> tuple[str | Verifier, ...]:
    if after.password == "none" or after.secret is None:
        return ("NULL",)
    return (Verifier(SecretRef(after.secret), change.address.name[0]),)


def _shuts_out(change: Change) -> bool:
    if not isinstance(change.before, RoleState):
        return False
    if change.action is Action.DELETE:
        # A leaver has none, but for those on a standby that was not reached when it was disabled.
        return change.before.login or bool(change.source.directory)
    return any(f.name == "sessions" or (f.name == "login" and not f.after) for f in change.fields)


def _end_sessions(addresses: Sequence[Address]) -> Iterable[Step]:
    """Outside the transaction, so that NOLOGIN is committed and nobody comes back in between; all in one go."""
    for part in chunks(addresses, _NAMES_A_STATEMENT):
        names = [literal(address.name[0]) for address in part]
        who = f"= {names[0]}" if len(names) == 1 else f"IN ({', '.join(names)})"
        text = (
            f"SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity WHERE usename {who}"
        )
        yield replace(step(part, text, transactional=False), everywhere=True)
