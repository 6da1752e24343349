"""How an etcd cluster is: its members, leader, quorum, size and alarms."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgvillage.clients.etcd.codec import encoded, integer
from pgvillage.clients.etcd.gateway import Gateway
from pgvillage.core.errors import ReadError

_PROBE = "pgvillage"  # any key does: that it is looked up through the quorum is what counts


@dataclass(frozen=True, slots=True)
class EtcdStatus:
    """One member's answer; `member` and `leader` are ids, leader 0: there is none; `db_size` is in bytes."""

    endpoint: str
    version: str
    member: int
    leader: int
    db_size: int
    revision: int


@dataclass(frozen=True, slots=True)
class EtcdMember:
    """As the cluster lists it; `name` is empty for one that was added and never started."""

    member: int
    name: str
    client_urls: tuple[str, ...]
    peer_urls: tuple[str, ...]
    learner: bool


@dataclass(frozen=True, slots=True)
class EtcdAlarm:
    member: int
    kind: str


@dataclass(frozen=True, slots=True)
class EtcdHealth:
    """`answers` has every configured endpoint: its status, or why there is none. `problems` says it in words, and is
    empty when all is well. `members` and `alarms` are None where they could not be read.
    """

    answers: Mapping[str, EtcdStatus | str]
    members: tuple[EtcdMember, ...] | None
    alarms: tuple[EtcdAlarm, ...] | None
    quorum: bool
    problems: tuple[str, ...]

    @property
    def leader(self) -> int:
        """The member that those who answer follow; 0: they follow none, or not the same one."""
        found = {answer.leader for answer in self.answers.values() if isinstance(answer, EtcdStatus)} - {0}
        return found.pop() if len(found) == 1 else 0

    @property
    def db_size(self) -> int:
        """Bytes, of the largest member that answers."""
        return max((answer.db_size for answer in self.answers.values() if isinstance(answer, EtcdStatus)), default=0)


def status_of(endpoint: str, body: Mapping[str, Any]) -> EtcdStatus:
    header = body.get("header") or {}
    return EtcdStatus(
        endpoint=endpoint,
        version=str(body.get("version", "")),
        member=integer(header, "member_id"),
        leader=integer(body, "leader"),
        db_size=integer(body, "dbSize"),
        revision=integer(header, "revision"),
    )


async def look(gateway: Gateway) -> EtcdHealth:
    """Never raises for an etcd that is ill: that is the answer."""
    endpoints = gateway.endpoints
    statuses = await asyncio.gather(*(_status(gateway, endpoint) for endpoint in endpoints))
    answers = dict(zip(endpoints, statuses, strict=True))
    problems = [f"{endpoint} does not answer: {why}" for endpoint, why in answers.items() if isinstance(why, str)]
    if len(problems) == len(endpoints):
        return EtcdHealth(answers, None, None, quorum=False, problems=tuple(problems))
    quorum, members, alarms = await asyncio.gather(
        _has_quorum(gateway), _members(gateway, problems), _alarms(gateway, problems)
    )
    if not quorum:
        problems.append("no quorum: nothing can be read or written until more members are back")
    problems += [
        f"{each.endpoint} has no leader"
        for each in answers.values()
        if isinstance(each, EtcdStatus) and not each.leader
    ]
    problems += [
        f"alarm {alarm.kind} at member {alarm.member:x}{_ALARM_ADVICE.get(alarm.kind, '')}" for alarm in alarms or ()
    ]
    return EtcdHealth(answers, members, alarms, quorum=quorum, problems=tuple(problems))


_ALARM_ADVICE = {"NOSPACE": ": etcd takes no writes; compact and defragment it, then disarm the alarm"}


async def _status(gateway: Gateway, endpoint: str) -> EtcdStatus | str:
    try:
        return status_of(endpoint, await gateway.ask(endpoint, "maintenance/status"))
    except ReadError as error:
        return str(error).removeprefix(f"{gateway.target}: ").removeprefix(f"{endpoint}: ")


async def _has_quorum(gateway: Gateway) -> bool:
    try:
        await gateway.call("kv/range", {"key": encoded(_PROBE)}, writes=False)
    except ReadError as error:
        # Rights are looked at after the quorum was asked.
        return "permission denied" in str(error)
    return True


async def _members(gateway: Gateway, problems: list[str]) -> tuple[EtcdMember, ...] | None:
    try:
        body = await gateway.call("cluster/member/list", {}, writes=False)
    except ReadError as error:
        problems.append(f"members can't be listed: {error}")
        return None
    return tuple(
        EtcdMember(
            member=integer(entry, "ID"),
            name=str(entry.get("name", "")),
            client_urls=tuple(map(str, entry.get("clientURLs", ()))),
            peer_urls=tuple(map(str, entry.get("peerURLs", ()))),
            learner=entry.get("isLearner") is True,
        )
        for entry in body.get("members", ())
    )


async def _alarms(gateway: Gateway, problems: list[str]) -> tuple[EtcdAlarm, ...] | None:
    try:
        body = await gateway.call("maintenance/alarm", {"action": "GET"}, writes=False)
    except ReadError as error:
        problems.append(f"alarms can't be read: {error}")
        return None
    return tuple(
        EtcdAlarm(integer(entry, "memberID"), str(entry.get("alarm", "NONE"))) for entry in body.get("alarms", ())
    )
