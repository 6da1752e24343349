"""ldap2pg, versions 5 and 6: rules from directory searches and static ones to roles and grants."""

from __future__ import annotations

from pgvillage.imports.directory import add_directory
from pgvillage.imports.draft import Draft, RoleDraft
from pgvillage.imports.ldap2pg_grants import Granter
from pgvillage.imports.ldap2pg_people import feed
from pgvillage.imports.ldap2pg_privileges import Profiles
from pgvillage.imports.options import apply_options
from pgvillage.imports.reading import Node, Reading, Section
from pgvillage.imports.scope import Scope

_KEYS = frozenset({"rules", "sync_map", "ldap2pg"})
_DEFAULT_COMMENT = "Managed by ldap2pg"
_LOGS = ("verbosity", "verbose", "color", "dry", "check")


def fits(content: dict[str, object]) -> bool:
    """Whether this looks like ldap2pg.yml."""
    return bool(_KEYS & set(content))


def convert(reading: Reading, scope: Scope) -> Draft:
    draft = Draft("ldap2pg", reading.root)
    draft.server.hosts = list(scope.hosts)
    top = reading.root.section()
    top.get("version")
    for key in _LOGS:
        top.decline(key, "how the tool itself runs", "leave it out: PgVillage plans first and applies what you approve")
    top.decline("acls", "access lists of one's own are not mapped", "grant by class of objects")
    top.decline("acl_dict", "access lists of one's own are not mapped", "grant by class of objects")
    profiles = Profiles(top.get("privileges"))
    databases, schemas = _postgres(draft, top.get("postgres").section(), scope)
    granter = Granter(draft, profiles, databases, schemas)
    groups: list[str] = []
    for rule in top.get("rules", "sync_map").entries():
        groups += _rule(draft, granter, rule)
    granter.finish()
    draft.cluster["authority"] = {"privileges": profiles.classes()}
    _ldap(draft, top.get("ldap"), groups)
    return draft


def _postgres(draft: Draft, section: Section, scope: Scope) -> tuple[list[str], list[str]]:
    """What `__all__` stands for: databases and schemas."""
    dsn = section.get("dsn")
    if dsn.value is not None:
        dsn.note(
            "a DSN is not taken apart, it may hold a password", "use --host, and put the account into the settings"
        )
    heir = section.get("fallback_owner").text()
    draft.heir = heir
    databases = _names(section.get("databases_query"), scope.databases, "--database")
    schemas = _names(section.get("schemas_query"), scope.schemas, "--schema")
    for key in ("managed_roles_query", "roles_blacklist_query"):
        section.decline(key, "PgVillage touches the roles that manifests declare, no others", "leave it out")
    section.decline("owners_query", "creators are named, not asked for", "use `future.creators`")
    return databases, schemas


def _names(query: Node, given: tuple[str, ...], option: str) -> list[str]:
    if given:
        return list(given)
    if isinstance(query.value, list):
        return query.texts()
    if query.value is not None:
        query.note("a query is not run: no server is asked", f"name what it finds with {option} (repeatable)")
    return []


def _rule(draft: Draft, granter: Granter, rule: Node) -> list[str]:
    section = rule.section()
    section.get("description")
    search = section.get("ldapsearch", "ldap")
    roles = section.get("roles", "role").items()
    groups = []
    for role in roles:
        if _is_template(role):
            groups += feed(draft, search, role)
        else:
            _static(draft, role)
    if search.value is not None and not any(_is_template(role) for role in roles):
        search.note("roles and grants of this search name no attribute", "see what is said about them")
    for grant in section.get("grants", "grant").items():
        granter.read(grant)
    return groups


def _is_template(role: Node) -> bool:
    value = role.value
    if isinstance(value, dict):
        value = value.get("name", value.get("names"))
    names = value if isinstance(value, list) else [value]
    return any(isinstance(name, str) and "{" in name for name in names)


def _static(draft: Draft, node: Node) -> None:
    if isinstance(node.value, str):
        draft.role(node.value, node)
        return
    section = node.section()
    names = section.get("names", "name").texts()
    if not names:
        node.fault("a role with a `name`")
    for key in ("before_create", "after_create"):
        section.decline(key, "SQL around CREATE ROLE is not run", "declare what it makes: schemas, grants, settings")
    for name in names:
        new = name not in draft.roles
        role = draft.role(name, node)
        _parents(role, section.get("parents", "parent"))
        if new:
            _attributes(draft, role, section)
        elif set(section.values) - {"names", "name", "parents", "parent"}:
            for key in ("options", "comment", "config"):
                section.decline(key, f"role {name!r} stands above already, and ldap2pg keeps the first", "leave it out")


def _attributes(draft: Draft, role: RoleDraft, section: Section) -> None:
    apply_options(draft, role, section.get("options"))
    comment = section.get("comment").text()
    if comment and comment != _DEFAULT_COMMENT:
        role.spec["comment"] = comment
    settings = {}
    for key, value in section.get("config").named():
        settings[key] = value.value if isinstance(value.value, bool | int | float) else value.text()
    if settings:
        role.spec["settings"] = settings


def _parents(role: RoleDraft, parents: Node) -> None:
    for parent in parents.items():
        if isinstance(parent.value, dict):
            section = parent.section()
            given = {key: section.get(key).flag() for key in ("admin", "inherit", "set") if section.has(key)}
            name = section.get("name").text()
        else:
            name, given = parent.text(), {}
        if "{" in name:
            parent.note("a parent from an attribute is not mapped", "name the group itself")
        elif name:
            role.member_of[name] = given


def _ldap(draft: Draft, ldap: Node, groups: list[str]) -> None:
    section = ldap.section()
    section.decline("known_rdns", "attributes of members are read from their entries", "leave it out")
    uri, dn = section.get("uri").texts(), section.get("binddn", "user").text()
    password = section.get("password")
    section.decline("referrals", "referrals are not followed", "name each server in `uris`")
    if password.value is not None:
        password.note("a password stands here; it is not copied", "put its value into the variable LDAP_PASSWORD")
    if not groups:
        return
    add_directory(draft, ldap if ldap.value is not None else draft.root, uri, groups)
    if dn:
        draft.directories["main"]["bind"] = {"dn": dn, "password": {"env": "LDAP_PASSWORD"}}
    else:
        draft.root.note(
            "ldap2pg takes the directory's account from LDAPBINDDN and ldaprc", "write `directories.main.bind`"
        )
