"""Living objects of a cluster and its databases as manifests say them: one function a kind, an entry an object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from pgvillage.core.state import State
from pgvillage.estate.manifest.database import ExtensionSpec, SchemaSpec
from pgvillage.estate.manifest.foreign import ForeignDataWrapperSpec, ForeignServerSpec, looks_secret
from pgvillage.estate.manifest.qualified_name import join_name
from pgvillage.estate.manifest.replication import PUBLISHED, PublicationSpec
from pgvillage.estate.manifest.row_security import EventTriggerSpec, PolicySpec
from pgvillage.estate.manifest.storage import ReplicationSlotSpec, TablespaceSpec
from pgvillage.report.words import show_name
from pgvillage.resources.postgres.event_trigger import EventTriggerState
from pgvillage.resources.postgres.extension import ExtensionState
from pgvillage.resources.postgres.foreign_data_wrapper import WrapperState
from pgvillage.resources.postgres.foreign_server import ServerState
from pgvillage.resources.postgres.publication import PublicationState
from pgvillage.resources.postgres.row_policy import PolicyState
from pgvillage.resources.postgres.row_security import RowSecurityState
from pgvillage.resources.postgres.schema import SchemaState
from pgvillage.resources.postgres.slot import SlotState
from pgvillage.resources.postgres.sql import PUBLIC
from pgvillage.resources.postgres.tablespace import SETTINGS, TablespaceState
from pgvillage.resources.postgres.user_mapping import UserMappingState
from pgvillage.usecases.live_cluster import OURS, Document, LiveCluster
from pgvillage.usecases.live_subscriptions import subscriptions

S = TypeVar("S", bound=State)
Secrets = dict[str, str]  # name of a secret of the settings -> what it is
_OWN_TABLESPACES = ("pg_default", "pg_global")


def tablespaces(live: LiveCluster) -> list[Document]:
    found = [pair for pair in live.of("tablespace", TablespaceState) if pair[0][0] not in _OWN_TABLESPACES]
    return list(_said(live, "tablespace", TablespaceSpec, tablespace_item, found))


def slots(live: LiveCluster) -> list[Document]:
    """Those that somebody made to stay: an HA engine's and a starting subscription's are theirs."""
    found = []
    for name, state in live.of("slot", SlotState):
        if why := _slot_of_another(name[0], state, live):
            live.left[f"replication slot {show_name(name[0])}"] = why
        else:
            found.append((name, state))
    return list(_said(live, "replication slot", ReplicationSlotSpec, slot_item, found))


def objects(live: LiveCluster, database: str, secrets: Secrets) -> Document:
    """Everything in a database but roles' affairs, by the key that lists it; what is empty is left out."""
    found = {each.key: _listed(live, database, each) for each in _LISTS}
    found["foreignServers"] = _servers(live, database, secrets)
    found["rowSecurity"] = row_security(live, database)
    found["subscriptions"] = subscriptions(live, database, secrets)
    return {key: entries for key, entries in found.items() if entries}


def _listed(live: LiveCluster, database: str, what: _List) -> list[Any]:
    found = [(n, s) for n, s in live.of(what.kind, what.state, database) if what.wanted(n[1], s)]
    return list(_said(live, what.kind.replace("-", " "), what.model, what.item, found))


def _said(
    live: LiveCluster,
    word: str,
    model: type[BaseModel],
    item: Callable[[str, Any], str | Document],
    found: list[tuple[tuple[str, ...], S]],
) -> Iterator[Any]:
    """Entries that the manifest's model takes; of the others it is said what is wrong with them."""
    for name, state in found:
        entry = item(name[-1], state)
        fault = _fault(model, entry) if isinstance(entry, dict) else ""
        if fault:
            where = f" in {show_name(name[0])}" if len(name) > 1 else ""
            live.left[f"{word} {show_name(name[-1])}{where}"] = fault
        else:
            yield entry


def _fault(model: type[BaseModel], entry: Document) -> str:
    """Why no manifest can say this, or nothing."""
    try:
        model.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(map(str, first["loc"]))
        return f"no manifest can say this: {path + ': ' if path else ''}{first['msg'].removeprefix('Value error, ')}"
    return ""


