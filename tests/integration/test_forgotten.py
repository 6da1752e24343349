"""What leaves the estate without a tombstone is left alone, and said."""

from __future__ import annotations

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import cluster, free_policy, user
from tests.servers.postgres import PostgresServer


def test_a_user_whose_document_is_gone(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    estate.documents = {"a": [free_policy(), cluster("c", pg.host), user("ann"), user("bob")]}
    estate.commit()
    estate.apply().done()
    del estate.documents["a"][2]
    estate.commit()
    plan = estate.plan().done()
    assert "role ann was applied once and no manifest declares it any more" in plan.text
    assert "role bob was" not in plan.text
    estate.apply().done()
    assert pg.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'ann'") == [(True,)]
    estate.documents["a"].append(user("ann", ensure="absent"))
    estate.commit()
    estate.apply().done()
    assert pg.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'ann'") == [(0,)]
    assert "was applied once" not in estate.plan().done().text
