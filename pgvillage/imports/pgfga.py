"""PgFga: databases with their roles, users from LDAP or with passwords, roles."""

from __future__ import annotations

import base64
import binascii

from pgvillage.imports.directory import DIRECTORY, add_directory, finds_everything, first_rdn
from pgvillage.imports.draft import DatabaseDraft, Document, Draft, RoleDraft
from pgvillage.imports.options import apply_option, set_expiry
from pgvillage.imports.reading import Node, Reading, Section
from pgvillage.imports.scope import Scope

_KEYS = frozenset({"postgresql_dsn", "replication_slots", "strict", "general"})
_OPEX = "opex"
_KINDS = {"readonly": "reader", "readwrite": "writer"}
_STRICT = {
    "users": "roles that no manifest names stay and are reported",
    "databases": "databases that no manifest names stay",
    "extensions": "extensions that no manifest names stay",
    "replication_slots": "slots that no manifest names stay",
}


def fits(content: dict[str, object]) -> bool:
    """Whether this looks like PgFga's file."""
    users = content.get("users")
    has_auth = isinstance(users, dict) and any(isinstance(u, dict) and "auth" in u for u in users.values())
    return bool(_KEYS & set(content)) or has_auth


def convert(reading: Reading, scope: Scope) -> Draft:
    draft = Draft("PgFga", reading.root)
    top = reading.root.section()
    _general(top.get("general").section())
    _strict(top.get("strict").section())
    _dsn(draft, top.get("postgresql_dsn").section(), scope)
    _roles(draft, top.get("roles"))
    groups = _users(draft, top.get("users"))
    for name, node in top.get("databases").named():
        _database(draft, name, node)
    ldap = top.get("ldap")
    if ldap.value is not None or groups:
        _ldap(draft, ldap, groups)
    for slot in top.get("replication_slots").entries():
        _slot(draft, slot)
    return draft


def _general(general: Section) -> None:
    general.decline("loglevel", "PgVillage logs what it does without a level", "leave it out")
    general.decline("run_delay", "there is no delay before a run", "`serve.poll` of the settings paces the daemon")
    general.decline("debug", "PgVillage has no debug switch", "leave it out")


def _strict(strict: Section) -> None:
    for key, instead in _STRICT.items():
        strict.decline(
            key, f"nothing is dropped for being unnamed: {instead}", "write `ensure: absent` for what is to go"
        )


def _dsn(draft: Draft, dsn: Section, scope: Scope) -> None:
    server = draft.server
    host, port = dsn.get("host").text(), dsn.get("port").text() or "5432"
    server.hosts = list(scope.hosts) or [_host(each, port) for each in host.split(",") if each]
    server.user, server.database = dsn.get("user").text(), dsn.get("dbname", "database").text()
    server.sslmode, server.sslrootcert = dsn.get("sslmode").text(), dsn.get("sslrootcert").text()
    password = dsn.get("password")
    if password.value is not None:
        server.password = {"env": "PGPASSWORD"}
        password.note("a password stands here; it is not copied", "put its value into the variable PGPASSWORD")
    dsn.rest = "the settings' credential has: user, password, hosts, sslmode, sslrootcert, sslcert, sslkey, database"


