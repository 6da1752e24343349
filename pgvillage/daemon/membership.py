"""Our name among the replicas: entering the prefix, and becoming one that has a share."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pgvillage.clients.etcd import Compare, EtcdClient, Put
from pgvillage.clients.etcd.tenure import Clock
from pgvillage.core.errors import LockNotAcquired, SettingsError
from pgvillage.daemon.replica_keys import Estate, Found, Identity, Keys, estate_value, member_value
from pgvillage.daemon.share_plan import Member, View

_ALONE = 2.0  # seconds that the first replica waits for others that start with it


@dataclass(frozen=True, slots=True)
class Tempo:
    """Seconds. `settle`: one that has just come waits so long before it asks others for its share of the targets, so
    that a restart, and another, moves nothing twice. `window`: how many it asks for at a time.
    """

    lease: float
    settle: float
    window: int = 10

    @classmethod
    def of(cls, lease: float) -> Tempo:
        return cls(lease, settle=lease)


class Membership:
    """`estate` is set while we are a member."""

    def __init__(self, client: EtcdClient, keys: Keys, me: str, identity: Identity, tempo: Tempo) -> None:
        self._client, self._keys, self._me, self._identity, self._tempo = client, keys, me, identity, tempo
        self._entered = 0.0
        self.estate: Estate | None = None

    def lives(self, found: Found, lease: int) -> Member | None:
        """Us as etcd knows us under this lease, or None: then enter."""
        me = found.view.members.get(self._me)
        if me is None or me.lease != lease or found.estate is None or found.estate.identity != self._identity:
            return None
        self.estate = found.estate
        return me

    def is_another(self, found: Found) -> bool:
        """Whether the estate's key is no longer the one that our claims count from."""
        return self.estate is not None and (found.estate is None or found.estate.made != self.estate.made)

    async def enter(self, found: Found, lease: int, clock: Clock) -> None:
        """Raises SettingsError when another estate lives here, LockNotAcquired when another has our name."""
        name = self._keys.member(self._me)
        compare, puts = [Compare.absent(name)], [Put(name, member_value(active=False), lease)]
        if found.estate is None:
            compare.append(Compare.absent(self._keys.estate))
            puts.append(Put(self._keys.estate, estate_value(self._identity, time.time_ns() // 1000)))
        else:
            compare.append(Compare(self._keys.estate, "MOD", found.estate.changed))
            if found.estate.identity != self._identity:
                self._refuse_another(found)
                # Nobody lives there any more: the prefix is ours now. Tokens go on growing.
                compare.append(Compare.absent(self._keys.members, prefix=True))
                puts.append(Put(self._keys.estate, estate_value(self._identity, found.estate.base)))
        self._refuse_namesake(found)
        self._entered = clock()
        await self._client.txn(compare, puts)

    def _refuse_another(self, found: Found) -> None:
        if found.view.members and found.estate is not None:
            raise SettingsError(
                f"serve.replicas: under {self._keys.prefix!r} in etcd live replicas of another estate: "
                f"{found.estate.identity.repository}; this one reconciles {self._identity.repository}. Give each "
                "estate a prefix of its own, and name a repository the same way on all its replicas"
            )

    def _refuse_namesake(self, found: Found) -> None:
        other = found.view.members.get(self._me)
        if other is not None:
            told = ", ".join(f"{name} {value}" for name, value in other.told.items())
            raise LockNotAcquired(
                f"another replica is called {self._me!r} ({told}): give each a name of its own in serve.replica. "
                "If it is this one before a restart, its lease ends soon"
            )

    def pause(self, view: View, clock: Clock) -> float:
        """Seconds until we may have a share; others that have one let us wait longer."""
        others = any(member.active for member in view.members.values())
        return self._entered + (self._tempo.settle if others else min(_ALONE, self._tempo.settle)) - clock()

    async def activate(self, me: Member) -> Member:
        key = self._keys.member(me.name)
        put = Put(key, member_value(active=True), me.lease)
        done = await self._client.txn([Compare(key, "LEASE", me.lease)], [put])
        return Member(me.name, me.lease, active=done.succeeded)