def _slot_of_another(name: str, state: SlotState, live: LiveCluster) -> str:
    if name.startswith("stolon_"):
        return "stolon makes and drops its slots itself; declare the cluster's `ha` instead"
    if name.startswith("pg_") and "_sync_" in name:
        return "a subscription's first copy uses it, and drops it when that is done"
    if state.database is not None and state.database not in live.databases:
        return f"its database {show_name(state.database)} is not among the manifests"
    return ""


def _described(state: Any) -> Document:
    """Owner and comment, where there are any."""
    found = {"owner": state.owner, "comment": state.comment}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def tablespace_item(name: str, state: TablespaceState) -> Document:
    values = {key: getattr(state, key) for key in SETTINGS}
    settings = {key: _number(value) for key, value in values.items() if isinstance(value, str)}
    location = {"location": state.location} if state.location else {}
    return {"name": name, **location, **_described(state), **({"settings": settings} if settings else {})}


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def slot_item(name: str, state: SlotState) -> Document:
    logical: Document = {"plugin": state.plugin, "database": state.database} if state.plugin is not None else {}
    options = {"twoPhase": state.two_phase is True, "failover": state.failover is True}
    return {"name": name, **logical, **{key: True for key, on in options.items() if on}}


def extension_item(name: str, state: ExtensionState) -> str | Document:
    """Where it stands matters, unless that is where it would be put anyway."""
    elsewhere = isinstance(state.schema, str) and state.schema != "public" and not state.schema.startswith("pg_")
    return {"name": name, "schema": state.schema} if elsewhere and not _brings(state) else name


def _brings(state: ExtensionState) -> bool:
    """Does it make its schema by itself?"""
    return ("schema", str(state.schema)) in state.members


def schema_item(name: str, state: SchemaState) -> Document:
    return {"name": name, **_described(state)}


def _is_declared(name: str, state: SchemaState) -> bool:
    """Every schema but our own, and but `public` where it is as it comes."""
    if name == OURS or state.owner is None:
        return False
    return name != "public" or state.owner not in ("pg_database_owner", "postgres")


def publication_item(name: str, state: PublicationState) -> Document:
    entry: Document = {"name": name, **_described(state)}
    if state.all_tables:
        entry["allTables"] = True
    if state.schemas:
        entry["schemas"] = sorted(state.schemas)
    if state.tables:
        entry["tables"] = [_published(table, more) for table, more in sorted(state.tables.items())]
    if state.publish != frozenset(PUBLISHED):
        entry["publish"] = [word for word in PUBLISHED if word in state.publish]
    return entry | ({"viaRoot": True} if state.via_root else {})


def _published(table: str, more: Mapping[str, Any]) -> str | Document:
    columns = {"columns": list(more["columns"])} if "columns" in more else {}
    where = {"where": more["where"]} if "where" in more else {}
    return {"table": table, **columns, **where} if more else table


def _options(options: object) -> Document:
    return {"options": dict(options)} if isinstance(options, Mapping) and options else {}


def event_trigger_item(name: str, state: EventTriggerState) -> Document:
    entry: Document = {"name": name, "event": state.event, "function": state.function, **_described(state)}
    if state.tags:
        entry["tags"] = sorted(state.tags)
    return entry | ({"enabled": state.enabled} if state.enabled != "origin" else {})


def _is_made_by_hand(_name: str, state: WrapperState) -> bool:
    """What an extension brought needs no manifest, unless somebody gave it options."""
    return state.extension is None or bool(state.options)


def wrapper_item(name: str, state: WrapperState) -> Document:
    entry: Document = {"name": name}
    if state.extension is not None:
        entry["extension"] = state.extension
    functions = {"handler": state.handler, "validator": state.validator} if state.extension is None else {}
    entry |= {k: {"schema": f[0], "name": f[1]} for k, f in functions.items() if isinstance(f, tuple)}
    return entry | _described(state) | _options(state.options)


class _List(NamedTuple):
    """One list of a database's manifest: its key, what it lists, an entry of it, and what is worth one."""

    key: str
    kind: str
    state: type[State]
    model: type[BaseModel]
    item: Callable[[str, Any], str | Document]
    wanted: Callable[[str, Any], bool] = lambda _name, _state: True


