"""Ignore rules: known drift is shown and left alone through its last day, and counts again after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_CHANGES, cluster, free_policy, user
from tests.servers.postgres import PostgresServer


def test_drift_is_left_alone_until_the_day(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    policy = free_policy()
    estate.documents = {"a": [policy, cluster("c", pg.host), user("ann"), user("bob")]}
    estate.commit()
    estate.apply().done()
    pg.sql("ALTER ROLE ann CONNECTION LIMIT 3", "ALTER ROLE bob CONNECTION LIMIT 3")

    today = datetime.now(UTC).date()
    rule = {"addresses": ["c/role/a*"], "owner": "dba", "reason": "load test", "until": today.isoformat()}
    policy["spec"]["policy"]["ignore"] = [rule]
    estate.commit()
    estate.apply().done()
    assert pg.sql("SELECT rolname FROM pg_roles WHERE rolconnlimit = 3") == [("ann",)]
    drift = estate.run("drift", "-o", "json").done(EXIT_CHANGES)
    assert drift.changes["c/role/ann"]["held"] == f"ignored until {today} by dba: load test"

    rule["until"] = (today - timedelta(days=1)).isoformat()
    estate.commit()
    plan = estate.plan()
    assert "the ignore rule of dba for c/role/a* ran out on" in plan.text
    estate.apply().done()
    estate.settled()
    assert pg.sql("SELECT count(*) FROM pg_roles WHERE rolconnlimit = 3") == [(0,)]


def test_what_git_says_is_never_ignored(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    policy = free_policy()
    policy["spec"]["policy"]["ignore"] = [
        {"addresses": ["*"], "owner": "dba", "reason": "everything", "until": "2099-12-31"}
    ]
    estate.documents = {"a": [policy, cluster("c", pg.host), user("ann")]}
    estate.commit()
    estate.apply().done()
    estate.documents["a"][2] = user("ann", connectionLimit=7)
    estate.commit()
    estate.apply().done()
    assert pg.sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'ann'") == [(7,)]
