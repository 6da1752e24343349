"""stolon's clusterdata: the one key of etcd that says what a cluster should be and what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORMAT_VERSION = 1


class NotClusterData(ValueError):
    """The document is not one that this version of stolon would read; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Db:
    """One database instance; a keeper that comes back gets a new one, so key on the keeper."""

    uid: str
    keeper: str
    role: str
    healthy: bool
    generation: int
    current_generation: int
    address: str
    port: str
    system_id: str
    timeline: int
    position: int
    synchronous_wanted: tuple[str, ...]
    synchronous_known: tuple[str, ...]
    synchronous_elsewhere: tuple[str, ...]  # `stolonfakestandby`, or standbys that are no keepers
    follows_outside: bool  # another cluster's primary
    parameters: Mapping[str, str]

    @property
    def pending(self) -> bool:
        """The keeper has not yet done what the sentinel asked for."""
        return self.generation != self.current_generation


@dataclass(frozen=True, slots=True)
class Keeper:
    uid: str
    healthy: bool
    version: tuple[int, int] | None
    force_fail: bool
    can_be_master: bool
    can_be_synchronous_replica: bool
    db: Db | None


@dataclass(frozen=True, slots=True)
class ClusterData:
    """`document` is the whole parsed JSON, for a writer that must give back what it does not know."""

    uid: str
    phase: str
    spec: Mapping[str, Any]
    master_db: str
    keepers: Mapping[str, Keeper]
    dbs: Mapping[str, Db]
    proxy_master_db: str
    enabled_proxies: tuple[str, ...]
    document: Mapping[str, Any]

    @property
    def master_keeper(self) -> str | None:
        """The uid of the keeper whose database is the primary by the sentinel's decision."""
        db = self.dbs.get(self.master_db)
        return db.keeper if db else None

    @property
    def pg_major_version(self) -> int | None:
        """Of the primary's binaries, or of all keepers when they agree; None when unknown."""
        master = self.keepers.get(self.master_keeper or "")
        if master and master.version:
            return master.version[0]
        majors = {keeper.version[0] for keeper in self.keepers.values() if keeper.version}
        return majors.pop() if len(majors) == 1 else None

    @property
    def pending_keepers(self) -> tuple[str, ...]:
        """Keepers that still have to follow the sentinel's last decision."""
        return tuple(sorted(db.keeper for db in self.dbs.values() if db.pending))


def parse_clusterdata(data: bytes) -> ClusterData:
    """Unknown fields are let through; raises NotClusterData for a document of another kind or format."""
    document = _document(data)
    cluster = _object(document, "cluster", required=True)
    spec = _object(cluster, "spec", "cluster.", required=True)
    status = _object(cluster, "status", "cluster.")
    dbs = {uid: _db(uid, entry) for uid, entry in _entries(document, "dbs").items()}
    of_keeper = {db.keeper: db for db in dbs.values()}
    proxy = _object(_object(document, "proxy"), "spec", "proxy.")
    return ClusterData(
        uid=_text(cluster, "uid", "cluster."),
        phase=_text(status, "phase", "cluster.status."),
        spec=spec,
        master_db=_text(status, "master", "cluster.status."),
        keepers={uid: _keeper(uid, each, of_keeper.get(uid)) for uid, each in _entries(document, "keepers").items()},
        dbs=dbs,
        proxy_master_db=_text(proxy, "masterDbUid", "proxy.spec."),
        enabled_proxies=_texts(proxy, "enabledProxies", "proxy.spec."),
        document=document,
    )


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotClusterData(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise NotClusterData("expected a JSON object")
    version = document.get("formatVersion")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise NotClusterData(
            f"formatVersion: expected {FORMAT_VERSION}, found {version!r}; is this stolon's clusterdata?"
        )
    return document


def _keeper(uid: str, entry: Mapping[str, Any], db: Db | None) -> Keeper:
    path = f"keepers.{uid}.status."
    status = _object(entry, "status", f"keepers.{uid}.")
    version = _object(status, "postgresBinaryVersion", path)
    major = _number(version, "Maj", path)
    return Keeper(
        uid=uid,
        healthy=_flag(status, "healthy", path),
        version=(major, _number(version, "Min", path)) if major else None,
        force_fail=_flag(status, "forceFail", path),
        # absent is what a keeper from before these settings reports: it may be anything
        can_be_master=_flag(status, "canBeMaster", path, default=True),
        can_be_synchronous_replica=_flag(status, "canBeSynchronousReplica", path, default=True),
        db=db,
    )


def _db(uid: str, entry: Mapping[str, Any]) -> Db:
    above = f"dbs.{uid}."
    spec, status = _object(entry, "spec", above, required=True), _object(entry, "status", above)
    in_spec, in_status = f"{above}spec.", f"{above}status."
    return Db(
        uid=uid,
        keeper=_text(spec, "keeperUID", in_spec),
        role=_text(spec, "role", in_spec),
        healthy=_flag(status, "healthy", in_status),
        generation=_number(entry, "generation", above),
        current_generation=_number(status, "currentGeneration", in_status),
        address=_text(status, "listenAddress", in_status),
        port=_text(status, "port", in_status),
        system_id=_text(status, "systemdID", in_status),
        timeline=_number(status, "timelineID", in_status),
        position=_number(status, "xLogPos", in_status),
        synchronous_wanted=_texts(spec, "synchronousStandbys", in_spec),
        synchronous_known=_texts(status, "synchronousStandbys", in_status),
        synchronous_elsewhere=_texts(spec, "externalSynchronousStandbys", in_spec),
        follows_outside=_text(_object(spec, "followConfig", in_spec), "type", f"{in_spec}followConfig.") == "external",
        parameters=_object(status, "pgParameters", in_status),
    )


def _entries(document: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    entries = _object(document, name)
    return {uid: _object(entries, uid, f"{name}.", required=True) for uid in entries}


def _object(holder: Mapping[str, Any], name: str, above: str = "", *, required: bool = False) -> dict[str, Any]:
    value = holder.get(name)
    if value is None and not required:
        return {}
    if not isinstance(value, dict):
        raise NotClusterData(f"{above}{name}: expected a mapping, found {_found(value)}")
    return value


def _text(holder: Mapping[str, Any], name: str, above: str) -> str:
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise NotClusterData(f"{above}{name}: expected a text, found {_found(value)}")
    return value


def _texts(holder: Mapping[str, Any], name: str, above: str) -> tuple[str, ...]:
    value = holder.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise NotClusterData(f"{above}{name}: expected a list of texts, found {_found(value)}")
    return tuple(value)


def _number(holder: Mapping[str, Any], name: str, above: str) -> int:
    value = holder.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise NotClusterData(f"{above}{name}: expected a whole number, found {_found(value)}")
    return value


def _flag(holder: Mapping[str, Any], name: str, above: str, *, default: bool = False) -> bool:
    value = holder.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise NotClusterData(f"{above}{name}: expected true or false, found {_found(value)}")
    return value


def _found(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
