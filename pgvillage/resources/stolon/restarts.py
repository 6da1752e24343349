"""What waits for a restart on which keeper: on stolon only the host can do it, so the plan says all of it in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Impact, Resource, Risk, Source
from pgvillage.core.guc import Guc
from pgvillage.core.state import State
from pgvillage.core.topology import Node, Topology
from pgvillage.engine.kind import Judgement
from pgvillage.resources.postgres.guc import canonical_value
from pgvillage.topology.rollout import STANDBY_SENSITIVE, NodeValues, Restart, Settled, Switchover, Write, roll_out

RUNNING = "running"


@dataclass(frozen=True, slots=True)
class RunningState(State):
    """Values in force on one node of parameters that need a restart, by name in order; base units."""

    values: tuple[tuple[str, str], ...]

    def as_fields(self) -> Mapping[str, Any]:
        return dict(self.values)


@dataclass(frozen=True, slots=True)
class Rollout:
    """`running` and `wished` by keeper and parameter, of what a restart would change; `words` says in which order.

    `later` are parameters that are not written yet: another value has to be in force everywhere first.
    """

    running: Mapping[str, Mapping[str, str]]
    wished: Mapping[str, str]
    words: str
    later: frozenset[str]


def rollout_of(topology: Topology | None, wishes: Mapping[str, str], configured: Mapping[str, str]) -> Rollout | None:
    """`wishes` are the declared parameters as the manifest has them, `configured` those of stolon's specification.

    None where no node said what it runs with.
    """
    answered = [node for node in topology.nodes if node.sql is not None] if topology else []
    if topology is None or not answered:
        return None
    gucs = {name: guc for node in answered if node.sql for name, guc in node.sql.gucs.items()}
    fixed = {name: guc for name, guc in gucs.items() if guc.context == "postmaster" and name in wishes}
    wished = {name: canonical_value(guc, wishes[name]) for name, guc in fixed.items()}
    said = {name: canonical_value(guc, configured[name]) for name, guc in fixed.items() if name in configured}
    nodes = [_values(node, topology, wished, fixed) for node in answered]
    actions = roll_out(nodes, wished, said, synchronous=topology.synchronous > 0)
    running = {n.name: {p: v for p, v in n.running.items() if v != wished[p]} for n in nodes}
    first = next((a for a in actions if isinstance(a, Write)), None)
    back = {name for name, value in (first.values if first else {}).items() if value != wished[name]}
    later = {n for a in actions if isinstance(a, Write) and a is not first for n in a.values} | back
    return Rollout({k: v for k, v in running.items() if v}, wished, _words(actions), frozenset(later))


def _values(node: Node, topology: Topology, wished: Mapping[str, str], gucs: Mapping[str, Guc]) -> NodeValues:
    assert node.sql is not None
    running = {name: canonical_value(gucs[name], node.sql.running[name]) for name in wished if name in node.sql.running}
    engine = node.engine
    return NodeValues(
        node.name,
        node.name == topology.leader,
        running,
        may_lead=engine is not None and engine.may_lead and engine.healthy is not False,
        synchronous=engine is not None and engine.synchronous,
    )


def _words(actions: tuple[object, ...]) -> str:
    steps: list[str] = []
    for action in actions:
        if isinstance(action, Restart):
            in_place = " (it leads: clients wait until it is back)" if action.words else ""
            steps.append(f"restart keeper {quote_part(action.node)}{in_place}")
        elif isinstance(action, Switchover):
            steps.append(f"make {quote_part(action.to)} synchronous and lead (stolonctl failkeeper {action.leader})")
        elif isinstance(action, Settled):
            steps.append("wait until every standby has replayed that")
        elif steps:
            steps.append(f"then {', '.join(sorted(getattr(action, 'values', ())))} is written, and it goes on")
    return ", ".join(steps)


def running_states(target: str, kind: str, topology: Topology | None) -> dict[Address, State]:
    """By keeper, what its PostgreSQL runs with of the declared parameters that need a restart."""
    found: dict[Address, State] = {}
    for node in topology.nodes if topology else ():
        if node.sql is not None and node.engine is not None:
            fixed = {name: guc for name, guc in node.sql.gucs.items() if guc.context == "postmaster"}
            running = {n: canonical_value(fixed[n], v) for n, v in node.sql.running.items() if n in fixed}
            found[Address(target, kind, (RUNNING, node.name))] = _state(running)
    return found


def running_resources(
    target: str, kind: str, rollout: Rollout | None, live: Mapping[Address, State], source: Source
) -> Iterator[Resource]:
    """What each keeper that waits for a restart should run with."""
    for keeper in sorted(rollout.running if rollout else ()):
        assert rollout is not None
        address = Address(target, kind, (RUNNING, keeper))
        state = live.get(address)
        if not isinstance(state, RunningState):  # a host of the manifest that is no keeper's
            continue
        wished = {name: rollout.wished[name] for name in rollout.running[keeper]}
        yield Resource(address, _state({**dict(state.values), **wished}), source)


def _state(values: Mapping[str, str]) -> RunningState:
    return RunningState(tuple(sorted(values.items())))


def judge_running(rollout: Rollout | None, keeper: str) -> Judgement:
    """Never done by PgVillage: nothing but the host can restart PostgreSQL under a keeper."""
    words = rollout.words if rollout else ""
    lowered = _lowered(rollout, keeper)
    warning = (
        f"; should a standby restart before the primary runs the lower {', '.join(lowered)}, it stops and stays down "
        "until the primary has restarted too"
        if lowered
        else ""
    )
    refused = f"only its host can restart it. One at a time, each back before the next: {words}{warning}"
    return Judgement(Risk.RESTART, Impact(restart=True), refused=refused)


def _lowered(rollout: Rollout | None, keeper: str) -> list[str]:
    values = rollout.running.get(keeper, {}) if rollout else {}
    return [
        name for name, value in sorted(values.items())
        if rollout and name in STANDBY_SENSITIVE and value.isdigit() and int(value) > int(rollout.wished[name])
    ]  # fmt: skip


def judge_written(judgement: Judgement, rollout: Rollout | None, parameter: str) -> Judgement:
    """The value goes into the specification: at once, or when others are in force everywhere."""
    if rollout is None or parameter not in rollout.wished:
        return judgement
    if parameter not in rollout.later:
        return replace(judgement, impact=Impact(restart=True))
    words = (
        f"{parameter} falls while another value that standbys depend on rises: it is written once every node runs the "
        f"raised ones ({rollout.words})"
    )
    return replace(judgement, impact=Impact(restart=True), refused=words)
