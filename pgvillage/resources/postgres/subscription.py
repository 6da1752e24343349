"""Kind subscription: what a database takes from publications elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Resource, Risk
from pgvillage.core.plan import Finding
from pgvillage.core.secret import SecretRef
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Live, Parsed, Query
from pgvillage.estate.manifest.replication import SubscriptionSpec
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.as_it_is import filled_in, owned_by
from pgvillage.resources.postgres.conninfo import ConnInfo
from pgvillage.resources.postgres.database_object import DatabaseObject
from pgvillage.resources.postgres.rights import lesser, not_ours
from pgvillage.resources.postgres.subscription_sql import SINCE, subscription_steps

ORDER = 90
UNKNOWN = "unknown"
DECLARED = "as declared"

# The connection holds a password in clear: only a hash of it ever leaves the server, of its settings in their order.
# A URI is hashed as it is.
_URI = "s.subconninfo ~ '^postgres(ql)?://'"
_PAIRS = r"""pg_catalog.regexp_matches(s.subconninfo,
         $re$([a-z_]+)[[:space:]]*=[[:space:]]*('(?:[^'\\]|\\.)*'|(?:[^[:space:]\\]|\\.)*)$re$, 'g') AS p(pair)"""
_VALUE = r"""pg_catalog.regexp_replace(
         pg_catalog.regexp_replace(pair[2], $re$^'(.*)'$$re$, $re$\1$re$), $re$\\(.)$re$, $re$\1$re$, 'g')"""
_HASH = rf"""pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(CASE WHEN {_URI} THEN s.subconninfo ELSE
       (SELECT pg_catalog.string_agg(k || $q$='$q$ || pg_catalog.replace(
                 pg_catalog.replace(v, $q$\$q$, $q$\\$q$), $q$'$q$, $q$\'$q$) || $q$'$q$, ' ' ORDER BY k COLLATE "C")
        FROM (SELECT pair[1] AS k, {_VALUE} AS v FROM {_PAIRS}) x
        WHERE (k, v) <> ('port', '5432')) END, 'UTF8')), 'hex')"""
# Where it goes, without what could be a secret: for writing manifests of what is there.
_PLACE = rf"""CASE WHEN NOT {_URI} THEN (SELECT pg_catalog.array_agg(ARRAY[pair[1],
         CASE WHEN pair[1] ~ 'pass|secret|key' THEN '' ELSE {_VALUE} END]) FROM {_PAIRS}) END"""
_COMMENT = (
    "(SELECT d.description FROM pg_catalog.pg_description d WHERE d.objoid = s.oid"
    " AND d.classoid = 'pg_catalog.pg_subscription'::pg_catalog.regclass)"
)
_SQL = """
SELECT s.subname, o.rolname, {hash}, s.subenabled, s.subslotname, s.subpublications, {comment}, {options}, {place}
FROM pg_catalog.pg_subscription s
JOIN pg_catalog.pg_roles o ON o.oid = s.subowner
WHERE s.subdbid = (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database())
"""
_COLUMNS = {
    "synchronous_commit": "s.subsynccommit",
    "binary": "s.subbinary",
    "streaming": "s.substream::text",
    "two_phase": "s.subtwophasestate <> 'd'",
    "disable_on_error": "s.subdisableonerr",
    "password_required": "s.subpasswordrequired",
    "run_as_owner": "s.subrunasowner",
    "origin": "s.suborigin",
    "failover": "s.subfailover",
}
_STREAMING = {"f": "off", "t": "on", "p": "parallel"}


@dataclass(frozen=True, slots=True)
class SubscriptionState(State):
    """`connection` is a word about it and never the thing itself; the fields of CONTEXT say how to make it."""

    SENSITIVE: ClassVar[frozenset[str]] = frozenset({"connection"})
    CONTEXT: ClassVar[frozenset[str]] = frozenset({"conninfo", "create_slot", "copy_data", "place"})

    owner: str | Unmanaged | None = None
    connection: str = DECLARED
    publications: frozenset[str] = frozenset()
    enabled: bool = True
    slot_name: str | Unmanaged | None = None
    synchronous_commit: str | Unmanaged | None = None
    binary: bool | Unmanaged | None = None
    streaming: str | Unmanaged | None = None
    two_phase: bool | Unmanaged | None = None
    disable_on_error: bool | Unmanaged | None = None
    password_required: bool | Unmanaged | None = None
    run_as_owner: bool | Unmanaged | None = None
    origin: str | Unmanaged | None = None
    failover: bool | Unmanaged | None = None
    comment: str | Unmanaged | None = None
    conninfo: ConnInfo | None = None
    create_slot: bool = True
    copy_data: bool = True
    place: tuple[tuple[str, str], ...] = ()


class Subscription(DatabaseObject):
    name = "subscription"
    listed = "subscriptions"

    def wish(self, spec: SubscriptionSpec) -> SubscriptionState:
        return _state(spec)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        if self.is_declared(view):
            yield Query(self.name, _sql(capabilities, survey=view.survey), each_database=True)

    def parse(self, live: Live) -> Parsed:
        states: dict[Address, State] = {}
        hashes: dict[Address, str] = {}
        for database, rows in live.by_database.items():
            for name, owner, connection, *rest in rows.get(self.name, ()):
                address = Address(live.target, self.name, (database, name))
                states[address] = _live_state(owner, connection, rest)
                hashes |= {address: connection} if connection else {}
        return Parsed(states, inventory=hashes)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        findings: list[Finding] = []
        resolved: Desired = {}
        unseen = False
        for address, resource in desired.items():
            live = context.snapshot.live.get(address)
            state = resource.state
            if isinstance(state, SubscriptionState):
                unseen |= isinstance(live, SubscriptionState) and live.connection == UNKNOWN
                state, found = _settled(state, live, resource, context)
                findings += found
            elif isinstance(live, SubscriptionState):
                findings += _parting(resource, live)
            resolved[address] = resource.with_state(state)
        if unseen:
            text = "only a superuser may read the connections of subscriptions: they are not compared"
            findings.append(Finding("info", text))
        return resolved, findings

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        if isinstance(state, SubscriptionState):
            yield from owned_by(address, state.owner)

    def judge(self, change: Change, context: Context) -> Judgement:
        if change.action is Action.DELETE:
            return Judgement(Risk.DROP, drops=1, refused=not_ours(change, context))
        risk = Risk.ADDITIVE if change.action is Action.CREATE else Risk.CHANGE
        return Judgement(risk, refused=_refused(change, context) or _beyond_us(change, context))

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            yield from subscription_steps(change)


