"""Reading the estate for a run: checkout, manifests, directories, one view a cluster."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pgvillage.core.errors import UsageError
from pgvillage.core.lookup import GroupQuery, Lookups
from pgvillage.core.plan import Finding, System, TargetId
from pgvillage.estate.loader import Manifests
from pgvillage.estate.view import ClusterView, group_queries, view_cluster
from pgvillage.usecases.base_policy import policy_before
from pgvillage.usecases.world import Checkout, World

Ask = Callable[[Collection[GroupQuery]], Awaitable[Lookups]]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is about; empty means everything. With a `base`, what merging the revision into it gives."""

    targets: Sequence[str] = ()
    exclude: Sequence[str] = ()
    labels: Mapping[str, str] | None = None
    revision: str | None = None
    base: str | None = None

    def words(self) -> tuple[str, ...]:
        labels = [f"--selector {key}={value}" for key, value in (self.labels or {}).items()]
        return (*(f"-t {t}" for t in self.targets), *(f"--exclude {t}" for t in self.exclude), *labels)


@dataclass(frozen=True, slots=True)
class LoadedEstate:
    checkout: Checkout
    manifests: Manifests
    views: Mapping[str, ClusterView]
    targets: tuple[TargetId, ...]
    findings: tuple[Finding, ...] = ()


async def load_estate(world: World, scope: Scope) -> LoadedEstate:
    """Raises SourceError, ManifestError, UsageError for a target that is not there."""
    base: Checkout | None = None
    if scope.base is not None:
        checkout, base = await asyncio.to_thread(world.merged, scope.base, scope.revision)
    else:
        checkout = await asyncio.to_thread(world.checkout, scope.revision)
    # The base first: the World remembers one revision's manifests, and these are the ones that are asked for again.
    before = policy_before(world, base) if base is not None else None
    manifests = world.manifests(checkout)
    estate = await estate_of(world.ask, checkout, manifests, select_targets(manifests, scope))
    if before is None or base is None:
        return estate
    views = {name: before.in_force(view) for name, view in estate.views.items()}
    findings = (*estate.findings, *before.findings(manifests, base.revision))
    return replace(estate, views=views, findings=findings)


async def estate_of(ask: Ask, checkout: Checkout, manifests: Manifests, targets: tuple[TargetId, ...]) -> LoadedEstate:
    """What manifests that are loaded already say about these targets, with what directories answer to `ask`."""
    clusters = {t.cluster: manifests.clusters[t.cluster] for t in targets}
    # Only PostgreSQL's side asks directories; a run about etcd alone needs no LDAP server.
    asked = {t.cluster: clusters[t.cluster] for t in targets if t.system is System.POSTGRES}
    queries = group_queries(manifests, asked)
    lookups = await ask(queries) if queries else Lookups()
    views = {name: view_cluster(manifests, name, lookups) for name in clusters}
    findings = (Finding("error", checkout.refused),) if checkout.refused else ()
    return LoadedEstate(checkout, manifests, views, targets, findings)


def select_targets(manifests: Manifests, scope: Scope) -> tuple[TargetId, ...]:
    """The targets of a run in the order of their names."""
    known: list[TargetId] = []
    for name, located in sorted(manifests.clusters.items()):
        spec = located.document.spec
        if spec.connection is None:
            continue
        known.append(TargetId(name))
        if spec.ha.engine != "none":
            known.append(TargetId(name, System(spec.ha.engine)))
    names = {str(t) for t in known} | {t.cluster for t in known}
    for word in (*scope.targets, *scope.exclude):
        if word not in names:
            near = difflib.get_close_matches(word, names, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(names)) or 'none'}"
            raise UsageError(f"no target {word!r} in the estate{hint}")
    return tuple(t for t in known if _in_scope(t, manifests, scope))


def _in_scope(target: TargetId, manifests: Manifests, scope: Scope) -> bool:
    words = {str(target), target.cluster}
    if words.intersection(scope.exclude) or (scope.targets and not words.intersection(scope.targets)):
        return False
    labels = manifests.clusters[target.cluster].document.metadata.labels
    return all(labels.get(key) == value for key, value in (scope.labels or {}).items())


def not_acted_on(view: ClusterView) -> Iterable[str]:
    """What manifests ask for and this version does not do yet: said, never silently dropped."""
    spec = view.cluster.spec
    if spec.backup is not None:
        yield "backup"
    if spec.connect is not None:
        yield "connect"
