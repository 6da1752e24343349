"""Kind stolon: the cluster specification that stolon keeps in etcd, field by field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pgvillage.core.address import Address
from pgvillage.core.change import Change, Resource
from pgvillage.core.live import Live
from pgvillage.core.plan import Finding, System
from pgvillage.core.state import State
from pgvillage.core.step import PatchStep, Step
from pgvillage.engine.kind import Context, Desired, Judgement, Kind, Parsed
from pgvillage.estate.manifest.common import text_of
from pgvillage.estate.stolon_parameters import stored
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.stolon.clusterdata import ClusterData, NotClusterData, parse_clusterdata
from pgvillage.resources.stolon.initial import INIT, InitialState, patch_of_init
from pgvillage.resources.stolon.judge import judge
from pgvillage.resources.stolon.live import Found, states_of
from pgvillage.resources.stolon.restarts import (
    RUNNING,
    Rollout,
    judge_running,
    judge_written,
    rollout_of,
    running_resources,
    running_states,
)
from pgvillage.resources.stolon.spec import FieldType, merge_patch, nested, normalise, spec_field, validate_change
from pgvillage.resources.stolon.values import Value, ValueState
from pgvillage.resources.stolon.warnings import rules_findings, strict_is_unsafe, warnings
from pgvillage.resources.stolon.wishes import slots_wished, wishes_of

ORDER = 10

_PARAMETER = "parameter"
_FIELD = "field"
_SLOTS = "additionalMasterReplicationSlots"


class StolonSpec(Kind):
    """Addresses are ("parameter", NAME), ("field", NAME) and INIT; what the manifest does not name is left alone."""

    name = "stolon"
    system = System.STOLON

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        spec = view.cluster.spec
        if spec.ha.init is not None:
            yield self._resource(view, INIT, ValueState(spec.ha.init.mode), "spec", "ha", "init")
        for name, value in view.parameters.items():
            path = ("spec", "postgres", "parameters", name) if name in spec.postgres.parameters else ("spec",)
            state = None if value is None else ValueState(stored(text_of(value)))
            yield self._resource(view, (_PARAMETER, name), state, *path)
        for wish in wishes_of(spec.ha, spec.postgres.hba):
            yield self._resource(view, (_FIELD, wish.field), _state(wish.value), *wish.path)
        slots = slots_wished(spec.replication_slots, ())
        if slots != () or any(slot.name.startswith("stolon_") for slot in spec.replication_slots):
            yield self._resource(view, (_FIELD, _SLOTS), ValueState(slots), "spec", "replicationSlots")

    def _resource(self, view: ClusterView, name: tuple[str, ...], state: State | None, *path: str | int) -> Resource:
        return Resource(Address(view.name, self.name, name), state, source_of(view.located, *path), wish=state)

    def parse(self, live: Live) -> Parsed:
        found = Found.of(live)
        told = () if found.data is None else tuple(warnings(live.target, found))
        states = states_of(live.target, self.name, found)
        states |= running_states(live.target, self.name, found.topology)
        return Parsed(states, inventory=found, findings=told)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        found = found_in(context)
        if found.data is None:
            return self._made(desired, context.view)
        resolved, findings = self._settled(desired, context, found)
        faults = _faults(resolved, found.data)
        if not faults:
            return resolved, findings
        # stolon judges the whole specification: where it would refuse, no field of it is changed.
        live = context.snapshot.live
        kept = {a: r.with_state(live.get(a)) if a.name[0] == _FIELD else r for a, r in resolved.items()}
        where = next((r.source for a, r in resolved.items() if a.name[0] == _FIELD), None)
        return kept, [*findings, *_refusals(str(where), faults)]

    def _made(self, desired: Desired, view: ClusterView) -> tuple[Desired, list[Finding]]:
        """One change for the whole cluster that is to be made: all of it is written at once or nothing."""
        assert view.cluster.spec.ha.init is not None  # without it a cluster that is not there can't be read
        patch = _patch((a.name, r.state) for a, r in desired.items()) | patch_of_init(view.cluster.spec.ha.init)
        spec = merge_patch({}, patch)
        address = Address(view.name, self.name, INIT)
        resource = desired[address].with_state(InitialState(json.dumps(spec, sort_keys=True, ensure_ascii=False)))
        faults = validate_change({}, spec)
        return ({} if faults else {address: resource}), _refusals(str(resource.source), faults)

    def _settled(self, desired: Desired, context: Context, found: Found) -> tuple[Desired, list[Finding]]:
        live, data, view = context.snapshot.live, found.data, context.view
        assert data is not None
        resolved = {a: r.with_state(_same_words(a, r.state, live.get(a))) for a, r in desired.items()}
        findings = list(rules_findings(context.view, found))
        for address, resource in desired.items():
            if address.name == INIT:
                resolved[address] = resource.with_state(live.get(address))  # read once; no drift afterwards
            elif address.name == (_FIELD, _SLOTS):
                slots = slots_wished(context.view.cluster.spec.replication_slots, found.spec[_SLOTS])
                resolved[address] = resource.with_state(ValueState(slots))
            elif address.name == (_FIELD, "defaultSUReplAccessMode") and strict_is_unsafe(data):
                resolved[address] = resource.with_state(live.get(address))
        source = source_of(view.located, "spec", "postgres", "parameters")
        waiting = running_resources(view.name, self.name, context.once(rollout_in), live, source)
        return resolved | {resource.address: resource for resource in waiting}, findings

    def judge(self, change: Change, context: Context) -> Judgement:
        kind, name = change.address.name
        if kind == RUNNING:
            return judge_running(context.once(rollout_in), name)
        judgement = judge(change, found_in(context), context.view)
        if kind == _PARAMETER and not judgement.refused:
            return judge_written(judgement, context.once(rollout_in), name)
        return judgement

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        addresses = tuple(change.address for change in changes)
        if found_in(context).data is None:
            (change,) = changes
            assert isinstance(change.after, InitialState)
            yield PatchStep(addresses, json.loads(change.after.specification))
        else:
            yield PatchStep(addresses, patch_of(changes))


KIND = StolonSpec()


def found_in(context: Context) -> Found:
    found = context.snapshot.inventory.get(StolonSpec.name)
    assert isinstance(found, Found)
    return found


def rollout_in(context: Context) -> Rollout | None:
    """Which keepers wait for a restart, and what has to wait for them."""
    found = found_in(context)
    wishes = {name: text_of(value) for name, value in context.view.parameters.items() if value is not None}
    return rollout_of(found.topology, wishes, found.spec.get("pgParameters", {}))


def patch_of(changes: Iterable[Change]) -> dict[str, Any]:
    """One merge patch for all of them; null takes a parameter or field away."""
    return _patch((change.address.name, change.after) for change in changes)


def _patch(states: Iterable[tuple[tuple[str, ...], State | None]]) -> dict[str, Any]:
    fields: list[tuple[str, Value]] = []
    parameters: dict[str, Value] = {}
    for (kind, name), state in states:
        value = state.value if isinstance(state, ValueState) else None
        if kind == _PARAMETER:
            parameters[name] = value
        elif kind == _FIELD:
            fields.append((name, value))
    return nested(fields) | ({"pgParameters": parameters} if parameters else {})


def patched(document: bytes, patch: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The whole clusterdata with the patch merged into its spec, and every reason stolon would not take it."""
    try:
        data = parse_clusterdata(document)
        spec = merge_patch(data.spec, patch)
        faults = validate_change(data.spec, spec)
    except NotClusterData as error:
        return {}, [str(error)]
    whole = dict(data.document)
    whole["cluster"] = {**data.document["cluster"], "spec": spec}
    return whole, faults


def cluster_uid(document: bytes) -> str:
    return parse_clusterdata(document).uid


def _state(value: Value) -> State | None:
    return None if value is None else ValueState(value)


def _same_words(address: Address, wish: State | None, live: State | None) -> State | None:
    """60s and 1m0s are the same time: where live means the same, take its words."""
    if not isinstance(wish, ValueState) or not isinstance(live, ValueState) or wish == live:
        return wish
    name = address.name[1]
    each = spec_field(name) if address.name[0] == _FIELD else None
    if each is None or each.type is not FieldType.DURATION:
        return wish
    try:
        same = normalise({name: wish.value})[name] == normalise({name: live.value})[name]
    except ValueError:
        return wish  # stolon's own words for it come with the findings
    return live if same else wish


def _refusals(where: str, faults: Iterable[str]) -> list[Finding]:
    return [Finding("error", f"{where}: stolon would refuse this: {fault}", blocks=True) for fault in faults]


def _faults(desired: Desired, data: ClusterData) -> list[str]:
    """In stolon's own words, of the specification as it would be."""
    patch = _patch((a.name, r.state) for a, r in desired.items() if a.name[0] == _FIELD)
    return validate_change(data.spec, merge_patch(data.spec, patch))