KIND = Subscription()


def _state(spec: SubscriptionSpec) -> SubscriptionState:
    assert spec.connection is not None
    secret = SecretRef(spec.password.secret) if spec.password else None
    conninfo = ConnInfo.of(spec.connection, secret)
    options: dict[str, Any] = {name: getattr(spec, name) for name in ("slot_name", *_COLUMNS)}
    said: dict[str, Any] = {name: UNMANAGED if value is None else value for name, value in options.items()}
    return SubscriptionState(
        owner=UNMANAGED if spec.owner is None else spec.owner,
        connection=str(conninfo),
        publications=frozenset(spec.publications),
        enabled=spec.enabled,
        comment=UNMANAGED if spec.comment is None else spec.comment,
        conninfo=conninfo,
        create_slot=spec.create_slot,
        copy_data=spec.copy_data,
        **said,
    )


def _sql(capabilities: Capabilities, *, survey: bool) -> str:
    lesser, major = not capabilities.superuser, capabilities.major
    columns = {name: sql if major >= SINCE[name] else "NULL" for name, sql in _COLUMNS.items()}
    if lesser and major < 14:  # before 14 only superusers may read these
        columns["synchronous_commit"] = "NULL"
    return _SQL.format(
        hash="NULL" if lesser else _HASH,
        place=_PLACE if survey and not lesser else "NULL::text[]",
        comment="NULL" if lesser and major < 14 else _COMMENT,
        options=", ".join(columns.values()),
    )


def _live_state(owner: str, connection: str | None, rest: Sequence[Any]) -> SubscriptionState:
    enabled, slot, publications, comment, *values = rest
    place = values[len(_COLUMNS)] if len(values) > len(_COLUMNS) else None
    options: dict[str, Any] = dict(zip(_COLUMNS, values, strict=False))
    if options["streaming"] is not None:
        options["streaming"] = _STREAMING[options["streaming"][0]]
    return SubscriptionState(
        owner=owner,
        connection=UNKNOWN if connection is None else DECLARED,
        publications=frozenset(publications),
        enabled=enabled,
        slot_name=slot or "none",
        comment=comment,
        place=tuple((key, value) for key, value in place or ()),
        **options,
    )


def _settled(
    wish: SubscriptionState, live: State | None, resource: Resource, context: Context
) -> tuple[SubscriptionState, list[Finding]]:
    state = filled_in(wish, live)
    if not isinstance(live, SubscriptionState):
        return replace(state, connection="new"), []
    unread = ("synchronous_commit", "comment") if live.synchronous_commit is None else ()
    state = replace(state, **{name: getattr(live, name) for name in unread})
    if live.connection == UNKNOWN:
        return replace(state, connection=UNKNOWN), []
    assert wish.conninfo is not None
    secret = context.secrets.get(wish.conninfo.secret.name) if wish.conninfo.secret else None
    if wish.conninfo.secret and secret is None:
        text = f"secret {wish.conninfo.secret.name!r} is not available here: the connection is not compared or set"
        return replace(state, connection=live.connection), [Finding("warning", text, resource.address)]
    hashes = context.snapshot.inventory.get("subscription")
    found = hashes.get(resource.address) if isinstance(hashes, dict) else None
    same = found == wish.conninfo.hashed(secret)
    return replace(state, connection=live.connection if same else "new"), []


def _parting(resource: Resource, live: SubscriptionState) -> list[Finding]:
    if live.slot_name == "none":
        return []
    text = (
        f"{resource.source}: dropping the subscription drops slot {live.slot_name} at its publisher too. If that is "
        "gone for good, first ALTER SUBSCRIPTION … DISABLE, then … SET (slot_name = NONE); the slot then stays there"
    )
    return [Finding("info", text, resource.address)]


_CREATOR, _CREATOR_SINCE = "pg_create_subscription", 16


def _beyond_us(change: Change, context: Context) -> str:
    me = lesser(context)
    if me and change.before is None and _CREATOR not in me.acts_as:
        also = f", or a member of {_CREATOR}," if me.major >= _CREATOR_SINCE else ""
        return f"only a superuser{also} may create a subscription"
    return not_ours(change, context)


def _refused(change: Change, context: Context) -> str:
    after, before = change.after, change.before
    assert isinstance(after, SubscriptionState)
    major = context.capabilities.major if context.capabilities else 0
    for name, since in SINCE.items():
        if major < since and getattr(after, name) is not None:
            return f"`{name}` of a subscription needs PostgreSQL {since}, the server is {major}"
    if after.streaming == "parallel" and major < 16:
        return f"`streaming: parallel` needs PostgreSQL 16, the server is {major}"
    if after.slot_name == "none" and after.enabled:
        return "a subscription without a slot can't be enabled: set `enabled: false`, or name a slot"
    if isinstance(before, SubscriptionState) and before.two_phase != after.two_phase and major < 18:
        return f"`two_phase` of a subscription that exists can be changed since PostgreSQL 18, the server is {major}"
    return ""
