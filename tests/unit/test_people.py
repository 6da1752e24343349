"""People: several groups, one role."""

from __future__ import annotations

from typing import Any

from tests.resources.case import Case

GROUP = """\
kind: Group
metadata: {{name: {0}}}
spec: {{clusters: {{all: true}}, members: {{directory: {1}, group: "cn={0}", {2}}}}}"""


def people(*groups: tuple[str, str, str, Any]) -> Any:
    """(name, directory, more of members, members or why there is no answer)"""
    directory = [
        {"group": f"cn={name}", **({"unanswered": found} if isinstance(found, str) else {"members": found})}
        for name, _, _, found in groups
    ]
    text = "\n---\n".join(GROUP.format(name, where, more) for name, where, more, _ in groups)
    keeper = "kind: Group\nmetadata: {name: keeper}\nspec: {clusters: {all: true}}"
    return Case({"manifests": f"{text}\n---\n{keeper}", "directory": directory}).view.people


def test_several_groups_make_one_person_and_the_most_patient_leave_wins() -> None:
    found = people(
        ("a", "corp", "connectionLimit: 3, onLeave: {drop: after 30d, heir: keeper}", ["Ann"]),
        ("b", "corp", "connectionLimit: 9, onLeave: {drop: after 60d}", ["ann"]),
        ("d", "corp", "connectionLimit: -1, memberOf: [pg_monitor]", ["bob"]),
    )
    ann = found.by_role["ann"]
    assert ann.groups == ("a", "b")
    assert (ann.connection_limit, ann.on_leave.days, ann.on_leave.heir) == (9, 60, "keeper")
    assert found.by_role["bob"].member_of == ["pg_monitor"]
    assert found.by_role["bob"].on_leave.days is None


def test_the_same_name_in_two_directories_is_two_people() -> None:
    found = people(("a", "corp", "nested: false", ["ann", "bob"]), ("b", "lab", "nested: false", ["ann"]))
    assert set(found.unanswered) == {"a", "b"}
    assert found.unanswered_directories == {"corp", "lab"}
    assert not found.by_role


def test_one_unanswered_group_makes_its_directory_unanswered() -> None:
    found = people(("a", "corp", "nested: false", ["ann"]), ("b", "corp", "nested: false", "referral"))
    assert set(found.by_role) == {"ann"}
    assert found.unanswered_directories == {"corp"}


def test_an_empty_group_is_an_answer() -> None:
    found = people(("a", "corp", "nested: false", []))
    assert not found.unanswered
    assert not found.unanswered_directories


def test_a_template_of_several_attributes() -> None:
    members = [{"uid": "ann", "ou": "Sales"}, {"uid": "bob"}]
    found = people(("a", "corp", 'role: "{uid}.{OU}", case: keep', members))
    assert set(found.by_role) == {"ann.Sales"}
    assert "the entry has no ou" in found.findings[0].message
