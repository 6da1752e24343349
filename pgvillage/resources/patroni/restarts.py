"""From changes to steps: what is written when, and which node restarts in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pgvillage.core.address import Address
from pgvillage.core.change import Change
from pgvillage.core.plan import Finding
from pgvillage.core.step import EngineStep, PatchStep, RestartStep, SettledStep, SwitchoverStep
from pgvillage.engine.kind import Context, Desired
from pgvillage.estate.patroni_parameters import refuse_parameter
from pgvillage.resources.patroni.seen import Seen
from pgvillage.resources.patroni.states import RunningState, ValueState
from pgvillage.topology.rollout import Action, NodeValues, Restart, Settled, Switchover, Write, roll_out

_PARAMETER, _RUNNING = "parameter", "running"
_ABLE = ("running", "streaming")


def running_wishes(resolved: Desired, found: Seen) -> dict[str, str]:
    """The declared parameters that need a restart, as pg_settings would have their values."""
    return {
        address.name[1]: found.canonical(address.name[1], str(resource.state.value))
        for address, resource in resolved.items()
        if address.name[0] == _PARAMETER
        and isinstance(resource.state, ValueState)
        and found.restarts(address.name[1])
        and not refuse_parameter(address.name[1], str(resource.state.value))
    }


def words_of(resolved: Desired, found: Seen, context: Context) -> Iterable[Finding]:
    """What is unusual about the restarts to come."""
    wishes = running_wishes(resolved, found)
    late = {
        node.name: {name: values.get(name, "") for name, wish in wishes.items() if values.get(name) != wish}
        for node, values in found.nodes()
    }
    for action in _actions(found, wishes, late) if any(late.values()) else ():
        if isinstance(action, Restart) and action.words:
            address = Address(context.view.name, "patroni", (_RUNNING, action.node))
            yield Finding("info", f"{action.node}: {action.words}", address)


def steps_of(
    changes: Sequence[Change], found: Seen, patch_of: Callable[[Change], dict[str, Any]]
) -> Iterable[EngineStep]:
    """One patch, unless nodes restart: then what needs a restart is written and brought into force in its order."""
    running = {change.address.name[1]: change for change in changes if change.address.name[0] == _RUNNING}
    rest = [change for change in changes if change.address.name[0] != _RUNNING]
    if not running:
        yield from _patch(rest, patch_of)
        return
    wishes, late = _late(running)
    by_name = {change.address.name[1]: change for change in rest if change.address.name[0] == _PARAMETER}
    nodes = tuple(change.address for change in running.values())
    at_once = [c for c in rest if c.address.name[0] != _PARAMETER or c.address.name[1] not in wishes]
    first = True
    actions = _actions(found, wishes, late)
    if at_once and not (actions and isinstance(actions[0], Write)):
        actions = (Write({}), *actions)
    for action in actions:
        if isinstance(action, Write):
            yield _written(action, at_once if first else [], by_name, nodes, patch_of)
            first = False
        else:
            yield _step(action, running, nodes)


def _patch(changes: Sequence[Change], patch_of: Callable[[Change], dict[str, Any]]) -> Iterable[PatchStep]:
    patch: dict[str, Any] = {}
    for change in changes:
        patch = _with(patch, patch_of(change))
    yield PatchStep(tuple(change.address for change in changes), patch)


def _written(
    action: Write,
    at_once: Sequence[Change],
    by_name: Mapping[str, Change],
    nodes: tuple[Address, ...],
    patch_of: Callable[[Change], dict[str, Any]],
) -> PatchStep:
    """It names the nodes too, so that no restart passes it."""
    patch: dict[str, Any] = {}
    done = []
    for change in at_once:
        patch = _with(patch, patch_of(change))
        done.append(change.address)
    for name, value in action.values.items():
        asked = by_name.get(name)
        if asked is None or _is_back(value, asked):
            patch = _with(patch, _value(name, value))
        else:
            patch = _with(patch, patch_of(asked))
            done.append(asked.address)
    return PatchStep((*done, *nodes), patch)


def _is_back(value: str, change: Change) -> bool:
    """Not the value that is wished for, but the one in force, until its round comes."""
    wish = _wish(change)
    return wish is not None and value.isdigit() and wish.isdigit() and value != wish


def _wish(change: Change) -> str | None:
    return str(change.after.value) if isinstance(change.after, ValueState) else None


def _value(name: str, value: str) -> dict[str, Any]:
    return {"postgresql": {"parameters": {name: int(value) if value.isdigit() else value}}}


def _with(patch: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Both patches in one; null stays in it, as it takes an entry away."""
    found = dict(patch)
    for name, value in more.items():
        below = found.get(name)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        found[name] = _with(below, value) if both else value  # type: ignore[arg-type]
    return found


def _step(action: Action, running: Mapping[str, Change], nodes: tuple[Address, ...]) -> EngineStep:
    if isinstance(action, Restart):
        return RestartStep(
            (running[action.node].address,) if action.node in running else nodes, action.node, action.names
        )
    if isinstance(action, Switchover):
        return SwitchoverStep(nodes, action.leader, action.to)
    assert isinstance(action, Settled)
    return SettledStep(nodes, tuple(action.values.items()))


def _late(running: Mapping[str, Change]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """What is wished for, and each node's values in force of what is not there yet."""
    wishes: dict[str, str] = {}
    late: dict[str, dict[str, str]] = {}
    for node, change in running.items():
        before = dict(change.before.values) if isinstance(change.before, RunningState) else {}
        after = dict(change.after.values) if isinstance(change.after, RunningState) else {}
        late[node] = {name: before.get(name, "") for name, value in after.items() if before.get(name) != value}
        wishes |= {name: after[name] for name in late[node]}
    return wishes, late


def _actions(found: Seen, wishes: Mapping[str, str], late: Mapping[str, Mapping[str, str]]) -> tuple[Action, ...]:
    topology = found.topology
    nodes = [
        NodeValues(
            name=node.name,
            leads=node.name == topology.leader,
            running=late.get(node.name, {}),
            may_lead=node.engine is not None and node.engine.may_lead and node.engine.state in _ABLE,
            synchronous=node.engine is not None and node.engine.synchronous,
        )
        for node, _ in found.nodes()
    ]
    configured = {name: found.canonical(name, value) for name, value in found.parameters.items()}
    return roll_out(nodes, wishes, configured, synchronous=found.state.chosen)
