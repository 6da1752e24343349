"""Every kind on PostgreSQL 13 to 18: made, changed in each field, changed by hand in each field, and gone again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_CHANGES, EstateBuilder
from tests.integration.test_objects import major, server_folders
from tests.integration.whole_estate import (
    LEFT,
    PASSWORDS,
    Drift,
    Whole,
    all_gone,
    contents_gone,
    drifts_of,
    make_objects,
)
from tests.servers.postgres import MAJORS, PostgresServer


def test_every_kind_from_its_making_to_its_end(pg_of_major: PostgresServer, estate_of: EstateMaker) -> None:
    server, version = pg_of_major, major(pg_of_major)
    make_objects(server)
    estate = estate_of(server, secrets={name: {"command": ["echo", value]} for name, value in PASSWORDS.items()})
    with server_folders("fast") as (location,):
        for changed in (False, True):
            whole = Whole(version, server.host, location, changed)
            declare(estate, whole.documents())
            corrected(estate)
        for drifts in drifts_of(version):
            server.sql(*(drift.statement for drift in drifts if drift.statement), database="shop")
            assert missed(estate, drifts) == []
            corrected(estate)
        for documents in (contents_gone(whole), all_gone(whole)):
            declare(estate, documents)
            for _ in range(2):  # a role without an heir goes once what it owned is seen to be gone
                digest = next(iter(estate.plan().targets.values()))["digest"]
                estate.apply("--approve", digest).done()
            estate.settled()
        assert server.sql(LEFT) == []
    said = server.log.read_text()
    assert not [value for value in PASSWORDS.values() if value in said.replace(f"PASSWORD '{value}'", "")]


def test_there_are_enough_drifts() -> None:
    assert [major for major in MAJORS if sum(map(len, drifts_of(major))) < 100] == []


def declare(estate: EstateBuilder, documents: dict[str, list[dict[str, Any]]]) -> None:
    estate.documents = documents
    estate.commit()


def corrected(estate: EstateBuilder) -> None:
    estate.apply().done()
    estate.settled()


def missed(estate: EstateBuilder, drifts: Iterable[Drift]) -> list[str]:
    """What was done by hand and not found: by address and field, with what was found at that address."""
    found = estate.run("drift", "-o", "json").done(EXIT_CHANGES).changes
    return [
        f"{drift.address} {drift.field}: {found.get(f'c/{drift.address}')}"
        for drift in drifts
        if not is_named(drift, found.get(f"c/{drift.address}"))
    ]


def is_named(drift: Drift, change: dict[str, Any] | None) -> bool:
    if change is None or change["origin"] != "drift" or change["held"]:
        return False
    if drift.gone:
        return bool(change["actions"] == ["create"])
    before, after = change["before"] or {}, change["after"] or {}
    return drift.field in change["sensitive_changed"] or before.get(drift.field) != after.get(drift.field)
