"""Whose policy judges a merge request: that of the branch it goes into, never its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pgvillage.core.errors import ManifestError, SourceError
from pgvillage.core.plan import Finding
from pgvillage.estate.loader import Manifests
from pgvillage.estate.manifest.estate import Limit, Limits, Policy
from pgvillage.estate.view import ClusterView
from pgvillage.usecases.world import Checkout, World

_STRICTEST = Policy(
    correct="off",
    approve="all",
    limits=Limits(drop=Limit(count=0, share="0%"), revoke=Limit(count=0, share="0%")),
)


@dataclass(frozen=True, slots=True)
class BasePolicy:
    """The Estate's policy, and what each cluster says for itself. `unread` says why neither could be had."""

    policy: Policy
    correct: Mapping[str, str | None]
    unread: str = ""

    def in_force(self, view: ClusterView) -> ClusterView:
        return replace(view, policy=self.policy, correct=self.correct.get(view.name) or self.policy.correct)

    def findings(self, after: Manifests, base: str) -> list[Finding]:
        """What somebody who reads the plan should know of the two policies."""
        if self.unread:
            words = f"the manifests of {base[:12]} can't be read ({self.unread}): everything waits for an approval"
            return [Finding("warning", words)]
        if _policy(after) == self.policy and _own(after) == self.correct:
            return []
        words = f"policy changes take effect after the merge: this is planned by the policy of {base[:12]}"
        return [Finding("warning", words)]


def policy_before(world: World, base: Checkout) -> BasePolicy:
    """The strictest there is where the base's manifests are broken: its policy may be as strict."""
    if base.refused:
        return BasePolicy(_STRICTEST, {}, base.refused)
    try:
        manifests = world.manifests(base)
    except (ManifestError, SourceError) as error:
        return BasePolicy(_STRICTEST, {}, str(error).partition("\n")[0])
    return BasePolicy(_policy(manifests), _own(manifests))


def _policy(manifests: Manifests) -> Policy:
    return manifests.estate.document.spec.policy if manifests.estate else Policy()


def _own(manifests: Manifests) -> dict[str, str | None]:
    """Of clusters that say something only: one that is new says nothing yet."""
    found = {name: located.document.spec.policy.correct for name, located in manifests.clusters.items()}
    return {name: correct for name, correct in found.items() if correct is not None}
