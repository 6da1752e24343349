"""What several roles have in the same words becomes a profile, and nothing else does."""

from __future__ import annotations

from typing import Any

from pgvillage.usecases.live_profiles import shared_profiles

WRITES = {"schema": ["USAGE"], "table": ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"]}


def specs(count: int, **grant: Any) -> list[dict[str, Any]]:
    return [{"privileges": [{"grant": dict(WRITES), "database": "d", "schemas": ["s"], **grant}]} for _ in range(count)]


def test_three_roles_with_the_same_set_make_a_profile() -> None:
    roles = specs(3, future={"creators": ["o"]})
    assert shared_profiles(roles, []) == {"tables-write-truncate": WRITES}
    assert roles[0]["privileges"] == [
        {"profile": "tables-write-truncate", "database": "d", "schemas": ["s"], "future": {"creators": ["o"]}}
    ]
    assert next(iter(roles[0]["privileges"][0])) == "profile"


def test_a_name_that_is_taken_gets_a_number() -> None:
    assert list(shared_profiles(specs(3), ["tables-write-truncate"])) == ["tables-write-truncate-2"]


def test_two_roles_single_tables_and_options_make_none() -> None:
    for roles in (specs(2), specs(3, tables=["t"]), specs(3, grantOption=True)):
        assert shared_profiles(roles, []) == {}
        assert roles[0]["privileges"][0]["grant"] == WRITES


def test_one_role_three_times_is_one_role() -> None:
    one = {"privileges": [grant for spec in specs(3) for grant in spec["privileges"]]}
    assert shared_profiles([one], []) == {}
