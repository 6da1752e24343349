"""What the routing API answers: HTTP status and a JSON document, of what the monitor knows. No I/O."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgvillage.core.node_name import node_name
from pgvillage.routing.health import CHECKS, Sight
from pgvillage.routing.judge import Group
from pgvillage.routing.lag import bytes_of
from pgvillage.routing.monitor import Monitor

_SHOWN = 80
_STARTING = "the estate was not read yet"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    document: Any


def _no(status: int, words: str) -> Answer:
    return Answer(status, {"error": words})


class Answers:
    """`most` is the lag in bytes that a standby may have where nobody says less."""

    def __init__(self, monitor: Monitor, most: int | None) -> None:
        self._monitor, self._most = monitor, most

    def primary(self, group_name: str | None) -> Answer:
        """The name; 404 where there is none, 409 where there is doubt."""
        group = self._group(group_name)
        if isinstance(group, Answer):
            return group
        if group.memory.doubts:
            return _no(409, _in_doubt(group))
        name = group.primary(self._monitor.clock())
        return Answer(200, name) if name else _no(404, f"{group.name} has no primary now")

    def primaries(self, group_name: str | None) -> Answer:
        """None or one: two are never named."""
        group = self._group(group_name)
        if isinstance(group, Answer):
            return group
        if group.memory.doubts:
            return _no(409, _in_doubt(group))
        name = group.primary(self._monitor.clock())
        return Answer(200, [name] if name else [])

    def standbys(self, group_name: str | None) -> Answer:
        group = self._group(group_name)
        if isinstance(group, Answer):
            return group
        found = [self._monitor.sight(group.name, node) for node in group.standbys(self._monitor.clock())]
        return Answer(200, [sight.node for sight in found if sight is not None and sight.follows(self._most)])

    def status(self, node: str, group_name: str | None) -> Answer:
        """`primary` or `standby`; 422 for one that is neither now."""
        sight = self._sight(node, group_name)
        if isinstance(sight, Answer):
            return sight
        if sight.primary or sight.standby:
            return Answer(200, "primary" if sight.primary else "standby")
        return _no(422, f"{sight.node}: {sight.why or 'unavailable'}")

    def availability(self, node: str, group_name: str | None, limit: str) -> Answer:
        """Whether it is at most `limit` seconds behind the primary; 422 where it is more, or nobody knows."""
        sight = self._sight(node, group_name)
        if isinstance(sight, Answer):
            return sight
        try:
            most = float(limit)
        except ValueError:
            most = -1.0
        if not 0 <= most <= 1e9:
            return _no(400, f"limit: expected seconds, found {limit[:_SHOWN]!r}")
        if not (sight.primary or sight.standby) or sight.seconds is None:
            return _no(422, f"{sight.node}: {sight.why or 'how far it is behind is not known yet'}")
        if sight.seconds > most:
            return _no(422, f"{sight.node}: {sight.seconds:.1f} s behind, more than {most:g} s")
        return Answer(200, "ok")

    def check(self, sight: Sight, name: str, lag: str | None) -> Answer:
        """One of Patroni's health checks of a node: 200 or 503."""
        most = self._most
        if lag is not None:
            asked = bytes_of(lag)
            if asked is None:
                return _no(400, f"lag: expected bytes such as 1048576 or 10MB, found {lag[:_SHOWN]!r}")
            most = asked if most is None else min(asked, most)
        good = CHECKS[name](sight, most)
        document = {
            "state": "running" if sight.running else "unknown",
            "role": sight.role,
            "group": sight.group,
            "name": sight.node,
            "timeline": sight.timeline,
            "lag": sight.lag,
            "sync_standby": sight.synchronous,
            **({"reason": sight.why} if sight.why else {}),
        }
        return Answer(200 if good else 503, document)

    def node(self, group: str, name: str) -> Sight | Answer:
        """`name` as the API has it, or the node's HOST:PORT."""
        watched = self._monitor.watched.get(group)
        if watched is None:
            there = self._monitor.watched
            return _no(404, _not_there("group", group, there)) if there else _no(503, _STARTING)
        plain = name if name in watched.group.nodes else node_name(name)
        sight = self._monitor.sight(group, plain)
        return sight or _no(404, _not_there("node", name, watched.group.nodes))

    def groups(self) -> Answer:
        """Everything that is known, for people."""
        return Answer(200, {name: self._summary(name) for name in sorted(self._monitor.watched)})

    def memory(self, group: str) -> Answer:
        if group not in self._monitor.watched:
            return _no(404, _not_there("group", group, self._monitor.watched))
        memory = self._monitor.watched[group].group.memory
        doubts = [
            {"node": d.node, "timeline": d.timeline, "why": d.why, "since": d.since} for d in memory.doubts.values()
        ]
        found = {"system": memory.system, "timeline": memory.timeline, "leader": memory.leader, "doubts": doubts}
        return Answer(200, found)

    def forget(self, group: str) -> Answer:
        if not self._monitor.forget(group):
            return _no(404, _not_there("group", group, self._monitor.watched))
        return Answer(200, {"forgotten": group})

    def _summary(self, name: str) -> Mapping[str, Any]:
        group, now = self._monitor.watched[name].group, self._monitor.clock()
        sights = [found for node in group.nodes if (found := self._monitor.sight(name, node)) is not None]
        return {
            "primary": group.primary(now) or None,
            "standbys": list(group.standbys(now)),
            "split_brain": _in_doubt(group) if group.memory.doubts else None,
            "nodes": [
                {"name": s.node, "role": s.role, "up": s.running, "timeline": s.timeline, "lag": s.lag,
                 "seconds_behind": None if s.seconds is None else round(s.seconds, 1), "synchronous": s.synchronous,
                 "reason": s.why or None}
                for s in sights
            ],
        }  # fmt: skip

    def _group(self, name: str | None) -> Group | Answer:
        watched = self._monitor.watched
        if name is None:
            if len(watched) == 1:
                return next(iter(watched.values())).group
            if not watched:
                return _no(503, _STARTING)
            return _no(400, f"name a group, as ?group=NAME: there are {', '.join(sorted(watched)[:20])}")
        return watched[name].group if name in watched else _no(404, _not_there("group", name, watched))

    def _sight(self, node: str, group: str | None) -> Sight | Answer:
        """Of a node whose group may be left out where no other group has one of this name."""
        if group is not None:
            return self.node(group, node)
        found = [s for name in self._monitor.watched if isinstance(s := self.node(name, node), Sight)]
        if len(found) > 1:
            return _no(400, f"several groups have a node {node[:_SHOWN]!r}: name one, as ?group=NAME")
        names = {each for watched in self._monitor.watched.values() for each in watched.group.nodes}
        return found[0] if found else _no(404, _not_there("node", node, names))


def _in_doubt(group: Group) -> str:
    doubts = "; ".join(
        f"{doubt.node} said that it is a primary, but {doubt.why}" for doubt in group.memory.doubts.values()
    )
    return (
        f"{group.name} may have two primaries, so none is named: {doubts}. Make it a standby of the right one, or run "
        f"`pgvillage routing forget {group.name}` once you have made sure that it takes no more writes"
    )


def _not_there(what: str, name: str, known: Mapping[str, Any] | set[str]) -> str:
    near = difflib.get_close_matches(name[:_SHOWN], known, 1)
    return f"there is no {what} {name[:_SHOWN]!r}" + (f"; did you mean {near[0]}?" if near else "")
