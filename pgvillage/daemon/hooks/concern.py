"""Whether a push is one of the repository and ref that the settings follow."""

from __future__ import annotations

from pgvillage.core.repository_place import RepositoryPlace
from pgvillage.daemon.hooks.delivery import Push, Ref
from pgvillage.settings import Repository


def concerns(push: Push, place: RepositoryPlace, repository: Repository) -> bool:
    return place in push.places and any(_followed(ref, push, repository) for ref in push.refs)


def _followed(ref: Ref, push: Push, repository: Repository) -> bool:
    """Where no branch is named, the forge's default branch is followed, also after it was given another name."""
    if ref.gone or repository.commit is not None:
        return False
    if repository.tag is not None:
        return ref.name == f"refs/tags/{repository.tag}"
    branch = repository.branch or push.default_branch
    return ref.name == f"refs/heads/{branch}" if branch else ref.name.startswith("refs/heads/")
