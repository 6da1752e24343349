"""PostgreSQL 13 to 18: on each, an estate is applied, drifts are found and corrected, and all of it can go again."""

from __future__ import annotations

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_CHANGES
from tests.integration.shop_estate import fill_shop, make_tables
from tests.servers.postgres import PostgresServer


def test_shop_on_every_major(pg_of_major: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg_of_major)
    fill_shop(estate, pg_of_major.host)
    estate.apply().done()
    estate.settled()
    make_tables(pg_of_major)
    estate.apply().done()
    estate.settled()
    pg_of_major.sql("ALTER ROLE app CREATEDB", "REVOKE readers FROM app")
    estate.run("drift").done(EXIT_CHANGES)
    estate.apply().done()
    estate.settled()
