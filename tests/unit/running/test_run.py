"""One run from its claim to its end, with a store in memory and steps that do what the test says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pgvillage.core.errors import StateError
from pgvillage.core.job_run import ClaimLost, RunRecord, RunStatus, RunTaken
from pgvillage.core.job_work import ShellWork, SqlWork, WorkResult
from pgvillage.core.secret import Secret
from pgvillage.estate.manifest import Job
from pgvillage.running import overlap, sessions
from pgvillage.running.means import Stop
from pgvillage.running.run import run_once
from tests.unit.running.fakes import SCHEDULED, FakeWays, Heard, Stage, job_of

LIMIT = 20.0


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(sessions, "_BETWEEN", 0.01)
    monkeypatch.setattr(overlap, "_BETWEEN", 0.01)
    return Stage(tmp_path)


def run(stage: Stage, job: Job, status: RunStatus = RunStatus.DUE) -> RunRecord:
    async def whole() -> RunRecord:
        order = await stage.order(job, status=status)
        return await asyncio.wait_for(run_once(stage.means(), order), LIMIT)

    return asyncio.run(whole())


async def forever(_: object) -> WorkResult:
    await asyncio.Event().wait()
    raise AssertionError("it goes on for ever")


async def until(what: object, *, limit: float = LIMIT) -> None:
    assert callable(what)
    async with asyncio.timeout(limit):
        while not what():
            await asyncio.sleep(0.005)


TWO = "{steps: [{name: a, sql: SELECT 1}, {name: b, sql: SELECT 2, needs: [a]}]}"
MIXED = "{steps: [{name: a, sql: SELECT 1}, {name: b, shell: {command: [send]}, needs: [a]}]}"


def test_steps_go_in_order_of_their_needs_on_one_connection(stage: Stage) -> None:
    record = run(stage, job_of(TWO))
    assert (record.status, record.why, record.attempt, record.revision) == (RunStatus.SUCCEEDED, "", 1, "abc")
    assert [work.step for work in stage.ways.sent] == ["a", "b"]
    assert {work.role for work in stage.ways.sent} == {"clerk"}
    assert stage.ways.opened == 1
    assert stage.store.records[record.key.id].status is RunStatus.SUCCEEDED


def test_an_error_of_sql_fails_the_run_without_any_check_and_cuts_off_what_needs_it(stage: Stage) -> None:
    stage.ways.does["SELECT 1"] = WorkResult(rc=1, error="division by zero")
    record = run(stage, job_of(TWO))
    assert (record.status, record.why) == (RunStatus.FAILED, "step a: division by zero")
    assert stage.heard.outcomes() == {"a": "failed", "b": "cut off"}


def test_no_more_steps_at_a_time_than_parallel(stage: Stage) -> None:
    steps = [{"name": f"s{n}", "sql": "SELECT 1"} for n in range(9)]
    assert run(stage, job_of("{}", steps=steps, parallel=3)).status is RunStatus.SUCCEEDED
    assert stage.ways.most == 3
    assert stage.ways.opened == 3


def test_when_looks_at_what_steps_have_left(stage: Stage) -> None:
    text = """
    steps:
    - {name: count, sql: SELECT 1}
    - {name: few, sql: SELECT 2, needs: [count], when: steps.count.value < 10}
    - {name: many, sql: SELECT 3, needs: [count], when: "steps.count.value >= 10 and steps.count.rows == 1"}
    - {name: after, sql: SELECT 4, needs: [few, many]}
    """
    stage.ways.does["SELECT 1"] = WorkResult(rows=1, value="42")
    assert run(stage, job_of(text)).status is RunStatus.SUCCEEDED
    assert stage.heard.outcomes() == {"count": "done", "few": "skipped", "many": "done", "after": "done"}


def test_a_matrix_reaches_sql_as_values_and_shells_as_variables(stage: Stage) -> None:
    text = """
    steps:
    - {name: q, sql: "SELECT :part", matrix: {part: [1, 2]}}
    - {name: p, shell: {command: [p], env: {A: b}}, needs: [q], matrix: {part: [x, true]}}
    """
    assert run(stage, job_of(text)).status is RunStatus.SUCCEEDED
    queries = [work for work in stage.ways.sent if isinstance(work, SqlWork)]
    assert [(each.statements[0].text, each.statements[0].names, each.values) for each in queries] == [
        ("SELECT $1", ("part",), {"part": 1}),
        ("SELECT $1", ("part",), {"part": 2}),
    ]
    programs = [work for work in stage.ways.sent if isinstance(work, ShellWork)]
    assert [each.env["PGV_MATRIX_PART"] for each in programs] == ["x", "true"]
    assert {each.host for each in programs} == {"primary.c1"}
    assert len({work.key for work in stage.ways.sent}) == 4


def test_a_step_is_tried_again_as_often_as_it_says(stage: Stage) -> None:
    fails = WorkResult(rc=1, error="busy")
    stage.ways.does["SELECT 1"] = [fails, fails]
    text = "{steps: [{name: a, sql: SELECT 1, retries: {count: 2, wait: 1s, most: 1s}}]}"
    assert run(stage, job_of(text)).status is RunStatus.SUCCEEDED
    assert [(each.attempt, each.error) for each in stage.heard.steps] == [(1, "busy"), (2, "busy"), (3, "")]
    assert len({work.key for work in stage.ways.sent}) == 1


def test_a_failed_run_is_due_again_later_and_fails_after_its_last_try(stage: Stage) -> None:
    stage.ways.does["SELECT 1"] = WorkResult(rc=1, error="no")
    job = job_of(TWO, retries={"count": 1, "wait": "30s"})
    record = run(stage, job)
    assert (record.status, record.not_before) == (RunStatus.DUE, SCHEDULED + timedelta(seconds=30))
    record = run(stage, job)
    assert (record.status, record.attempt) == (RunStatus.FAILED, 2)


@pytest.mark.parametrize(
    ("expect", "result", "why"),
    [
        ("{value: true}", WorkResult(value="f"), "expected value true, found f"),
        ("{value: true}", WorkResult(value="t"), ""),
        ("{value: 1}", WorkResult(value="1.0"), ""),
        ("{value: '1'}", WorkResult(value="1.0"), "expected value 1, found 1.0"),
        ("{rows: 0}", WorkResult(rows=3), "expected 0 rows, found 3"),
        ("{matches: ^ok}", WorkResult(output="not ok"), "expected output that matches ^ok, found not ok"),
        ("{that: value > 5 and rows == 1}", WorkResult(value="7", rows=1), ""),
        ("{that: value > 5}", WorkResult(value="3"), "not so: value > 5 (rc 0, value 3)"),
        ("{value: 1}", WorkResult(rc=1, error="no such table"), "no such table"),
    ],
)
def test_a_check_that_is_not_met_fails_the_run(stage: Stage, expect: str, result: WorkResult, why: str) -> None:
    stage.ways.does["SELECT 9"] = result
    text = f"{{steps: [{{name: a, sql: SELECT 1}}], checks: [{{name: look, sql: SELECT 9, expect: {expect}}}]}}"
    record = run(stage, job_of(text))
    assert (record.status, record.why) == (
        (RunStatus.FAILED, f"check look: {why}") if why else (RunStatus.SUCCEEDED, "")
    )
    assert stage.heard.steps[-1].check


def test_a_check_may_look_at_the_steps_alone(stage: Stage) -> None:
    stage.ways.does["SELECT 1"] = WorkResult(rows=7)
    check = "{name: look, expect: {that: steps.a.rows == 8}}"
    record = run(stage, job_of(f"{{steps: [{{name: a, sql: SELECT 1}}], checks: [{check}]}}"))
    assert record.why == "check look: not so: steps.a.rows == 8"


def test_a_run_that_takes_too_long_is_stopped(stage: Stage) -> None:
    stage.ways.does["SELECT 1"] = forever
    record = run(stage, job_of(TWO, maxRuntime="1s"))
    assert (record.status, record.why) == (
        RunStatus.FAILED,
        "it took longer than maxRuntime, 1s, and was stopped",
    )
    assert stage.heard.steps[0].error == "stopped before its end"


def test_a_crashed_run_of_transactions_goes_on_where_it_was(stage: Stage) -> None:
    stage.ways.does["SELECT 2"] = WorkResult(rc=1, error="gone")
    assert run(stage, job_of(TWO)).status is RunStatus.FAILED
    (record,) = stage.store.records.values()
    stage.store.records[record.key.id] = replace(record, status=RunStatus.RUNNING, ended=None)
    stage.ways.does.clear()
    assert run(stage, job_of(TWO)).status is RunStatus.SUCCEEDED
    assert [(each.step, each.already) for each in stage.heard.steps[-2:]] == [("a", True), ("b", False)]


def test_a_crashed_run_that_may_not_be_repeated_ends_unknown_and_says_what_may_be(stage: Stage) -> None:
    record = run(stage, job_of(MIXED), RunStatus.RUNNING)
    assert record.status is RunStatus.UNKNOWN
    assert record.why == (
        "the process that ran it is gone: its steps b may have been done, in part or not at all; "
        "at-most-once forbids another try"
    )
    assert stage.ways.sent == []


def test_a_crashed_run_at_least_once_is_run_again(stage: Stage) -> None:
    record = run(stage, job_of(MIXED, delivery="at-least-once"), RunStatus.RUNNING)
    assert (record.status, record.attempt) == (RunStatus.SUCCEEDED, 2)


def test_a_failover_is_followed_to_the_new_primary(stage: Stage) -> None:
    async def move(_: object) -> WorkResult:
        stage.ways.unreachable = 3
        stage.ways.does.clear()
        return WorkResult(rc=1, error="it is no longer the primary", moved=True)

    stage.ways.does["SELECT 2"] = move
    record = run(stage, job_of(TWO))
    assert (record.status, record.attempt) == (RunStatus.SUCCEEDED, 2)
    assert [(each.step, each.outcome.value, each.already) for each in stage.heard.steps] == [
        ("a", "done", False),
        ("b", "failed", False),
        ("a", "done", True),
        ("b", "done", False),
    ]
    assert "no longer" in next(each.why for each in stage.heard.runs if each.attempt == 2)


def test_a_failover_after_a_program_has_run_is_reported_and_not_repeated(stage: Stage) -> None:
    text = "{steps: [{name: send, shell: {command: [send]}}, {name: b, sql: SELECT 2, needs: [send]}]}"
    stage.ways.does["SELECT 2"] = WorkResult(rc=1, error="it is no longer the primary", moved=True)
    record = run(stage, job_of(text))
    assert record.status is RunStatus.FAILED
    assert record.why.endswith("steps send had begun, and at-most-once forbids another try")
    assert len(stage.ways.sent) == 2


def test_a_call_without_an_answer_ends_unknown_and_is_not_tried_again(stage: Stage) -> None:
    text = "{steps: [{name: call, http: {url: 'https://x.example/'}, retries: {count: 3}}], retries: {count: 3}}"
    stage.ways.does["https://x.example/"] = WorkResult(rc=1, error="no answer", uncertain=True)
    record = run(stage, job_of(text))
    assert (record.status, record.why) == (
        RunStatus.UNKNOWN,
        "step call: no answer; whether call was done is not known",
    )
    assert len(stage.ways.sent) == 1


def test_a_lost_claim_stops_everything_and_nothing_is_told_after(stage: Stage) -> None:
    async def whole() -> None:
        stage.ways.does["SELECT 1"] = forever
        order = await stage.order(job_of(TWO))
        task = asyncio.create_task(run_once(stage.means(), order))
        await until(lambda: stage.ways.sent)
        told = len(stage.heard.runs)
        stage.store.steal(order.key)
        with pytest.raises(ClaimLost):
            await asyncio.wait_for(task, LIMIT)
        assert stage.ways.at_once == 0
        assert stage.heard.steps == []
        assert len(stage.heard.runs) == told
        assert stage.store.records[order.key.id].owner == "thief"

    asyncio.run(whole())


def test_cancel_ends_it_with_the_name_of_who_asked(stage: Stage) -> None:
    async def whole() -> None:
        stage.ways.does["send"] = forever
        order = await stage.order(job_of(MIXED))
        task = asyncio.create_task(run_once(stage.means(), order))
        await until(lambda: len(stage.ways.sent) == 2)
        await stage.store.ask_cancel(order.key.id, "ada")
        record = await asyncio.wait_for(task, LIMIT)
        assert (record.status, record.why) == (
            RunStatus.CANCELLED,
            "cancelled by ada; whether b was done is not known",
        )

    asyncio.run(whole())


def test_a_stop_of_its_own_process_is_recorded(stage: Stage) -> None:
    async def whole() -> None:
        stage.ways.does["SELECT 1"] = forever
        order, stop = await stage.order(job_of(TWO)), Stop()
        task = asyncio.create_task(run_once(stage.means(), order, stop=stop))
        await until(lambda: stage.ways.sent)
        stop.ask("SIGTERM")
        record = await asyncio.wait_for(task, LIMIT)
        assert (record.status, record.why) == (RunStatus.CANCELLED, "cancelled by SIGTERM")

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("text", "status"), [(TWO, RunStatus.DUE), ("{steps: [{name: b, shell: {command: [send]}}]}", RunStatus.UNKNOWN)]
)
def test_a_daemon_that_stops_leaves_what_can_be_repeated_to_others(stage: Stage, text: str, status: RunStatus) -> None:
    async def whole() -> None:
        stage.ways.does |= {"SELECT 1": forever, "send": forever}
        order = await stage.order(job_of(text))
        task = asyncio.create_task(run_once(stage.means(), order))
        await until(lambda: stage.ways.sent)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stage.store.records[order.key.id].status is status
        assert stage.ways.at_once == 0

    asyncio.run(whole())


@pytest.mark.parametrize(("policy", "first", "second"), [
    ("forbid", RunStatus.SUCCEEDED, RunStatus.SKIPPED),
    ("queue", RunStatus.SUCCEEDED, RunStatus.SUCCEEDED),
    ("replace", RunStatus.CANCELLED, RunStatus.SUCCEEDED),
])  # fmt: skip
def test_overlap(stage: Stage, policy: str, first: RunStatus, second: RunStatus) -> None:
    gate = asyncio.Event()

    async def wait(_: object) -> WorkResult:
        await gate.wait()
        return WorkResult()

    async def whole() -> None:
        job = job_of("{steps: [{name: a, sql: SELECT 1}]}", overlap=policy)
        orders = [await stage.order(job, SCHEDULED + timedelta(hours=n)) for n in range(2)]
        stage.ways.does["SELECT 1"] = wait
        one = asyncio.create_task(run_once(stage.means(), orders[0]))
        await until(lambda: stage.ways.sent)
        two = asyncio.create_task(run_once(stage.means(), orders[1]))
        if policy == "queue":
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert len(stage.ways.sent) == 1
        elif policy == "forbid":
            await two
        else:
            await one
        gate.set()
        ended = await asyncio.wait_for(asyncio.gather(one, two), LIMIT)
        assert [record.status for record in ended] == [first, second]
        assert stage.ways.most == 1

    asyncio.run(whole())


def test_two_that_begin_at_the_same_moment_do_not_overlap(stage: Stage) -> None:
    async def whole() -> None:
        job = job_of("{steps: [{name: a, sql: SELECT 1}]}", overlap="queue")
        orders = [await stage.order(job, SCHEDULED + timedelta(hours=n)) for n in range(4)]
        ended = await asyncio.wait_for(asyncio.gather(*(run_once(stage.means(), order) for order in orders)), LIMIT)
        assert {record.status for record in ended} == {RunStatus.SUCCEEDED}
        assert stage.ways.most == 1

    asyncio.run(whole())


def test_a_run_that_could_not_begin_in_time_is_given_up(stage: Stage) -> None:
    stage.time = SCHEDULED + timedelta(minutes=11)
    record = run(stage, job_of(TWO, deadline="10m"))
    assert (record.status, record.why) == (RunStatus.GIVEN_UP, "it could not begin within 10m of its time")
    assert stage.ways.sent == []


def test_secrets_are_looked_up_right_before_and_taken_out_of_all_that_is_told(stage: Stage) -> None:
    text = "{steps: [{name: a, sql: 'SELECT :word', parameters: 1}]}".replace(", parameters: 1", "")
    job = job_of(text, parameters={"word": {"secret": "pin"}})
    stage.secrets["pin"] = Secret("hunter2")
    stage.ways.does["SELECT $1"] = WorkResult(rc=1, value="hunter2", output="is hunter2", error="bad: hunter2")
    stage.ways.output["SELECT $1"] = "it is hunter2"
    record = run(stage, job)
    assert "hunter2" not in repr((record, stage.heard.steps, stage.heard.texts, stage.store.records))
    assert record.why == "step a: bad: (secret)"
    assert stage.heard.texts == ["it is (secret)"]


def test_a_secret_that_is_not_there_fails_the_step_before_anything_is_sent(stage: Stage) -> None:
    record = run(stage, job_of("{steps: [{name: a, sql: 'SELECT :word'}]}", parameters={"word": {"secret": "pin"}}))
    assert record.why == "step a: secret pin: its file is not there"
    assert stage.ways.sent == []


def test_a_file_is_read_from_the_checkout_and_a_missing_one_fails_the_step(stage: Stage) -> None:
    job = job_of("{steps: [{name: a, file: sql/a.sql}]}")
    assert run(stage, job).why == "step a: there is no file sql/a.sql in the estate"
    (stage.root / "sql").mkdir()
    (stage.root / "sql" / "a.sql").write_text("SELECT 5;\nSELECT 6")
    stage.store.records.clear()
    assert run(stage, job).status is RunStatus.SUCCEEDED
    assert [each.text.strip() for each in stage.ways.sent[0].statements] == ["SELECT 5;", "SELECT 6"]


def test_a_history_that_fails_costs_history_and_not_the_run(stage: Stage) -> None:
    stage.heard = Heard(fails=StateError("the disk is full"))
    assert run(stage, job_of(TWO)).status is RunStatus.SUCCEEDED


def test_a_run_that_has_ended_is_taken_and_begun_again_only_when_asked(stage: Stage) -> None:
    assert run(stage, job_of(MIXED)).status is RunStatus.SUCCEEDED
    with pytest.raises(RunTaken):
        run(stage, job_of(MIXED))

    async def once_more() -> RunRecord:
        return await run_once(stage.means(), await stage.order(job_of(MIXED)), again=True)

    stage.heard = Heard()
    assert asyncio.run(once_more()).status is RunStatus.SUCCEEDED
    assert [(each.step, each.already) for each in stage.heard.steps] == [("a", True), ("b", False)]


def test_a_deadlock_is_tried_again_by_itself(stage: Stage) -> None:
    stage.ways = FakeWays({"SELECT 1": [WorkResult(rc=1, error="deadlock detected", transient=True)]})
    assert run(stage, job_of("{steps: [{name: a, sql: SELECT 1}]}")).status is RunStatus.SUCCEEDED
