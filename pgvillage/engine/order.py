"""Order: which change must come before which, and which can go together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change
from pgvillage.core.errors import PgVillageError
from pgvillage.core.state import State

Needs = Callable[[Address, State], Iterable[Address]]
WaitsFor = Callable[[Change, Mapping[Address, Change]], Iterable[Address]]


def dependencies(
    changes: Sequence[Change], needs: Needs, waits_for: WaitsFor = lambda _change, _others: ()
) -> dict[Address, tuple[Address, ...]]:
    """For each change, the changes that must be done before it.

    What is made comes after what it needs; what goes, goes after everything that needed it. Live states are asked too,
    else deletions would have no order.
    """
    by_address = {change.address: change for change in changes}
    before: dict[Address, set[Address]] = {address: set() for address in by_address}
    for change in changes:
        for needed in needs(change.address, change.after) if change.after is not None else ():
            other = by_address.get(needed)
            if other is not None and other.action is not Action.DELETE and needed != change.address:
                before[change.address].add(needed)
        for needed in needs(change.address, change.before) if change.before is not None else ():
            other = by_address.get(needed)
            if other is not None and other.action is Action.DELETE and needed != change.address:
                before[needed].add(change.address)
        before[change.address].update(waits_for(change, by_address))
    return {address: tuple(sorted(found)) for address, found in before.items()}


def waves(changes: Sequence[Change], depends: Mapping[Address, Iterable[Address]]) -> list[list[Change]]:
    """Changes in groups: those of one wave do not depend on each other, only on earlier waves.

    Raises PgVillageError when they need each other in a circle.
    """
    by_address = {change.address: change for change in changes}
    waiting = {address: {n for n in depends[address] if n in by_address} for address in by_address}
    followers: dict[Address, list[Address]] = defaultdict(list)
    for address, needed in waiting.items():
        for one in needed:
            followers[one].append(address)
    ready = [address for address, needed in waiting.items() if not needed]
    result: list[list[Change]] = []
    done = 0
    while ready:
        done += len(ready)
        result.append([by_address[address] for address in ready])
        upcoming: list[Address] = []
        for address in ready:
            for follower in followers[address]:
                waiting[follower].discard(address)
                if not waiting[follower]:
                    upcoming.append(follower)
        ready = upcoming
    if done < len(by_address):
        stuck = sorted(str(address) for address, needed in waiting.items() if needed)
        raise PgVillageError(f"these changes need each other in a circle: {', '.join(stuck[:5])}")
    return result
