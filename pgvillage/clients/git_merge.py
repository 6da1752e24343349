"""What merging one commit into another gives, made in the clone: no work tree, no branch, the same name each time."""

from __future__ import annotations

import tempfile

from pgvillage.clients.git_mirror import Mirror
from pgvillage.clients.git_remote import NotInRepository
from pgvillage.clients.git_url import plain
from pgvillage.core.errors import SourceError

_CONFLICTS_SHOWN = 5


def tip(mirror: Mirror, branch: str) -> str:
    """The newest commit of a branch. A checkout that a CI made has others' branches as its remote's only."""
    if mirror.git.remote.in_place:
        try:
            return mirror.follow(mirror.named("refs/remotes/origin/", branch))
        except NotInRepository:
            pass
    return mirror.bring(branch)


def merged(mirror: Mirror, base: str, head: str) -> str:
    """The commit that merging `head` into `base` would give; both are there. Raises SourceError for a conflict."""
    if mirror.is_ancestor(base, head):
        return head
    if mirror.is_ancestor(head, base):
        return base
    code, out = mirror.output("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", base, head)
    if code not in {0, 1}:
        raise SourceError(f"{head[:12]} can't be merged into {base[:12]}: they have no history in common here")
    tree, *files = [each for each in out.split("\0") if each]
    if code == 1:
        shown = ", ".join(ascii(plain(name)) for name in files[:_CONFLICTS_SHOWN])
        more = f" and {len(files) - _CONFLICTS_SHOWN} more" if len(files) > _CONFLICTS_SHOWN else ""
        raise SourceError(
            f"{head[:12]} does not merge into {base[:12]}: conflicts in {shown}{more}; merge or rebase, and push again"
        )
    return _written(mirror, tree, base, head)


def _written(mirror: Mirror, tree: str, base: str, head: str) -> str:
    """A commit whose dates are the head's, so that the same two always make the same third one."""
    _, seconds = mirror.output("log", "-1", "--no-show-signature", "--format=%ct", head)
    who = f"PgVillage <pgvillage@localhost> {seconds} +0000"
    above = f"tree {tree}\nparent {base}\nparent {head}\nauthor {who}\ncommitter {who}\n"
    text = f"{above}\nMerge {head[:12]} into {base[:12]}\n"
    with tempfile.NamedTemporaryFile("w", dir=mirror.folder, prefix="merge-") as file:
        file.write(text)
        file.flush()
        code, commit = mirror.output("hash-object", "-t", "commit", "-w", "--no-filters", file.name)
    if code:
        raise SourceError(f"git can't write the merge of {head[:12]} into {base[:12]} to {mirror.folder}")
    return commit
