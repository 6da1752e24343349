"""The health of an etcd cluster in the words of a topology."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pgvillage.clients.etcd.client import EtcdClient
from pgvillage.clients.etcd.health import EtcdHealth, EtcdMember, EtcdStatus
from pgvillage.core.errors import PgVillageError
from pgvillage.core.topology import Store, StoreMember
from pgvillage.settings import Etcd


async def store_of(name: str, settings: Etcd) -> Store:
    """How the etcd `name` of the settings is; raises nothing: an etcd that can't be asked says why."""
    try:
        async with EtcdClient(name, settings) as client:
            return as_store(name, await client.health())
    except PgVillageError as error:
        return Store(name, quorum=False, error=str(error))


def as_store(name: str, health: EtcdHealth) -> Store:
    """Every end point of the settings is a member here, and the leader where it is none of these."""
    listed = {member.member: member for member in health.members or ()}
    members = tuple(_members(health, listed))
    alarms = tuple(sorted(alarm.kind for alarm in health.alarms or ()))
    return Store(name, members, health.quorum, alarms)


def _members(health: EtcdHealth, listed: Mapping[int, EtcdMember]) -> Iterator[StoreMember]:
    leader, told = health.leader, False
    for endpoint, answer in health.answers.items():
        if isinstance(answer, EtcdStatus):
            known = listed.get(answer.member)
            leads = bool(leader) and answer.member == leader
            name = (known.name if known else "") or endpoint
            yield StoreMember(name, endpoint, leads, answer.version, answer.db_size)
        else:
            known = next((each for each in listed.values() if endpoint.rstrip("/") in each.client_urls), None)
            leads = known is not None and bool(leader) and known.member == leader
            yield StoreMember((known.name if known else "") or endpoint, endpoint, leads, error=answer)
        told = told or leads
    if leader and not told:
        known = listed.get(leader)
        place = known.client_urls[0] if known and known.client_urls else ""
        yield StoreMember((known.name if known else "") or f"{leader:x}", place, leads=True)
