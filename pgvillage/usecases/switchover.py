"""Switchover and failover: look, judge, let the engine do it, and say done when the nodes themselves say so."""

from __future__ import annotations

import asyncio
import difflib
import re
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from pgvillage.core.errors import PgVillageError, PolicyRefusal, ReadError, StalePlan, StepFailed, UsageError
from pgvillage.core.lookup import Lookups
from pgvillage.core.plan import System, TargetId
from pgvillage.core.topology import Topology
from pgvillage.engine.standing_still import suspension_words
from pgvillage.engine.windows import covering, is_inside, next_opening
from pgvillage.estate.view import ClusterView, view_cluster
from pgvillage.report.words import show_text
from pgvillage.topology.handover import Handover, missing_standbys, not_yet
from pgvillage.topology.readiness import DEFAULT_MAX_LAG, Readiness, Verb, Wish, readiness
from pgvillage.usecases.world import Engine, World

LEAST_DIGITS = 12
_BETWEEN = 0.5  # seconds between two looks while waiting
_LONGEST = 500  # characters of a reason, which may quote a server

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """`accept` is the beginning of the digest of the state whose loss of data somebody accepts; `limit` in seconds,
    for the new primary and then for the standbys.
    """

    cluster: str
    verb: Verb
    by: str
    to: str = ""
    accept: str = ""
    limit: float = 120


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was seen, and what follows from it. `window` says when the next one opens, "" inside of one."""

    view: ClusterView
    topology: Topology
    readiness: Readiness
    window: str = ""
    notes: tuple[str, ...] = ()

    @property
    def target(self) -> TargetId:
        return TargetId(self.view.name, System(self.view.cluster.spec.ha.engine))


async def prepare(world: World, asked: Asked) -> Prepared:
    """Reads only. Raises SourceError, ManifestError, UsageError for a cluster that is not there, ReadError, and
    PolicyRefusal where no engine is.
    """
    view = await asyncio.to_thread(_view, world, asked.cluster)
    ha = view.cluster.spec.ha
    if ha.engine == "none":
        raise PolicyRefusal(
            f"no HA engine looks after {view.name}, and PgVillage promotes nothing by itself: do it by hand, or let "
            "Patroni or stolon do it (`ha.engine` in its manifest)"
        )
    wish = Wish(asked.verb, asked.to, ha.max_lag if ha.max_lag is not None else DEFAULT_MAX_LAG)
    topology, suspended = await asyncio.gather(world.topology(view), _suspended(world, view))
    window = _window(world, view)
    closed = f"outside of the windows for restarts: the next one opens {window}" if window else ""
    # The age of the last good backup belongs among these, as soon as backups are known.
    notes = (closed, suspended)
    return Prepared(view, topology, readiness(topology, wish), window, tuple(filter(None, notes)))


def _view(world: World, name: str) -> ClusterView:
    """No directory is asked: it must work when these are what is wrong."""
    manifests = world.manifests(world.checkout(None))
    if name not in manifests.clusters:
        near = difflib.get_close_matches(name, manifests.clusters, 1)
        known = ", ".join(sorted(manifests.clusters)) or "none"
        hint = f"did you mean {near[0]}?" if near else f"there are {known}"
        raise UsageError(f"no cluster {name!r} in the estate; {hint}")
    return replace(view_cluster(manifests, name, Lookups()), databases=())


def _window(world: World, view: ClusterView) -> str:
    windows = covering(view.policy.windows, view.cluster.metadata.labels)
    if not windows or any(is_inside(window, world.now()) for window in windows):
        return ""
    return str(next_opening(windows, world.now()) or "never")


async def _suspended(world: World, view: ClusterView) -> str:
    """A suspension stops applies; a person who asks for a handover goes on, and knows."""
    target = TargetId(view.name, System(view.cluster.spec.ha.engine))
    try:
        reading = await world.read(target, view, lambda _: ())
    except ReadError as error:
        return f"whether the target is suspended is not known: {error}"
    found = reading.ledger.suspension
    if found is None or not found.holds(world.now()):
        return ""
    return f"{suspension_words(found)}; that stops applies, and not this"


def check(prepared: Prepared, asked: Asked, command: str) -> None:
    """Raises UsageError, PolicyRefusal for what stands in the way, with the whole command where consent would do, and
    StalePlan when consent was to another state.
    """
    found = prepared.readiness
    _check_digits(asked.accept)
    for obstacle in found.obstacles:
        if obstacle.code == "unknown-node":
            raise UsageError(obstacle.text)
    if found.obstacles:
        raise PolicyRefusal(_listed(f"{asked.cluster}: no {asked.verb}", (o.text for o in found.obstacles)))
    if asked.accept and not found.digest.startswith(asked.accept):
        raise StalePlan(
            f"{asked.cluster} is no longer in the state that --accept-data-loss {asked.accept} was said of (now "
            f"{found.digest[:LEAST_DIGITS]}): look again, without it"
        )
    if found.needs_consent and not asked.accept:
        what = f"{asked.cluster}: no {asked.verb} without somebody's consent"
        copy = f"If that is accepted, for this state and no other:\n  {command} {found.digest[:LEAST_DIGITS]}"
        raise PolicyRefusal(f"{_listed(what, found.risks)}\n{copy}")


def _check_digits(accept: str) -> None:
    if accept and not re.fullmatch(rf"[0-9a-f]{{{LEAST_DIGITS},64}}", accept):
        raise UsageError(
            f"--accept-data-loss {accept!r}: expected the digest that the refusal printed, {LEAST_DIGITS} hex digits "
            "or more"
        )


def _listed(what: str, whys: Iterable[str]) -> str:
    found = [show_text(why, _LONGEST) for why in dict.fromkeys(whys)]
    return f"{what}: {found[0]}" if len(found) == 1 else "\n  - ".join([f"{what}:", *found])


async def hand_over(world: World, prepared: Prepared, asked: Asked, tell: Tell) -> Handover:
    """Done by the engine, in the cluster's turn. Raises LockNotAcquired, StalePlan when the state is another by now,
    StepFailed in the engine's words or when no new primary came up in time, with what is now.
    """
    view, engine = prepared.view, world.engine(prepared.view)
    async with engine.turn(asked.by, asked.verb):
        seen = await world.topology(view)
        found = readiness(seen, prepared.readiness.wish)
        _unchanged(prepared, found)
        async with AsyncExitStack() as stack:
            probes = [await stack.enter_async_context(probe) for probe in world.probes(view, seen)]
            for probe in probes:
                tell(probe.outage.problem or f"a client writes {probe.outage.way}")
            begun = time.monotonic()
            await _do(world, view, engine, (seen, found), tell)
            after = await _verified(world, view, (seen, found), asked.limit)
            seconds = time.monotonic() - begun
            tell(f"{after.primary.name if after.primary else '?'} is the primary, after {seconds:.1f} s")
            after, missing = await _followed(world, view, (seen, found), after, asked.limit)
            whole = time.monotonic() - begun
        outages = tuple(probe.outage for probe in probes)
    return Handover(found, seen, after, seconds, whole, outages, missing)


def _unchanged(prepared: Prepared, now: Readiness) -> None:
    if now.digest != prepared.readiness.digest or now.obstacles or now.candidate != prepared.readiness.candidate:
        why = _listed("", (o.text for o in now.obstacles)) if now.obstacles else ": its nodes are not what they were"
        raise StalePlan(f"{prepared.view.name} changed meanwhile, nothing was done{why}")


async def _do(world: World, view: ClusterView, engine: Engine, seen: tuple[Topology, Readiness], tell: Tell) -> None:
    topology, found = seen
    to = found.candidate if len(found.among) < 2 else None
    tell(f"asking {topology.engine}: {found.leader or 'nobody'} -> {to or ' or '.join(found.among)}")
    try:
        if found.wish.verb is Verb.SWITCHOVER:
            await engine.switchover(topology, to)
        else:
            await engine.failover(topology, to)
    except StepFailed as error:
        raise StepFailed(f"{error}; {await _as_it_is(world, view)}") from None


async def _as_it_is(world: World, view: ClusterView) -> str:
    try:
        now = await world.topology(view)
    except PgVillageError as error:
        return f"how it is now is not known: {error}"
    primary = now.primary
    return f"{primary.name} is the primary now" if primary else "no node is the primary now"


async def _verified(world: World, view: ClusterView, seen: tuple[Topology, Readiness], limit: float) -> Topology:
    before, found = seen
    until = time.monotonic() + limit
    while True:
        try:
            now = await world.topology(view)
            why = not_yet(before, now, found.leader)
            if not why:
                return now
        except ReadError as error:
            why = str(error)
        if time.monotonic() > until:
            raise StepFailed(f"{view.name}: {found.wish.verb} not done after {limit:.0f} s: {why}")
        await asyncio.sleep(_BETWEEN)


async def _followed(
    world: World, view: ClusterView, seen: tuple[Topology, Readiness], after: Topology, limit: float
) -> tuple[Topology, tuple[str, ...]]:
    before, found = seen
    until = time.monotonic() + limit
    returns = before.primary is not None
    while True:
        missing = tuple(missing_standbys(before, after, found.leader, old_returns=returns))
        if not missing or time.monotonic() > until:
            return after, missing
        await asyncio.sleep(_BETWEEN)
        try:
            after = await world.topology(view)
        except ReadError as error:
            if time.monotonic() > until:
                return after, (*missing, str(error))