_LISTS = (
    _List("extensions", "extension", ExtensionState, ExtensionSpec, extension_item),
    _List("schemas", "schema", SchemaState, SchemaSpec, schema_item, _is_declared),
    _List("publications", "publication", PublicationState, PublicationSpec, publication_item),
    _List("eventTriggers", "event-trigger", EventTriggerState, EventTriggerSpec, event_trigger_item),
    _List(
        "foreignDataWrappers", "foreign-data-wrapper", WrapperState, ForeignDataWrapperSpec, wrapper_item,
        _is_made_by_hand,
    ),
)  # fmt: skip


def _servers(live: LiveCluster, database: str, secrets: Secrets) -> list[Document]:
    found = []
    for name, state in live.of("server", ServerState, database):
        what = f"{show_name(name[1])} in {show_name(database)}"
        options = state.options if isinstance(state.options, Mapping) else {}
        if odd := sorted(option for option in options if looks_secret(option)):
            live.left[f"options of foreign server {what}"] = f"{', '.join(odd)} would be a secret in a manifest"
            state = _without_options(state)  # noqa: PLW2901
        entry = server_item(name[1], state)
        if fault := _fault(ForeignServerSpec, entry):
            live.left[f"foreign server {what}"] = fault
            continue
        mappings = [
            mapping_item(mapping, mapped, secrets)
            for mapping, mapped in live.of("user-mapping", UserMappingState, database, name[1])
            if mapping[2] not in live.outside.roles or mapping[2] == PUBLIC
        ]
        found.append(entry | ({"userMappings": mappings} if mappings else {}))
    return found


def _without_options(state: ServerState) -> ServerState:
    return ServerState(state.wrapper, state.type, state.version, state.owner, state.comment, None, state.extension)


def server_item(name: str, state: ServerState) -> Document:
    entry: Document = {"name": name, "wrapper": state.wrapper}
    entry |= {k: v for k, v in (("type", state.type), ("version", state.version)) if isinstance(v, str) and v}
    return entry | _described(state) | _options(state.options)


def mapping_item(name: tuple[str, ...], state: UserMappingState, secrets: Secrets) -> Document:
    """Options become secrets of the settings: their values are neither read nor written."""
    _, server, role = name
    plain = dict(state.plain)
    hidden = sorted(state.names - set(plain))
    entry: Document = {"role": role}
    if plain:
        entry["options"] = plain
    if hidden:
        names = {option: _secret_name(server, role, option) for option in hidden}
        what = f"option {{}} of the user mapping of {show_name(role)} on server {show_name(server)}"
        secrets |= {secret: what.format(option) for option, secret in names.items()}
        entry["secretOptions"] = {option: {"secret": secret} for option, secret in names.items()}
    return entry


def _secret_name(*parts: str) -> str:
    name = "-".join("".join(c if c.isascii() and c.isalnum() else "-" for c in part).strip("-") for part in parts)
    return name.strip("-")[:120] or "secret"


def row_security(live: LiveCluster, database: str) -> list[Document]:
    """A table an entry, with its policies."""
    tables: dict[tuple[str, ...], Document] = {}
    for name, state in live.of("row-security", RowSecurityState, database):
        entry = tables.setdefault(name[1:], {"table": join_name(*name[1:])})
        entry |= {"enabled": False} if not state.enabled else {}
        entry |= {"forced": True} if state.forced else {}
    for name, policy in live.of("policy", PolicyState, database):
        item = policy_item(name[3], policy)
        table = join_name(*name[1:3])
        if fault := _fault(PolicySpec, item):
            live.left[f"policy {show_name(name[3])} of {table} in {show_name(database)}"] = fault
            continue
        entry = tables.setdefault(name[1:3], {"table": table, "enabled": False})
        entry.setdefault("policies", []).append(item)
    return [entry for _, entry in sorted(tables.items(), key=lambda pair: pair[0])]


def policy_item(name: str, state: PolicyState) -> Document:
    entry: Document = {"name": name}
    if state.command != "all":
        entry["command"] = state.command
    if not state.permissive:
        entry["permissive"] = False
    if state.roles != frozenset({PUBLIC}):
        entry["roles"] = sorted(state.roles)
    texts = {"using": state.using, "withCheck": state.with_check, "comment": state.comment}
    return entry | {key: text for key, text in texts.items() if isinstance(text, str)}
