"""What Patroni keeps of a cluster, in etcd or behind its REST API, as a topology; all of it may be hostile."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from pgvillage.core.topology import Node, NodeEngine, NodeRole, Topology
from pgvillage.estate.patroni_parameters import truth

_ROLES: Mapping[str, NodeRole] = {
    "primary": "primary", "master": "primary", "leader": "primary", "promoted": "primary",
    "replica": "standby", "standby_leader": "standby", "sync_standby": "standby", "quorum_standby": "standby",
}  # fmt: skip
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_MOST_MEMBERS = 200
_MOST_NAME = 200
_IN_FORCE = ("running", "streaming", "in archive recovery")


@dataclass(frozen=True, slots=True)
class PatroniState:
    """One cluster's keys. `members` are what these say of themselves; `sync` are the standbys that Patroni counts on.

    `configured` is False where there is no dynamic configuration at all; `ill` says which keys could not be read.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    configured: bool = True
    system_identifier: str = ""
    leader: str = ""
    sync: tuple[str, ...] = ()
    members: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    failover: Mapping[str, Any] = field(default_factory=dict)
    ill: tuple[str, ...] = ()

    @property
    def kept_slots(self) -> list[str]:
        """Names of permanent slots."""
        slots = self.config.get("slots")
        return [str(name) for name in slots] if isinstance(slots, Mapping) else []

    @property
    def paused(self) -> bool:
        """Patroni's maintenance mode."""
        return truth(self.config.get("pause"))

    @property
    def standby_cluster(self) -> bool:
        """It follows another cluster: one of these makes it so for Patroni."""
        found = self.config.get("standby_cluster")
        return isinstance(found, Mapping) and any(found.get(key) for key in ("host", "port", "restore_command"))

    @property
    def synchronous(self) -> int:
        """Standbys that must confirm a commit by the configuration."""
        mode = self.config.get("synchronous_mode")
        if not (mode == "quorum" or truth(mode)) or self.standby_cluster:
            return 0
        return number(self.config.get("synchronous_node_count"), 1)

    @property
    def chosen(self) -> bool:
        """Patroni names the synchronous standbys, so that no other may take over."""
        return self.synchronous > 0 and self.config.get("synchronous_mode") != "quorum"

    @property
    def most_lag(self) -> int:
        """Bytes that a standby may lack to take over; Patroni's default is 1 MiB."""
        return number(self.config.get("maximum_lag_on_failover"), 1 << 20)

    @property
    def loop_wait(self) -> int:
        """Seconds between two looks of a member."""
        return number(self.config.get("loop_wait"), 10)

    def api_url(self, member: str) -> str:
        return _text(self.members.get(member, {}).get("api_url"))

    def pending(self, member: str) -> Mapping[str, tuple[str, str]]:
        """The parameters that wait for a restart of this member: name -> value in force, value to be."""
        found = _mapping(self.members.get(member, {}).get("pending_restart_reason"))
        return {
            name: (_text(each.get("old_value")), _text(each.get("new_value")))
            for name, each in found.items()
            if isinstance(each, Mapping)
        }


def parse_keys(values: Mapping[str, bytes]) -> PatroniState:
    """Of the keys below a cluster's own, such as `config` and `members/NAME`; others are passed over."""
    ill = tuple(key for key in ("config", "sync", "failover") if key in values and _json(values[key]) is None)
    members = {
        _shown(key.removeprefix("members/")): _mapping(_json(value))
        for key, value in sorted(values.items())
        if key.startswith("members/") and 0 < len(key) - len("members/") <= _MOST_NAME
    }
    ill += tuple(f"members/{name}" for name, data in members.items() if not data)
    leader, sync = _plain(values.get("leader")), _mapping(_json(values.get("sync")))
    return PatroniState(
        config=_mapping(_json(values.get("config"))),
        configured=isinstance(_json(values.get("config")), Mapping),
        system_identifier=_plain(values.get("initialize")),
        leader=leader,
        sync=_names(sync.get("sync_standby")) if leader and sync.get("leader") == leader else (),
        members=dict(list(members.items())[:_MOST_MEMBERS]),
        failover=_mapping(_json(values.get("failover"))),
        ill=ill,
    )


