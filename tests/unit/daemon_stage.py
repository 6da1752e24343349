"""A daemon's loops over a world that is made up: what targets answer, and when, is the test's to say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pgvillage.clients.state.state import State
from pgvillage.core.change import Change
from pgvillage.core.errors import ManifestError, PgVillageError, ReadError
from pgvillage.core.ledger import Ledger
from pgvillage.core.plan import Gate, Plan, Snapshot, Status, TargetId, TargetPlan
from pgvillage.core.run import Outcome, Run, TargetRun
from pgvillage.core.status import Suspension, TargetStatus
from pgvillage.core.step import SqlStep
from pgvillage.daemon import suspensions, target_loop
from pgvillage.daemon.estate_feed import EstateFeed
from pgvillage.daemon.look import Look
from pgvillage.daemon.lookups import SharedLookups
from pgvillage.daemon.loops import Loops
from pgvillage.daemon.memory import Memory
from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.recorder import Recorder
from pgvillage.daemon.runs import Runs
from pgvillage.daemon.shared import Shared
from pgvillage.daemon.shares import Alone
from pgvillage.daemon.turns import Turns
from pgvillage.estate.loader import Manifests, load_manifests
from pgvillage.settings import Settings
from pgvillage.usecases.plan import Planned
from pgvillage.usecases.suspend import Noted

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeWatch:
    world: StageWorld
    name: str
    blind: str = ""
    connections: int = 1

    async def look(self) -> Mapping[str, str]:
        self.world.cheap.append((self.name, self.world.clock()))
        if self.name in self.world.dead:
            raise ReadError(self.name, "gone")
        return {"counter": str(self.world.counters.get(self.name, 0))}

    async def close(self) -> None:
        self.connections = 0


@dataclass
class StageWorld:
    """Commits are folders of manifests; targets answer by `dead`, `hangs`, `changes` and `gates`."""

    folder: Path
    settings: Settings
    revision: str = "a" * 40
    loads: int = 0
    fault: Exception | None = None
    dead: set[str] = field(default_factory=set)
    hangs: set[str] = field(default_factory=set)
    bugs: set[str] = field(default_factory=set)
    changes: dict[str, tuple[Change, ...]] = field(default_factory=dict)
    gates: dict[str, tuple[Gate, ...]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    ledgers: dict[str, Suspension | None] = field(default_factory=dict)
    looks: list[tuple[str, float]] = field(default_factory=list)
    cheap: list[tuple[str, float]] = field(default_factory=list)
    applies: list[tuple[str, float]] = field(default_factory=list)
    apply_takes: float = 1.0

    def clock(self) -> float:
        return asyncio.get_running_loop().time()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.clock())

    def head(self) -> str:
        if self.fault is not None and not isinstance(self.fault, ManifestError):
            raise self.fault
        return self.revision

    def checkout(self, revision: str | None = None) -> Any:
        return _Checkout(self.folder, self.revision)

    def manifests(self, checkout: Any) -> Manifests:
        self.loads += 1
        if self.fault is not None:
            raise self.fault
        return load_manifests(self.folder)

    def watch(self, target: TargetId, view: object) -> FakeWatch:
        return FakeWatch(self, str(target))

    async def ask(self, queries: Any) -> Any:
        raise AssertionError("no directory here")

    def looked(self, name: str) -> list[float]:
        return [at for target, at in self.looks if target == name]


@dataclass(frozen=True)
class _Checkout:
    root: Path
    revision: str
    dirty: bool = False
    subject: str = "a commit"
    refused: str = ""


@dataclass
class _Reading:
    capabilities: Any = None


@dataclass
class _Context:
    snapshot: Snapshot
    view: Any = None


@dataclass
class _Seen:
    context: _Context
    reading: Any = field(default_factory=_Reading)


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self.kept: list[set[str]] = []

    async def looked(self, look: Look) -> None:
        self.looks.append(look)

    async def keep(self, targets: Any) -> None:
        self.kept.append(set(targets))

    def of(self, name: str) -> list[TargetStatus]:
        return [look.status for look in self.looks if look.target == name]


@dataclass
class Stage:
    world: StageWorld
    state: State
    shared: Shared
    loops: Loops
    feed: EstateFeed
    heard: Heard
    stop: asyncio.Event

    def commit(self, *names: str) -> None:
        write_estate(self.world.folder, names)
        self.world.revision = f"{int(self.world.revision[:8], 16) + 1:08x}" * 5
        self.feed.poke()

    def status(self, name: str) -> TargetStatus:
        found = self.state.statuses.get(name)
        assert found is not None
        return found

    def events(self, name: str | None = None) -> list[str]:
        return [event.reason for event in reversed(self.state.events.newest(name))]


def write_estate(folder: Path, names: Any) -> None:
    documents = [
        {
            "apiVersion": "pgvillage/v1",
            "kind": "Cluster",
            "metadata": {"name": name, "labels": {"team": "shop"}},
            "spec": {"connection": {"hosts": [f"{name}.example:5432"], "credential": "admin"}},
        }
        for name in names
    ]
    (folder / "estate.yaml").write_text("\n---\n".join(map(json.dumps, documents)))


def _faked(world: StageWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The use cases answer by the world's word; everything of the daemon is real."""

    async def plan_estate(_: object, estate: Any, consent: Any, scope: tuple[str, ...]) -> Planned:
        target = estate.targets[0]
        name = str(target)
        world.looks.append((name, world.clock()))
        if name in world.hangs:
            await asyncio.sleep(world.settings.timeouts.read)
        if name in world.bugs:
            raise ZeroDivisionError("planted-secret")
        revision = estate.checkout.revision
        if name in world.dead | world.hangs:
            found = TargetPlan(target, Status.UNREACHABLE, world.now(), error=f"{name}: no answer")
            return Planned(Plan(revision, (found,), scope), estate, {})
        changes = world.changes.get(name, ())
        steps = tuple(SqlStep((change.address,), ("ALTER ROLE x",)) for change in changes)
        plan = TargetPlan(target, Status.PLANNED, world.now(), changes=changes, steps=steps)
        gates = tuple(replace(g, open=plan.digest in consent.approvals) for g in world.gates.get(name, ()) if changes)
        plan = replace(plan, gates=gates)
        ledger = Ledger(usable=True, suspension=world.ledgers.get(name))
        seen = _Seen(_Context(Snapshot({}, world.now(), ledger)))
        return Planned(Plan(revision, (plan,), scope), estate, {target: seen})  # type: ignore[dict-item]

    async def apply_targets(_: object, planned: Planned, consent: Any, **more: Any) -> Run:
        plan = planned.plan.targets[0]
        name = str(plan.target)
        if plan.blocked or not plan.changes:
            outcome = Outcome.BLOCKED if plan.blocked else Outcome.NOTHING
            return Run(planned.plan.revision, (TargetRun(plan.target, outcome, plan),))
        world.applies.append((name, world.clock()))
        await asyncio.sleep(world.apply_takes)
        world.changes[name] = ()
        return Run(planned.plan.revision, (TargetRun(plan.target, Outcome.DONE, plan, done=plan.changes),))

    async def set_suspension(_: object, target: TargetId, found: Suspension | None, *more: object) -> Noted:
        if str(target) in world.dead:
            raise PgVillageError("dead")
        world.ledgers[str(target)] = found
        return Noted(target, found)

    monkeypatch.setattr(target_loop, "plan_estate", plan_estate)
    monkeypatch.setattr(target_loop, "apply_targets", apply_targets)
    monkeypatch.setattr(suspensions, "set_suspension", set_suspension)


