"""A cluster with a standby: the primary is found, and who leaves is put out on the standby too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.conftest import new_estate
from tests.integration.estate_builder import EstateBuilder, cluster, free_policy, user
from tests.servers import free_port
from tests.servers.postgres import PostgresServer, postgres_server, standby_of


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    folder = tmp_path_factory.mktemp("pair")
    with postgres_server(folder / "primary", hot_standby_feedback="on") as primary:
        with (primary.data / "pg_hba.conf").open("a") as file:
            file.write("host replication postgres 127.0.0.1/32 scram-sha-256\n")
        primary.sql("SELECT pg_reload_conf()")
        with standby_of(primary, folder / "standby") as standby:
            yield primary, standby


def write(estate: EstateBuilder, *hosts: str, login: bool) -> None:
    document = cluster("c", hosts[0])
    document["spec"]["connection"]["hosts"] = list(hosts)
    estate.documents = {"a": [free_policy(), document, user("ann", login=login)]}
    estate.commit()


def test_who_may_not_log_in_any_more_is_put_out_everywhere(
    pair: tuple[PostgresServer, PostgresServer], tmp_path: Path
) -> None:
    primary, standby = pair
    estate = new_estate(tmp_path / "e", primary)
    write(estate, standby.host, primary.host, login=True)
    estate.apply().done()
    primary.sql("ALTER ROLE ann PASSWORD 'hers'", "SELECT pg_switch_wal()")
    with _when_known(standby) as session:
        write(estate, standby.host, primary.host, login=False)
        estate.apply().done()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    estate.settled()


def test_a_standby_that_is_down_is_said(pair: tuple[PostgresServer, PostgresServer], tmp_path: Path) -> None:
    primary, _ = pair
    primary.sql("DROP SCHEMA IF EXISTS pgvillage CASCADE")  # another estate comes
    estate = new_estate(tmp_path / "e", primary)
    gone = f"127.0.0.1:{free_port()}"
    write(estate, gone, primary.host, login=True)
    estate.apply().done()
    write(estate, gone, primary.host, login=False)
    ran = estate.apply().done()
    assert f"sessions on {gone} may go on, it was not reached" in ran.text
    estate.settled()


def _when_known(standby: PostgresServer) -> psycopg.Connection[object]:
    """Her session on the standby, as soon as it has replayed that she exists."""
    for _ in range(100):
        try:
            return standby.connect("postgres", "ann", password="hers")
        except psycopg.OperationalError:
            standby.sql("SELECT pg_sleep(0.05)")
    raise AssertionError("the standby does not follow")
