"""Terraform's databases and what is in them: schemas, extensions, publications, foreign servers, slots."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pgvillage.estate.manifest.foreign import looks_secret
from pgvillage.imports.draft import Document, Draft
from pgvillage.imports.reading import Node, Section


def _database(draft: Draft, section: Section) -> None:
    name = section.get("name").text()
    database = draft.database(name, section.node)
    database.node = section.node
    if owner := section.get("owner").text():
        database.spec["owner"] = owner
    if (limit := section.get("connection_limit").number(-1)) != -1:
        database.spec["connectionLimit"] = limit
    if not section.get("allow_connections").flag(default=True):
        database.spec["allowConnections"] = False
    template, encoding = section.get("template").text(), section.get("encoding").text()
    locale, ctype = section.get("lc_collate").text(), section.get("lc_ctype")
    # At creation only, and a state is of what exists; they matter where it is made anew.
    created = {"encoding": encoding, "locale": locale, "template": template}
    database.spec.update({key: text for key, text in created.items() if text})
    if ctype.text() not in ("", locale):
        ctype.note("a database has one `locale` here, this differs from lc_collate", "create such a database by hand")
    if (tablespace := section.get("tablespace_name")).text() not in ("", "pg_default", "DEFAULT"):
        tablespace.note("a database's tablespace is not declared", "keep it where it is; nothing moves it")
    section.decline("is_template", "templates are not declared", "keep it in Terraform")
    section.get("alter_object_ownership")


def _schema(draft: Draft, section: Section) -> None:
    name, owner = section.get("name").text(), section.get("owner").text()
    node = section.get("database")
    if not node.text():
        section.node.note(f"schema {name!r} names no database (the provider's own is meant)", "declare it by hand")
    else:
        draft.database(node.text(), section.node).schemas[name] = {"owner": owner} if owner else {}
    for key in ("if_not_exists", "drop_cascade"):
        section.get(key)
    section.decline(
        "policy", "policies of a schema are old words for grants", "write them as `privileges` of the roles"
    )


def _extension(draft: Draft, section: Section) -> None:
    name, database = section.get("name").text(), section.get("database").text()
    more: Document = {key: text for key in ("schema", "version") if (text := section.get(key).text())}
    if section.get("create_cascade").flag():
        more["cascade"] = True
    section.get("drop_cascade")
    if database:
        draft.database(database, section.node).extensions[name] = more
    else:
        section.node.note(f"extension {name!r} names no database (the provider's own is meant)", "declare it by hand")


def _publication(draft: Draft, section: Section) -> None:
    found: Document = {"name": section.get("name").text()}
    owner, tables = section.get("owner").text(), section.get("tables").texts()
    found |= {key: value for key, value in (("owner", owner), ("tables", tables)) if value}
    if section.get("all_tables").flag():
        found["allTables"] = True
    if publish := section.get("publish_param").texts():
        found["publish"] = publish
    if section.get("publish_via_partition_root_param").flag():
        found["viaRoot"] = True
    section.get("drop_cascade")
    _part(draft, section, "publications", found)


def _subscription(_: Draft, section: Section) -> None:
    name = section.get("name").text()
    section.get("publications").texts()
    connection = section.get("conninfo")
    for key in ("create_slot", "slot_name", "database"):
        section.get(key)
    why = f"subscription {name!r}: its connection string may hold a password and is not copied"
    connection.note(why, "declare it under `subscriptions` of its Database, with `password: {secret: NAME}`")


def _slot(draft: Draft, section: Section) -> None:
    found: Document = {"name": section.get("name").text()}
    plugin, database = section.get("plugin").text(), section.get("database").text()
    found |= {key: value for key, value in (("plugin", plugin), ("database", database)) if value}
    draft.cluster.setdefault("replicationSlots", []).append(found)


def _server(draft: Draft, section: Section) -> None:
    found: Document = {"name": section.get("server_name").text(), "wrapper": section.get("fdw_name").text()}
    for theirs, ours in (("server_type", "type"), ("server_version", "version"), ("server_owner", "owner")):
        if text := section.get(theirs).text():
            found[ours] = text
    options, secrets = _options(section.get("options"))
    if options:
        found["options"] = options
    for _, node in secrets:
        node.note("a password stands here; it is not copied", "it belongs to a user mapping, under `secretOptions`")
    section.get("drop_cascade")
    _part(draft, section, "foreignServers", found)


def _user_mapping(draft: Draft, section: Section) -> None:
    server, role = section.get("server_name").text(), section.get("user_name").text()
    options, secrets = _options(section.get("options"))
    for database in draft.databases.values():
        for known in database.spec.get("foreignServers", ()):
            if known["name"] == server:
                mapping: Document = {"role": role, **({"options": options} if options else {})}
                if secrets:
                    mapping["secretOptions"] = {key: draft.secret(f"{server}-{role}", node) for key, node in secrets}
                known.setdefault("userMappings", []).append(mapping)
                return
    for _, node in secrets:
        node.note("a password stands here; it is not copied", "name a secret of the settings where it is needed")
    section.node.note(f"the user mapping of {role!r} names a server that is not carried over", "declare it by hand")


def _options(node: Node) -> tuple[Document, list[tuple[str, Node]]]:
    """Options for all to see, and those whose values are secret."""
    found: Document = {}
    secrets: list[tuple[str, Node]] = []
    for key, value in node.named():
        if looks_secret(key):
            secrets.append((key, value))
        else:
            found[key] = value.text()
    return found, secrets


def _part(draft: Draft, section: Section, key: str, found: Document) -> None:
    """Into its database, where the state names one."""
    database = section.get("database").text()
    if database:
        draft.database(database, section.node).spec.setdefault(key, []).append(found)
    else:
        section.node.note(f"{found['name']!r} names no database (the provider's own is meant)", "declare it by hand")


def _function(draft: Draft, section: Section) -> None:
    _left_out(draft, section, "a function is code", "keep it in your migrations")


def _label(draft: Draft, section: Section) -> None:
    _left_out(draft, section, "security labels are not declared", "keep it in Terraform")


def _left_out(_: Draft, section: Section, why: str, advice: str) -> None:
    section.pass_over()
    section.node.note(why, advice)


DATABASE_RESOURCES: Mapping[str, Callable[[Draft, Section], None]] = {
    "postgresql_database": _database,
    "postgresql_schema": _schema,
    "postgresql_extension": _extension,
    "postgresql_publication": _publication,
    "postgresql_subscription": _subscription,
    "postgresql_replication_slot": _slot,
    "postgresql_physical_replication_slot": _slot,
    "postgresql_server": _server,
    "postgresql_user_mapping": _user_mapping,
    "postgresql_function": _function,
    "postgresql_security_label": _label,
}
