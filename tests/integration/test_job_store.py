"""Where runs are noted and claimed, on real SQLite, PostgreSQL and etcd: the same is true of all three."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pgvillage.clients.etcd.client import EtcdClient
from pgvillage.clients.job_store.in_etcd import EtcdRunStore
from pgvillage.clients.job_store.in_state import StateRunStore
from pgvillage.clients.state.state import State
from pgvillage.core.job_run import ClaimLost, Outcome, RunRecord, RunStatus, RunTaken, StepRecord
from pgvillage.core.run_key import RunKey
from pgvillage.running.contract import RunStore
from pgvillage.settings import Etcd
from tests.servers.etcd import EtcdServer, running_etcd
from tests.servers.postgres import PostgresServer

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
SECONDS = 1.0
Stores = Callable[[], AbstractAsyncContextManager[RunStore]]


def record(number: int = 0, job: str = "nightly'; --\n\u2603", cluster: str = "c") -> RunRecord:
    return RunRecord(RunKey(job, NOW + timedelta(seconds=number), cluster, 'd"b'), RunStatus.DUE, NOW)


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres", "etcd"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Opens one more store on the same place, as another process would."""
    if request.param == "etcd":
        server: EtcdServer = request.getfixturevalue("etcd")
        prefix = f"jobs-{tmp_path.name}"

        @asynccontextmanager
        async def of_etcd() -> AsyncIterator[RunStore]:
            async with (
                EtcdClient("e", Etcd(endpoints=[server.url])) as client,
                EtcdRunStore(client, prefix, SECONDS * 3) as store,
            ):
                yield store

        return of_etcd
    url = ""
    if request.param == "postgres":
        server_pg: PostgresServer = request.getfixturevalue("pg")
        server_pg.sql("DROP DATABASE IF EXISTS jobs")
        server_pg.sql("CREATE DATABASE jobs")
        url = f"postgresql://postgres:{server_pg.password}@127.0.0.1:{server_pg.port}/jobs"

    @asynccontextmanager
    async def of_state() -> AsyncIterator[RunStore]:
        state = State.in_postgres(url) if url else State.in_file(tmp_path / "state.db")
        try:
            yield StateRunStore(state.engine, SECONDS)
        finally:
            state.close()

    return of_state


def run(test: Callable[[], Any]) -> None:
    asyncio.run(test())


def test_a_run_is_noted_once_and_the_cursor_never_goes_back(stores: Stores) -> None:
    async def body() -> None:
        async with stores() as one, stores() as two:
            first = record()
            job = first.key.job
            assert await one.cursor(job, "c", NOW) == NOW
            assert await two.cursor(job, "c", NOW + timedelta(days=1)) == NOW, "only the first look makes it"
            many = [record(number) for number in range(130)]
            found = await asyncio.gather(
                one.take_up(job, "c", NOW + timedelta(hours=1), many),
                two.take_up(job, "c", NOW + timedelta(hours=2), many),
            )
            assert sorted(r.key.id for new in found for r in new) == sorted(r.key.id for r in many)
            assert await one.take_up(job, "c", NOW, many[:1]) == []
            assert await one.cursor(job, "c", NOW) == NOW + timedelta(hours=2)
            assert await one.cursor(job, "other", NOW + timedelta(1)) == NOW + timedelta(1)
            assert {r.record for r in await two.open()} == set(many)
            assert await two.open(["nowhere"]) == []
            assert (await one.find(first.key.id)) is not None
            assert await one.find("0" * 32) is None

    run(body)


def test_one_claim_at_a_time_and_tokens_grow(stores: Stores) -> None:
    async def body() -> None:
        async with stores() as one, stores() as two:
            due = record()
            await one.take_up(due.key.job, "c", NOW, [due])
            async with one.claim(due.key, "one") as claim:
                assert (claim.record.token, claim.record.owner, claim.found) == (1, "one", RunStatus.DUE)
                await claim.note(replace(claim.record, status=RunStatus.RUNNING, attempt=1, begun=NOW))
                with pytest.raises(RunTaken, match="one runs it"):
                    async with two.claim(due.key, "two"):
                        raise AssertionError
                (seen,) = await two.open()
                assert (seen.held, seen.record.status, seen.record.attempt) == (True, RunStatus.RUNNING, 1)
                await asyncio.sleep(SECONDS * 4)  # kept alive for longer than it lasts
                assert not claim.lost.is_set()
                assert (await two.open())[0].held
            (seen,) = await two.open()
            assert not seen.held, "given up, and the run stays as it was noted last"
            async with two.claim(due.key, "two") as claim:
                assert (claim.record.token, claim.found) == (2, RunStatus.RUNNING), "a crash can be seen"
                await claim.end(replace(claim.record, status=RunStatus.SUCCEEDED, ended=NOW, why="fine\0"))
            assert await one.open() == []
            ended = await one.find(due.key.id)
            assert ended is not None
            assert (ended.record.status, ended.record.token) == (RunStatus.SUCCEEDED, 2)
            with pytest.raises(RunTaken, match="succeeded"):
                async with one.claim(due.key, "one"):
                    raise AssertionError
            assert await one.take_up(due.key.job, "c", NOW, [due]) == [], "one that has ended is known"
            async with one.claim(due.key, "one", again=True) as claim:
                assert claim.record.token == 3
                await claim.end(replace(claim.record, status=RunStatus.FAILED, ended=NOW))
            assert await one.forget(NOW) == 0
            assert await one.forget(NOW + timedelta(seconds=1)) == 1
            assert await one.find(due.key.id) is None

    run(body)


