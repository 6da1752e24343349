"""Rotation across targets: which logins each was seen to have, and promotion once every cluster has the next."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgvillage.core.address import Address, quote_part
from pgvillage.core.errors import PgVillageError
from pgvillage.core.plan import Finding, System
from pgvillage.core.rotation import LoginsSeen, Rotation
from pgvillage.core.run import Outcome, Run, TargetRun
from pgvillage.core.secret import InUse, Secret
from pgvillage.engine.kind import Context
from pgvillage.estate.loader import Manifests
from pgvillage.estate.rotation import rotation_of
from pgvillage.resources.postgres.password import is_set
from pgvillage.usecases.world import World

if TYPE_CHECKING:
    from pgvillage.usecases.observe import Observation

_SHOWN = 5


def waiting(context: Context, in_use: Mapping[str, InUse]) -> Iterator[Finding]:
    """Rotations that are under way, as this target shows them."""
    for rotation in context.view.rotations:
        use = in_use.get(rotation.secret)
        if use is None or not use.pending:
            continue
        address = Address(context.view.name, "role", (use.pending,))
        pending, active = quote_part(use.pending), quote_part(use.username)
        if not is_set(address, rotation.secret_of(use.pending), context):
            text = f"the rotation to {pending} has begun: its new password is stored and not set here yet"
        elif use.username:
            text = f"{pending} has its new password here; {active} stays in use until every cluster has it"
        else:
            text = f"{pending} has its password here; it can be used when every cluster has it"
        yield Finding("info", text, address)


def logins_seen(seen: Observation | None) -> LoginsSeen:
    """What this look at the target confirms of the logins of its rotations."""
    if seen is None:
        return LoginsSeen()
    context, found = seen.context, {}
    for rotation in context.view.rotations:
        for login in rotation.roles:
            name = rotation.secret_of(login)
            if is_set(Address(context.view.name, "role", (login,)), name, context) and _can_be_used(
                rotation, login, context
            ):
                found[name] = context.secrets[name]
    return LoginsSeen(seen.in_use, found)


def _can_be_used(rotation: Rotation, login: str, context: Context) -> bool:
    """It logs in and is a member; a password alone is no login."""
    live, name = context.snapshot.live, context.view.name
    role = live.get(Address(name, "role", (login,)))
    member = Address(name, "membership", (rotation.role, login)) in live
    return role is not None and bool(role.as_fields().get("login")) and member


def clusters_under_way(manifests: Manifests, run: TargetRun) -> set[str]:
    """All clusters of the rotations that this run found begun and not yet promoted."""
    begun = {secret for secret, use in run.logins.in_use.items() if use is not None and use.pending}
    return {name for rotation, clusters in _rotations(manifests) if rotation.secret in begun for name in clusters}


async def promote_logins(world: World, manifests: Manifests, run: Run) -> Run:
    """The run, with every pending login that all its clusters have put in use, and words about those that wait."""
    targets = {each.target: each for each in run.targets}
    for rotation, clusters in _rotations(manifests):
        concerned = [t for t in targets.values() if t.target.system is System.POSTGRES and t.target.cluster in clusters]
        for told in await _promote(world, rotation, clusters, concerned):
            targets[told.target] = told
    return replace(run, targets=tuple(targets.values()))


def _rotations(manifests: Manifests) -> Iterator[tuple[Rotation, list[str]]]:
    """Each with the names of all clusters that its user selects, in this run or not."""
    for user in manifests.users.values():
        rotation = rotation_of(user.document)
        if rotation is None:
            continue
        selector = user.document.spec.clusters
        yield (
            rotation,
            sorted(
                name
                for name, cluster in manifests.clusters.items()
                if cluster.document.spec.connection is not None
                and selector.matches(name, cluster.document.metadata.labels)
            ),
        )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the last looks at a rotation's clusters say."""

    use: InUse
    password: Secret | None
    missing: tuple[str, ...]


def _evidence(rotation: Rotation, clusters: Iterable[str], runs: Iterable[TargetRun]) -> _Evidence | None:
    """None while no rotation is under way."""
    by_cluster = {run.target.cluster: run for run in runs}
    uses = [run.logins.in_use.get(rotation.secret) for run in by_cluster.values()]
    use = next((use for use in uses if use is not None and use.pending), None)
    if use is None:
        return None
    name = rotation.secret_of(use.pending)
    found = {cluster: run.logins.confirmed.get(name) for cluster, run in by_cluster.items()}
    password = next((value for value in found.values() if value is not None), None)
    missing = [
        f"{cluster} ({_why_missing(by_cluster.get(cluster))})"
        for cluster in clusters
        if found.get(cluster) is None or found[cluster] != password
    ]
    return _Evidence(use, password, tuple(missing))


def _why_missing(run: TargetRun | None) -> str:
    if run is None:
        return "not part of this run"
    good = run.outcome in (Outcome.DONE, Outcome.NOTHING)
    return "its plan says why" if good else str(run.outcome)


async def _promote(
    world: World, rotation: Rotation, clusters: list[str], concerned: list[TargetRun]
) -> list[TargetRun]:
    evidence = _evidence(rotation, clusters, concerned)
    if evidence is None:
        return []
    pending, active = quote_part(evidence.use.pending), quote_part(evidence.use.username)
    if evidence.missing or evidence.password is None:
        stays = f"{active} stays in use until" if evidence.use.username else f"{pending} can't be used before"
        more = f" and {len(evidence.missing) - _SHOWN} more" if len(evidence.missing) > _SHOWN else ""
        names = ", ".join(evidence.missing[:_SHOWN]) + more
        return _with_note(concerned, f"{stays} every cluster has the new password of {pending}; not yet: {names}")
    try:
        done = await asyncio.to_thread(world.promote, rotation, evidence.password)
    except PgVillageError as error:
        text = f"{pending} has its new password everywhere and was not put in use: {error}"
        return [
            replace(run, outcome=Outcome.FAILED, error="; ".join(filter(None, (run.error, text)))) for run in concerned
        ]
    if not done:
        return []  # another applier was faster, and says so
    stays = f"; {active} stays valid until the next rotation" if evidence.use.username else ""
    return _with_note(concerned, f"{pending} is in use from now on (secret {rotation.secret}){stays}")


def _with_note(runs: Iterable[TargetRun], note: str) -> list[TargetRun]:
    return [replace(run, notes=(*run.notes, note)) for run in runs]
