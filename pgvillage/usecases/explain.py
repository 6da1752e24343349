"""Explaining one address: who asks for it and where, what is live, what was applied, what differs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pgvillage.core.address import Address, parse_address
from pgvillage.core.change import Change, Resource
from pgvillage.core.errors import UsageError
from pgvillage.core.ledger import LedgerEntry
from pgvillage.core.plan import Finding, System
from pgvillage.core.rotation import Rotation
from pgvillage.core.secret import InUse
from pgvillage.core.state import State
from pgvillage.resources import kinds
from pgvillage.usecases.estate import Scope, load_estate
from pgvillage.usecases.observe import Observation, observe
from pgvillage.usecases.plan import NO_CONSENT, plan_observed
from pgvillage.usecases.world import World

_NEAREST = 3


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything known about one address; what is None is not there."""

    address: Address
    resource: Resource | None
    live: State | None
    entry: LedgerEntry | None
    change: Change | None
    findings: tuple[Finding, ...]
    groups: tuple[str, ...]
    unread: str
    observed_at: datetime
    logins: tuple[Rotation, InUse | None] | None = None


async def explain(world: World, text: str, revision: str | None = None) -> Explanation:
    """Raises UsageError when neither the estate nor the target knows the address, with the nearest that exist."""
    address = parse_address(text)
    system = _system_of(address.kind)
    estate = await load_estate(world, Scope((address.target,), revision=revision))
    target = next((t for t in estate.targets if t.system is system), None)
    if target is None:
        raise UsageError(f"cluster {address.target!r} has no {system} target")
    view = estate.views[target.cluster]
    seen = await observe(world, target, view)
    snapshot = seen.context.snapshot
    resource, live = seen.desired.get(address), snapshot.live.get(address)
    entry = snapshot.ledger.entries.get(address)
    if resource is None and live is None and entry is None:
        raise UsageError(_unknown(address, seen))
    plan = plan_observed(world, seen, estate, NO_CONSENT)
    person = view.people.by_role.get(address.name[-1]) if address.kind in ("role", "membership") else None
    return Explanation(
        address=address,
        resource=resource,
        live=live,
        entry=entry,
        change=next((change for change in plan.changes if change.address == address), None),
        findings=tuple(f for f in plan.findings if f.address == address),
        groups=person.groups if person else (),
        unread=next((u.reason for u in snapshot.unread if u.covers(address)), ""),
        observed_at=snapshot.read_at,
        logins=_logins(address, seen),
    )


def _logins(address: Address, seen: Observation) -> tuple[Rotation, InUse | None] | None:
    """The rotation that the role is one of, and which login is in use; None for that when the store can't be read."""
    for rotation in seen.context.view.rotations:
        if address.kind == "role" and address.name[0] in (rotation.role, *rotation.roles):
            return rotation, seen.in_use.get(rotation.secret)
    return None


def _system_of(kind: str) -> System:
    for system in System:
        if kind in kinds(system):
            return system
    known = sorted(name for system in System for name in kinds(system))
    near = difflib.get_close_matches(kind, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    raise UsageError(f"no kind {kind!r} of resource; {hint}")


def _unknown(address: Address, seen: Observation) -> str:
    known: Iterable[Address] = {*seen.desired, *seen.context.snapshot.live}
    labels = {".".join(each.name): str(each) for each in sorted(known) if each.kind == address.kind}
    near = [labels[n] for n in difflib.get_close_matches(".".join(address.name), labels, _NEAREST, cutoff=0.5)]
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    return f"{address}: neither the estate nor the cluster knows it{hint}"
