"""Plans and runs as JSON, their published schemas, and saved plans."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pgvillage.core.address import parse_address
from pgvillage.core.change import Action
from pgvillage.core.errors import PgVillageError
from pgvillage.core.schema_files import written
from pgvillage.report.json import SavedPlan, plan_document, read_saved_plan, run_document, saved_plan
from pgvillage.report.json_schema import main, plan_schema, run_schema, schemas
from pgvillage.resources.postgres.role import RoleState
from tests.unit.report_plans import HOSTILE, drifted, full_plan, full_run, member, plan, role, target

ROOT = Path(__file__).parents[2]
PLAN = Draft202012Validator(plan_schema())
RUN = Draft202012Validator(run_schema())


def _faults(validator: Draft202012Validator, document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize("name", sorted(schemas()))
def test_published_schema_is_up_to_date_and_well_formed(name: str) -> None:
    schema = schemas()[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:pgvillage:v1:{name.removesuffix('.json')}"
    assert (ROOT / "schemas" / name).read_text(encoding="utf-8") == written(schema), (
        "run: python -m pgvillage.report.json_schema --write schemas/"
    )


def test_write_and_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--write", str(tmp_path / "new")]) == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(schemas())
    assert main([]) == 64
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("name", HOSTILE)
def test_documents_fit_their_schemas(name: str) -> None:
    assert _faults(PLAN, plan_document(full_plan(name))) == []
    assert _faults(RUN, run_document(full_run(name))) == []
    assert _faults(PLAN, plan_document(plan())) == []


@pytest.mark.parametrize("path", [(), ("targets", 2), ("targets", 2, "changes", 0), ("targets", 2, "steps", 0)])
def test_schema_takes_no_other_property(path: tuple[Any, ...]) -> None:
    document = plan_document(full_plan())
    part = document
    for key in path:
        part = part[key]
    part["surprise"] = 1
    assert _faults(PLAN, document)
    del part["surprise"]
    assert not _faults(PLAN, document)
    part.pop(min(part))
    assert _faults(PLAN, document)


def test_plan_document() -> None:
    document = plan_document(full_plan())
    assert document["format_version"] == "1"
    assert document["summary"] == {
        "create": 1,
        "update": 3,
        "replace": 0,
        "delete": 1,
        "held": 1,
        "clusters": 3,
        "unreachable": 1,
    }
    assert [t["address"] for t in document["targets"]] == ["crm:stolon", "lost", "orders"]
    assert document["complete"] is False
    assert document["applyable"] is True
    assert [g["target"] for g in document["gates"]] == ["orders", "orders"]
    assert [d["severity"] for d in document["diagnostics"]] == ["error", "warning", "info"]
    stolon, lost, orders = document["targets"]
    assert stolon["steps"][0]["patch"] == {"pgParameters": {"work_mem": "etl"}}
    assert (lost["digest"], lost["error"], lost["observed_at"]) == (None, "no route to etl", None)
    assert orders["observed_at"] == "2026-01-02T03:04:05+00:00"
    assert orders["unread"] == [{"kind": "privilege", "prefix": ["table", "etl"], "reason": "refused etl"}]
    assert orders["steps"][0]["sql"] == "ALTER ROLE x PASSWORD /* etl */ '<verifier of secret:etl>'"


def test_change_document() -> None:
    changes = {c["address"]: c for c in plan_document(full_plan())["targets"][2]["changes"]}
    assert list(changes) == sorted(changes, key=parse_address)
    new = changes["orders/role/etl"]
    assert (new["actions"], new["before"], new["sensitive_changed"]) == (["create"], None, ["password"])
    assert new["after"]["login"] is True
    assert "password" not in new["after"]
    assert new["depends_on"] == ["orders/role/bob"]
    assert new["source"] == {"file": "users/etl.yaml", "line": 7}
    bob = changes["orders/role/bob"]
    assert bob["source"] == {"directory": "corp", "entry": "uid=etl", "file": "g.yaml", "line": 3}
    assert bob["impact"] == {"reload": False, "restart": False, "lock": "etl"}
    rights = changes["orders/privilege/table.orders.app.readers"]
    assert rights["after"] == {"INSERT": ["etl"], "SELECT": ["t001", "t002", "t003"]}
    held = changes["orders/role/etl2"]
    assert (held["held"], held["origin"], held["reason"]) == ("policy etl", "drift", "reason etl")
    replaced = plan(target(role("a", RoleState(True), RoleState(False), action=Action.REPLACE)))
    assert plan_document(replaced)["targets"][0]["changes"][0]["actions"] == ["delete", "create"]


def test_applyable_needs_a_change_that_nothing_blocks() -> None:
    main_target = full_plan().targets[0]
    assert not plan_document(plan(main_target))["applyable"]
    assert plan_document(plan(replace(main_target, gates=())))["applyable"]
    assert not plan_document(plan(target(drifted("a", held="policy"))))["applyable"]
    assert not plan_document(plan(target()))["applyable"]


def test_document_does_not_hang_on_order() -> None:
    changes = [member(f"m{n}") for n in range(20)]
    shuffled = random.Random(1).sample(changes, 20)
    first, second = (
        plan_document(plan(target(*some, steps=()), target(cluster="crm"))) for some in (changes, shuffled)
    )
    assert json.dumps(first) == json.dumps(second)
    turned = plan_document(plan(target(cluster="crm"), target(*changes, steps=())))
    assert json.dumps(first) == json.dumps(turned)


def test_plan_id_follows_revision_and_changes_alone() -> None:
    first = plan(target(member("a")))
    ids = [
        plan_document(p)["plan_id"]
        for p in (
            first,
            replace(first, subject="other"),
            replace(first, revision="0" * 40),
            plan(target(member("b"))),
        )
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_run_document() -> None:
    document = run_document(full_run())
    assert [t["outcome"] for t in document["targets"]] == ["failed", "unreachable", "blocked by policy"]
    assert document["summary"]["outcomes"]["failed"] == 1
    assert document["summary"]["outcomes"]["done"] == 0
    assert (document["summary"]["done"], document["summary"]["left"], document["summary"]["unsettled"]) == (1, 9, 1)
    failed, lost, _ = document["targets"]
    assert [c["address"] for c in failed["done"]] == ["crm/role/etl"]
    assert failed["unsettled"] == ["orders/role/etl"]
    assert (lost["notes"], lost["digest"]) == (["note etl"], None)


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(categories=["L", "N", "P"]), min_size=6, max_size=30), st.booleans())
def test_planted_secret_is_in_no_document(text: str, forgets: bool) -> None:
    secret = f"hunter2{text}"
    found, run = full_plan(secret=secret), full_run(secret=secret)
    if forgets:  # a field that is not marked is still known by its state
        main_target = found.targets[0]
        changes = [c._replace(fields=tuple(f._replace(sensitive=False) for f in c.fields)) for c in main_target.changes]
        found = plan(replace(main_target, changes=tuple(changes)))
    assert "hunter2" not in json.dumps([plan_document(found), run_document(run)])
    assert "password" in json.dumps(plan_document(found))


def _saved_text(**more: object) -> str:
    return json.dumps({**saved_plan(full_plan()), **more})


def test_saved_plan_is_read_back() -> None:
    made = full_plan()
    saved = read_saved_plan(_saved_text())
    digests = {str(t.target): t.digest for t in made.targets[:2]}
    assert saved == SavedPlan(made.revision, digests, ("-t orders",), dirty=False)
    dirty = replace(made, revision=f"{made.revision}+dirty.{'a' * 16}", dirty=True)
    assert read_saved_plan("\ufeff" + json.dumps(saved_plan(dirty), indent=2)).dirty is True


def _edited(edit: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(_saved_text())
    edit(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("Plan: 3 to create", "not JSON"),
        (_saved_text()[:-400], "cut short"),
        ("[" * 200_000, "not JSON"),
        ('{"a": ' + "9" * 5_000 + "}", "not JSON"),
        ("[]", "not an object"),
        ("{}", "no format_version"),
        ('{"format_version": "1"}', "no format_version, plan_id or targets"),
        (_saved_text(format_version="2"), "format_version '2', and this pgvillage reads '1'"),
        (_saved_text(format_version=1), "format_version '1', and this"),
        (_saved_text(targets=7), "missing or not as it should be"),
        (_saved_text(targets=[7]), "missing or not as it should be"),
        (_saved_text(targets=[{"address": "orders"}]), "missing or not as it should be ('digest')"),
        (_saved_text(targets=[{"address": "orders", "digest": "abc"}]), "(digest)"),
        (_saved_text(scope="all"), "(dirty, scope)"),
        (_saved_text(dirty="no"), "(dirty, scope)"),
        (_saved_text(revision="--upload-pack=touch /tmp/x"), "(revision)"),
        (_saved_text(revision=None), "missing or not as it should be"),
        (_saved_text(revision="f" * 40), "changed after it was saved"),
        (_saved_text(plan_id="f" * 64), "changed after it was saved"),
        (_edited(lambda d: d.pop("dirty")), "('dirty')"),
        (_edited(lambda d: d["targets"].append(d["targets"][0])), "(targets.address)"),
        (_edited(lambda d: d["targets"][0].update(digest="f" * 64)), "changed after it was saved"),
    ],
)
def test_what_is_no_saved_plan_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(PgVillageError) as caught:
        read_saved_plan(text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_huge_saved_plan_is_refused_unread() -> None:
    with pytest.raises(PgVillageError, match="larger than 1,000 characters"):
        read_saved_plan("{" * 1_001, largest=1_000)


@settings(deadline=None)
@given(st.integers(0, len(_saved_text()) - 1))
def test_a_plan_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(PgVillageError):
        read_saved_plan(_saved_text()[:length])
