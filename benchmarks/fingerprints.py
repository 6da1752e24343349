"""What a cheap look costs beside a full one, and how many of them one daemon makes a second.

`python -m benchmarks.fingerprints --targets 300 --databases 4` starts a PostgreSQL server of its own, declares an
estate on it, and looks: in full, cheaply with nothing changed, cheaply while every database is written to. Then it
keeps as many watches as targets, all on that server, and looks at all once, as the daemon does every few seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.estate import _write
from pgvillage.core.plan import TargetId
from pgvillage.estate.view import ClusterView
from pgvillage.usecases.apply import apply_plan
from pgvillage.usecases.estate import Scope, load_estate
from pgvillage.usecases.plan import NO_CONSENT, make_plan
from pgvillage.wiring import RealWorld, real_world
from tests.servers.postgres import PostgresServer, postgres_server

_PARALLEL = 32  # as daemon/service.py
_TIMES = 30


async def _median(look: Callable[[], Awaitable[object]], times: int = _TIMES) -> tuple[float, float]:
    """Milliseconds by the clock, and of our own CPU."""
    clock, cpu = [], []
    for _ in range(times):
        before = (time.perf_counter(), time.process_time())
        await look()
        clock.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
    return statistics.median(clock) * 1000, statistics.median(cpu) * 1000


async def _one(world: RealWorld, view: ClusterView, server: PostgresServer, databases: list[str]) -> None:
    full = await _median(lambda: make_plan(world, Scope()), 5)
    watch = world.watch(TargetId("c"), view)
    await watch.look()
    cheap = await _median(watch.look)
    for database in databases:
        server.sql("CREATE TABLE IF NOT EXISTS written (id int)", database=database)

    async def after_writing() -> None:
        await asyncio.to_thread(lambda: [server.sql("INSERT INTO written VALUES (1)", database=d) for d in databases])
        began = time.perf_counter(), time.process_time()
        await watch.look()
        spent.append((time.perf_counter() - began[0], time.process_time() - began[1]))

    spent: list[tuple[float, float]] = []
    for _ in range(_TIMES):
        await after_writing()
    await watch.close()
    busy = tuple(statistics.median(values) * 1000 for values in zip(*spent, strict=True))
    print(f"{'':24}  clock ms   own CPU ms")
    for name, (clock, cpu) in (("full look", full), ("cheap look", cheap), ("cheap, all written to", busy)):
        print(f"{name:24}  {clock:8.2f}   {cpu:8.2f}")
    print(f"a full look costs as much as {full[0] / cheap[0]:.0f} cheap ones ({full[1] / cheap[1]:.0f} by CPU)")


async def _many(world: RealWorld, view: ClusterView, count: int) -> None:
    watches = [world.watch(TargetId("c"), view) for _ in range(count)]
    limit = asyncio.Semaphore(_PARALLEL)

    async def one(number: int) -> None:
        async with limit:
            await watches[number].look()

    for name in ("first round, connecting", "a round"):
        before = (time.perf_counter(), time.process_time())
        await asyncio.gather(*map(one, range(count)))
        clock, cpu = time.perf_counter() - before[0], time.process_time() - before[1]
        print(
            f"{name:24}  {clock:.2f} s for {count} targets, {cpu:.2f} s of our CPU: {cpu / 5:.0%} of a core every 5 s"
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{sum(watch.connections for watch in watches)} connections, {memory} MiB")
    for watch in watches:
        await watch.close()


async def _measure(folder: Path, server: PostgresServer, targets: int, databases: list[str]) -> None:
    settings = _write(folder, server.folder / "pw", databases, {"c": server.host})
    world = real_world(settings)
    await apply_plan(world, await make_plan(world, Scope()), NO_CONSENT)
    view = (await load_estate(world, Scope())).views["c"]
    await _one(world, view, server, databases)
    await _many(world, view, targets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--targets", type=int, default=300)
    parser.add_argument("--databases", type=int, default=4)
    asked = parser.parse_args()
    names = [f"d{number}" for number in range(asked.databases)]
    most = str(asked.targets * (asked.databases + 1) + 50)
    with tempfile.TemporaryDirectory() as home, postgres_server(Path(home) / "pg", max_connections=most) as server:
        asyncio.run(_measure(Path(home) / "work", server, asked.targets, names))


if __name__ == "__main__":
    main()
