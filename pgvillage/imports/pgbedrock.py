"""pgbedrock's spec of one database: roles with attributes, ownership, and read or write access."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from pgvillage.core.errors import UsageError
from pgvillage.imports.draft import Draft, RoleDraft
from pgvillage.imports.options import apply_option
from pgvillage.imports.reading import Node, Reading, Section
from pgvillage.imports.scope import Scope

_KEYS = frozenset({"can_login", "has_personal_schema", "is_superuser", "attributes", "member_of", "owns", "privileges"})
_PERSONAL = "personal_schemas"
# As pgbedrock grants them; write brings read with it.
_PRIVILEGES: dict[str, dict[str, tuple[str, ...]]] = {
    "schemas": {"read": ("USAGE",), "write": ("CREATE", "USAGE")},
    "tables": {
        "read": ("SELECT",),
        "write": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"),
    },
    "sequences": {"read": ("SELECT",), "write": ("USAGE", "SELECT", "UPDATE")},
}


def fits(content: dict[str, object]) -> bool:
    """Whether this looks like pgbedrock's spec: roles by name, at least one with its keys."""
    specs = [value for value in content.values() if value is not None]
    return (
        bool(content)
        and all(isinstance(s, dict) for s in specs)
        and any(_KEYS & set(s) for s in specs if isinstance(s, dict))
    )


@dataclass(eq=False)
class _Spec:
    draft: Draft
    database: str
    superusers: set[str] = field(default_factory=set)
    personal: list[str] = field(default_factory=list)
    writers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # schema -> who may create in it
    wanted: list[tuple[RoleDraft, Section]] = field(default_factory=list)


def convert(reading: Reading, scope: Scope) -> Draft:
    """Raises UsageError when the database is not named: the spec does not have its name."""
    if len(scope.databases) != 1:
        raise UsageError("a pgbedrock spec is about one database and does not say which: name it with --database NAME")
    draft = Draft("pgbedrock", reading.root)
    draft.server.hosts = list(scope.hosts)
    spec = _Spec(draft, scope.databases[0])
    draft.database(spec.database, reading.root)
    for name, node in reading.root.named():
        if name.startswith("pg_"):
            node.note("a role of PostgreSQL's own is never declared", "leave it out")
            continue
        section = node.section()
        role = draft.role(name, node)
        _role(spec, role, section)
        _ownership(spec, role, section)
        spec.wanted.append((role, section))
    _schema_writers(spec)
    for role, section in spec.wanted:
        _privileges(spec, role, section)
    # pgbedrock says nothing about the database itself, so what roles have on it is left alone.
    draft.cluster["authority"] = {"privileges": ["schema", "table", "sequence"]}
    return draft


def _role(spec: _Spec, role: RoleDraft, section: Section) -> None:
    role.login = section.get("can_login").flag()
    if section.get("is_superuser").flag():
        role.spec["superuser"] = True
        spec.superusers.add(role.name)
    for attribute in section.get("attributes").entries():
        if text := attribute.text():
            apply_option(spec.draft, role, text, attribute)
    for group in section.get("member_of").texts():
        role.member_of[group] = {}


def _ownership(spec: _Spec, role: RoleDraft, section: Section) -> None:
    schemas = spec.draft.databases[spec.database].schemas
    personal = section.get("has_personal_schema").flag()
    if personal:
        schemas[role.name] = {"owner": role.name}
        spec.personal.append(role.name)
        spec.writers[role.name].add(role.name)
    owns = section.get("owns").section()
    for item in owns.get("schemas").items():
        schema = _bare(item.text())
        if schema.startswith("pg_") or schema == "information_schema":
            item.note("a schema of PostgreSQL's own is never declared", "leave it out")
        elif schema:
            schemas[schema] = {"owner": role.name}
        spec.writers[schema].add(role.name)
    for kind in ("tables", "sequences"):
        owns.decline(kind, f"the owner of {kind} is not declared", "let migrations make them as their owner")


def _schema_writers(spec: _Spec) -> None:
    """Who may make tables in a schema: its owner, who has write on it, their members, and superusers."""
    members: dict[str, set[str]] = defaultdict(set)
    for role in spec.draft.roles.values():
        for group in role.member_of:
            members[group].add(role.name)
    for role, section in spec.wanted:
        for schema in _schemas_written(spec, section):
            spec.writers[schema] |= {role.name, *_all_members(role.name, members)}
    for schema in spec.writers:
        spec.writers[schema] |= spec.superusers


def _schemas_written(spec: _Spec, section: Section) -> list[str]:
    privileges = section.values.get("privileges")
    schemas = privileges.get("schemas") if isinstance(privileges, dict) else None
    written = schemas.get("write") if isinstance(schemas, dict) else None
    names = [name for name in written if isinstance(name, str)] if isinstance(written, list) else []
    return [schema for name in names for schema in (spec.personal if name == _PERSONAL else [_bare(name)])]


def _all_members(group: str, members: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = [group]
    while left:
        for name in members.get(left.pop(), ()):
            if name not in found:
                found.add(name)
                left.append(name)
    return found


def _privileges(spec: _Spec, role: RoleDraft, section: Section) -> None:
    privileges = section.get("privileges").section()
    for kind, by_access in _PRIVILEGES.items():
        access = privileges.get(kind).section()
        excepted = access.get("except")
        whole = set()
        if excepted.texts():
            excepted.note(
                "all of a schema but some can't be said, so `SCHEMA.*` of this list is left out",
                f"name the {kind} that are meant, or keep the excepted ones in a schema of their own",
            )
            whole.add("*")
        for word, granted in by_access.items():
            for item in access.get(word).items():
                if name := item.text():
                    _grant(spec, role, (kind, granted, bool(whole)), name, item)


def _grant(spec: _Spec, role: RoleDraft, what: tuple[str, tuple[str, ...], bool], name: str, node: Node) -> None:
    kind, granted, excepted = what
    key = (role.name, spec.database, False)
    grants, object_class = spec.draft.grants, kind.removesuffix("s")
    if kind == "schemas":
        for schema in spec.personal if name == _PERSONAL else [_bare(name)]:
            grants.whole(key, schema, object_class, granted)
        return
    schema, _, thing = _split(name)
    if not schema or not thing:
        node.note(f"this names no {kind}", "write SCHEMA.NAME or SCHEMA.*")
    elif thing != "*":
        grants.named(key, schema, object_class, thing, granted)
    elif not excepted:
        for each in spec.personal if schema == _PERSONAL else [schema]:
            grants.whole(key, each, object_class, granted)
            for writer in sorted(spec.writers.get(each, set()) - {role.name}):
                node.reading.spend(1)
                grants.future(key, each, writer, object_class, granted)


def _split(name: str) -> tuple[str, str, str]:
    """Schema and object of `schema.object`, each bare."""
    if name.startswith('"') and '".' in name:
        schema, dot, thing = name.partition('".')
        return schema[1:], dot, _bare(thing)
    schema, dot, thing = name.partition(".")
    return schema, dot, _bare(thing)


def _bare(name: str) -> str:
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name
