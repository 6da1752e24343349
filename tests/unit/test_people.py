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


def test_two_people_with_one_name_are_nobody() -> None:
    same = people(("a", "corp", "case: lower", [{"uid": "Ann", "dn": "cn=1"}, {"uid": "aNN", "dn": "cn=2"}]))
    assert not same.by_role
    assert '"cn=1" and "cn=2" would both be role ann' in same.unanswered["a"]
    names = [{"givenname": "Jan", "sn": "de Wit", "dn": "cn=1"}, {"givenname": "Jan", "sn": "de Wit", "dn": "cn=2"}]
    joined = people(("a", "corp", 'role: "{givenName}.{sn}"', names), ("b", "corp", "nested: false", ["bob"]))
    assert set(joined.by_role) == {"bob"}
    assert "would both be role" in joined.unanswered["a"]


def test_what_is_left_out_is_said_refused_or_passed_over_by_choice() -> None:
    def found(choice: str) -> Any:
        long = {"uid": "x" * 70}
        return people(("a", "corp", f"onProblem: {choice}", ["ann", long, 'it\'s "Ä"']))

    assert set(found("warn").by_role) == {"ann", 'it\'s "ä"'}
    assert [f.severity for f in found("warn").findings] == ["warning"]
    assert "longer than 63 bytes" in found("warn").findings[0].message
    assert found("ignore").findings == ()
    assert set(found("ignore").by_role) == {"ann", 'it\'s "ä"'}
    assert not found("fail").by_role
    assert "onProblem is fail" in found("fail").unanswered["a"]
    assert "longer than 63 bytes" in found("fail").unanswered["a"]


def test_a_disabled_account_leaves_unless_it_may_keep_its_place() -> None:
    gone = {"uid": "gone", "disabled": "the account is disabled"}
    left = people(("a", "corp", "nested: false", ["ann", gone]))
    assert set(left.by_role) == {"ann"}
    assert left.disabled == {"gone": "the account is disabled"}
    assert "a: no members: gone (the account is disabled)" in left.findings[0].message
    assert set(people(("a", "corp", "disabled: keep", ["ann", gone])).by_role) == {"ann", "gone"}
    both = people(("a", "corp", "nested: false", [gone]), ("b", "corp", "disabled: keep", [gone]))
    assert both.by_role["gone"].groups == ("b",)
    assert both.disabled == {}
