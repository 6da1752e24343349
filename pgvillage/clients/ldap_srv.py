"""Where the servers of a directory are, asked of the DNS: SRV records in the order of RFC 2782."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING

from pgvillage.clients.ldap_failure import DirectoryRefused, ServerGone, Uri
from pgvillage.settings import Directory, address_and_port

if TYPE_CHECKING:
    from dns.resolver import Resolver

# A domain may have hundreds of servers; a run must not wait for the time limit of each.
_ASKED_AT_MOST = 8
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class SrvRecord:
    """`host` has no dot at its end; it is '' where the record says that there is no such service."""

    priority: int
    weight: int
    port: int
    host: str


@dataclass(frozen=True, slots=True)
class Servers:
    """What was found under which name, in the order to ask."""

    name: str
    uris: Sequence[Uri]


def find_servers(domain: str, settings: Directory) -> Servers:
    """The servers of _ldaps._tcp, or of _ldap._tcp where there is no record of the first; at most 8.

    Takes at most 2 x `timeout` seconds. Raises ServerGone where the DNS names no server or does not answer, and
    DirectoryRefused for a server outside the domain.
    """
    reasons = []
    for scheme in ("ldaps", "ldap"):
        name = f"_{scheme}._tcp.{domain.rstrip('.')}"
        found = _look_up(name, settings)
        if isinstance(found, str):
            reasons.append(f"{name}: {found}")
            continue
        servers = [record for record in found if record.host]
        for record in servers:
            _refuse_elsewhere(name, record, domain)
        if servers:
            return Servers(name, [Uri(scheme, r.host, r.port) for r in in_order(servers)][:_ASKED_AT_MOST])
        reasons.append(f"{name}: the record says that there is no such service")
    raise ServerGone(f"the DNS names no server: {'; '.join(reasons)}; correct `srv`, or name the servers in `uris`")


def in_order(
    records: Sequence[SrvRecord], random_up_to: Callable[[int], int] = lambda top: SystemRandom().randint(0, top)
) -> Iterator[SrvRecord]:
    """RFC 2782: lower priorities first, and within a priority a draw by weight, so that servers share the work."""
    for priority in sorted({record.priority for record in records}):
        # Records without weight first: a draw of 0 is their only, small chance.
        left = sorted((r for r in records if r.priority == priority), key=lambda r: (r.weight, r.host, r.port))
        while left:
            drawn, total = random_up_to(sum(record.weight for record in left)), 0
            for at, record in enumerate(left):
                total += record.weight
                if total >= drawn:
                    yield left.pop(at)
                    break


def _refuse_elsewhere(name: str, record: SrvRecord, domain: str) -> None:
    """A certificate proves only that a server has the name that the DNS gave: so that name must be of the domain."""
    wanted = domain.rstrip(".").lower()
    if not _HOST.fullmatch(record.host) or not record.port:
        raise DirectoryRefused(f"{name}: expected a host and a port, found {record.host!r} and {record.port}")
    if not f".{record.host.lower()}".endswith(f".{wanted}"):
        raise DirectoryRefused(
            f"{name}: expected servers in {wanted}, found {record.host}, which is refused; "
            "if it is right, name the servers in `uris`"
        )


def _look_up(name: str, settings: Directory) -> list[SrvRecord] | str:
    """The records, or why there are none. Raises ServerGone where that is not known."""
    import dns.exception
    import dns.resolver

    try:
        answer = _resolver(settings).resolve(f"{name}.", "SRV", search=False)
    except dns.resolver.NXDOMAIN:
        return "no such name"
    except dns.resolver.NoAnswer:
        return "no SRV record"
    except dns.exception.Timeout:
        raise ServerGone(
            f"{name}: no answer from the DNS{_asked(settings)} within {settings.timeout:g} s; "
            "is it well, is `timeout` long enough?"
        ) from None
    except dns.resolver.NoNameservers:
        raise ServerGone(f"{name}: the DNS{_asked(settings)} failed to answer; look at its log") from None
    except dns.resolver.NoResolverConfiguration:
        raise ServerGone(f"{name}: no DNS server is known to this system; set `resolver`") from None
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise ServerGone(f"{name}: asking the DNS{_asked(settings)} failed: {str(error)[:200]}") from None
    return [
        SrvRecord(each.priority, each.weight, each.port, each.target.to_text(omit_final_dot=True).removesuffix("."))
        for each in answer
    ]


def _resolver(settings: Directory) -> Resolver:
    from dns.resolver import Resolver

    resolver = Resolver(configure=settings.resolver is None)
    resolver.lifetime = settings.timeout
    if settings.resolver is not None:
        address, resolver.port = address_and_port(settings.resolver)
        resolver.nameservers = [address]
    return resolver


def _asked(settings: Directory) -> str:
    return f" at {settings.resolver}" if settings.resolver else ""
