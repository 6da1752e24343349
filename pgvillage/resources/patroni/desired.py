"""Kind patroni: the dynamic configuration that Patroni keeps, entry by entry, and what its nodes run with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Impact, Resource, Risk
from pgvillage.core.live import Live
from pgvillage.core.plan import Finding, System
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.engine.kind import Context, Desired, Judgement, Kind, Parsed
from pgvillage.estate.manifest.common import text_of
from pgvillage.estate.patroni_parameters import refuse_parameter, truth
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.patroni.config import at, merged, patch_at
from pgvillage.resources.patroni.findings import findings_of
from pgvillage.resources.patroni.members import number
from pgvillage.resources.patroni.restarts import running_wishes, steps_of, words_of
from pgvillage.resources.patroni.rules import lines_of
from pgvillage.resources.patroni.seen import Seen, seen
from pgvillage.resources.patroni.states import RunningState, ValueState, running_of
from pgvillage.resources.patroni.wishes import faults_of, fields_of, slot_of, standby_of, version_of

ORDER = 10

PARAMETER, FIELD, SLOT, RUNNING = "parameter", "field", "slot", "running"
HBA, STANDBY = ("hba",), ("standby_cluster",)
_NUMBERS = (
    "ttl", "loop_wait", "retry_timeout", "primary_start_timeout", "maximum_lag_on_failover", "synchronous_node_count",
)  # fmt: skip
SWITCHES = ("synchronous_mode", "synchronous_mode_strict", "postgresql.use_pg_rewind")
_OF_SLOT = ("type", "database", "plugin")


class PatroniConfiguration(Kind):
    """Addresses are ("parameter", NAME), ("field", PATH), ("slot", NAME), ("hba",), ("standby_cluster",) and
    ("running", NODE); what the manifest does not name is left alone.
    """

    name = "patroni"
    system = System.PATRONI
    holds_objects = False

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        spec = view.cluster.spec
        for name, value in view.parameters.items():
            path = ("spec", "postgres", "parameters", name) if name in spec.postgres.parameters else ("spec",)
            yield self._resource(view, (PARAMETER, name), None if value is None else text_of(value), *path)
        for name, wish in fields_of(spec.ha).items():
            yield self._resource(view, (FIELD, name), wish, "spec", "ha")
        for index, slot in enumerate(spec.replication_slots):
            entry = tuple(slot_of(slot).items()) if slot.ensure == "present" else None
            yield self._resource(view, (SLOT, slot.name), entry, "spec", "replicationSlots", index)
        if spec.ha.standby_of is not None:
            entry = tuple(standby_of(spec.ha).items()) or None
            yield self._resource(view, STANDBY, entry, "spec", "ha", "standbyOf")
        if spec.postgres.hba is not None:
            yield self._resource(view, HBA, (), "spec", "postgres", "hba")

    def _resource(self, view: ClusterView, name: tuple[str, ...], value: Any, *path: str | int) -> Resource:
        state = None if value is None else ValueState(value)
        return Resource(Address(view.name, self.name, name), state, source_of(view.located, *path), wish=state)

    def parse(self, live: Live) -> Parsed:
        found = seen(live)
        states: dict[Address, State] = {}

        def put(name: tuple[str, ...], state: State) -> None:
            states[Address(live.target, self.name, name)] = state

        for name, value in found.parameters.items():
            put((PARAMETER, name), ValueState(value))
        for name, live_value in _fields_in(found.config):
            put((FIELD, name), ValueState(live_value))
        slots = found.config.get("slots")
        for name, entry in slots.items() if isinstance(slots, Mapping) else ():
            pairs = entry.items() if isinstance(entry, Mapping) else ()
            put((SLOT, str(name)), ValueState(tuple((k, str(v)) for k, v in sorted(pairs) if k in _OF_SLOT)))
        standby = found.config.get("standby_cluster")
        if isinstance(standby, Mapping) and standby:
            put(STANDBY, ValueState(tuple(sorted((str(k), _plain(v)) for k, v in standby.items()))))
        lines = at(found.config, ("postgresql", "pg_hba"))
        if isinstance(lines, list):
            put(HBA, ValueState(tuple(map(str, lines))))
        for node, values in found.nodes():
            put((RUNNING, node.name), running_of(values))
        return Parsed(states, inventory=found, findings=tuple(findings_of(found)))

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        found, live = _seen(context), context.snapshot.live
        findings: list[Finding] = []
        resolved: Desired = {}
        for address, asked in desired.items():
            resource = asked
            if address.name == HBA:
                lines, told = lines_of(context.view, found, asked.source)
                findings += told
                whole = ValueState(lines)
                resource = asked._replace(wish=whole, state=live.get(address) if told else whole)
            resolved[address] = resource.with_state(_settled(address, resource.state, live.get(address), found))
        faults = [*_faults(resolved, found), *_too_old(resolved, found)]
        where = next((r.source for a, r in resolved.items() if a.name[0] == FIELD), "")
        findings += [Finding("error", f"{where}: {fault}", blocks=True) for fault in faults]
        wishes = running_wishes(resolved, found)
        resolved |= self._running(resolved, wishes, found, context)
        return resolved, [*findings, *words_of(resolved, found, context)]

    def _running(
        self, resolved: Desired, wishes: Mapping[str, str], found: Seen, context: Context
    ) -> dict[Address, Resource]:
        """One resource for each node that is up: the declared values of parameters that need a restart, in force."""
        if not wishes:
            return {}
        target = context.view.name
        source = next(r.source for a, r in resolved.items() if a.name == (PARAMETER, next(iter(wishes))))
        return {
            address: Resource(address, running_of({**values, **wishes}), source, wish=running_of(wishes))
            for node, values in found.nodes()
            for address in [Address(target, self.name, (RUNNING, node.name))]
        }

    def hindered(self, change: Change, others: Mapping[Address, Change], context: Context) -> str:
        if change.address.name[0] != RUNNING:
            return ""
        found = _seen(context)
        if found.topology.paused:
            return "Patroni is paused (its maintenance mode), so nothing restarts; `patronictl resume` ends that"
        if context.view.cluster.spec.ha.api is None:
            return "a restart is asked for by Patroni's REST API: name an entry of `patroni` in the settings as ha.api"
        names = [field.name for field in change.fields]
        late = [n for n in names if not _is_configured(n, change, others, found)]
        if late:
            return f"{', '.join(late)} is not in the configuration, as its own change is held"
        return _left_behind(change, others, found) or _not_patronis(change, others, found)

    def judge(self, change: Change, context: Context) -> Judgement:
        kind, name = change.address.name[0], change.address.name[-1]
        value = change.after.value if isinstance(change.after, ValueState) else None
        if kind == RUNNING:
            return Judgement(Risk.RESTART, Impact(restart=True))
        if kind == PARAMETER:
            refused = refuse_parameter(name, str(value)) if value is not None else ""
            restart = _seen(context).restarts(name)
            risk = Risk.RESTART if restart else Risk.CHANGE
            impact = Impact(reload=not restart, restart=restart)
            return Judgement(risk, impact, refused=f"{name}: {refused}" if refused else "")
        if kind == SLOT:
            return _judged_slot(change)
        if kind == HBA[0]:
            return Judgement(Risk.ACCESS, Impact(reload=True))
        if kind == STANDBY[0]:
            return Judgement(Risk.LOSS)
        weaker = name.startswith("synchronous_mode") and value == "off" and change.before is not None
        return Judgement(Risk.ACCESS if weaker else Risk.CHANGE)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        return steps_of(changes, _seen(context), patch_of)


KIND = PatroniConfiguration()


def patch_of(change: Change) -> dict[str, Any]:
    """The merge patch to Patroni's configuration that makes this change; null takes an entry away."""
    kind, name = change.address.name[0], change.address.name[-1]
    value: Any = change.after.value if isinstance(change.after, ValueState) else None
    if kind == PARAMETER:
        return patch_at(("postgresql", "parameters", name), written(value))
    if kind == FIELD:
        return patch_at(name.split("."), {"on": True, "off": False}.get(value, value) if name in SWITCHES else value)
    if kind == SLOT:
        return patch_at(("slots", name), dict(value) if value is not None else None)
    if kind == STANDBY[0]:
        return patch_at(STANDBY, dict(value) if value is not None else None)
    return patch_at(("postgresql", "pg_hba"), value)


