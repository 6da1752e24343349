"""The doctor: is everything there that a run will need? One line a check, and what to do about each failure."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from pgvillage.core.errors import ManifestError, PgVillageError
from pgvillage.core.plan import System, TargetId
from pgvillage.estate.view import ClusterView
from pgvillage.resources import kinds
from pgvillage.settings import SecretSource
from pgvillage.usecases.estate import LoadedEstate, Scope, load_estate
from pgvillage.usecases.world import World


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    good: bool
    text: str


async def examine(world: World, settings_file: Path) -> list[Check]:
    """All checks; those that need the estate are left out when it can't be loaded, which is a failed check then."""
    git = _git()
    checks = [
        Check("python", sys.version_info >= (3, 11), f"Python {platform.python_version()}"),
        git,
        _readable_by_others(settings_file),
        *_secrets(world),
    ]
    if not git.good:
        return checks
    try:
        estate = await load_estate(world, Scope())
    except PgVillageError as error:
        return [*checks, Check("estate", False, _in_one_line(error))]
    clusters = len(estate.manifests.clusters)
    plural = "" if clusters == 1 else "s"
    text = f"revision {estate.checkout.revision[:12]}, {clusters} cluster{plural}, all manifests valid"
    checks.append(Check("estate", True, text))
    checks += _directories(estate)
    checks += await asyncio.gather(*(_target(world, target, estate.views[target.cluster]) for target in estate.targets))
    return checks


def _in_one_line(error: PgVillageError) -> str:
    """Of many faults the first, and where to see them all."""
    if not isinstance(error, ManifestError):
        return str(error)
    faults = [d for d in error.diagnostics if d.severity == "error"]
    count = f"{len(faults)} error{'' if len(faults) == 1 else 's'} in the estate"
    first = f"{faults[0].position}: {faults[0].message}" if faults else ""
    return f"{count}, the first at {first}: `pgvillage validate` shows all"


def _git() -> Check:
    found = shutil.which("git")
    return Check("git", found is not None, found or "git is not installed: apt-get install git")


def _readable_by_others(file: Path) -> Check:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        return Check("settings", False, f"{file}: {error.strerror}")
    if mode & 0o022:
        return Check("settings", False, f"{file} can be written by others: chmod go-w {file}")
    return Check("settings", True, str(file))


def _secrets(world: World) -> list[Check]:
    """Every secret with an entry of its own can be read here; its value is looked at by nobody."""
    names = [name for name in world.settings.secrets if name != "*"]
    found = world.secrets(names)
    missing = sorted(set(names) - set(found))
    if not names:
        return []
    if missing:
        hints = [f"{name} ({_place(world.settings.secrets[name], name)})" for name in missing]
        return [Check("secrets", False, f"can't be read here: {', '.join(hints)}")]
    return [Check("secrets", True, f"{len(names)} can be read")]


def _place(source: SecretSource, name: str) -> str:
    """Where to put it right."""
    if source.env is not None:
        return f"set the environment variable {source.env.replace('{name}', name)}"
    if source.file is not None:
        return f"look at the file {source.file.replace('{name}', name)}"
    return f"run {(source.command or [''])[0]} by hand"


def _directories(estate: LoadedEstate) -> list[Check]:
    problems = {reason for view in estate.views.values() for reason in view.people.unanswered.values()}
    asked = any(g.document.spec.members and g.document.spec.members.directory for g in estate.manifests.groups.values())
    if not asked:
        return []
    people = {role for view in estate.views.values() for role in view.people.by_role}
    if problems:
        return [Check("directory", False, problem) for problem in sorted(problems)]
    return [Check("directory", True, f"{len(people)} {'person' if len(people) == 1 else 'people'} found")]


async def _target(world: World, target: TargetId, view: ClusterView) -> Check:
    try:
        return Check(str(target), True, await _read(world, target, view))
    except PgVillageError as error:
        return Check(str(target), False, str(error))
    except TimeoutError:
        return Check(str(target), False, f"no answer within {world.settings.timeouts.read:g} s")


async def _read(world: World, target: TargetId, view: ClusterView) -> str:
    reading = await world.read(target, view, lambda _: [])
    if target.system is System.STOLON:
        parsed = kinds(System.STOLON)["stolon"].parse(reading.live)
        return (
            f"stolon's cluster found, {len(parsed.findings)} findings" if parsed.findings else "stolon's cluster found"
        )
    can = reading.capabilities
    assert can is not None
    limits = [
        word
        for good, word in (
            (can.superuser, "not a superuser"),
            (can.createrole or can.superuser, "may not create roles"),
            (can.reads_verifiers, "may not compare passwords"),
            (can.reads_file_settings, "may not read pg_file_settings"),
        )
        if not good
    ]
    version = f"PostgreSQL {can.version // 10000}.{can.version % 10000}, as {can.role}"
    return version + (f" ({', '.join(limits)})" if limits else "")
