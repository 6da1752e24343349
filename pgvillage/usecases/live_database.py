"""A living database as a manifest says it."""

from __future__ import annotations

from pgvillage.resources.postgres.database import DatabaseState
from pgvillage.resources.postgres.setting import SettingState
from pgvillage.usecases.live_cluster import Document, LiveCluster
from pgvillage.usecases.live_objects import Secrets, objects
from pgvillage.usecases.live_owners import ownership
from pgvillage.usecases.live_public import public

_MAINTENANCE = "postgres"  # its comment is PostgreSQL's own


def database_entry(live: LiveCluster, name: str, state: DatabaseState, secrets: Secrets) -> Document:
    """Its fields, without the name; what is as PostgreSQL makes it is not written."""
    entry: Document = _fields(name, state)
    found = objects(live, name, secrets)
    entry["extensions"] = [each for each in found.pop("extensions", ()) if each != "plpgsql"]
    entry["schemas"] = found.pop("schemas", [])
    entry["ownership"] = ownership(live, name)
    own = live.by_kind["setting"].get(("database", name))
    if isinstance(own, SettingState) and ("setting", ("database", name)) not in live.outside.objects:
        entry["settings"] = dict(own.values)
    entry["public"] = public(live, name)
    return {key: value for key, value in {**entry, **found}.items() if value not in ([], {})}


def _fields(name: str, state: DatabaseState) -> Document:
    entry: Document = {"owner": state.owner} if isinstance(state.owner, str) else {}
    if state.connection_limit != -1:
        entry["connectionLimit"] = state.connection_limit
    if not state.allow_connections:
        entry["allowConnections"] = False
    if state.is_template is True:
        entry["isTemplate"] = True
    if state.tablespace not in (None, "pg_default"):
        entry["tablespace"] = state.tablespace
    if state.locale_provider in ("icu", "builtin") and state.provider_locale:
        entry |= {"localeProvider": state.locale_provider, f"{state.locale_provider}Locale": state.provider_locale}
    return entry | ({"comment": state.comment} if state.comment and name != _MAINTENANCE else {})
