"""Golden cases of every kind: manifests and a live server in, changes and SQL out. No server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgvillage.core.plan import System
from pgvillage.resources import kinds
from tests.resources.case import Case, read_case, shown, written

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*/*.yaml"))
KINDS = [name for system in System for name in kinds(system)]


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case(path: Path) -> None:
    case = read_case(path)
    said = case.said()
    if "expect" not in case.body and os.environ.get("GOLDEN") == "write":  # then read what was written, word by word
        path.write_text(f"{path.read_text().rstrip()}\n{written(said)}")
    else:
        assert written(said) == written(case.body.get("expect") or {})
    if "invalid" not in said:
        steps_serve_what_is_applied(case)
        no_secret_is_shown(case)


def steps_serve_what_is_applied(case: Case) -> None:
    named = {address for step in case.plan.steps for address in step.addresses}
    assert named == {change.address for change in case.plan.applied_changes}
    assert not {change.address for change in case.plan.changes if change.held} & named


def no_secret_is_shown(case: Case) -> None:
    text = shown(case)
    given = case.body.get("secrets", {}).values()
    records = [v for record in given if isinstance(record, dict) for k, v in record.items() if "password" in k]
    assert not [value for value in (*given, *records) if isinstance(value, str) and value in text]
    assert "SCRAM-SHA-256$" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_cases(kind: str) -> None:
    assert list((HERE / kind).glob("*.yaml"))


def test_every_folder_is_a_kind() -> None:
    assert {path.parent.name for path in CASES} <= set(KINDS)