def written(value: str | None) -> str | int | None:
    """As people write it: whole numbers as such."""
    return int(value) if value is not None and re.fullmatch(r"0|-?[1-9][0-9]{0,17}", value) else value


def _seen(context: Context) -> Seen:
    found = context.snapshot.inventory.get(KIND.name)
    assert isinstance(found, Seen)
    return found


def _fields_in(config: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name in _NUMBERS:
        if config.get(name) is not None:
            yield name, number(config[name], -1)
    for name in SWITCHES:
        value = at(config, name.split("."))
        if value is not None:
            yield name, "quorum" if value == "quorum" else text_of(truth(value))


def _settled(address: Address, wish: State | None, live: State | None, found: Seen) -> State | None:
    """Where live means the same, or says more than was asked for, it is as desired."""
    if not isinstance(wish, ValueState):
        return wish
    if address.name[0] == PARAMETER and isinstance(live, ValueState):
        name = address.name[1]
        return live if found.canonical(name, str(wish.value)) == found.canonical(name, str(live.value)) else wish
    if address.name == STANDBY or address.name[0] == SLOT:
        more = live.value if isinstance(live, ValueState) and address.name == STANDBY else ()
        return ValueState(tuple(sorted({**_pairs(more), **_pairs(wish.value)}.items())))
    return None if live is None and wish.value == "off" else wish  # what is not there is off


def _pairs(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, tuple) else {}


def _plain(value: object) -> str | int | bool:
    return value if isinstance(value, str | int | bool) else str(value)


def _faults(resolved: Desired, found: Seen) -> Iterable[str]:
    """Only of what the manifest has a say in: a rule that was broken before is a finding, and not ours to refuse."""
    timings = {
        address.name[1]: resource.state.value
        for address, resource in resolved.items()
        if address.name[1:] in (("ttl",), ("loop_wait",), ("retry_timeout",)) and isinstance(resource.state, ValueState)
    }
    return faults_of(merged(found.config, timings)) if timings else ()


def _too_old(resolved: Desired, found: Seen) -> Iterable[str]:
    wanted = next((r.state for a, r in resolved.items() if a.name == (FIELD, "synchronous_mode")), None)
    if not isinstance(wanted, ValueState) or wanted.value != "quorum":
        return
    for node in found.topology.nodes:
        version = node.engine.version if node.engine is not None else ""
        if version and version_of(version) < (4, 0):
            yield f"synchronous.quorum needs Patroni 4 on every node; {node.name} runs {version}"


def _is_configured(name: str, change: Change, others: Mapping[Address, Change], found: Seen) -> bool:
    """Or will be by another change of this plan."""
    if change.address._replace(name=(PARAMETER, name)) in others:
        return True
    wish = dict(change.after.values).get(name) if isinstance(change.after, RunningState) else None
    return name in found.parameters and found.canonical(name, found.parameters[name]) == wish


def _left_behind(change: Change, others: Mapping[Address, Change], found: Seen) -> str:
    """Nodes restart in an order that keeps standbys replaying: with one of them left out there is none."""
    wishes = dict(change.after.values) if isinstance(change.after, RunningState) else {}
    for node, values in found.nodes():
        late = [field.name for field in change.fields if values.get(field.name) != wishes.get(field.name)]
        if late and change.address._replace(name=(RUNNING, node.name)) not in others:
            return f"{node.name} needs a restart for {', '.join(late)} too, and its own is held: all of them or none"
    return ""


def _not_patronis(change: Change, others: Mapping[Address, Change], found: Seen) -> str:
    """A restart that Patroni knows nothing of would bring nothing: its own file on the node has the last word."""
    node = found.topology.node(change.address.name[1])
    if node is None or node.engine is None or node.sql is None or node.engine.pending_restart:
        return ""
    names = [field.name for field in change.fields]
    if any(change.address._replace(name=(PARAMETER, name)) in others for name in names) or node.sql.pending_restart:
        return ""
    return (
        f"{', '.join(names)} is in the configuration as declared, and neither Patroni nor PostgreSQL waits for a "
        "restart on this node: its own patroni.yml sets another value, or the configuration was changed a moment ago"
    )


def _judged_slot(change: Change) -> Judgement:
    if change.action is Action.CREATE:
        return Judgement(Risk.ADDITIVE)
    if change.action is Action.DELETE:
        return Judgement(Risk.LOSS, drops=1)
    return Judgement(
        Risk.LOSS,
        refused="a slot can't be changed in place, and a new one would not have this one's position: apply "
        "`ensure: absent` first, then declare it anew; or correct the manifest",
    )
