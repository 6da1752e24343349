"""The lines of pg_hba.conf that a manifest asks for under Patroni, and why they would lock somebody out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pgvillage.core.change import Source
from pgvillage.core.plan import Finding
from pgvillage.estate.manifest.cluster import HbaRule
from pgvillage.estate.view import ClusterView
from pgvillage.resources.patroni.config import at
from pgvillage.resources.patroni.hba import (
    REPLICATION,
    engine_enters,
    engine_rules,
    hosts_of,
    lets_in,
    line_of,
    replication_role,
)
from pgvillage.resources.patroni.seen import Seen


def lines_of(view: ClusterView, found: Seen, source: Source) -> tuple[tuple[str, ...], list[Finding]]:
    """All lines, the engine's own needs first, and findings that block where somebody would be locked out."""
    ha, rules = view.cluster.spec.ha, view.cluster.spec.postgres.hba or []
    streams = ha.replication_role or replication_role(found.topology)
    added = engine_rules(found.topology, rules, streams, ha.rewind_role)
    whole = [*added, *rules]
    try:
        lines = [line_of(rule) for rule in rules]
        own = _kept(found, [line_of(rule) for rule in added], lines)
    except ValueError as error:
        return (), [Finding("error", f"{source}: postgres.hba: {error}", blocks=True)]
    faults = list(_faults(found, whole, streams))
    return (*own, *lines), [Finding("error", f"{source}: {fault}", blocks=True) for fault in faults]


def _kept(found: Seen, added: Sequence[str], lines: Sequence[str]) -> list[str]:
    """The engine's lines with those of members that are away: they come back, and must find the door open."""
    of_engine = [re.escape(" ".join(line.split()[:3])) for line in added]
    live = at(found.config, ("postgresql", "pg_hba"))
    there = [line for line in live if isinstance(line, str)] if isinstance(live, list) else []
    pattern = re.compile(f"(?:{'|'.join(of_engine)}) [0-9A-Za-z.:_/-]+ scram-sha-256") if of_engine else None
    old = [line for line in there if pattern and pattern.fullmatch(line) and line not in lines]
    return sorted({*added, *old})


def _faults(found: Seen, rules: Sequence[HbaRule], streams: str | None) -> Iterable[str]:
    if found.login and not lets_in(rules, "postgres", found.login, None):
        yield f"postgres.hba would lock out PgVillage itself: no rule lets in role {found.login}"
    if not engine_enters(rules, found.topology):
        yield (
            "postgres.hba would lock out Patroni: no rule lets its superuser in on the node itself; add one of type "
            "`local`, or for 127.0.0.1/32"
        )
    if len(found.topology.nodes) > 1 and streams is None:
        closed = [h for h in hosts_of(found.topology) if not lets_in(rules, REPLICATION, "", h)]
        if closed:
            yield (
                f"postgres.hba: which role standbys log in with is not known, and no rule lets replication in from "
                f"{', '.join(closed)}; name it as ha.replicationRole"
            )
