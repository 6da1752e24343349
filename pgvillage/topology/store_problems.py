"""What is wrong with the etcd that an engine keeps its state in; pure."""

from __future__ import annotations

from collections.abc import Iterator

from pgvillage.core.address import quote_part
from pgvillage.core.topology import Problem, Topology
from pgvillage.topology.limits import said

_ADVICE = {
    "NOSPACE": ": it takes no writes, so that no failover can happen; compact and defragment it, then disarm the alarm"
}


def store_problems(topology: Topology) -> Iterator[Problem]:
    store = topology.store
    if store is None:
        return
    name = f"etcd {quote_part(store.name)}"
    silent = [member for member in store.members if member.error]
    if store.error:
        # What could not be read for this reason is said with it already.
        if not topology.engine_unread:
            yield Problem("error", "etcd-unread", f"{name} could not be asked: {said(store.error)}")
        return
    if not store.quorum:
        yield Problem(
            "error", "etcd-quorum",
            f"{name} has no quorum ({len(store.members) - len(silent)} of {len(store.members)} members answer): the "
            "engine can't fail over, and a leader that loses its lease may step down; bring members back",
        )  # fmt: skip
    elif store.members and not store.leader and len(silent) < len(store.members):
        yield Problem("error", "etcd-no-leader", f"{name} has no leader that answers: it elects one, or can't")
    for member in silent:
        yield Problem(
            "warning", "etcd-no-answer",
            f"member {quote_part(member.name)} of {name} does not answer: {said(member.error)}",
        )  # fmt: skip
    for alarm in sorted(set(store.alarms)):
        yield Problem("error", "etcd-alarm", f"{name} has the alarm {quote_part(alarm)}{_ADVICE.get(alarm, '')}")
