"""Whether a cluster can hand over: what stands in the way, who would take over, and what may be lost."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterator
from dataclasses import dataclass

from pgvillage.core.topology import Node, Topology

# What Patroni (maximum_lag_on_failover) and stolon (maxStandbyLag) allow where nobody said otherwise, about.
DEFAULT_MAX_LAG = 1 << 20


class Verb(enum.StrEnum):
    SWITCHOVER = "switchover"
    FAILOVER = "failover"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for. `to` "" leaves the choice to us, or the engine; `max_lag` in bytes."""

    verb: Verb
    to: str = ""
    max_lag: int = DEFAULT_MAX_LAG


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why it can't be done, in words; `code` is stable and short. Nobody can consent to one."""

    code: str
    text: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """`leader` hands over to `candidate`, "" where there is none; the engine itself chooses where `among` has several.

    `risks` need somebody's consent to `digest`. `loses` are the bytes of the last known position that the candidate
    lacks; None where nobody knows. It counts only where `may_lose`.
    """

    wish: Wish
    digest: str
    leader: str = ""
    candidate: str = ""
    among: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    risks: tuple[str, ...] = ()
    may_lose: bool = False
    loses: int | None = None

    @property
    def needs_consent(self) -> bool:
        return bool(self.risks)


def readiness(topology: Topology, wish: Wish) -> Readiness:
    """Of this very state: the digest in it is the topology's."""
    leader = _leader(topology)
    obstacles = [*_of_cluster(topology, wish), *_of_wish(topology, wish, leader)]
    fit = [node for node in topology.nodes if not any(unfit(topology, node, wish))]
    among = _among(topology, fit)
    if wish.to and wish.to in (node.name for node in among):
        obstacles += _not_sure(topology, wish, among)
        among = [node for node in among if node.name == wish.to]
    elif wish.to:
        if wish.to in (node.name for node in fit):
            text = f"{wish.to} is not synchronous, and stolon promotes a synchronous standby alone"
            obstacles.append(Obstacle("not-synchronous", text, wish.to))
        among = []
    if not among and not wish.to:
        obstacles += _nobody(topology, wish)
    candidate = among[0] if among else None
    risky = wish.verb is Verb.FAILOVER
    return Readiness(
        wish=wish,
        digest=topology.digest,
        leader=leader,
        candidate=candidate.name if candidate else "",
        among=tuple(node.name for node in among) if topology.engine == "stolon" else (),
        obstacles=tuple(obstacles),
        risks=tuple(_risks(topology, wish, candidate)),
        may_lose=risky,
        loses=_lacks(topology, leader, candidate) if risky and candidate else None,
    )


def unfit(topology: Topology, node: Node, wish: Wish) -> Iterator[Obstacle]:
    """Why this node can't take over."""
    if node.name == _leader(topology):
        yield Obstacle("is-primary", f"{node.name} is the primary already", node.name)
        return
    if node.engine is not None and not node.engine.may_lead:
        why = ", ".join(f"{key}: {value}" for key, value in sorted(node.engine.tags.items())) or "its configuration"
        yield Obstacle("may-not-lead", f"{node.name} may never lead ({why})", node.name)
    if node.sql is None:
        why = f": {node.error}" if node.error else ""
        yield Obstacle("no-answer", f"{node.name} does not answer by SQL{why}", node.name)
        return
    if not node.sql.recovering:
        yield Obstacle("not-standby", f"{node.name} is no standby: it takes writes", node.name)
        return
    if topology.system_identifier and node.sql.system_identifier != topology.system_identifier:
        text = (
            f"{node.name} has the data of another cluster (system identifier {node.sql.system_identifier}, "
            f"this cluster's is {topology.system_identifier})"
        )
        yield Obstacle("other-system", text, node.name)
    if wish.verb is Verb.SWITCHOVER:
        yield from _behind(topology, node, wish)
    elif node.sql.timeline < (newest := _newest_timeline(topology)):
        text = f"{node.name} is on timeline {node.sql.timeline}, the newest is {newest}"
        yield Obstacle("timeline", text, node.name)


def _behind(topology: Topology, node: Node, wish: Wish) -> Iterator[Obstacle]:
    """What loses nothing needs a standby that follows closely, and a synchronous one where there are some."""
    primary = topology.primary
    if node.sql is None or primary is None or primary.sql is None:
        return
    if node.sql.timeline != primary.sql.timeline:
        text = f"{node.name} is on timeline {node.sql.timeline}, the primary on {primary.sql.timeline}"
        yield Obstacle("timeline", text, node.name)
    if not node.sql.streaming:
        yield Obstacle("not-streaming", f"{node.name} does not stream from the primary", node.name)
    lag = node.lag(primary)
    if lag is not None and lag > wish.max_lag:
        text = f"{node.name} lags {lag:,} bytes behind, more than the {wish.max_lag:,} that are allowed"
        yield Obstacle("lag", text, node.name)
    # by SQL alone nobody knows what the engine would promote
    if topology.synchronous and node.engine is not None and not node.engine.synchronous:
        text = (
            f"{node.name} is not synchronous, and with synchronous replication {topology.engine} hands over to "
            "a synchronous standby alone"
        )
        yield Obstacle("not-synchronous", text, node.name)


