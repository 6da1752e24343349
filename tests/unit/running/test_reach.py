"""Which runs a Job makes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from pgvillage.estate.view import ClusterView
from pgvillage.running.reach import units
from tests.unit.running.fakes import SCHEDULED, job_of

STEP = "{steps: [{name: a, sql: SELECT 1}]}"


def view(name: str, env: str, **databases: str) -> ClusterView:
    metadata = SimpleNamespace(name=name, labels={"env": env})
    connection = SimpleNamespace(hosts=[f"{name}-1:5432", f"{name}-2:5432"])
    found: Any = SimpleNamespace(
        cluster=SimpleNamespace(metadata=metadata, spec=SimpleNamespace(connection=connection)),
        databases=[SimpleNamespace(name=each, spec=SimpleNamespace(ensure=how)) for each, how in databases.items()],
    )
    return cast("ClusterView", found)


VIEWS = {
    "b": view("b", "prod", shop="present", shopping="present", old="absent"),
    "a": view("a", "test", shop="present"),
}


def found(**spec: Any) -> list[tuple[str, str, str]]:
    return [(key.cluster, key.database, key.node) for key in units(job_of(STEP, **spec), VIEWS, SCHEDULED)]


def test_clusters_by_name_or_label_and_databases_by_name() -> None:
    assert found() == [("a", "shop", ""), ("b", "shop", "")]
    assert found(clusters={"labels": {"env": "prod"}}) == [("b", "shop", "")]
    assert found(clusters={"names": ["a"]}) == [("a", "shop", "")]


def test_databases_by_pattern_are_those_that_are_declared_and_present() -> None:
    assert found(databases=[{"pattern": "shop*"}]) == [("a", "shop", ""), ("b", "shop", ""), ("b", "shopping", "")]
    assert found(databases=[{"pattern": "[s]*"}, "old", "shop"]) == [("a", "shop", ""), ("b", "shop", "")]
    assert found(databases=["nowhere"]) == []


def test_every_node_has_a_run_of_its_own_for_all() -> None:
    assert found(target="all", clusters={"names": ["a"]}) == [("a", "shop", "a-1:5432"), ("a", "shop", "a-2:5432")]


def test_without_databases_a_cluster_has_one_run_and_an_absent_job_has_none() -> None:
    assert found(databases=[]) == [("a", "", ""), ("b", "", "")]
    assert found(ensure="absent") == []
