"""The pipelines of examples/ci: their commands are ones, with least rights and nothing that moves under its name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from pgvillage.cli.app import app
from pgvillage.cli.merge_request import CommentOn
from pgvillage.settings import Settings

FOLDER = Path(__file__).parents[2] / "examples/ci"
PIPELINES = sorted(path.name for path in FOLDER.glob("*.yml"))
ACTIONS = [name for name in PIPELINES if "actions" in name]
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def read(name: str) -> dict[Any, Any]:
    found = yaml.safe_load((FOLDER / name).read_text())
    assert isinstance(found, dict)
    return found


def jobs(name: str) -> dict[str, dict[str, Any]]:
    document = read(name)
    if "jobs" in document:
        return dict(document["jobs"])
    return {key: job for key, job in document.items() if isinstance(job, dict) and "script" in job}


def commands(job: dict[str, Any]) -> Iterator[str]:
    yield from job.get("script", ())
    for step in job.get("steps", ()):
        yield from str(step["run"]).splitlines()


def parsed(command: str) -> dict[str, Any]:
    """What the command line's own parser makes of it. Raises what it would raise."""
    program, verb, *arguments = shlex.split(command)
    assert program == "pgvillage"
    group = typer.main.get_command(app)
    found = group.commands[verb].make_context(verb, arguments)  # type: ignore[attr-defined]
    return dict(found.params)


def test_there_is_one_for_each_forge() -> None:
    assert PIPELINES == ["gitea-actions.yml", "github-actions.yml", "gitlab-ci.yml"]


@pytest.mark.parametrize("name", PIPELINES)
def test_commands_are_what_the_command_line_takes(name: str) -> None:
    found = [parsed(command) for job in jobs(name).values() for command in commands(job)]
    assert len(found) == 2
    (told,) = (each["comment"] for each in found if each.get("comment"))
    assert told is CommentOn(name.partition("-")[0])


def test_a_wrong_option_is_seen() -> None:
    with pytest.raises(Exception, match="nosuch"):
        parsed("pgvillage plan --nosuch")
    with pytest.raises(Exception, match="gitlob"):
        parsed("pgvillage plan --comment gitlob")


@pytest.mark.parametrize("name", PIPELINES)
def test_images_and_actions_are_pinned(name: str) -> None:
    document = read(name)
    images = [document["default"]["image"]] if "default" in document else []
    images += [job["container"] for job in jobs(name).values() if "container" in job]
    assert images
    assert [image for image in images if not _DIGEST.search(image)] == []
    uses = [step["uses"] for job in jobs(name).values() for step in job.get("steps", ()) if "uses" in step]
    assert [action for action in uses if not re.search(r"@[0-9a-f]{40}$", action)] == []


@pytest.mark.parametrize("name", ACTIONS)
def test_workflows_trust_no_fork_and_no_name(name: str) -> None:
    document = read(name)
    assert list(document[True]) == ["pull_request"], "YAML 1.1 reads `on` as true"
    run = "\n".join(command for job in jobs(name).values() for command in commands(job))
    assert "${{" not in run, "what a pull request names is no part of a command"


def test_github_gives_each_job_the_least() -> None:
    assert read("github-actions.yml")["permissions"] == {}
    found = jobs("github-actions.yml")
    assert found["validate"]["permissions"] == {"contents": "read"}
    assert found["plan"]["permissions"] == {"contents": "read", "pull-requests": "write", "statuses": "write"}


def test_gitlab_runs_in_merge_requests_only() -> None:
    rules = [job["rules"] for job in jobs("gitlab-ci.yml").values()]
    assert rules == [[{"if": '$CI_PIPELINE_SOURCE == "merge_request_event"'}]] * 2


def test_the_settings_are_settings() -> None:
    found = Settings.model_validate(read("plan.yaml"))
    assert found.secrets == {}
    assert found.forge.token is not None
