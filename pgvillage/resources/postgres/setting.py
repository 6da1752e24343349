"""Kind setting: ALTER ROLE … SET, ALTER ROLE … IN DATABASE … SET and ALTER DATABASE … SET."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgvillage.core.address import Address
from pgvillage.core.change import Change, Resource, Risk, Source
from pgvillage.core.guc import Guc
from pgvillage.core.plan import Finding
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.common import Scalar, text_of
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.postgres.guc import canonical_value, parse_config, problem, value_sql
from pgvillage.resources.postgres.leavers import out_of_bounds
from pgvillage.resources.postgres.rights import belongs_to, can_act_as, cannot_administer, lesser
from pgvillage.resources.postgres.sql import ident, step

ORDER = 60

_SQL = """
SELECT coalesce(r.rolname, ''), coalesce(d.datname, ''), s.setconfig
FROM pg_catalog.pg_db_role_setting s
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
"""


@dataclass(frozen=True, slots=True)
class SettingState(State):
    """Values by parameter, as PostgreSQL stores them."""

    values: Mapping[str, str] = field(default_factory=dict)

    def as_fields(self) -> Mapping[str, Any]:
        return self.values


class Setting(Kind):
    """Addresses are role.NAME, database.NAME or role.NAME.database.NAME."""

    name = "setting"
    holds_objects = False

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for document in view.role_documents:
            spec, role = document.document.spec, document.document.role
            if spec.ensure == "absent":
                continue
            settings = {**view.user_defaults.settings, **spec.settings} if spec.login else spec.settings
            if settings:
                yield _wish(view, role, "", settings, source_of(document, "spec", "settings"))
            for database, own in spec.database_settings.items():
                yield _wish(view, role, database, own, source_of(document, "spec", "databaseSettings", database))
        for entry in view.databases:
            if entry.spec.ensure == "present" and entry.spec.settings is not None:
                yield _wish(view, "", entry.name, entry.spec.settings, entry.source("settings"))

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        yield Query("setting", _SQL)

    def parse(self, live: Live) -> Parsed:
        return Parsed(
            {
                _address(live.target, role, database): SettingState(parse_config(config))
                for role, database, config in live.rows["setting"]
                if role or database
            }
        )

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        catalogue = context.snapshot.inventory.get("parameter")
        gucs: Mapping[str, Guc] = catalogue if isinstance(catalogue, dict) else {}
        listed = context.view.authority.roles == "listed"
        resolved: Desired = {}
        for address, resource in desired.items():
            exact = listed or "role" not in _subjects(address)
            resolved[address] = _settle(resource, context.snapshot.live.get(address), gucs, exact)
        if listed:
            resolved |= _undeclared(desired, context)
        return resolved, []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        for kind, name in _subjects(address).items():
            yield Address(address.target, kind, (name,))

    def subject(self, address: Address) -> Address:
        return Address(address.target, address.name[0], (address.name[1],))

    def judge(self, change: Change, context: Context) -> Judgement:
        catalogue = context.snapshot.inventory.get("parameter")
        gucs: Mapping[str, Guc] = catalogue if isinstance(catalogue, dict) else {}
        wrong = [
            problem(gucs.get(f.name.lower()), f.name, f.after) for f in change.fields if gucs and f.after is not None
        ]
        refused = "; ".join(filter(None, wrong)) or _beyond_us(change, context, gucs)
        return Judgement(Risk.CHANGE, refused=refused)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            for entry in change.fields:
                name = ".".join(map(ident, entry.name.split(".")))
                if entry.after is None:
                    yield step(change.address, f"{_whose(change.address)} RESET {name}")
                else:
                    value = value_sql(entry.name, entry.after)
                    yield step(change.address, f"{_whose(change.address)} SET {name} = {value}")


KIND = Setting()


def _beyond_us(change: Change, context: Context, gucs: Mapping[str, Guc]) -> str:
    me = lesser(context)
    if me is None:
        return ""
    for entry in change.fields:
        guc = gucs.get(entry.name.lower())
        if guc is not None and guc.context in ("superuser", "superuser-backend"):
            return f"only a superuser may set {entry.name}"
    subjects = _subjects(change.address)
    if role := subjects.get("role"):
        return "" if role == me.role else cannot_administer(role, context)
    database = subjects["database"]
    live = context.snapshot.live.get(change.address._replace(kind="database", name=(database,)))
    owner = getattr(live, "owner", None)
    return "" if can_act_as(owner, database, context) else belongs_to(owner, me)


def _wish(view: ClusterView, role: str, database: str, settings: Mapping[str, Scalar], source: Source) -> Resource:
    state = SettingState({name: text_of(value) for name, value in settings.items()})
    return Resource(_address(view.name, role, database), state, source, wish=state)


def _address(target: str, role: str, database: str) -> Address:
    pairs = (("role", role), ("database", database))
    return Address(target, "setting", tuple(part for kind, name in pairs if name for part in (kind, name)))


def _subjects(address: Address) -> dict[str, str]:
    """`{"role": …, "database": …}`, one of them or both."""
    return dict(zip(address.name[::2], address.name[1::2], strict=True))


def _settle(resource: Resource, live: State | None, gucs: Mapping[str, Guc], exact: bool) -> Resource:
    """Where live says the same in other words, take its words. An empty wish is the same as none."""
    assert isinstance(resource.state, SettingState)
    stored = live.values if isinstance(live, SettingState) else {}
    spelt = {name.lower(): (name, value) for name, value in stored.items()}
    values: dict[str, str] = {} if exact else dict(stored)
    for name, value in resource.state.values.items():
        known = spelt.get(name.lower())
        guc = gucs.get(name.lower())
        if known and canonical_value(guc, known[1]) == canonical_value(guc, value):
            values[known[0]] = known[1]
        else:
            values[known[0] if known else name] = value
    return resource.with_state(SettingState(values) if values else None)


def _undeclared(desired: Desired, context: Context) -> Desired:
    """Settings that somebody gave a declared role by hand; a rogue search_path is worth seeing."""
    view = context.view
    documents = {d.document.role: d for d in view.role_documents if d.document.spec.ensure == "present"}
    ours = view.declared_roles - context.once(out_of_bounds)
    found: Desired = {}
    for address in context.snapshot.live:
        role = _subjects(address).get("role", "") if address.kind == "setting" else ""
        if role in ours and address not in desired:
            document = documents.get(role)
            if role in view.people.by_role or document:
                person = view.people.by_role.get(role)
                source = source_of(document, "spec") if document else person.source if person else Source()
                found[address] = Resource(address, None, source, "no manifest asks for it", declared=False)
    return found


def _whose(address: Address) -> str:
    names = _subjects(address)
    if "role" not in names:
        return f"ALTER DATABASE {ident(names['database'])}"
    return f"ALTER ROLE {ident(names['role'])}" + (
        f" IN DATABASE {ident(names['database'])}" if "database" in names else ""
    )