def _of_cluster(topology: Topology, wish: Wish) -> Iterator[Obstacle]:
    if topology.engine == "none":
        text = (
            f"no HA engine looks after {topology.cluster}, and PgVillage promotes nothing by itself: do it by hand, "
            "or let stolon or Patroni do it (`ha.engine` in the manifest)"
        )
        yield Obstacle("no-engine", text)
        return
    if topology.engine_unread:
        text = f"what {topology.engine} keeps can't be read, so it can't be asked either: {topology.engine_unread}"
        yield Obstacle("engine-unread", text)
    if topology.standby_cluster:
        text = "this is a standby cluster: its leader follows another cluster, and none of its nodes takes writes"
        yield Obstacle("standby-cluster", text)
    if wish.verb is Verb.FAILOVER:
        return
    if topology.paused:
        text = f"{topology.engine} is paused: somebody wants that nothing moves; end the pause first"
        yield Obstacle("paused", text)
    if topology.primary is None and not topology.standby_cluster:
        yield Obstacle("no-primary", _no_primary(topology))
    if topology.engine == "stolon" and not topology.synchronous:
        text = (
            "stolon hands over without loss only to a synchronous standby, and synchronous replication is off: "
            "switch it on (`ha.synchronous` in the manifest), or use failover, which may lose the last writes"
        )
        yield Obstacle("not-synchronous", text)


def _no_primary(topology: Topology) -> str:
    found = topology.primaries
    if len(found) > 1:
        return f"{' and '.join(node.name for node in found)} both take writes: nobody knows which one is to hand over"
    if found and topology.leader:
        return f"{found[0].name} takes writes, and {topology.engine} says that {topology.leader} leads"
    if topology.leader:
        node = topology.node(topology.leader)
        why = f" ({node.error})" if node is not None and node.error else ""
        return f"the leader {topology.leader} takes no writes{why}: there is nobody to hand over; failover is for this"
    return "there is no primary: there is nobody to hand over; failover is for this"


def _of_wish(topology: Topology, wish: Wish, leader: str) -> Iterator[Obstacle]:
    if not wish.to:
        return
    node = topology.node(wish.to)
    if node is not None:
        yield from unfit(topology, node, wish)
        return
    names = sorted(each.name for each in topology.nodes)
    near = difflib.get_close_matches(wish.to, names, 1)
    others = ", ".join(name for name in names if name != leader) or "none"
    hint = f"did you mean {near[0]}?" if near else f"there are {others}"
    yield Obstacle("unknown-node", f"{topology.cluster} has no node {wish.to!r}; {hint}")


def _nobody(topology: Topology, wish: Wish) -> Iterator[Obstacle]:
    """With the reason of every node: "no candidate" alone helps nobody."""
    if topology.engine == "none":
        return
    leader = _leader(topology)
    whys = [why.text for node in topology.nodes if node.name != leader for why in unfit(topology, node, wish)]
    text = "; ".join(dict.fromkeys(whys)) or "the cluster has no other node"
    yield Obstacle("no-candidate", f"nobody can take over: {text}")


def _among(topology: Topology, fit: list[Node]) -> list[Node]:
    """The best first: synchronous, then who has received most. stolon takes no other than synchronous ones."""

    def rank(node: Node) -> tuple[bool, int, str]:
        return (not _synchronous(node), -_has(node), node.name)

    found = sorted(fit, key=rank)
    if topology.engine == "stolon" and topology.synchronous:
        return [node for node in found if _synchronous(node)]
    return found


def _not_sure(topology: Topology, wish: Wish, among: list[Node]) -> Iterator[Obstacle]:
    if topology.engine != "stolon" or len(among) < 2:
        return
    names = ", ".join(node.name for node in among)
    text = (
        f"stolon itself chooses between {names}, and can't be told which: leave out --to, or let {wish.to} be the "
        "only synchronous standby first (`ha.synchronous` with max: 1)"
    )
    yield Obstacle("engine-chooses", text, wish.to)


def _risks(topology: Topology, wish: Wish, candidate: Node | None) -> Iterator[str]:
    if wish.verb is Verb.FAILOVER and (primary := topology.primary) is not None:
        yield f"the primary {primary.name} answers: `pgvillage switchover {topology.cluster}` would lose nothing"
    for problem in topology.problems:
        if problem.severity == "error":
            yield problem.text
    if wish.verb is not Verb.FAILOVER or candidate is None:
        return
    lacks = _lacks(topology, _leader(topology), candidate)
    if lacks is None:
        yield f"how much {candidate.name} lacks is not known: the old primary's last position is not"
    elif lacks:
        yield f"{candidate.name} lacks {lacks:,} bytes of the last known position, and what was written after it"
    else:
        yield f"{candidate.name} has all up to the last known position; what was written after it would be lost"
    if topology.synchronous and not _synchronous(candidate):
        yield f"{candidate.name} is not synchronous: acknowledged writes may be lost"


def _lacks(topology: Topology, leader: str, candidate: Node | None) -> int | None:
    """Bytes of what is known to have been written."""
    if candidate is None:
        return None
    node = topology.node(leader)
    known = [p for p in (_written(node), *(_has(each) for each in topology.standbys)) if p]
    if node is None or not _written(node):
        return None
    return max(0, max(known) - _has(candidate))


def _written(node: Node | None) -> int:
    """The last that the leader, or the engine of it, told."""
    if node is None:
        return 0
    by_engine = node.engine.position if node.engine is not None else None
    return max(node.sql.position if node.sql is not None else 0, by_engine or 0)


def _has(node: Node) -> int:
    """What a standby has received, which it replays before it is promoted."""
    return max(node.sql.position, node.sql.received or 0) if node.sql is not None else 0


def _synchronous(node: Node) -> bool:
    return node.engine is not None and node.engine.synchronous


def _newest_timeline(topology: Topology) -> int:
    return max((node.sql.timeline for node in topology.nodes if node.sql is not None), default=0)


def _leader(topology: Topology) -> str:
    if topology.leader:
        return topology.leader
    return topology.primary.name if topology.primary is not None else ""
