"""A merge request as a pipeline's environment tells of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """`head` is what is proposed, `target` the branch it goes into, `sha` the commit whose status is set."""

    kind: str
    api: str
    project: str
    number: int
    head: str
    target: str
    sha: str
    job: str = ""
    pipeline: str = ""


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment of a merge request."""

    id: str
    author: str
    body: str


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """`good` is what lets a merge go on; `description` is one line."""

    good: bool
    context: str
    description: str
    url: str = ""
