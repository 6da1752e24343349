"""`plan --comment`: the merge request of this pipeline, and telling it."""

from __future__ import annotations

import enum
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvillage.cli.options import EXIT_PARTIAL

if TYPE_CHECKING:
    from pgvillage.core.merge_request import MergeRequest
    from pgvillage.core.plan import Plan
    from pgvillage.wiring import RealWorld

_MOST_EVENT_BYTES = 32 << 20


class CommentOn(enum.StrEnum):
    GITLAB = "gitlab"
    GITHUB = "github"
    GITEA = "gitea"
    FORGEJO = "forgejo"


def merge_request_of(world: RealWorld, kind: CommentOn) -> MergeRequest:
    """Raises UsageError where the environment is not that of a merge request's pipeline."""
    from pgvillage.core.errors import UsageError
    from pgvillage.usecases.ci_place import place_in_ci

    forge = world.settings.forge
    if forge.kind is not None and forge.kind != kind.value:
        raise UsageError(f"--comment {kind}: forge.kind of the settings is {forge.kind}")
    return place_in_ci(forge, kind.value, os.environ, _event())


def _event() -> dict[str, Any]:
    """What started a workflow; empty where nothing says."""
    from pgvillage.core.errors import UsageError

    name = os.environ.get("GITHUB_EVENT_PATH", "")
    if not name:
        return {}
    try:
        file = Path(name)
        found = json.loads(file.read_bytes()) if file.stat().st_size <= _MOST_EVENT_BYTES else None
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"--comment: GITHUB_EVENT_PATH: {name} is not a JSON object that can be read")
    return found


def told(world: RealWorld, request: MergeRequest, base: str, scope: tuple[str, ...], found: Plan | Exception) -> int:
    """The exit code: 0, or 6 when something could not be told. `found` is the plan, or why there is none."""
    import asyncio

    from pgvillage.core.errors import PgVillageError

    try:
        problems = asyncio.run(_tell(world, request, base, scope, found))
    except PgVillageError as error:
        problems = [f"nothing was written: {error}"]
    for problem in problems:
        print(f"pgvillage: merge request {request.number}: {problem}", file=sys.stderr)
    if problems and not isinstance(found, Exception):
        print("pgvillage: the plan above is whole; only telling the merge request failed (exit 6)", file=sys.stderr)
    return EXIT_PARTIAL if problems else 0


async def _tell(
    world: RealWorld, request: MergeRequest, base: str, scope: tuple[str, ...], found: Plan | Exception
) -> list[str]:
    from pgvillage.clients.forge.open import conversation
    from pgvillage.report.merge_request import comment_body, failure_body, failure_status, marker, plan_status
    from pgvillage.usecases.comment import tell

    settings = world.settings
    label = settings.forge.label or ""
    mark = marker(settings.repository.path, label, *scope)
    context = f"pgvillage/plan/{label}" if label else "pgvillage/plan"
    merge = (request.head, base)
    async with conversation(settings.forge, request) as talk:
        if isinstance(found, Exception):
            body = failure_body(str(found), mark, merge, request.job, talk.limit)
            return await tell(talk, mark, body, failure_status(context, request.job))
        body = comment_body(found, mark, merge, request.job, talk.limit)
        return await tell(talk, mark, body, plan_status(found, context, request.job))
