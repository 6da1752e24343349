"""A stolon cluster's nodes as its state in etcd has them: pure, and without a word of the nodes themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pgvillage.core.address import quote_part
from pgvillage.core.topology import Node, NodeEngine, NodeRole, Problem, Topology
from pgvillage.resources.stolon.clusterdata import ClusterData, Db, Keeper
from pgvillage.resources.stolon.spec import normalise

FAKE_STANDBY = "stolonfakestandby"
NORMAL = "normal"

Key = tuple[str, bytes, bool, int]  # below the cluster's own: name, value, whether it has a lease, create revision


@dataclass(frozen=True, slots=True)
class Presence:
    """Whose leases stand in etcd: a process that died is gone from here within 20 s or so."""

    keepers: frozenset[str] = frozenset()
    sentinels: frozenset[str] = frozenset()
    proxies: frozenset[str] = frozenset()
    leading_sentinel: str = ""


def parse_presence(keys: Iterable[Sequence[object]]) -> Presence:
    """From the keys beside clusterdata, as StolonStore reads them; what is no key of stolon's is left out."""
    keepers: set[str] = set()
    sentinels: set[str] = set()
    proxies: set[str] = set()
    campaigns: list[tuple[int, str]] = []
    for name, value, leased, created in keys:
        if not isinstance(name, str) or not isinstance(value, bytes) or not isinstance(created, int) or not leased:
            continue
        folder, _, uid = name.rpartition("/")
        found = {"keepers/info": keepers, "sentinels/info": sentinels, "proxies/info": proxies}.get(folder)
        if found is not None and uid:
            found.add(uid)
        elif folder == "sentinel-leader":
            campaigns.append((created, value.decode(errors="replace")))
    leading = min(campaigns)[1] if campaigns else ""
    return Presence(frozenset(keepers), frozenset(sentinels), frozenset(proxies), leading)


def topology_of(cluster: str, data: ClusterData, presence: Presence | None, observed_at: datetime) -> Topology:
    """`presence` is None where the keys beside clusterdata may not be read. `problems` are those that only stolon can
    tell of, about its own processes and decisions; what the nodes' own word shows is found by whoever asks them.

    Raises ValueError for a specification that stolon itself could not read.
    """
    spec = normalise(data.spec)
    master = data.dbs.get(data.master_db)
    nodes = tuple(_node(data, keeper, presence) for _, keeper in sorted(data.keepers.items()))
    return Topology(
        cluster=cluster,
        engine="stolon",
        observed_at=observed_at,
        nodes=nodes,
        leader=master.keeper if master else "",
        phase=data.phase,
        system_identifier=master.system_id if master else "",
        synchronous=_must_confirm(spec["synchronousReplication"], spec["minSynchronousStandbys"], master),
        standby_cluster=spec["role"] == "standby",
        problems=tuple(_problems(data, presence, master)),
    )


def _must_confirm(synchronous: bool, least: int, master: Db | None) -> int:
    if not synchronous:
        return 0
    wanted = len(master.synchronous_wanted) + len(master.synchronous_elsewhere) if master else 0
    return max(least, wanted)


def _node(data: ClusterData, keeper: Keeper, presence: Presence | None) -> Node:
    db, master = keeper.db, data.dbs.get(data.master_db)
    engine = NodeEngine(
        role=_role(db),
        state=_state(keeper),
        healthy=_state(keeper) in ("running", "converging"),
        leased=keeper.uid in presence.keepers if presence else None,
        timeline=db.timeline if db else 0,
        position=db.position if db and db.current_generation else None,
        synchronous_wanted=bool(db and master and db.uid in master.synchronous_wanted),
        synchronous=bool(db and master and db.uid in master.synchronous_known),
        may_lead=keeper.can_be_master,
        tags={} if keeper.can_be_synchronous_replica else {"canBeSynchronousReplica": "false"},
        version=".".join(map(str, keeper.version)) if keeper.version else "",
    )
    return Node(keeper.uid, _address(db), engine)


def _role(db: Db | None) -> NodeRole:
    roles: dict[str, NodeRole] = {"master": "primary", "standby": "standby"}
    return roles.get(db.role, "unknown") if db else "unknown"


def _state(keeper: Keeper) -> str:
    """One word for a person; stolon itself has none."""
    if not keeper.healthy:
        return "keeper failed"
    if keeper.db is None:
        return "no data"
    if not keeper.db.current_generation:
        return "initialising"
    if not keeper.db.healthy:
        return "failed"
    return "converging" if keeper.db.pending else "running"


def _address(db: Db | None) -> str:
    if db is None or not db.address or not db.port:
        return ""
    return f"[{db.address}]:{db.port}" if ":" in db.address else f"{db.address}:{db.port}"


def _problems(data: ClusterData, presence: Presence | None, master: Db | None) -> Iterator[Problem]:
    if data.phase != NORMAL:
        phase = data.phase or "unknown"
        yield Problem("warning", "phase", f"stolon's cluster is in phase {quote_part(phase)}, not normal")
    if master is None:
        yield Problem("error", "no-leader", "stolon has chosen no primary: is every keeper down, or none started yet?")
    elif FAKE_STANDBY in master.synchronous_elsewhere:
        yield Problem(
            "error",
            "writes-wait",
            "too few synchronous standbys: stolon asks for one that does not exist (stolonfakestandby), so every "
            "commit waits until enough standbys are back; synchronous.min: 0 in the manifest would let them go on",
            master.keeper,
        )
    if presence is not None:
        yield from _problems_of_presence(data, presence)
    for db in sorted(data.dbs.values(), key=lambda each: each.keeper):
        if db.pending:
            yield Problem("info", "converging", "it still has to follow stolon's last decision", db.keeper)


def _problems_of_presence(data: ClusterData, presence: Presence) -> Iterator[Problem]:
    if not presence.sentinels or not presence.leading_sentinel:
        found = "no sentinel runs" if not presence.sentinels else "no sentinel leads"
        text = f"{found}: nobody would react if the primary failed, and no change of the specification takes effect"
        yield Problem("error", "no-sentinel", text)
    elif len(presence.sentinels) == 1:
        yield Problem("info", "one-sentinel", "one sentinel runs: should it die too, nobody reacts to a failure")
    for uid in sorted(set(data.enabled_proxies) - presence.proxies):
        yield Problem("warning", "proxy-gone", f"stolon-proxy {quote_part(uid)} answers no more")
