"""Kind user-mapping: who a role is on a foreign server. Options are compared without being read, and never shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from hmac import compare_digest
from typing import ClassVar

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Resource, Risk
from pgvillage.core.plan import Finding, Unread
from pgvillage.core.secret import Secret, SecretRef
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import SecretText, Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.foreign import UserMappingSpec
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.options import Text, new_options, option_changes
from pgvillage.resources.postgres.sql import PUBLIC, grantee, ident, step

ORDER = 56

# %s: whether we are superuser. The view hides the options of others; of an option only its hash leaves the server.
_SQL = """
SELECT m.srvname, coalesce(r.rolname, 'public'),
       %s OR pg_catalog.pg_has_role(s.srvowner, 'USAGE') AND (m.umuser = 0 OR r.rolname = current_user)
          OR r.rolname = current_user AND pg_catalog.has_server_privilege(s.oid, 'USAGE'),
       (SELECT pg_catalog.array_agg(ARRAY[o.option_name, pg_catalog.encode(pg_catalog.sha256(
                 pg_catalog.convert_to(coalesce(o.option_value, ''), 'UTF8')), 'hex')])
        FROM pg_catalog.pg_options_to_table(m.umoptions) o){user}
FROM pg_catalog.pg_user_mappings m
JOIN pg_catalog.pg_foreign_server s ON s.oid = m.srvid
LEFT JOIN pg_catalog.pg_roles r ON r.oid = m.umuser
"""
# Who one is there is no secret: for writing manifests of what is there.
_USER = """,
       (SELECT o.option_value FROM pg_catalog.pg_options_to_table(m.umoptions) o WHERE o.option_name = 'user')"""
Words = tuple[tuple[str, str], ...]
Hashes = Mapping[str, Secret]
_SET, _NEW = "set", "new"


@dataclass(frozen=True, slots=True)
class UserMappingState(State):
    """`options` has a word for each: `set` as it is on the server, `new` where it has to be written; or unknown.

    In a wish the words are what is asked for: a value, or the name of a secret.
    """

    SENSITIVE: ClassVar[frozenset[str]] = frozenset({"options"})
    CONTEXT: ClassVar[frozenset[str]] = frozenset({"plain", "secrets"})

    options: Words | str | Unmanaged = ()
    plain: Words = ()
    secrets: Words = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.words)

    @property
    def words(self) -> dict[str, str]:
        return dict(self.options) if isinstance(self.options, tuple) else {}


class UserMapping(Kind):
    """Addresses are DATABASE.SERVER.ROLE; `public` stands for PUBLIC."""

    name = "user-mapping"

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for database in view.databases:
            if database.spec.ensure == "absent":
                continue
            for index, server in enumerate(database.spec.foreign_servers):
                for number, spec in enumerate(server.user_mappings):
                    stays = spec.ensure == "present" and server.ensure == "present"
                    wish = _wish(spec) if stays else None
                    address = Address(view.name, self.name, (database.name, server.name, spec.role))
                    source = database.source("foreignServers", index, "userMappings", number)
                    yield Resource(address, wish, source, wish=wish)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        if view.survey or any(s.user_mappings for d in view.databases for s in d.spec.foreign_servers):
            text = _SQL.format(user=_USER if view.survey else "")
            yield Query("user_mapping", text, each_database=True, parameters=(capabilities.superuser,))

    def parse(self, live: Live) -> Parsed:
        states: dict[Address, State] = {}
        hashes: dict[Address, Hashes] = {}
        for database, rows in live.by_database.items():
            for server, role, visible, options, *user in rows.get("user_mapping", ()):
                address = Address(live.target, self.name, (database, server, role))
                found = {name: Secret(digest) for name, digest in options or ()}
                hashes[address] = found
                plain = tuple(("user", each) for each in user if each is not None)
                states[address] = UserMappingState(_as_set(found) if visible else "unknown", plain)
        return Parsed(states, inventory=hashes)

    def unread_in(self, database: str, reason: str) -> Iterable[Unread]:
        yield Unread(self.name, (database,), reason)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        resolved: Desired = {}
        findings: list[Finding] = []
        hidden: list[Address] = []
        for address, resource in desired.items():
            live = context.snapshot.live.get(address)
            wish = resource.state
            if isinstance(wish, UserMappingState):
                assert live is None or isinstance(live, UserMappingState)
                if live is not None and live.options == "unknown":
                    hidden += [address] if wish.options is not UNMANAGED else []
                    wish = live
                else:
                    findings += _lacking(address, wish, context)
                    wish = _settle(address, wish, live, context)
            resolved[address] = resource.with_state(wish)._replace(reason=_reason(wish, live))
        if hidden:
            findings.append(_cannot_compare(hidden))
        return resolved, findings

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        database, _, role = address.name
        yield Address(address.target, "database", (database,))
        yield Address(address.target, "server", address.name[:2])
        if role != PUBLIC:
            yield Address(address.target, "role", (role,))

    def judge(self, change: Change, context: Context) -> Judgement:
        if change.action is Action.DELETE:
            return Judgement(Risk.DROP, drops=1)
        return Judgement(Risk.ADDITIVE if change.action is Action.CREATE else Risk.CHANGE)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            database, server, role = change.address.name
            name, after = f"USER MAPPING FOR {grantee(role)} SERVER {ident(server)}", change.after
            if change.action is Action.DELETE:
                yield step(change.address, f"DROP {name}", database=database)
                continue
            assert isinstance(after, UserMappingState)
            values = _values(after)
            if change.action is Action.CREATE:
                yield step(change.address, f"CREATE {name}", *new_options(values), database=database)
                continue
            before = change.before.names if isinstance(change.before, UserMappingState) else ()
            changed = [option for option, word in after.words.items() if word == _NEW]
            yield step(change.address, f"ALTER {name}", *option_changes(before, values, changed), database=database)


KIND = UserMapping()


def _as_set(names: Iterable[str]) -> Words:
    return tuple((name, _SET) for name in sorted(names))


def _wish(spec: UserMappingSpec) -> UserMappingState:
    if spec.options is None and spec.secret_options is None:
        return UserMappingState(UNMANAGED)
    plain = tuple(sorted((spec.options or {}).items()))
    secrets = tuple(sorted(spec.secrets.items()))
    # By the secret's name, so that a manifest that names another one is seen to ask for something else.
    asked = [(name, f"={value}") for name, value in plain] + [(name, str(SecretRef(each))) for name, each in secrets]
    return UserMappingState(tuple(sorted(asked)), plain, secrets)


def _settle(
    address: Address, wish: UserMappingState, live: UserMappingState | None, context: Context
) -> UserMappingState:
    """The wish with a word for each option: as it is, or to be written."""
    if wish.options is UNMANAGED:
        return replace(wish, options=live.options if live else ())
    inventory = context.snapshot.inventory.get("user-mapping")
    hashes: Hashes = inventory.get(address, {}) if isinstance(inventory, dict) else {}
    words = {name: _SET if _same(hashes.get(name), value) else _NEW for name, value in wish.plain}
    for name, secret in wish.secrets:
        value = context.secrets.get(secret)
        if value is not None:
            words[name] = _SET if _same(hashes.get(name), value.reveal()) else _NEW
        elif name in hashes:
            words[name] = _SET
    secrets = tuple((name, secret) for name, secret in wish.secrets if secret in context.secrets)
    return replace(wish, options=tuple(sorted(words.items())), secrets=secrets)


def _same(digest: Secret | None, value: str) -> bool:
    return digest is not None and compare_digest(digest.reveal(), sha256(value.encode()).hexdigest())


def _lacking(address: Address, wish: UserMappingState, context: Context) -> Iterable[Finding]:
    for option, secret in wish.secrets:
        if secret not in context.secrets:
            text = f"secret {secret!r} is not available here: option {option} is not compared or set"
            yield Finding("warning", text, address)


def _reason(state: State | None, live: State | None) -> str:
    """Which options differ, by their names alone."""
    if not isinstance(state, UserMappingState) or not isinstance(live, UserMappingState):
        return ""
    differ = sorted({name for name, word in state.words.items() if word == _NEW} | (live.names - state.names))
    return f"options that differ: {', '.join(differ)}" if differ else ""


def _cannot_compare(hidden: Sequence[Address]) -> Finding:
    names = ", ".join(address.label for address in hidden[:3]) + (", ..." if len(hidden) > 3 else "")
    return Finding(
        "info",
        f"the account may not see the options of user mappings of others: {names} not compared or changed; "
        "a superuser sees them",
    )


def _values(state: UserMappingState) -> dict[str, Text]:
    """What goes into a statement, by option: clear text for what is none of a secret."""
    secrets: dict[str, Text] = {name: SecretText(SecretRef(secret)) for name, secret in state.secrets}
    kept = dict.fromkeys(state.names, "")
    return {**kept, **dict(state.plain), **secrets}
