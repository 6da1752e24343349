"""The documents keep their word: the reference is current, commands in examples exist, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml

from pgvillage.cli.app import app
from pgvillage.estate.manifest.common import Grant, GrantSet
from pgvillage.estate.manifest.database import PublicGrants

ROOT = Path(__file__).parents[2]
WRITTEN = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
DOCUMENTS = sorted([*WRITTEN, *(ROOT / "docs/reference").glob("*.md")])
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# Where a command is run, not where the name stands in a sentence: in a code span or at the start of a line of a block.
_COMMAND = re.compile(r"(?:`|^\s*(?:\$ |- )?)pgvillage +([^`\n]*)", re.MULTILINE)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_current() -> None:
    pages: dict[str, str] = generator().pages()
    assert {path.name for path in (ROOT / "docs/reference").iterdir()} == set(pages)
    stale = [name for name, text in pages.items() if (ROOT / "docs/reference" / name).read_text() != text]
    assert stale == [], "run: python docs/generate.py"


def commands(text: str) -> Iterator[list[str]]:
    """The words after `pgvillage`, of spans and of blocks; a block's comment and its pipes are left out."""
    places = [*_FENCE.findall(text), *re.findall(r"`[^`\n]+`", _FENCE.sub("", text))]
    for place in places:
        for words in _COMMAND.findall(place):
            yield re.split(r"\s+(?:#|\|)|\s*(?:&&|\|\||;)", words)[0].split()


def faults(text: str) -> list[str]:
    """Commands and options that the command line does not have."""
    group: Any = typer.main.get_command(app)
    found = []
    for first, *after in filter(None, commands(text)):
        verb, words = first, after
        if verb.startswith("-"):
            continue
        command = group.commands.get(verb)
        if command is None:
            found.append(f"pgvillage {verb}")
            continue
        if words and words[0] in getattr(command, "commands", ()):
            verb, command = f"{verb} {words[0]}", command.commands[words[0]]
            words = words[1:]
        known = {"--help", "-h", *(name for p in command.params for name in (*p.opts, *p.secondary_opts))}
        options = [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
        found += [f"pgvillage {verb} {option}" for option in options if option not in known]
    return found


def slug(title: str) -> str:
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return {slug(title) for title in re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)}


def broken_links(path: Path, text: str) -> list[str]:
    found = []
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", _FENCE.sub("", text)):
        name, _, anchor = link.partition("#")
        target = (path.parent / name) if name else path
        if not re.match(r"[a-z]+:", link) and (not target.exists() or (anchor and anchor not in anchors(target))):
            found.append(link)
    return found


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_commands_in_examples_exist(path: Path) -> None:
    assert faults(path.read_text()) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    assert broken_links(path, path.read_text()) == []


def test_these_tests_see_what_is_wrong() -> None:
    block = "```\n$ pgvillage plan --nosuch x | less\npgvillage aply\n```\n"
    text = f"{block}`pgvillage drft` [x](no.md) [y](README.md#none)"
    assert faults(text) == ["pgvillage plan --nosuch", "pgvillage aply", "pgvillage drft"]
    assert broken_links(ROOT / "x.md", text) == ["no.md", "README.md#none"]


def test_there_are_examples_to_look_at() -> None:
    assert sum(len(list(commands(path.read_text()))) for path in WRITTEN) > 10


def test_examples_of_privileges_are_what_the_models_take() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/privileges.md").read_text(), re.MULTILINE | re.DOTALL)
    found = [yaml.safe_load(block) for block in blocks]
    grants = [Grant.model_validate(grant) for block in found for grant in block.get("privileges", ())]
    asked = {name for grant in grants if grant.grant for name in grant.grant.model_dump(exclude_defaults=True)}
    assert asked >= set(GrantSet.model_fields)
    assert [PublicGrants.model_validate(block["public"]).future for block in found if "public" in block]
