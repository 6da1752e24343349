"""Jobs on a real PostgreSQL, started as the command does, with their store of runs in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pgvillage.running.listeners import JobHistory
from pgvillage.running.means import Stop
from pgvillage.usecases.job_run import Asked, Ran, prepare, run_all
from pgvillage.wiring import RealWorld, real_world
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EstateBuilder
from tests.servers.postgres import PostgresServer
from tests.unit.running.fakes import Heard, MemoryStore

LIMIT = 60.0
INSERT = "INSERT INTO ran VALUES (:word)"


@dataclass
class Stage(RealWorld):
    """The real world, with its store of runs in memory: several starts share it, and take from each other."""

    store: MemoryStore = field(default_factory=MemoryStore)

    @asynccontextmanager
    async def run_store(self) -> AsyncIterator[tuple[MemoryStore, JobHistory]]:
        async with super().run_store() as (_, history):
            yield self.store, history


def shop(pg: PostgresServer, estate_of: EstateMaker) -> EstateBuilder:
    """Database shop with table `ran`, that role clerk may write to."""
    with pg.connect() as connection:
        connection.execute("CREATE ROLE clerk")
        connection.execute("CREATE ROLE runner LOGIN PASSWORD 'runs' IN ROLE clerk")
        connection.execute("CREATE DATABASE shop")
    with pg.connect("shop") as connection:
        connection.execute("CREATE TABLE ran (word text); GRANT ALL ON ran TO clerk")
    return estate_of(pg, jobs={"superuser": ["nightly"]})


def write_job(estate: EstateBuilder, pg: PostgresServer, steps: list[dict[str, Any]], **more: Any) -> None:
    connection = {"hosts": [pg.host], "credential": "admin", "sslmode": "disable"}
    cluster = {"connection": connection, "databases": [{"name": "shop"}]}
    job = {
        "clusters": {"all": True},
        "databases": ["shop"],
        "role": "clerk",
        "schedule": {"cron": "0 2 * * *"},
        "parameters": {"word": "it's"},
        "steps": steps,
        **more,
    }
    roles = [{"name": "clerk"}]
    estate.documents = {
        "cluster": [_document("Cluster", "c1", cluster)],
        "role": [_document("Group", each["name"], {"clusters": {"all": True}}) for each in roles],
        "job": [_document("Job", "nightly", job)],
    }
    estate.commit()


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "pgvillage/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def stage_of(estate: EstateBuilder) -> Stage:
    return Stage(real_world(estate.settings_file).settings)


async def start(stage: Stage, heard: Heard | None = None, **asked: Any) -> list[Ran]:
    what = Asked("nightly", "tests", **asked)
    prepared = await prepare(stage, what)
    async with stage.run_means(prepared.job, prepared.views, heard or Heard()) as means:
        return await asyncio.wait_for(run_all(means, prepared, what, (4, 4), Stop()), LIMIT)


def rows(pg: PostgresServer) -> list[str]:
    with pg.connect("shop") as connection:
        return [word for (word,) in connection.execute("SELECT word FROM ran").fetchall()]