def _host(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("/") else f"{host}:{port}"


def _absent(section: Section) -> bool:
    state = section.get("state")
    text = state.text().lower()
    if text not in ("", "present", "absent"):
        state.fault("`present` or `absent`")
    return text == "absent"


def _roles(draft: Draft, roles: Node) -> None:
    for name, node in roles.named():
        section = node.section()
        role = draft.role(name, node)
        _options(draft, role, section)
        for group in section.get("member").texts():
            role.member_of[group] = {}
        section.decline(
            "memberof", "PgFga ignores this key in `roles`, it reads `member`", "add to `memberOf` if meant"
        )
        section.decline("strict", "PgFga ignores this key", "leave it out")
        if _absent(section):
            _gone(role)


def _gone(role: RoleDraft) -> None:
    role.spec = {"ensure": "absent"}
    role.member_of.clear()


def _options(draft: Draft, role: RoleDraft, section: Section) -> None:
    for option in section.get("options").items():
        if text := option.text():
            apply_option(draft, role, text, option)


def _users(draft: Draft, users: Node) -> list[str]:
    """The DNs of the directory's groups that were met."""
    groups = []
    for name, node in users.named():
        section = node.section()
        auth = section.get("auth").text()
        if auth == "ldap-group":
            groups += _group(draft, name, node, section)
            continue
        role = draft.role(name, node)
        role.node = node
        _options(draft, role, section)
        role.login = True
        _auth(draft, role, auth, section)
        for group in section.get("memberof").texts():
            role.member_of[group] = {}
        set_expiry(role, section.get("expiry").text(), section.get("expiry"))
        for key in ("ldapbasedn", "ldapfilter"):
            section.decline(key, f"PgFga reads this for `auth: ldap-group` only, here it is {auth or 'nothing'}")
        if _absent(section):
            _gone(role)
    return groups


def _auth(draft: Draft, role: RoleDraft, auth: str, section: Section) -> None:
    password = section.get("password")
    match auth:
        case "ldap-user":
            role.spec["auth"] = {"method": "ldap"}
        case "clientcert":
            role.spec["auth"] = {"method": "certificate"}
        case "password" | "md5":
            if password.value is not None:
                role.spec["auth"] = {"method": "scram", "password": draft.secret(role.name, password)}
                if auth == "md5":
                    section.get("auth").note(
                        "PgVillage stores SCRAM verifiers, never md5", "check that clients can do SCRAM"
                    )
            return
        case _:
            section.get("auth").fault("one of: ldap-group, ldap-user, clientcert, password, md5")
    if password.value is not None:
        password.note(f"`auth: {auth}` uses no password", "leave it out")


def _group(draft: Draft, name: str, node: Node, section: Section) -> list[str]:
    dn, filter_ = section.get("ldapbasedn").text(), section.get("ldapfilter")
    _, value = first_rdn(dn)
    if not value:
        section.get("ldapbasedn").fault("a DN such as cn=dba,ou=groups,dc=example,dc=org")
        return []
    if value != name:
        node.note(f"PgFga calls this role by its DN, so the Group is {value!r}", "rename it if you want another name")
    role = draft.role(value, node)
    for option in section.get("options").items():
        option.note(
            "PgFga gives this to the group and to each member", "a role of its own per person has no options here"
        )
    for group in section.get("memberof").texts():
        role.member_of[group] = {}
    section.decline("expiry", "people of a directory have no expiry here", "let the directory disable them")
    section.decline("password", "`auth: ldap-group` uses no password", "leave it out")
    if _absent(section):
        _gone(role)
        return []
    if not finds_everything(filter_.text()):
        filter_.note("the filter is not mapped, so the members are not carried over", "name the group by its own DN")
        return []
    role.spec["members"] = {"directory": DIRECTORY, "group": dn, "role": "{uid}", "case": "keep"}
    return [dn]


def _database(draft: Draft, name: str, node: Node) -> None:
    section = node.section()
    owner = section.get("owner", "Owner").text() or name
    extensions, schemas = section.get("extensions"), section.get("schemas")
    if _absent(section):
        node.note(
            f"PgFga would drop the database {name!r}; nothing is declared",
            "to drop it write `ensure: absent` and `deletionProtection: false` yourself",
        )
        return
    database = draft.database(name, node)
    database.spec["owner"] = owner
    draft.role(owner, node).spec["createdb"] = True
    for each, found in extensions.named():
        _extension(database, each, found)
    names = ["public"]
    for each, found in schemas.named():
        details = found.section()
        if not _absent(details):
            schema_owner = details.get("owner").text()
            database.schemas[each] = {"owner": schema_owner} if schema_owner else {}
            names.append(each)
    for kind, profile in _KINDS.items():
        _database_role(draft, f"{name}_{kind}", (name, profile, owner), names, node)
    draft.role(_OPEX, node).member_of[f"{name}_readwrite"] = {}


def _database_role(draft: Draft, role: str, what: tuple[str, str, str], schemas: list[str], node: Node) -> None:
    """PgFga grants tables alone, and once; without the schema that is of no use, so the profile is given."""
    database, profile, owner = what
    draft.role(role, node)
    key = (role, database, False)
    draft.grants.profile(key, schemas, profile, [owner])


def _extension(database: DatabaseDraft, name: str, node: Node) -> None:
    section = node.section()
    more: Document = {key: text for key in ("schema", "version") if (text := section.get(key).text())}
    if _absent(section):
        more["ensure"] = "absent"
    database.extensions[name] = more


def _slot(draft: Draft, slot: Node) -> None:
    name = slot.text()
    draft.cluster.setdefault("replicationSlots", []).append({"name": name})


def _ldap(draft: Draft, ldap: Node, groups: list[str]) -> None:
    section = ldap.section()
    add_directory(draft, ldap, section.get("servers").texts(), groups)
    section.decline("conn_retries", "every URL is tried in turn, and again at the next run", "leave it out")
    dn = _bind_dn(section.get("user"))
    password = _bind_password(section.get("password"))
    if dn and password:
        draft.directories[DIRECTORY]["bind"] = {"dn": dn, "password": password}


def _bind_dn(user: Node) -> str:
    section = user.section()
    value, file, encoded = section.get("value"), section.get("file"), section.get("base64")
    if file.value is not None and not value.value:
        file.note("the name of the account stands in another file", f"write `directories.{DIRECTORY}.bind` with its DN")
        return ""
    text = value.text()
    if encoded.flag():
        try:
            return base64.b64decode(text, validate=True).decode()
        except (binascii.Error, ValueError):
            value.fault("base64")
            return ""
    return text


def _bind_password(password: Node) -> Document:
    section = password.section()
    value, file, encoded = section.get("value"), section.get("file"), section.get("base64").flag()
    if value.value:
        value.note("a password stands here; it is not copied", "put its value into the variable LDAP_PASSWORD")
        return {"env": "LDAP_PASSWORD"}
    path = file.text()
    if not path:
        return {}
    file.note("PgFga runs this file where it is executable", "then write `command: [FILE]` in place of `file:`")
    return {"command": ["base64", "--decode", path]} if encoded else {"file": path}
