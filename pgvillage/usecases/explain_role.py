"""Explaining a role: everything it is and can do on every cluster that knows it, from one look at each."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace

from pgvillage.access.question import nearest
from pgvillage.access.role_account import Accounts, Look, RoleAccount, account_of
from pgvillage.core.address import Address, parse_address, quote_part
from pgvillage.core.errors import PgVillageError, UsageError
from pgvillage.core.plan import System, TargetId
from pgvillage.usecases.estate import LoadedEstate, Scope, load_estate
from pgvillage.usecases.observe import Observation, observe
from pgvillage.usecases.plan import NO_CONSENT, plan_observed
from pgvillage.usecases.reach import each_reached
from pgvillage.usecases.world import World


async def explain_role(world: World, scope: Scope, text: str) -> Accounts:
    """Raises UsageError when nobody knows a role of that name, with the nearest there are."""
    scope, role = _named(scope, text)
    estate = await load_estate(world, scope)
    targets = [target for target in estate.targets if target.system is System.POSTGRES]

    def look(target: TargetId) -> Awaitable[Observation]:
        return observe(world, target, replace(estate.views[target.cluster], survey=True))

    found = await each_reached(world, targets, look)
    seen = [each for each in found if isinstance(each, Observation)]
    knowing = [each for each in seen if _knows(each, role)]
    failed = tuple((t.cluster, str(e)) for t, e in zip(targets, found, strict=True) if isinstance(e, PgVillageError))
    if not knowing and failed:
        raise PgVillageError("\n".join(why for _, why in failed))
    if not knowing:
        known = {a.name[0] for each in seen for a in each.context.snapshot.live if a.kind == "role"}
        raise UsageError(f"neither the estate nor a cluster knows a role {quote_part(role)}; {nearest(role, known)}")
    return Accounts(role, tuple(_account(world, estate, each, role) for each in knowing), failed)


def _named(scope: Scope, text: str) -> tuple[Scope, str]:
    """NAME, or CLUSTER/role/NAME, which picks the cluster too."""
    if text.count("/") < 2 or "/role/" not in text:
        return scope, text
    address = parse_address(text)
    return replace(scope, targets=(address.target,)), address.name[0]


def _knows(seen: Observation, role: str) -> bool:
    address = Address(seen.target.cluster, "role", (role,))
    return address in seen.context.snapshot.live or address in seen.desired


def _account(world: World, estate: LoadedEstate, seen: Observation, role: str) -> RoleAccount:
    plan = plan_observed(world, seen, estate, NO_CONSENT)
    capabilities = seen.context.capabilities
    assert capabilities is not None
    look = Look(seen.context.view, seen.context.snapshot, seen.reading.live, capabilities, seen.desired, plan.changes)
    return account_of(role, look)
