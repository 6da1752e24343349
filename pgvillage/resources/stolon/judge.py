"""What a change of stolon's specification costs, and what is not done at all."""

from __future__ import annotations

from pgvillage.core.change import Change, Impact, Risk
from pgvillage.engine.kind import Judgement
from pgvillage.estate.manifest.ha import Synchronous
from pgvillage.estate.stolon_parameters import refuse_parameters
from pgvillage.estate.view import ClusterView
from pgvillage.resources.stolon.clusterdata import Keeper
from pgvillage.resources.stolon.initial import INIT, judge_init
from pgvillage.resources.stolon.live import Found
from pgvillage.resources.stolon.values import Value, ValueState

_RELOAD = Impact(reload=True)
_RESTART = Impact(restart=True)


def judge(change: Change, found: Found, view: ClusterView) -> Judgement:
    kind, name = change.address.name
    if change.address.name == INIT:
        assert view.cluster.spec.ha.init is not None
        return judge_init(view.cluster.spec.ha.init, found.systems)
    if kind == "parameter":
        return _judge_parameter(change, found, view)
    if found.data is None:
        return Judgement(Risk.CHANGE)
    if name in ("pgHBA", "defaultSUReplAccessMode"):
        return _judge_rules(change)
    if name.startswith("standbyConfig.") or name == "role":
        return _judge_standby(change)
    return _judge_numbers(change, found, view)


def _judge_parameter(change: Change, found: Found, view: ClusterView) -> Judgement:
    name, value = change.address.name[1], _value(change)
    rewind = view.cluster.spec.ha.rewind
    rewind = bool(found.spec.get("usePgrewind")) if rewind is None else rewind
    reasons = refuse_parameters({name: str(value)}, use_pgrewind=rewind) if value is not None else {}
    return Judgement(Risk.CHANGE, _RELOAD, refused=f"{name}: {reasons[name]}" if name in reasons else "")


def _judge_numbers(change: Change, found: Found, view: ClusterView) -> Judgement:
    name = change.address.name[1]
    if name == "additionalMasterReplicationSlots":
        gone = set(_texts(change.before)) - set(_texts(change.after))
        return Judgement(Risk.LOSS, drops=len(gone)) if gone else Judgement(Risk.ADDITIVE)
    if name == "synchronousReplication" and _value(change) is False:
        return Judgement(Risk.ACCESS)
    wish = view.cluster.spec.ha.synchronous
    if name in ("synchronousReplication", "minSynchronousStandbys") and isinstance(wish, Synchronous):
        return Judgement(Risk.CHANGE, refused=_too_few(wish.min, found))
    return Judgement(Risk.CHANGE)


def _judge_rules(change: Change) -> Judgement:
    """Somebody may lose access: by a rule that is gone, or by one that stands before it now."""
    before, after = _texts(change.before), _texts(change.after)
    only_more = change.address.name[1] == "pgHBA" and bool(before) and after[: len(before)] == before
    return Judgement(Risk.CHANGE if only_more else Risk.ACCESS, _RELOAD)


def _judge_standby(change: Change) -> Judgement:
    if change.address.name[1] == "role" and _value(change) == "master":
        return Judgement(Risk.LOSS)  # it never follows the other cluster again
    return Judgement(Risk.RESTART, _RESTART)  # the keeper that leads restarts its PostgreSQL for it, by itself


def _too_few(least: int, found: Found) -> str:
    """Where fewer standbys are well than must confirm, every commit would wait from that moment on."""
    keepers = found.data.keepers.values() if found.data else ()
    able = sum(k.healthy and k.can_be_synchronous_replica and _follows(k) for k in keepers)
    if least <= able:
        return ""
    could = "one standby" if able == 1 else f"{able or 'no'} standbys"
    return (
        f"{could} could confirm and {least} must: every commit would wait from now on; bring standbys up first, "
        "or say `min: 0`"
    )


def _follows(keeper: Keeper) -> bool:
    return keeper.db is not None and keeper.db.healthy and keeper.db.role == "standby"


def _value(change: Change) -> Value:
    return change.after.value if isinstance(change.after, ValueState) else None


def _texts(state: object) -> tuple[str, ...]:
    return state.value if isinstance(state, ValueState) and isinstance(state.value, tuple) else ()