def test_many_at_once_and_one_wins(stores: Stores) -> None:
    async def body() -> None:
        async with stores() as one, stores() as two:
            due = record()
            await one.take_up(due.key.job, "c", NOW, [due])

            async def attempt(store: RunStore, name: str) -> str:
                try:
                    async with store.claim(due.key, name) as claim:
                        await claim.end(replace(claim.record, status=RunStatus.SUCCEEDED, ended=NOW))
                        return name
                except RunTaken:
                    return ""

            won = await asyncio.gather(*(attempt(store, f"{n}") for n in range(6) for store in (one, two)))
            assert len([name for name in won if name]) == 1, won

    run(body)


def test_who_slept_too_long_writes_nothing(stores: Stores) -> None:
    async def body() -> None:
        async with stores() as one, stores() as two:
            due = record()
            await one.take_up(due.key.job, "c", NOW, [due])
            async with one.claim(due.key, "one") as old:
                await old.note(replace(old.record, status=RunStatus.RUNNING))

                # as if the process had been stopped: nothing is kept alive meanwhile
                for task in asyncio.all_tasks():
                    if "_keep" in repr(task.get_coro()):
                        task.cancel()
                deadline = asyncio.get_running_loop().time() + 30
                while (await two.open())[0].held:
                    assert asyncio.get_running_loop().time() < deadline
                    await asyncio.sleep(0.1)
                async with two.claim(due.key, "two") as claim:
                    assert claim.found is RunStatus.RUNNING
                    with pytest.raises(ClaimLost):
                        await old.end(replace(old.record, status=RunStatus.SUCCEEDED, ended=NOW))
                    await claim.end(replace(claim.record, status=RunStatus.FAILED, ended=NOW))
                assert old.lost.is_set()
            found = await one.find(due.key.id)
            assert found is not None
            assert (found.record.status, found.record.owner) == (RunStatus.FAILED, "two")

    run(body)


def test_cancel(stores: Stores) -> None:
    async def body() -> None:
        async with stores() as one, stores() as two:
            waiting, going = record(1), record(2)
            await one.take_up(waiting.key.job, "c", NOW, [waiting, going])
            assert await two.ask_cancel(waiting.key.id, "ann")
            found = await one.find(waiting.key.id)
            assert found is not None
            assert (found.record.status, found.record.cancel) == (RunStatus.CANCELLED, "ann")
            assert not await two.ask_cancel(waiting.key.id, "ann")
            assert not await two.ask_cancel("0" * 32, "ann")
            async with one.claim(going.key, "one") as claim:
                await claim.note(replace(claim.record, status=RunStatus.RUNNING))
                assert await two.ask_cancel(going.key.id, "bob")
                await asyncio.wait_for(claim.cancelled.wait(), 20)
                assert claim.record.cancel == "bob"
                assert not claim.lost.is_set()
                await claim.end(replace(claim.record, status=RunStatus.CANCELLED, ended=NOW))

    run(body)


def test_thousands_are_noted_and_read_in_few_questions(stores: Stores) -> None:
    async def body() -> None:
        async with stores() as one:
            many = [record(number) for number in range(5000)]
            assert len(await one.take_up(many[0].key.job, "c", NOW, many)) == 5000
            assert len(await one.open()) == 5000

    run(body)


def test_history(tmp_path: Path) -> None:
    state = State.in_file(tmp_path / "state.db")
    try:
        runs, due = state.job_runs, replace(record(), token=2, status=RunStatus.RUNNING, begun=NOW)
        runs.note_run(due)
        runs.note_run(replace(due, token=1, status=RunStatus.FAILED))
        assert runs.run(due.key.id[:8]) == due, "a zombie's word does not count"
        runs.note_run(replace(due, status=RunStatus.SUCCEEDED, ended=NOW))
        assert runs.last(RunStatus.SUCCEEDED) == [(due.key.job, "c", NOW)]
        step = StepRecord("s", 0, Outcome.DONE, NOW, NOW, values=(("n", 1),), rc=0, rows=3, value="x", output="a\0b")
        runs.note_step(due.key.id, step)
        runs.note_step(due.key.id, step)
        assert runs.steps(due.key.id) == [replace(step, output="a\ufffdb")]
        runs.add_output(due.key.id, "s", 0, "one")
        runs.add_output(due.key.id, "s", 0, "two")
        first, second = runs.output_after(due.key.id, 0)
        assert [first[3], second[3]] == ["one", "two"]
        assert runs.output_after(due.key.id, first[0]) == [second]
        assert [r.key for r in runs.runs(job=due.key.job, status=RunStatus.SUCCEEDED)] == [due.key]
        assert runs.runs(cluster="other") == []
        assert [row["id"] for row in state.exported("job-runs")] == [due.key.id]
    finally:
        state.close()
