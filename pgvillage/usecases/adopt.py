"""Adopting: what lives and is not declared, or deviates, becomes what the manifests say."""

from __future__ import annotations

import difflib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pgvillage.core.address import Address, parse_address
from pgvillage.core.errors import ManifestError, PgVillageError, UsageError
from pgvillage.core.lookup import Lookups
from pgvillage.core.plan import System, TargetId
from pgvillage.estate.loader import Manifests, load_manifests
from pgvillage.estate.manifest.database import InlineDatabase
from pgvillage.estate.references import SettingsNames
from pgvillage.estate.view import ClusterView, DeclaredDatabase, group_queries, view_cluster
from pgvillage.estate.yaml_edit import Unclear
from pgvillage.usecases.adopt_case import Refused
from pgvillage.usecases.adopt_edits import NEW_FILE, Edit, applied
from pgvillage.usecases.adopt_proposals import propose
from pgvillage.usecases.estate import LoadedEstate, Scope, load_estate
from pgvillage.usecases.observe import Observation, observe
from pgvillage.usecases.plan import NO_CONSENT, plan_observed
from pgvillage.usecases.world import World


@dataclass(frozen=True, slots=True)
class Adoption:
    """Of each address what it became: `edits` by address, or in words why not; `files` are old and new text.

    `secrets` are names that the settings do not have yet, with what they hold; `notes` say what an edit means.
    """

    edits: Mapping[Address, Sequence[Edit]]
    refused: Mapping[Address, str]
    files: Mapping[str, tuple[str, str]]
    written: tuple[Path, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[Address, str] = field(default_factory=dict)

    def diff(self) -> str:
        """A unified diff of every file."""
        lines: list[str] = []
        for name, (old, new) in self.files.items():
            before = f"a/{name}" if old else "/dev/null"
            pieces = old.splitlines(keepends=True), new.splitlines(keepends=True)
            lines += difflib.unified_diff(*pieces, before, f"b/{name}")
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


@dataclass
class _Work:
    """What is known so far; texts by file, as they would be."""

    texts: dict[str, str] = field(default_factory=dict)
    edits: dict[Address, Sequence[Edit]] = field(default_factory=dict)
    refused: dict[Address, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    notes: dict[Address, str] = field(default_factory=dict)


async def adopt(world: World, texts: Sequence[str], *, write: bool = False, revision: str | None = None) -> Adoption:
    """Raises UsageError for an address that can't be one, or that nobody knows."""
    addresses = list(dict.fromkeys(map(parse_address, texts)))
    clusters = tuple(dict.fromkeys(a.target for a in addresses))
    estate = await load_estate(world, Scope(clusters, revision=revision))
    root = estate.checkout.root
    target_root = _work_tree(world) if write else root
    work = _Work()
    for cluster in clusters:
        mine = [a for a in addresses if a.target == cluster]
        await _propose(world, estate, cluster, mine, work)
        await _prove(world, estate, mine, work)
    files = {name: (_read(root / name), text) for name, text in sorted(work.texts.items())}
    files = {name: pair for name, pair in files.items() if pair[0] != pair[1]}
    written = _write(target_root, files) if write else ()
    known = world.names().secrets
    secrets = {name: what for name, what in work.secrets.items() if known is not None and name not in known}
    return Adoption(work.edits, work.refused, files, written, secrets, work.notes)


async def _propose(world: World, estate: LoadedEstate, cluster: str, addresses: Sequence[Address], work: _Work) -> None:
    view = estate.views[cluster]
    seen = await observe(world, TargetId(cluster, System.POSTGRES), _surveying(view, addresses))
    changes = {c.address: c for c in plan_observed(world, seen, estate, NO_CONSENT).changes}
    for address in addresses:
        _must_be_known(address, seen)
        try:
            proposal = propose(address, changes.get(address), seen, estate.manifests)
            # what two addresses of one table ask for alike is written once
            done = [edit for each in work.edits.values() for edit in each]
            work.texts = applied([e for e in proposal.edits if e not in done], estate.checkout.root, work.texts)
        except (Refused, Unclear) as error:
            work.refused[address] = str(error)
        else:
            work.edits[address] = proposal.edits
            work.secrets |= proposal.secrets
            work.notes |= {address: proposal.note} if proposal.note else {}


def _surveying(view: ClusterView, addresses: Sequence[Address]) -> ClusterView:
    """A view that looks at everything, also into databases that are to be adopted."""
    declared = {d.name for d in view.databases}
    more = [a.name[0] for a in addresses if a.kind == "database" and a.name[0] not in declared]
    extra = tuple(DeclaredDatabase(n, InlineDatabase(name=n), view.located, ("spec",)) for n in more)
    return replace(view, survey=True, databases=(*view.databases, *extra))


def _must_be_known(address: Address, seen: Observation) -> None:
    if address not in seen.context.snapshot.live and address not in seen.desired:
        alike = {str(a): a for a in seen.context.snapshot.live if a.kind == address.kind}
        near = difflib.get_close_matches(str(address), alike, 3)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise UsageError(f"{address}: neither the estate nor the cluster knows it{hint}")


async def _prove(world: World, estate: LoadedEstate, addresses: Sequence[Address], work: _Work) -> None:
    """Plan with the new texts: an address that would still change is taken back, with what is the matter."""
    mine = [a for a in addresses if a in work.edits]
    if not mine:
        return
    with tempfile.TemporaryDirectory(prefix="pgvillage-adopt-") as folder:
        stage = Path(folder) / "estate"
        shutil.copytree(estate.checkout.root, stage, ignore=shutil.ignore_patterns(".git"))
        _write(stage, {name: ("", text) for name, text in work.texts.items()})
        try:
            manifests = load_manifests(stage, _names_with(world, work.secrets))
        except ManifestError as error:
            words = "; ".join(str(d).splitlines()[0] for d in error.diagnostics[:3])
            raise PgVillageError(f"the manifests would not be valid then: {words}") from None
        left = await _changes(world, estate, manifests, mine[0].target)
    for address in mine:
        if address in left:
            raise PgVillageError(f"{address} would still differ; change the manifest by hand and see `pgvillage plan`")


def _names_with(world: World, secrets: Mapping[str, str]) -> SettingsNames:
    """What manifests may name when these secrets stand in the settings as well."""
    names = world.names()
    return names if names.secrets is None else replace(names, secrets=names.secrets | set(secrets))


async def _changes(world: World, estate: LoadedEstate, manifests: Manifests, cluster: str) -> set[Address]:
    queries = group_queries(manifests, {cluster: manifests.clusters[cluster]})
    view = view_cluster(manifests, cluster, await world.ask(queries) if queries else Lookups())
    seen = await observe(world, TargetId(cluster, System.POSTGRES), view)
    return {c.address for c in plan_observed(world, seen, estate, NO_CONSENT).changes}


def _work_tree(world: World) -> Path:
    """Where manifests are edited. Raises UsageError for a repository that is elsewhere."""
    repository = world.settings.repository
    folder = Path(repository.url)
    if not (folder / ".git").exists():
        raise UsageError("--write: the settings name a repository that is no work tree here; without it, it is printed")
    return folder / repository.path if repository.path else folder


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _write(root: Path, files: Mapping[str, tuple[str, str]]) -> tuple[Path, ...]:
    for name, (_, text) in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return tuple(root / name for name in files)


__all__ = ["NEW_FILE", "Adoption", "adopt"]
