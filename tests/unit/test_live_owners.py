"""Owners of living objects as rules: one a schema, one for some classes, or a word why not."""

from __future__ import annotations

from typing import Any

from pgvillage.resources.postgres.ownership import Owners
from pgvillage.resources.postgres.privilege_inventory import Inventory
from pgvillage.usecases.live_cluster import LiveCluster, Outside
from pgvillage.usecases.live_owners import ownership


def live(counts: dict[tuple[str, str], Any]) -> LiveCluster:
    inventory = Inventory({}, {}, {}, {})
    return LiveCluster("c", {}, {}, inventory, {}, Owners({}, counts), frozenset(), 17, Outside())


def test_schemas_of_one_owner_are_one_rule() -> None:
    found = live({("d", "a"): {"table": {"o": 3}}, ("d", "b"): {"view": {"o": 1}}, ("e", "a"): {"table": {"x": 1}}})
    assert ownership(found, "d") == [{"owner": "o", "schemas": ["a", "b"]}]
    assert found.left == {}


def test_classes_of_one_owner_are_a_rule_beside_mixed_ones() -> None:
    found = live({("d", "a"): {"table": {"o": 3, "p": 9}, "view": {"p": 2}, "function": {"o": 1}}})
    assert ownership(found, "d") == [
        {"owner": "o", "schemas": ["a"], "objects": ["function"]},
        {"owner": "p", "schemas": ["a"], "objects": ["view"]},
    ]
    assert found.left == {"owners in schema a of d": "tables belong to 2 roles (p 9, o 3): no rule is written"}
