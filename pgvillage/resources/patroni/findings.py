"""What a look at Patroni's own state has to say, besides what differs."""

from __future__ import annotations

from collections.abc import Iterable

from pgvillage.core.address import quote_part
from pgvillage.core.plan import Finding
from pgvillage.resources.patroni.seen import Seen
from pgvillage.resources.patroni.wishes import faults_of


def findings_of(found: Seen) -> Iterable[Finding]:
    for note in found.notes:
        yield Finding("info", note)
    for key in found.state.ill:
        yield Finding("warning", f"Patroni's key {quote_part(key)} can't be read")
    for fault in faults_of(found.config):
        yield Finding("warning", f"Patroni's configuration: {fault}")
    if found.topology.paused:
        text = "Patroni is paused (its maintenance mode): it does not fail over, and nothing restarts"
        yield Finding("warning", f"{text}; changes of its configuration are written")
    if not found.state.leader:
        yield Finding("error", "Patroni knows no leader: is every member down?")
    for node in found.topology.nodes:
        if node.engine is not None and not node.engine.healthy:
            yield Finding("warning", f"member {quote_part(node.name)} is {node.engine.state or 'in no known state'}")
