"""The loops of a daemon in hours that pass at once: intervals, back-off, commits, suspensions, approvals, the dead."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
import structlog

from pgvillage.core.errors import Diagnostic, ManifestError, SourceError
from pgvillage.core.history import Approval, Request, RunRecord
from pgvillage.core.plan import Gate
from pgvillage.core.status import Health, Ready, Suspension, Sync
from tests.unit.daemon_stage import START, Heard, stage
from tests.unit.report_plans import drifted
from tests.unit.time_travel import travel, until

Patch = pytest.MonkeyPatch


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


def test_a_target_is_looked_at_on_its_interval(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            await asyncio.sleep(3600)
            found = gaps(on.world.looked("a"))
            assert len(found) > 8
            assert all(240 <= gap <= 361 for gap in found), found
            assert len(set(found)) > 5  # jitter
            assert on.loops.alive
            status = on.status("a")
            assert (status.ready, status.sync, status.health) == (Ready.READY, Sync.SYNCED, Health.HEALTHY)
            assert status.fresh(on.world.now())

    travel(story())


def test_drift_is_told_applied_and_told_again(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            await until(lambda: on.heard.of("a"), "a first look")
            on.world.changes["a"] = (drifted("etl"),)
            await until(lambda: on.world.applies, "an apply")
            await until(lambda: on.heard.of("a")[-1].changes == 0, "the look after it")
            assert on.heard.of("a")[-2].sync is Sync.DRIFTED
            assert on.heard.looks[-1].applied is not None
            assert on.events("a") == ["DriftFound", "Applied", "DriftCorrected"]
            assert [(d.ended, d.owner) for d in on.state.history.drifts("a", only_open=False)] == [
                ("corrected", "shop")
            ]
            (run,) = on.state.history.runs("a")
            assert (run.outcome, run.done, run.replica) == ("done", 1, "one")
            assert on.state.history.plan("a", run.digest) is not None

    travel(story())


def test_failures_are_tried_again_at_growing_pauses_and_never_later_than_the_interval(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            on.world.dead = {"a"}
            await until(lambda: len(on.world.looked("a")) > 12, "tries", 10_000)
            found = gaps(on.world.looked("a"))
            assert found[0] <= 15.1
            assert all(gap <= most for gap, most in zip(found, (15.1, 30.1, 60.1, 120.1, 240.1), strict=False))
            assert max(found) <= 301
            healths = [status.health for status in on.heard.of("a")]
            assert healths[:3] == [Health.UNKNOWN, Health.UNKNOWN, Health.DEGRADED]
            on.world.dead = set()
            await until(lambda: on.status("a").sync is Sync.SYNCED, "the end of it", 400)
            assert on.events("a") == ["Unreachable", "Reachable"]
            before = len(on.world.looked("a"))
            await until(lambda: len(on.world.looked("a")) > before + 2, "the usual interval")
            assert gaps(on.world.looked("a"))[-1] >= 240

    travel(story())


def test_a_commit_forgets_failures_and_wakes_all(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", "b", fingerprint=0) as on:
            on.world.dead = {"a"}
            await until(lambda: len(on.world.looked("a")) > 6, "back-off")
            looked = {name: len(on.world.looked(name)) for name in "ab"}
            on.commit("a", "b", "c")
            await until(lambda: all(len(on.world.looked(n)) > looked[n] for n in "ab"), "all at once", 10)
            await until(lambda: on.world.looked("c"), "a new target's first look", 10)
            at = on.world.looked("a")[-1]
            await until(lambda: on.world.looked("a")[-1] > at, "the first retry", 16)
            on.commit("b")
            await until(lambda: on.loops.targets == ["b"], "what left the estate is given up", 10)
            assert {status.target for status in on.state.statuses.all()} == {"b"}
            assert on.heard.kept[-1] == {"b"}

    travel(story())


def test_many_pokes_make_one_poll_and_a_commit_is_loaded_once(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, *(f"c{n}" for n in range(30)), fingerprint=0, poll=600) as on:
            await until(lambda: len(on.world.looks) >= 30, "first looks")
            assert on.world.loads == 1
            on.commit(*(f"c{n}" for n in range(30)))
            for _ in range(100):
                on.feed.poke()
                await asyncio.sleep(0.001)
            await until(lambda: len(on.world.looks) >= 60, "looks at the new commit", 30)
            assert on.world.loads == 2

    travel(story())


def test_a_broken_commit_leaves_the_last_good_one_in_force(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            await until(lambda: on.heard.of("a"), "a first look")
            good = on.world.revision
            on.world.fault = ManifestError([Diagnostic("unknown key conectionLimit")])
            on.commit("a")
            await until(lambda: on.status("a").ready is Ready.STALLED, "it is said", 30)
            status = on.status("a")
            assert (status.sync, status.revision) == (Sync.SYNCED, good)
            assert any("conectionLimit" in reason for reason in status.reasons)
            assert b"pgvillage_estate_valid 0.0" in on.shared.metrics.text()
            on.world.changes["a"] = (drifted("etl"),)
            await until(lambda: on.world.applies, "drift is corrected by the good one", 600)
            on.world.fault = None
            on.commit("a")
            await until(lambda: on.status("a").ready is Ready.READY, "the corrected commit", 30)
            assert on.status("a").revision != good
            assert [e for e in on.events("") if e] == ["EstateInvalid", "EstateValid", "NewCommit"]

    travel(story())


def test_a_repository_that_is_away_stalls_nobody(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            await until(lambda: on.heard.of("a"), "a first look")
            on.world.fault = SourceError("no route")
            looked = len(on.world.looks)
            await until(lambda: len(on.world.looks) > looked + 3, "looks go on", 3000)
            assert on.status("a").ready is Ready.READY
            assert on.feed.fault
            assert on.loops.alive

    travel(story())


def test_the_dead_the_hanging_and_the_flapping_keep_nobody_waiting(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        names = [f"c{n:03}" for n in range(60)]
        bad = {"c000", "c001", "c002", "c003"}
        async with stage(tmp_path, monkeypatch, *names, fingerprint=0, parallel=2, timeouts={"read": 60}) as on:
            on.world.hangs, on.world.dead = {"c000", "c001", "c003"}, {"c002"}

            async def flap() -> None:
                while True:
                    await asyncio.sleep(97)
                    on.world.dead ^= {"c004"}

            flapping = asyncio.create_task(flap())
            await asyncio.sleep(7200)
            flapping.cancel()
            for name in sorted(set(names) - bad - {"c004"}):
                found = gaps(on.world.looked(name)[1:])
                assert max(found) < 500, (name, found)
                assert on.status(name).fresh(on.world.now())
            assert not on.status("c000").fresh(on.world.now())
            assert on.loops.alive
            standing = on.loops.standing()
            assert [name for name, _, _ in standing] == ["estate", *names]
            assert all(moves for _, moves, _ in standing), "a look that hangs has its time limit, and moves"
            assert {name for name, _, late in standing if late > 60} <= bad, "only who waits among the failing is late"

    travel(story())


def test_suspended_looks_go_on_and_nothing_is_applied(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            await until(lambda: on.heard.of("a"), "a first look")
            on.state.decisions.suspend("a", Suspension("ann", "a migration", START))
            on.state.decisions.ask(Request("a", "suspend", "ann", START))
            await until(lambda: on.world.ledgers.get("a") is not None, "the ledger's note", 10)
            on.world.changes["a"] = (drifted("etl"),)
            looked = len(on.world.looked("a"))
            await until(lambda: len(on.world.looked("a")) > looked + 2, "looks", 2000)
            assert on.world.applies == []
            status = on.status("a")
            assert (status.ready, status.sync) == (Ready.STALLED, Sync.DRIFTED)
            assert any("ann" in reason and "a migration" in reason for reason in status.reasons)
            on.state.decisions.resume("a")
            on.state.decisions.ask(Request("a", "resume", "ann", START))
            await until(lambda: on.world.applies, "it is corrected", 20)
            assert on.world.ledgers["a"] is None
            assert "Suspended" in on.events("a")
            assert "Resumed" in on.events("a")

    travel(story())


def test_a_look_between_a_persons_word_and_their_request_loses_neither(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            await until(lambda: on.heard.of("a"), "a first look")
            on.state.decisions.suspend("a", Suspension("ann", "a migration", START))
            on.loops.look_at_all("a look that knows no request yet")
            await until(lambda: on.world.ledgers.get("a") is not None, "the ledger's note", 10)
            on.state.decisions.resume("a")
            on.loops.look_at_all("again")
            await until(lambda: on.world.ledgers["a"] is None, "the end of it", 10)
            assert on.state.decisions.suspensions() == {}

    travel(story())


def test_the_ledger_wins_over_the_state(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            await until(lambda: on.heard.of("a"), "a first look")
            on.world.ledgers["a"] = Suspension("terminal", "by hand", START)
            on.world.changes["a"] = (drifted("etl"),)
            await until(lambda: on.state.decisions.suspensions().get("a"), "the state says the same", 600)
            on.world.ledgers["a"] = None
            await until(lambda: on.world.applies, "an apply once it is over", 600)
            assert on.state.decisions.suspensions() == {}

    travel(story())


def test_a_suspension_that_no_ledger_has_yet_outlives_a_restart(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        from pgvillage.clients.state.state import State

        state = State.in_file(tmp_path / "state.db")
        state.decisions.suspend("a", Suspension("ann", "a migration", START))
        state.close()
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            on.world.changes["a"] = (drifted("etl"),)
            await until(lambda: len(on.world.looked("a")) > 2, "looks", 2000)
            assert on.world.applies == []
            assert on.world.ledgers["a"] is not None

    travel(story())


def test_an_approval_of_this_very_plan_opens_its_gate(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            on.world.changes["a"] = (drifted("etl"),)
            on.world.gates["a"] = (Gate("limit-drop", "3 of 5 roles would go"),)
            await until(lambda: on.heard.of("a"), "a first look")
            status = on.status("a")
            assert (status.ready, status.blocked) == (Ready.STALLED, ("limit-drop",))
            assert on.world.applies == []
            later = START.replace(year=2030)
            on.state.decisions.approve(Approval("a", "f" * 64, "eve", START, later))
            on.state.decisions.approve(Approval("a", status.digest, "ann", START, later))
            on.state.decisions.ask(Request("a", "approve", "ann", START))
            await until(lambda: on.world.applies, "the apply", 20)
            await until(lambda: "Unblocked" in on.events("a"), "the end", 20)
            assert on.state.history.runs("a")[0].approved_by == "ann"

    travel(story())


def test_a_request_is_a_look_at_once(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            await until(lambda: on.heard.of("a"), "a first look")
            on.state.decisions.ask(Request("a", "reconcile", "ann", START))
            await until(lambda: len(on.world.looked("a")) == 2, "a look", 3)
            on.state.decisions.ask(Request("a", "reconcile", "ann", START))
            on.loops.wake("a")
            await until(lambda: len(on.world.looked("a")) == 3, "a look", 1, 0.01)

    travel(story())


def test_only_observing_applies_nothing(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0, apply=False) as on:
            on.world.changes["a"] = (drifted("etl"),)
            await until(lambda: len(on.world.looked("a")) > 3, "looks")
            assert on.world.applies == []
            assert on.status("a").ready is Ready.READY

    travel(story())


def test_a_fingerprint_that_moves_is_a_look_now_and_false_alarms_make_it_rarer(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a") as on:
            await until(lambda: on.heard.of("a"), "a first look")
            on.world.counters["a"] = 1
            on.world.changes["a"] = (drifted("etl"),)
            await until(lambda: on.world.applies, "drift is seen", 7)

            async def churn() -> None:
                while True:
                    await asyncio.sleep(1)
                    on.world.counters["a"] += 1

            churning = asyncio.create_task(churn())
            await asyncio.sleep(3600)
            looks = [at for at in on.world.looked("a") if at > on.world.clock() - 1800]
            assert len(looks) < 30, gaps(looks)
            churning.cancel()
            await asyncio.sleep(7200)
            cheap = gaps([at for _, at in on.world.cheap[-20:]])
            assert min(cheap) < 7, cheap  # a quiet spell brings back the old pace

    travel(story())


def test_the_full_interval_goes_on_whatever_fingerprints_say(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a") as on:
            await asyncio.sleep(3600)
            assert len(on.world.cheap) > 600
            assert 9 <= len(on.world.looked("a")) <= 16

    travel(story())


def test_no_bug_ends_a_loop_and_no_listener_stops_another(tmp_path: Path, monkeypatch: Patch) -> None:
    class Deaf(Heard):
        async def looked(self, look: Any) -> None:
            raise KeyError("planted-secret")

    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", "b", listeners=[Deaf()], fingerprint=0) as on:
            on.world.bugs = {"a"}
            await until(lambda: len(on.world.looked("a")) > 4, "tries", 3000)
            on.world.bugs = set()
            await until(lambda: on.heard.of("a"), "a look that is heard", 400)
            assert on.heard.of("b")
            assert on.loops.alive

    with structlog.testing.capture_logs() as logs:
        travel(story())
    failed = [entry for entry in logs if entry["event"] == "look failed"]
    assert {entry["type"] for entry in failed} == {"ZeroDivisionError"}
    assert "planted" not in str(logs)
    assert {entry["listener"] for entry in logs if entry["event"] == "a listener failed"} == {"Deaf"}


def test_a_state_database_that_fails_costs_history_and_no_loop(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            await until(lambda: on.heard.of("a"), "a first look")
            on.state.decisions.suspend("a", Suspension("ann", "a migration", START))
            await until(lambda: len(on.world.looked("a")) > 1, "a look that knows it", 600)
            with on.state.engine.begin() as connection:
                for table in ("status", "suspension", "approval", "request", "drift", "event", "plan", "run"):
                    connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {table}_gone")
            looked = len(on.world.looked("a"))
            on.world.changes["a"] = (drifted("etl"),)
            on.world.ledgers = {}
            await until(lambda: len(on.world.looked("a")) > looked + 2, "looks go on", 2000)
            assert on.loops.alive
            assert "pgvillage_state_errors_total" in on.shared.metrics.text().decode()

    with structlog.testing.capture_logs() as logs:
        travel(story())
    assert len([entry for entry in logs if entry["event"].startswith("the state database does not")]) == 1


def test_a_killed_daemons_run_is_ended_at_the_next_start(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            for replica in ("one", "two"):
                on.state.history.begin_run(RunRecord(replica, "a", "d", "r", START, replica))
            await on.shared.runs.end_those_of_the_killed()
            assert on.state.history.run("one").outcome == "interrupted"  # type: ignore[union-attr]
            assert on.state.history.run("two").outcome == ""  # type: ignore[union-attr]

    travel(story())


@pytest.mark.parametrize(("takes", "outcome"), [(10.0, "done"), (500.0, "interrupted")])
def test_stopping_waits_for_an_apply_as_long_as_its_grace(
    tmp_path: Path, monkeypatch: Patch, takes: float, outcome: str
) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", "b", fingerprint=0, grace=20) as on:
            await until(lambda: on.heard.of("a"), "a first look")
            on.world.apply_takes = takes
            on.world.changes["a"] = (drifted("etl"),)
            await until(lambda: on.world.applies, "an apply", 600)
            on.stop.set()
            began = on.world.clock()
            await until(lambda: on.state.history.runs("a")[0].outcome, "its end", 60)
            assert on.world.clock() - began <= 21
            assert on.state.history.runs("a")[0].outcome == outcome

    travel(story())


def test_a_loop_that_stands_still_is_not_alive(tmp_path: Path, monkeypatch: Patch) -> None:
    async def story() -> None:
        async with stage(tmp_path, monkeypatch, "a", fingerprint=0) as on:
            await until(lambda: on.heard.of("a"), "a first look")
            loop, _ = on.loops._loops["a"]
            loop.due = on.world.clock() - 1
            assert not on.loops.alive

    travel(story())
