"""Who leads a cluster by what its HA engine keeps in etcd, and whether a session is with that node."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pgvillage.core.address import quote_part
from pgvillage.core.topology import EngineName

MOST_NODES = 64
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Kept:
    """A value in etcd; `created` is the revision at which its key came to be."""

    value: bytes
    created: int


@dataclass(frozen=True, slots=True)
class Session:
    """A session by SQL: the ways in which its server's HOST:PORT may be written, and what the server says of itself.

    `timeline` is 0 where it is not known yet.
    """

    addresses: tuple[str, ...]
    system_identifier: str = ""
    timeline: int = 0


@dataclass(frozen=True, slots=True)
class Leadership:
    """`addresses` are HOST:PORT by node, validated. `term` differs whenever somebody takes the lead; "" and 0: unknown.

    `leader` is "" where the engine has none now. `followed`: the addresses are where we connect, so that a session
    whose server is not among them is with a stranger.
    """

    engine: EngineName
    leader: str
    addresses: Mapping[str, str]
    system_identifier: str = ""
    timeline: int = 0
    term: str = ""
    followed: bool = False

    @property
    def hosts(self) -> list[str]:
        """Every node's address, the leader's first: who accepts writes is asked there before anywhere else."""
        return [self.addresses[name] for name in sorted(self.addresses, key=lambda name: (name != self.leader, name))]

    def objection(self, session: Session) -> str:
        """Why nothing may be read or written by this session, "" where all that can be compared fits."""
        if not self.leader:
            return f"{self.engine} has no leader in etcd now: is a failover going on?"
        system = session.system_identifier
        if system and self.system_identifier and system != self.system_identifier:
            return (
                f"the server's system identifier is {system}, and {self.engine}'s cluster in etcd has "
                f"{self.system_identifier}: this is another cluster"
            )
        return self._wrong_node(session) or self._wrong_timeline(session)

    def _wrong_node(self, session: Session) -> str:
        known = {address.lower() for address in session.addresses}
        found = [name for name, address in self.addresses.items() if address.lower() in known]
        if self.leader in found or not (found or self.followed):
            return ""
        which = quote_part(found[0]) if found else "a node that it does not know"
        return (
            f"{self.engine} says in etcd that {quote_part(self.leader)} leads, and the server that takes writes is "
            f"{which} ({session.addresses[0]}): a failover that goes on, or an old primary that is cut off from the "
            "others (split brain)"
        )

    def _wrong_timeline(self, session: Session) -> str:
        if not session.timeline or session.timeline >= self.timeline:
            return ""
        return (
            f"the server that takes writes is on timeline {session.timeline}, and {self.engine}'s leader "
            f"{quote_part(self.leader)} on {self.timeline}: it is an old primary that is cut off from the others "
            "(split brain)"
        )


@dataclass(frozen=True, slots=True)
class EngineKeys:
    """Where an engine keeps its state in etcd, and how it is read: by prefix, or one key where `whole` is false.

    `leadership_of` (by key without the prefix) and `term_of` (of `leader_key`) raise ValueError in words.
    """

    engine: EngineName
    prefix: str
    leader_key: str
    whole: bool
    leadership_of: Callable[[Mapping[str, Kept]], Leadership]
    term_of: Callable[[Kept | None], str]


def checked_addresses(found: Mapping[str, str]) -> dict[str, str]:
    """By node, in the order of names. Raises ValueError for what is no HOST:PORT, and for too many."""
    if len(found) > MOST_NODES:
        raise ValueError(f"it names {len(found)} nodes; at most {MOST_NODES} are looked at")
    for name, address in found.items():
        match = _ADDRESS.fullmatch(address)
        if match is None or not 0 < int(match[1]) < 65536:
            raise ValueError(
                f"it names {quote_part(address[:80])} as the address of {quote_part(name[:80])}: expected HOST:PORT"
            )
    return dict(sorted(found.items()))


def host_port(host: str, port: int | str) -> str:
    """HOST:PORT, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
