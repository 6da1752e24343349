"""Asking targets: one that is dead or slow is an answer too, and delays or fails no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pgvillage.core.errors import PgVillageError
from pgvillage.core.plan import TargetId
from pgvillage.usecases.world import World

T = TypeVar("T")


async def reached(world: World, target: TargetId, reading: Awaitable[T]) -> T | PgVillageError:
    """What `reading` gives, or why the target could not be read."""
    try:
        return await reading
    except PgVillageError as error:
        return error
    except TimeoutError:
        seconds = world.settings.timeouts.read
        return PgVillageError(f"{target}: reading took longer than {seconds:g} s (timeouts.read)")


async def each_reached(
    world: World, targets: Sequence[TargetId], read: Callable[[TargetId], Awaitable[T]]
) -> list[T | PgVillageError]:
    """The same of every target, in parallel as far as the settings allow, in their order."""
    limit = asyncio.Semaphore(world.settings.parallel)

    async def one(target: TargetId) -> T | PgVillageError:
        async with limit:
            return await reached(world, target, read(target))

    return await asyncio.gather(*map(one, targets))