def parse_rest(cluster: Mapping[str, Any], config: Mapping[str, Any]) -> PatroniState:
    """The same from the answers to GET /cluster and GET /config, which know no system identifier by this name."""
    found = [each for each in _list(cluster.get("members")) if isinstance(each, Mapping)][:_MOST_MEMBERS]
    named = {_text(each.get("name"))[:_MOST_NAME]: each for each in found if _text(each.get("name"))}
    leaders = [name for name, each in named.items() if each.get("role") in ("leader", "standby_leader")]
    sync = [name for name, each in named.items() if each.get("role") in ("sync_standby", "quorum_standby")]
    scope = _text(cluster.get("scope"))
    return PatroniState(
        config=config,
        leader=leaders[0] if len(leaders) == 1 else "",
        sync=tuple(sync),
        members={name: _of_rest(each) for name, each in named.items()},
        failover=_mapping(cluster.get("scheduled_switchover")),
        ill=("cluster",) if not named and not scope else (),
    )


def _of_rest(member: Mapping[str, Any]) -> Mapping[str, Any]:
    host, port = _text(member.get("host")), number(member.get("port"), 5432)
    place = f"[{host}]" if ":" in host else host
    return {**member, "conn_url": f"postgres://{place}:{port}/postgres" if host else ""}


def topology_of(cluster: str, state: PatroniState, at: datetime) -> Topology:
    """Without what nodes say by SQL. A member whose lease has ended has no key, so it is not among the nodes."""
    return Topology(
        cluster=cluster,
        engine="patroni",
        observed_at=at,
        nodes=tuple(_node(name, data, state) for name, data in state.members.items()),
        leader=state.leader,
        phase=_phase(state),
        paused=state.paused,
        kept_slots=frozenset(state.kept_slots),
        system_identifier=state.system_identifier,
        synchronous=state.synchronous,
        standby_cluster=state.standby_cluster,
    )


def _phase(state: PatroniState) -> str:
    if not state.configured:
        return "not initialised"
    return "paused" if state.paused else "normal"


def _node(name: str, data: Mapping[str, Any], state: PatroniState) -> Node:
    own, replication = _text(data.get("state")), _text(data.get("replication_state"))
    tags = {_text(key): _spelt(value) for key, value in _mapping(data.get("tags")).items()}
    synchronous = name in state.sync
    position = data.get("xlog_location")
    engine = NodeEngine(
        role=_ROLES.get(_text(data.get("role")), "unknown"),
        state=replication if replication and own == "running" else own,
        healthy=own in _IN_FORCE,
        leased=True,
        timeline=number(data.get("timeline"), 0),
        position=position if isinstance(position, int) and not isinstance(position, bool) else None,
        pending_restart=truth(data.get("pending_restart")),
        synchronous_wanted=synchronous,
        synchronous=synchronous,
        may_lead=may_lead(tags),
        tags=tags,
        api=_text(data.get("api_url")),
        version=_text(data.get("version")),
    )
    return Node(name, _address(_text(data.get("conn_url"))), engine)


def may_lead(tags: Mapping[str, str]) -> bool:
    """By the tags `nofailover` and `failover_priority`, of which Patroni believes the first."""
    if "nofailover" in tags:
        return not truth(tags["nofailover"])
    return number(tags.get("failover_priority"), 1) > 0


def _address(url: str) -> str:
    """HOST:PORT, "" where the URL names no host that could be one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 5432
    except ValueError:
        return ""
    if parts.scheme not in ("postgres", "postgresql") or not _HOST.fullmatch(host):
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def number(value: object, default: int) -> int:
    """A whole number, or the text of one; `default` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return default
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"-?[0-9]{1,18}", value.strip()) else default
    return value


def _json(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return _shown(value) if isinstance(value, str) else ""


def _shown(text: str) -> str:
    """Without half characters, which could be neither printed nor stored."""
    return text.encode("utf-8", "replace").decode()


def _spelt(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else _shown(str(value)[:_MOST_NAME])


def _plain(value: bytes | None) -> str:
    return value.decode(errors="replace")[:_MOST_NAME] if value else ""


def _names(value: object) -> tuple[str, ...]:
    return tuple(filter(None, _text(value).split(",")))
