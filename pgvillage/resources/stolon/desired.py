"""Kind stolon: the cluster specification that stolon keeps in etcd, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Change, Impact, Resource, Risk
from pgvillage.core.live import Live
from pgvillage.core.plan import Finding, System
from pgvillage.core.state import State
from pgvillage.core.step import PatchStep, Step
from pgvillage.engine.kind import Context, Desired, Judgement, Kind, Parsed
from pgvillage.estate.manifest.cluster import HighAvailability, Synchronous, Timings
from pgvillage.estate.manifest.common import text_of
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.stolon.clusterdata import ClusterData, parse_clusterdata
from pgvillage.resources.stolon.parameters import refuse_parameters
from pgvillage.resources.stolon.spec import merge_patch, normalise, validate_change
from pgvillage.resources.stolon.values import ValueState

ORDER = 10

# The two profiles of timings; `fast` is what made the outage after kill -9 seven seconds instead of 34 in trials.
_TIMINGS: Mapping[str, Mapping[str, str]] = {
    "default": {"sleepInterval": "5s", "failInterval": "20s", "proxyCheckInterval": "5s", "proxyTimeout": "15s"},
    "fast": {"sleepInterval": "1s", "failInterval": "5s", "proxyCheckInterval": "1s", "proxyTimeout": "4s"},
}
_PARAMETER = "parameter"
_FIELD = "field"


class StolonSpec(Kind):
    """Addresses are ("parameter", NAME) and ("field", NAME); what the manifest does not name is left alone."""

    name = "stolon"
    system = System.STOLON

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        spec = view.cluster.spec
        for name, value in view.parameters.items():
            path = ("spec", "postgres", "parameters", name) if name in spec.postgres.parameters else ("spec",)
            state = None if value is None else ValueState(text_of(value))
            yield self._resource(view, (_PARAMETER, name), state, *path)
        for name, value in _fields(spec.ha).items():
            part = "timings" if name in _all_timings() else "synchronous"
            yield self._resource(view, (_FIELD, name), ValueState(value), "spec", "ha", part)

    def _resource(self, view: ClusterView, name: tuple[str, ...], state: State | None, *path: str | int) -> Resource:
        return Resource(Address(view.name, self.name, name), state, source_of(view.located, *path), wish=state)

    def parse(self, live: Live) -> Parsed:
        data = parse_clusterdata(live.rows["clusterdata"][0][0])
        spec = normalise(data.spec)
        states: dict[Address, State] = {
            Address(live.target, self.name, (_PARAMETER, name)): ValueState(value)
            for name, value in spec["pgParameters"].items()
        }
        for name, value in spec.items():
            if name != "pgParameters" and isinstance(value, str | int | bool):
                states[Address(live.target, self.name, (_FIELD, name))] = ValueState(value)
        return Parsed(states, inventory=data, findings=tuple(_findings(live.target, data)))

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        live = context.snapshot.live
        resolved = {a: r.with_state(_same_words(r.state, live.get(a))) for a, r in desired.items()}
        data = context.snapshot.inventory.get(self.name)
        assert isinstance(data, ClusterData)
        faults = _faults(resolved, data)
        if not faults:
            return resolved, []
        # stolon judges the whole specification: where it would refuse, no field of it is changed.
        kept = {a: r.with_state(live.get(a)) if a.name[0] == _FIELD else r for a, r in resolved.items()}
        where = next((r.source for a, r in resolved.items() if a.name[0] == _FIELD), None)
        return kept, [Finding("error", f"{where}: stolon would refuse this: {fault}", blocks=True) for fault in faults]

    def judge(self, change: Change, context: Context) -> Judgement:
        data = context.snapshot.inventory.get(self.name)
        assert isinstance(data, ClusterData)
        kind, name = change.address.name
        value = change.after.value if isinstance(change.after, ValueState) else None
        if kind == _PARAMETER:
            reasons = refuse_parameters({name: str(value)}, use_pgrewind=bool(data.spec.get("usePgrewind")))
            refused = reasons.get(name, "") if value is not None else ""
            return Judgement(Risk.CHANGE, Impact(reload=True), refused=f"{name}: {refused}" if refused else "")
        weaker = name == "synchronousReplication" and value is False
        return Judgement(Risk.ACCESS if weaker else Risk.CHANGE)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        patch = patch_of(changes)
        yield PatchStep(tuple(c.address for c in changes), patch)


KIND = StolonSpec()


def patch_of(changes: Iterable[Change]) -> dict[str, Any]:
    """One merge patch for all of them; null takes a parameter away."""
    patch: dict[str, Any] = {}
    for change in changes:
        kind, name = change.address.name
        value = change.after.value if isinstance(change.after, ValueState) else None
        if kind == _PARAMETER:
            patch.setdefault("pgParameters", {})[name] = value
        else:
            patch[name] = value
    return patch


def patched(document: bytes, patch: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The whole clusterdata with the patch merged into its spec, and every reason stolon would not take it."""
    data = parse_clusterdata(document)
    spec = merge_patch(data.spec, patch)
    faults = validate_change(data.spec, spec)
    whole = dict(data.document)
    whole["cluster"] = {**data.document["cluster"], "spec": spec}
    return whole, faults


def cluster_uid(document: bytes) -> str:
    return parse_clusterdata(document).uid


def _all_timings() -> set[str]:
    return {Timings.model_fields[name].alias or name for name in Timings.model_fields}


def _fields(ha: HighAvailability) -> dict[str, str | int | bool]:
    found: dict[str, str | int | bool] = {}
    if isinstance(ha.synchronous, Synchronous):
        found["synchronousReplication"] = True
        found["minSynchronousStandbys"] = ha.synchronous.min
        found["maxSynchronousStandbys"] = ha.synchronous.max
    elif ha.synchronous is False:
        found["synchronousReplication"] = False
    if isinstance(ha.timings, str):
        found |= _TIMINGS[ha.timings]
    elif ha.timings is not None:
        found |= ha.timings.model_dump(by_alias=True, exclude_none=True)
    return found


def _same_words(wish: State | None, live: State | None) -> State | None:
    """60s and 1m0s are the same time: where live means the same, take its words."""
    if not isinstance(wish, ValueState) or not isinstance(live, ValueState) or wish == live:
        return wish
    if isinstance(wish.value, str) and isinstance(live.value, str):
        from pgvillage.resources.stolon.durations import parse_go_duration

        try:
            return live if parse_go_duration(wish.value) == parse_go_duration(live.value) else wish
        except ValueError:
            return wish
    return wish


def _faults(desired: Desired, data: ClusterData) -> list[str]:
    fields = {
        address.name[1]: resource.state.value
        for address, resource in desired.items()
        if address.name[0] == _FIELD and isinstance(resource.state, ValueState)
    }
    return validate_change(data.spec, merge_patch(data.spec, fields))


def _findings(target: str, data: ClusterData) -> Iterable[Finding]:
    if data.phase != "normal":
        yield Finding("warning", f"stolon's cluster is in phase {data.phase or 'unknown'}, not normal")
    if data.master_keeper is None:
        yield Finding("error", "stolon knows no master: is every keeper down?")
    for uid, keeper in sorted(data.keepers.items()):
        if not keeper.healthy:
            yield Finding("warning", f"keeper {quote_part(uid)} is not healthy", Address(target, "keeper", (uid,)))
    if data.pending_keepers:
        names = ", ".join(map(quote_part, data.pending_keepers))
        yield Finding("info", f"keepers still following stolon's last decision: {names}")
