"""Which merge request a pipeline is about, from the environment that its forge gives it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pgvillage.core.errors import UsageError
from pgvillage.core.merge_request import MergeRequest
from pgvillage.settings import Forge

_HASH = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_PROJECT = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+")
Environment = Mapping[str, str]


def place_in_ci(forge: Forge, kind: str, env: Environment, event: Mapping[str, Any]) -> MergeRequest:
    """`event` is what GITHUB_EVENT_PATH names. Raises UsageError for what is missing, and where it comes from."""
    found = _gitlab(forge, env) if kind == "gitlab" else _github(forge, kind, env, event)
    if not _HASH.fullmatch(found.head) or not _HASH.fullmatch(found.sha):
        raise UsageError(f"--comment {kind}: expected a commit's full hash for the merge request's head")
    return found


def _gitlab(forge: Forge, env: Environment) -> MergeRequest:
    number = _need(env, "CI_MERGE_REQUEST_IID", "run the job in merge request pipelines: rules: - if: "
                   '$CI_PIPELINE_SOURCE == "merge_request_event"')  # fmt: skip
    # A pipeline for merged results has a commit of its own, and tells the head apart; others run on the head itself.
    commit = _need(env, "CI_COMMIT_SHA")
    return MergeRequest(
        kind="gitlab",
        api=_api(forge, _need(env, "CI_API_V4_URL") if forge.url is None else env.get("CI_API_V4_URL", "")),
        project=forge.project or env.get("CI_MERGE_REQUEST_PROJECT_ID") or _need(env, "CI_PROJECT_ID"),
        number=_number(number, "CI_MERGE_REQUEST_IID"),
        head=env.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or commit,
        target=_need(env, "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"),
        sha=commit,
        job=_web(env.get("CI_JOB_URL", "")),
        pipeline=env.get("CI_PIPELINE_ID", ""),
    )


def _github(forge: Forge, kind: str, env: Environment, event: Mapping[str, Any]) -> MergeRequest:
    request = event.get("pull_request")
    if not isinstance(request, Mapping):
        raise UsageError(
            f"--comment {kind}: GITHUB_EVENT_PATH names no event of a pull request: run the job `on: pull_request`"
        )
    project = forge.project or _need(env, "GITHUB_REPOSITORY")
    if not _PROJECT.fullmatch(project):
        raise UsageError(f"--comment {kind}: expected OWNER/NAME as the project, found {project!r}")
    server = _web(env.get("GITHUB_SERVER_URL", ""))
    run = env.get("GITHUB_RUN_NUMBER" if kind != "github" else "GITHUB_RUN_ID", "")
    head = _text(request, "head", "sha")
    return MergeRequest(
        kind=kind,
        api=_api(forge, _github_api(kind, env) if forge.url is None else env.get("GITHUB_API_URL", "")),
        project=project,
        number=_number(str(request.get("number", "")), "pull_request.number of the event"),
        head=head,
        target=_text(request, "base", "ref"),
        sha=head,
        job=f"{server}/{project}/actions/runs/{run}" if server and run.isdigit() else "",
    )


def _github_api(kind: str, env: Environment) -> str:
    """Gitea and Forgejo set GITHUB_API_URL as GitHub does; older ones the server's URL alone."""
    if kind != "github" and not env.get("GITHUB_API_URL"):
        return _need(env, "GITHUB_SERVER_URL").rstrip("/") + "/api/v1"
    return _need(env, "GITHUB_API_URL")


def _api(forge: Forge, told: str) -> str:
    """The settings' URL; a pipeline can't have the settings' token sent to another host."""
    if forge.url is None:
        return told.rstrip("/")
    if told and _origin(told) != _origin(forge.url):
        raise UsageError(f"the environment says that the forge is {told!r}, and forge.url of the settings says another")
    return forge.url.rstrip("/")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _need(env: Environment, name: str, hint: str = "") -> str:
    value = env.get(name, "")
    if not value:
        words = hint or "is this a pipeline of a merge request?"
        raise UsageError(f"--comment: the environment variable {name} is not set: {words}")
    return value


def _number(text: str, where: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise UsageError(f"--comment: {where}: expected the number of a merge request, found {text!r}")
    return int(text)


def _text(event: Mapping[str, Any], *path: str) -> str:
    found: Any = event
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, str) or not found:
        raise UsageError(f"--comment: the event has no pull_request.{'.'.join(path)}")
    return found


def _web(url: str) -> str:
    return url.rstrip("/") if url.startswith(("https://", "http://")) and url.isprintable() and " " not in url else ""
