"""Terraform's roles, memberships, grants and default privileges."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pgvillage.imports.draft import Document, Draft, RoleDraft
from pgvillage.imports.expressible import FUTURE_CLASSES, NAMED_CLASSES, class_of, is_privilege
from pgvillage.imports.options import quoted_list, set_expiry, set_limit
from pgvillage.imports.reading import Section

_FLAGS = {
    "superuser": "superuser",
    "create_database": "createdb",
    "create_role": "createrole",
    "replication": "replication",
    "bypass_row_level_security": "bypassrls",
}
_PASSWORDS = ("password", "password_wo")


def _role(draft: Draft, section: Section) -> None:
    role = draft.role(section.get("name").text(), section.node)
    role.node = section.node
    role.login = section.get("login").flag()
    for key, ours in _FLAGS.items():
        if section.get(key).flag():
            role.spec[ours] = True
    if not section.get("inherit").flag(default=True):
        role.spec["inherit"] = False
    set_limit(role, section.get("connection_limit").number(-1))
    set_expiry(role, section.get("valid_until").text(), section.get("valid_until"))
    for group in section.get("roles").texts():
        role.member_of.setdefault(group, {})
    _settings(role, section)
    found = [node for key in _PASSWORDS if (node := section.get(key)).value not in (None, "")]
    if found:
        role.spec["auth"] = {"method": "scram", "password": draft.secret(role.name, found[0])}
    for key in (
        "encrypted",
        "encrypted_password",
        "skip_drop_role",
        "skip_reassign_owned",
        "password_wo_version",
        "create_role_self_grant",
    ):
        section.get(key)
    section.decline("assume_role", "PgVillage does not change role at each login", "use `settings: {role: NAME}`")


def _settings(role: RoleDraft, section: Section) -> None:
    settings: Document = {}
    if path := section.get("search_path").texts():
        settings["search_path"] = quoted_list(path)
    for key in ("statement_timeout", "idle_in_transaction_session_timeout"):
        if number := section.get(key).number(0):
            settings[key] = number
    for entry in section.get("parameter").items():
        parameter = entry.section()
        parameter.get("quote")
        settings[parameter.get("name").text()] = parameter.get("value").text()
    if settings:
        role.spec["settings"] = settings


def _membership(draft: Draft, section: Section) -> None:
    role, group = section.get("role").text(), section.get("grant_role").text()
    admin = section.get("with_admin_option").flag()
    draft.role(role, section.node).member_of[group] = {"admin": True} if admin else {}


def _grant(draft: Draft, section: Section) -> None:
    role, database = section.get("role").text(), section.get("database").text()
    schema, word = section.get("schema").text(), section.get("object_type").text()
    objects, columns = section.get("objects").texts(), section.get("columns").texts()
    option = section.get("with_grant_option").flag()
    object_class = class_of(word)
    if columns or object_class is None:
        section.node.note(f"a grant on {'columns' if columns else word} is not mapped yet", "keep it in Terraform")
        section.pass_over()
        return
    privileges = _privileges(section, object_class)
    if role == "public":
        _public(draft, section, (database, schema, object_class), privileges)
        return
    if not privileges:
        section.node.note(
            f"a grant of nothing revokes all on {word}s: PgVillage does so for every declared role",
            "keep the class in the Cluster's `authority.privileges`",
        )
        return
    key = (role, database, option)
    draft.grants.nodes.setdefault(role, section.node)
    if object_class == "function" and any("(" not in name for name in objects):
        section.node.note("functions without their argument types could be several", "name them with their types")
        section.pass_over()
        return
    if objects and object_class in NAMED_CLASSES:
        for name in objects:
            draft.grants.named(key, schema, object_class, name, privileges)
    else:
        draft.grants.whole(key, "" if object_class == "database" else schema, object_class, privileges)


def _privileges(section: Section, object_class: str) -> list[str]:
    found = []
    for node in section.get("privileges").items():
        word = node.text().upper()
        word = "TEMPORARY" if word == "TEMP" else word
        if is_privilege(object_class, word):
            found.append(word)
        else:
            node.note(f"{word} is no privilege on a {object_class} that manifests have", "keep it in Terraform")
    return found


def _public(draft: Draft, section: Section, place: tuple[str, str, str], privileges: list[str]) -> None:
    database, schema, object_class = place
    public = draft.database(database, section.node).public
    if object_class == "database":
        public["database"] = privileges
    elif object_class == "schema":
        public.setdefault("schemas", {})[schema] = privileges
    else:
        section.node.note(f"PUBLIC's privileges on {object_class}s are left alone", "grant to a group instead")


def _default_privileges(draft: Draft, section: Section) -> None:
    role, database = section.get("role").text(), section.get("database").text()
    owner, schema = section.get("owner").text(), section.get("schema").text()
    word, option = section.get("object_type").text(), section.get("with_grant_option").flag()
    object_class = class_of(word)
    if object_class not in FUTURE_CLASSES or object_class is None:
        section.node.note(f"default privileges on {word}s are not mapped yet", "keep them in Terraform")
        section.pass_over()
        return
    privileges = _privileges(section, object_class)
    if role == "public":
        section.node.note("default privileges of PUBLIC are left alone", "grant to a group instead")
    elif privileges:
        draft.grants.nodes.setdefault(role, section.node)
        draft.grants.future((role, database, option), schema, owner, object_class, privileges)


ROLE_RESOURCES: Mapping[str, Callable[[Draft, Section], None]] = {
    "postgresql_role": _role,
    "postgresql_grant_role": _membership,
    "postgresql_grant": _grant,
    "postgresql_default_privileges": _default_privileges,
}