def settings(**serve: Any) -> Settings:
    more = {name: serve.pop(name) for name in ("parallel", "timeouts") if name in serve}
    credentials = {"admin": {"user": "x", "hosts": ["*.example:5432"]}}
    return Settings.model_validate(
        {"repository": {"url": "https://git.example/estate.git"}, "credentials": credentials, "serve": serve, **more}
    )


@asynccontextmanager
async def stage(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str, listeners: Any = (), **serve: Any
) -> AsyncIterator[Stage]:
    """Loops that run for these targets; they are stopped at the end, and must come to an end."""
    (folder / "estate").mkdir(exist_ok=True)
    world = StageWorld(folder / "estate", settings(**serve))
    write_estate(world.folder, names)
    _faked(world, monkeypatch)
    state = State.in_file(folder / "state.db")
    memory, metrics, heard = Memory(state), Metrics(), Heard()
    memory.failures = metrics.state_failed
    feed = EstateFeed(lambda: world, world.head)  # type: ignore[arg-type, return-value]
    shared = Shared(
        world=world,  # type: ignore[arg-type]
        feed=feed,
        shares=Alone("one"),
        memory=memory,
        metrics=metrics,
        runs=Runs(memory, "one", world.now),
        replica="one",
        turns=Turns(world.settings.parallel),
        lookups=SharedLookups(world.ask),
        cheap=Turns(32),
        listeners=[*listeners, metrics, Recorder(memory), heard],
    )
    loops, stop = Loops(shared), asyncio.Event()
    running = asyncio.create_task(loops.run(stop))
    try:
        yield Stage(world, state, shared, loops, feed, heard, stop)
    finally:
        stop.set()
        async with asyncio.timeout(world.settings.serve.grace + 60):
            await running
        memory.close()


Change_ = Callable[..., Change]
