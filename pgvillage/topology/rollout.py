"""In which order nodes restart so that new values come into force and no standby is ever below its primary.

A standby whose max_connections (or another of the five that WAL carries) is lower than its primary's stops replaying.
So what rises reaches standbys first, and what falls reaches the primary first; both at once are two rounds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

STANDBY_SENSITIVE = frozenset(
    {
        "max_connections",
        "max_prepared_transactions",
        "max_locks_per_transaction",
        "max_wal_senders",
        "max_worker_processes",
    }
)


@dataclass(frozen=True, slots=True)
class NodeValues:
    """One node: `running` are the values in force of what is wished for, as texts (base units); a name that is not
    there is as wished. `may_lead`: a switchover to it would be taken; `synchronous`: commits wait for it now.
    """

    name: str
    leads: bool
    running: Mapping[str, str]
    may_lead: bool = True
    synchronous: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """These values go into the configuration."""

    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Restart:
    """`names` are the parameters that it brings into force; `words` says what is unusual about it."""

    node: str
    names: tuple[str, ...]
    words: str = ""


@dataclass(frozen=True, slots=True)
class Switchover:
    leader: str
    to: str


@dataclass(frozen=True, slots=True)
class Settled:
    """Until every standby's pg_controldata shows these values of the primary."""

    values: Mapping[str, str]


Action = Write | Restart | Switchover | Settled
IN_PLACE = "no other node may lead, so the primary restarts in place: clients wait until it is back"
LOWERED = "a lowered value has to reach the primary first, so it restarts in place: clients wait until it is back"


def roll_out(
    nodes: Sequence[NodeValues],
    wishes: Mapping[str, str],
    configured: Mapping[str, str],
    *,
    synchronous: bool = False,
) -> tuple[Action, ...]:
    """All actions, in their order. Nodes that do not answer are not among `nodes`.

    `wishes` are the parameters that need a restart, with their values as texts (base units where they are numbers);
    `configured` what the engine's configuration says of them now. `synchronous`: only a synchronous standby may lead.
    """
    leader = next((node for node in nodes if node.leads), None)
    if leader is None:
        return _written(wishes, configured)
    standbys = [node for node in nodes if not node.leads]
    sensitive = {name: wish for name, wish in wishes.items() if name in STANDBY_SENSITIVE}
    lowered = {name: wish for name, wish in sensitive.items() if _is_lowered(leader, standbys, name, wish)}
    raised = {
        name
        for name, wish in sensitive.items()
        if name not in lowered and any(_falls(wish, node.running.get(name)) for node in nodes)
    }
    if not lowered:
        return _up(leader, standbys, wishes, configured, synchronous=synchronous)[0]
    if not raised:
        return _down(leader, standbys, wishes, configured)
    first = {name: wish for name, wish in wishes.items() if name not in lowered}
    # What is configured lower already would come into force with the first round: it goes back until its own.
    back = {name: leader.running[name] for name in lowered if name in leader.running}
    known = {name: lowered[name] for name in sorted(lowered.keys() - back.keys())}
    actions, led_by = _up(leader, standbys, {**first, **back}, configured, synchronous=synchronous, due=first)
    now = next(node for node in nodes if node.name == led_by)
    others = [node for node in nodes if node.name != led_by]
    after = _down(now, others, lowered, {**configured, **back})
    return (*([Settled(known)] if known else []), *actions, *after)


def _is_lowered(leader: NodeValues, standbys: Sequence[NodeValues], name: str, wish: str) -> bool:
    """Of the primary, or of it already and of a standby not yet."""
    if name in leader.running and leader.running[name] != wish:
        return _falls(leader.running[name], wish)
    return any(_falls(standby.running.get(name), wish) for standby in standbys)


def _up(
    leader: NodeValues,
    standbys: Sequence[NodeValues],
    values: Mapping[str, str],
    configured: Mapping[str, str],
    *,
    synchronous: bool,
    due: Mapping[str, str] | None = None,
) -> tuple[tuple[Action, ...], str]:
    """Standbys one by one, then another leads, then the old primary; and who leads at the end.

    `values` are written, and `due` of them (all, when None) are what nodes restart for.
    """
    wishes = values if due is None else due
    actions: list[Action] = [*_written(values, configured)]
    late = sorted((s for s in standbys if _names(s, wishes)), key=lambda s: not s.synchronous)
    actions += [Restart(standby.name, _names(standby, wishes)) for standby in late]
    names = _names(leader, wishes)
    if not names:
        return tuple(actions), leader.name
    # Who keeps more than its primary has of what is to fall would, as the primary, leave the others below it.
    able = {s.name for s in standbys if s.may_lead and (s in late or not _is_above(s, leader))}
    heir = _heir(standbys, late, able, synchronous=synchronous)
    if heir is None:
        return (*actions, Restart(leader.name, names, IN_PLACE)), leader.name
    return (*actions, Switchover(leader.name, heir), Restart(leader.name, names)), heir


def _down(
    leader: NodeValues, standbys: Sequence[NodeValues], wishes: Mapping[str, str], configured: Mapping[str, str]
) -> tuple[Action, ...]:
    """The primary in place, then all standbys learn of it by WAL, then they one by one."""
    actions: list[Action] = [*_written(wishes, configured)]
    if names := _names(leader, wishes):
        actions.append(Restart(leader.name, names, LOWERED))
    due = [standby for standby in standbys if _names(standby, wishes)]
    late = {name for standby in due for name in _names(standby, wishes)} & STANDBY_SENSITIVE
    if late:
        actions.append(Settled({name: wishes[name] for name in sorted(late)}))
    actions += [Restart(standby.name, _names(standby, wishes)) for standby in due]
    return tuple(actions)


def _is_above(standby: NodeValues, leader: NodeValues) -> bool:
    """In a value that is to fall; a name that the leader lacks is as wished there."""
    return any(
        name in STANDBY_SENSITIVE and (name not in leader.running or _falls(value, leader.running[name]))
        for name, value in standby.running.items()
    )


def _heir(
    standbys: Sequence[NodeValues], due: Sequence[NodeValues], able: Collection[str], *, synchronous: bool
) -> str | None:
    """Who may lead once the due ones have restarted: of a synchronous cluster who is synchronous by then, as a standby
    that restarts hands that on to another.
    """
    if not synchronous:
        return next((standby.name for standby in standbys if standby.name in able), None)
    now = next((standby.name for standby in standbys if standby.synchronous), None)
    for standby in due:
        if standby.name == now:
            now = next((s.name for s in standbys if s.name != now), now)
    return now if now in able else None


def _written(wishes: Mapping[str, str], configured: Mapping[str, str]) -> tuple[Write, ...]:
    values = {name: wishes[name] for name in sorted(wishes) if configured.get(name) != wishes[name]}
    return (Write(values),) if values else ()


def _names(node: NodeValues, wishes: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(n for n in sorted(wishes) if node.running.get(n, wishes[n]) != wishes[n])


def _falls(before: str | None, after: str | None) -> bool:
    """Both are whole numbers and the second is less."""
    try:
        return int(before or "") > int(after or "")
    except ValueError:
        return False
