"""`suspend` and `resume`: a note in the target that every apply heeds, in PostgreSQL and in etcd."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import (
    EXIT_BLOCKED,
    EXIT_CHANGES,
    EXIT_ERROR,
    EXIT_LOCKED,
    EXIT_PARTIAL,
    EXIT_USAGE,
    EstateBuilder,
    cluster,
    finish,
    free_policy,
    group,
)
from tests.integration.test_passwords import lesser, lesser_server
from tests.integration.test_stolon_loop import estate as stolon_estate
from tests.integration.test_stolon_loop import etcd, spec_of
from tests.integration.test_two_writers import WAITING
from tests.integration.warm_command import run_here
from tests.servers import free_port, wait_until
from tests.servers.etcd import EtcdServer
from tests.servers.postgres import PostgresServer

__all__ = ["etcd", "lesser", "lesser_server", "stolon_estate"]

HOSTILE = 'ro\'le "x"\nsecond line <script>alert(1)</script> @here {} %s'


@pytest.fixture
def estate(pg: PostgresServer, estate_of: EstateMaker) -> EstateBuilder:
    found = estate_of(pg)
    found.documents = {"a": [free_policy(), cluster("c", pg.host), group("o")]}
    found.commit()
    return found


def made(pg: PostgresServer) -> bool:
    return pg.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'o'") == [(1,)]


def test_nothing_is_applied_before_it_is_resumed(pg: PostgresServer, estate: EstateBuilder) -> None:
    """Of a target without a ledger too: it is made for the note."""
    ran = run_here(estate, "suspend", "c", "--reason", HOSTILE, "--by", "ann", "--for", "2h").done()
    assert ran.out.count("\n") == 1, "the reason broke out of its line"
    until = f"{datetime.now(UTC) + timedelta(hours=2):%Y-%m-%d %H:}"
    assert f"suspended by ann until {until}" in ran.out
    plan = run_here(estate, "plan", "-o", "json").done()
    (gate,) = plan.document["gates"]
    assert (gate["rule"], gate["approvable"], gate["open"], gate["blocking"]) == ("suspended", False, False, True)
    assert plan.document["applyable"] is False
    assert "c/role/o" in plan.changes
    assert "`pgvillage resume c` ends it" in run_here(estate, "plan").done().out
    digest = plan.targets["c"]["digest"]
    assert "suspended by ann" in run_here(estate, "apply", "--auto", "--approve", digest).done(EXIT_BLOCKED).out
    assert not made(pg)
    again = run_here(estate, "suspend", "c", "--reason", "longer", "--by", "bob").done()
    assert "suspended by bob: longer (in the place of: suspended by ann until" in again.out
    run_here(estate, "drift").done()
    assert "it was suspended by bob: longer" in run_here(estate, "resume", "c").done().out
    assert "was not suspended" in run_here(estate, "resume", "c").done().out
    run_here(estate, "apply", "--auto").done()
    assert made(pg)
    estate.settled()


def test_it_runs_out_by_itself(pg: PostgresServer, estate: EstateBuilder) -> None:
    """By our clock; what the server thinks of the time is not asked."""
    run_here(estate, "suspend", "c", "--reason", "x", "--until", "2126-01-01T00:00+02:00").done()
    ((until,),) = pg.sql("SELECT extract(epoch FROM suspended_until)::bigint FROM pgvillage.target")
    assert until == datetime(2125, 12, 31, 22, tzinfo=UTC).timestamp()
    run_here(estate, "apply", "--auto").done(EXIT_BLOCKED)
    pg.sql("UPDATE pgvillage.target SET suspended_until = '2026-01-01'")
    run_here(estate, "apply", "--auto").done()
    assert made(pg)


@pytest.mark.parametrize("until", ["'infinity'", "NULL"])
def test_one_written_by_hand_counts(pg: PostgresServer, estate: EstateBuilder, until: str) -> None:
    estate.apply().done()
    pg.sql(
        "DROP ROLE o",
        f"UPDATE pgvillage.target SET suspended_by = 'x', suspended_since = now(), suspended_until = {until}",
    )
    assert "suspended by x" in run_here(estate, "apply", "--auto", "--correct", "all").done(EXIT_BLOCKED).out
    assert run_here(estate, "drift").done(EXIT_CHANGES)


def test_it_is_heeded_by_an_apply_that_waits_for_the_lock(pg: PostgresServer, estate: EstateBuilder) -> None:
    run_here(estate, "suspend", "c", "--reason", "x").done()
    run_here(estate, "resume", "c").done()
    with pg.connect() as holder:
        holder.execute("SELECT pg_advisory_lock(1886807401, 1)")
        process = estate.start("apply", "--auto")
        wait_until(lambda: pg.sql(WAITING) == [(1,)], "the applier")
        pg.sql("UPDATE pgvillage.target SET suspended_by = 'x', suspended_since = now(), suspended_reason = ''")
    finish(process).done(EXIT_BLOCKED)
    assert not made(pg)


def test_it_needs_the_lock(pg: PostgresServer, estate: EstateBuilder) -> None:
    estate.settings["timeouts"] = {"writer": 0.3}
    estate.commit()
    with pg.connect() as holder:
        holder.execute("SELECT pg_advisory_lock(1886807401, 1)")
        said = run_here(estate, "suspend", "c", "--reason", "x").done(EXIT_LOCKED).out
    assert "another PgVillage is writing here" in said


def test_one_that_is_dead_fails_alone(pg: PostgresServer, estate: EstateBuilder) -> None:
    estate.settings["credentials"]["admin"]["hosts"].append("127.0.0.1:*")
    estate.documents["a"].append(cluster("dead", f"127.0.0.1:{free_port()}"))
    estate.commit()
    ran = run_here(estate, "suspend", "c", "dead", "--reason", "x", "-o", "json").done(EXIT_PARTIAL)
    first, second = json.loads(ran.out)
    assert (first["target"], first["error"], first["suspension"]["reason"]) == ("c", None, "x")
    assert (second["target"], second["suspension"]) == ("dead", None)
    assert "refused" in second["error"]
    run_here(estate, "suspend", "dead", "--reason", "x").done(EXIT_ERROR)
    assert pg.sql("SELECT suspended_reason FROM pgvillage.target") == [("x",)]


def test_an_account_that_can_keep_no_ledger_is_told(lesser: EstateBuilder, lesser_server: PostgresServer) -> None:
    lesser_server.sql("ALTER DATABASE home OWNER TO postgres")
    try:
        said = run_here(lesser, "suspend", "c", "--reason", "x").done(EXIT_ERROR).out
    finally:
        lesser_server.sql("ALTER DATABASE home OWNER TO rds")
    assert "no ledger: permission denied for database home" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("C", "--reason", "x"), "no target 'C' in the estate; there are c"),
        (("c", "--reason", "x", "--until", "2020-01-01"), "2020-01-01 00:00 UTC is past"),
        (("c", "--reason", "x", "--until", "soon"), "expected a time"),
        (("c", "--reason", "x", "--for", "soon"), "expected a duration"),
        (("c", "--reason", "x", "--for", "1h", "--until", "2126-01-01"), "not both"),
        (("c", "--reason", "x" * 10_000), "at most 500 characters: this one has 10,000"),
        (("c", "--reason", ""), "needs a reason"),
        (("c",), "Missing option '--reason'"),
        (("--reason", "x"), "Missing argument"),
    ],
)
def test_what_makes_no_sense(estate: EstateBuilder, arguments: tuple[str, ...], said: str) -> None:
    assert said in run_here(estate, "suspend", *arguments).done(EXIT_USAGE).text


def test_in_etcd_too(stolon_estate: EstateBuilder, etcd: EtcdServer) -> None:
    """A cluster's name means both its targets; each is told by its own name."""
    ran = run_here(stolon_estate, "suspend", "c", "--reason", HOSTILE, "--by", "ann").done()
    assert [line.split()[1] for line in ran.out.splitlines()] == ["c", "c:stolon"]
    before = spec_of(etcd)
    said = run_here(stolon_estate, "apply", "--auto").done(EXIT_BLOCKED).out
    assert "`pgvillage resume c:stolon` ends it" in said
    assert spec_of(etcd) == before
    run_here(stolon_estate, "resume", "c:stolon").done()
    run_here(stolon_estate, "apply", "--auto").done(EXIT_BLOCKED)
    assert spec_of(etcd)["pgParameters"]["work_mem"] == "8MB"
    key: dict[str, Any] = json.loads(etcd.ctl("get", "pgvillage/ledger/", "--prefix", "--print-value-only"))
    assert "suspension" not in key
    run_here(stolon_estate, "resume", "c").done()
    run_here(stolon_estate, "apply", "--auto").done()
    stolon_estate.settled()
