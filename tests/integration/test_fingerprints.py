"""Cheap looks on a real server: what a hand changes moves them, what nobody manages does not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from pgvillage.core.plan import TargetId
from pgvillage.usecases.estate import Scope, load_estate
from pgvillage.usecases.world import Watch
from pgvillage.wiring import real_world
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EstateBuilder
from tests.integration.test_objects import major, server_folders
from tests.integration.whole_estate import PASSWORDS, Whole, drifts_of, make_objects
from tests.servers import wait_until
from tests.servers.postgres import PostgresServer, postgres_server

# By address and field, what only a full look sees. docs/serve.md says so: keep both the same.
ONLY_FULL_LOOKS: set[tuple[str, str]] = set()
_LIMIT = 20.0  # seconds; an idle session keeps a count for ten


async def watch_of(estate: EstateBuilder) -> Watch:
    world = real_world(estate.settings_file)
    loaded = await load_estate(world, Scope())
    return world.watch(TargetId("c"), loaded.views["c"])


async def moved(watch: Watch, before: Mapping[str, str], limit: float = _LIMIT) -> set[str]:
    """What is other than `before`, as soon as anything is."""
    clock = asyncio.get_running_loop().time
    end = clock() + limit
    while clock() < end:
        found = await watch.look()
        changed = {name for name in before.keys() | found.keys() if before.get(name) != found.get(name)}
        if changed:
            return changed
        await asyncio.sleep(0.02)
    return set()


async def at_rest(watch: Watch) -> Mapping[str, str]:
    """Once nothing has moved for a little longer than a session that ends takes to say so."""
    before = await watch.look()
    while await moved(watch, before, 0.15):
        before = await watch.look()
    return before


async def test_drift_of_every_kind_moves_the_fingerprint(tmp_path: Path, estate_of: EstateMaker) -> None:
    with postgres_server(tmp_path / "pg", wal_level="logical") as server, server_folders("fast") as (location,):
        make_objects(server)
        estate = estate_of(server, secrets={name: {"command": ["echo", value]} for name, value in PASSWORDS.items()})
        version = major(server)
        for changed in (False, True):
            estate.documents = Whole(version, server.host, location, changed).documents()
            estate.commit()
            estate.apply().done()
        watch, missed = await watch_of(estate), []
        for drifts in drifts_of(version):
            for drift in drifts:
                if drift.statement is None:
                    continue
                before = await at_rest(watch)
                server.sql(drift.statement, database="shop")
                if not await moved(watch, before):
                    missed.append((drift.address, drift.field))
            estate.apply().done()
        await watch.close()
    assert set(missed) == ONLY_FULL_LOOKS


@pytest.fixture
def estate(pg: PostgresServer, estate_of: EstateMaker) -> EstateBuilder:
    from tests.integration.estate_builder import cluster, free_policy, user

    pg.sql("CREATE DATABASE shop")
    made = estate_of(pg)
    made.documents["estate"] = [free_policy(), cluster("c", pg.host, databases=[{"name": "shop"}])]
    made.documents["users"] = [user("app", connectionLimit=5)]
    made.commit()
    made.apply().done()
    return made


async def test_what_nobody_manages_moves_nothing(pg: PostgresServer, estate: EstateBuilder) -> None:
    watch = await watch_of(estate)
    pg.sql("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)", database="shop")
    before = await at_rest(watch)
    pg.sql("INSERT INTO t SELECT generate_series(1, 1000)", "DELETE FROM t WHERE id < 5", "ANALYZE t", "VACUUM t",
           "CHECKPOINT", database="shop")  # fmt: skip
    assert await moved(watch, before, 3) == set()
    await watch.close()


async def test_an_edited_file_counts_before_anybody_reloads(pg: PostgresServer, estate: EstateBuilder) -> None:
    watch = await watch_of(estate)
    before = await at_rest(watch)
    with (pg.data / "pg_hba.conf").open("a") as file:
        file.write("# by hand\n")
    assert await moved(watch, before) == {"files"}
    await watch.close()


async def test_a_watch_reads_as_an_account_that_may_look_at_little(pg: PostgresServer, estate: EstateBuilder) -> None:
    pg.sql("CREATE ROLE looker LOGIN PASSWORD 'planted-superuser-password'")
    estate.settings["credentials"]["admin"]["user"] = "looker"
    estate.commit()
    watch = await watch_of(estate)
    before = await at_rest(watch)
    assert "files" not in before
    pg.sql("ALTER ROLE app CONNECTION LIMIT 9")
    assert await moved(watch, before) == {"pg_authid"}
    before = await at_rest(watch)
    pg.sql("CREATE SCHEMA fresh", database="shop")
    assert "shop/pg_namespace" in await moved(watch, before)
    await watch.close()


async def test_a_server_that_does_not_count_is_said(pg: PostgresServer, estate: EstateBuilder) -> None:
    pg.sql("ALTER ROLE postgres SET track_counts = off")
    watch = await watch_of(estate)
    await watch.look()
    assert "only full looks" in watch.blind
    await watch.close()


async def test_a_watch_begins_anew_after_its_connection_was_lost(pg: PostgresServer, estate: EstateBuilder) -> None:
    from pgvillage.core.errors import ReadError

    watch = await watch_of(estate)
    before = await at_rest(watch)
    assert watch.connections == 2
    pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgvillage watch'")
    with pytest.raises(ReadError):
        await watch.look()
    assert watch.connections == 0
    assert await watch.look() == before
    await watch.close()
    left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgvillage watch'"
    wait_until(lambda: pg.sql(left) == [(0,)], "no watching session")
