"""The state database on SQLite and on a real PostgreSQL: versions, faults, retention, pages, export, and its plans."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import bindparam, insert, text
from sqlalchemy import event as sa_event

from pgvillage.clients.state import tables
from pgvillage.clients.state.migrate import VERSION_TABLE, newest_version
from pgvillage.clients.state.opening import existing_state, open_state
from pgvillage.clients.state.state import State
from pgvillage.core.errors import PgVillageError, SettingsError, StateError, UsageError
from pgvillage.core.history import Approval, AuditEntry, DriftRecord, Event, PlanRecord, Request, RunRecord
from pgvillage.core.status import Suspension, Sync, TargetStatus
from pgvillage.settings import Retention, SecretSource, Serve, Settings
from tests.servers import stop
from tests.servers.postgres import PostgresServer

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=3_000)
D1, D2, D3 = "1" * 64, "2" * 64, "3" * 64


_MANY_EVENTS = text(
    "INSERT INTO event (at, target, reason, message, severity, revision) "
    "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count) "
    "SELECT :at, 't' || (i % 1000), 'X', 'm', 'info', '' FROM n"
).bindparams(bindparam("at", type_=tables.Moment()))


def url_of(server: PostgresServer, database: str = "state", password: str | None = None) -> str:
    return f"postgresql://postgres:{password or server.password}@127.0.0.1:{server.port}/{database}?sslmode=prefer"


@pytest.fixture
def empty(pg: PostgresServer) -> PostgresServer:
    """With an empty database `state`."""
    pg.sql("CREATE DATABASE state")
    return pg


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    if request.param == "sqlite":
        found = State.in_file(tmp_path / "state.db")
    else:
        found = State.in_postgres(url_of(request.getfixturevalue("empty")))
    yield found
    found.close()


def settings(tmp_path: Path, **serve: Any) -> Settings:
    return Settings.model_validate({"repository": {"url": str(tmp_path)}, "serve": Serve(**serve)})


def event(target: str = "a", at: datetime = NOW, message: str = "") -> Event:
    return Event(at, target, "DriftFound", message)


def drift(address: str, target: str = "a", at: datetime = NOW) -> DriftRecord:
    return DriftRecord(target, address, "f", at, at, "low", {})


def test_the_migrations_make_exactly_the_tables(state: State) -> None:
    with state.engine.connect() as connection:
        options = {"compare_type": True, "version_table": VERSION_TABLE}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata) == []
        numbered = (
            connection.dialect.name == "postgresql"
            or connection.execute(
                text("SELECT sql LIKE '%AUTOINCREMENT%' FROM sqlite_master WHERE name = 'event'")
            ).scalar()
        )
    assert numbered


def test_no_logging_is_set_up(tmp_path: Path) -> None:
    before = (list(logging.root.handlers), logging.root.level, logging.getLogger("alembic").level)
    State.in_file(tmp_path / "state.db").close()
    assert (list(logging.root.handlers), logging.root.level, logging.getLogger("alembic").level) == before


_OPEN = "import sys; from pathlib import Path; from pgvillage.clients.state.state import State; "
_MANY = 2


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_start_at_once_migrate_once(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind == "sqlite":
        call, where = "State.in_file(Path(sys.argv[1]))", str(tmp_path / "state.db")
    else:
        call, where = "State.in_postgres(sys.argv[1])", url_of(request.getfixturevalue("empty"))
    begun = [
        subprocess.Popen([sys.executable, "-c", _OPEN + call, where], stderr=subprocess.PIPE, text=True)
        for _ in range(_MANY)
    ]
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in begun]
    assert ended == [("", 0)] * _MANY


def test_a_later_version_is_refused_and_left_alone(state: State, tmp_path: Path, pg: PostgresServer) -> None:
    with state.engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    of_postgres = state.engine.dialect.name == "postgresql"
    with pytest.raises(StateError, match=rf"version 9999.*none after {newest_version()}.*later PgVillage"):
        State.in_postgres(url_of(pg)) if of_postgres else State.in_file(tmp_path / "state.db")
    with state.engine.connect() as connection:
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == "9999"
    assert not list(tmp_path.glob("*corrupt*"))


def test_the_settings_choose(tmp_path: Path, empty: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = settings(tmp_path)
    assert existing_state(plain, tmp_path) is None
    open_state(plain, tmp_path).close()
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600
    found = existing_state(plain, tmp_path)
    assert found is not None
    found.close()
    monkeypatch.setenv("STATE_URL", url_of(empty))
    postgres = settings(tmp_path, database=SecretSource(env="STATE_URL"))
    assert existing_state(postgres, tmp_path) is None
    made = open_state(postgres, tmp_path)
    assert made.engine.dialect.name == "postgresql"
    assert empty.password not in repr(made.engine) + repr(made.engine.url)
    with made.engine.connect() as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "30s"
        assert connection.execute(text("SHOW application_name")).scalar() == "pgvillage"
    made.close()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("mysql://planted:planted@h/planted", SettingsError),
        ("host=planted password=planted", SettingsError),
        ("postgresql://planted:planted@[/planted?planted", SettingsError),
        ("postgresql://u:planted@127.0.0.1:1/planted", StateError),
        ("postgresql://u:planted@127.0.0.1:1/planted?sslmode=planted", StateError),
    ],
)
def test_no_error_names_anything_of_the_url(url: str, kind: type[PgVillageError]) -> None:
    with pytest.raises(kind) as caught:
        State.in_postgres(url)
    assert "planted" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_a_wrong_password_is_said_without_naming_it(pg: PostgresServer) -> None:
    with pytest.raises(StateError, match="failed: it") as caught:
        State.in_postgres(url_of(pg, password="planted-wrong"))
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("damage", ["no database", "a page", "the first page"])
def test_a_damaged_file_is_put_aside_and_begun_anew(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    state = State.in_file(file)
    for number in range(500):
        state.events.add(event(message=f"{number} " + "x" * 200))
    state.close()
    content = bytearray(file.read_bytes())
    if damage == "no database":
        content[:] = b"not a database" * 500
    elif damage == "the first page":
        content[100:4096] = b"\xff" * 3996
    else:
        content[-12_288:-4096] = b"\xff" * 8192
    file.write_bytes(content)
    with structlog.testing.capture_logs() as logs:
        state = State.in_file(file)
    assert state.events.last() == 0
    state.close()
    (aside,) = [each for each in tmp_path.glob("state.db.corrupt-*") if not each.name.endswith(("-wal", "-shm"))]
    assert aside.read_bytes() == bytes(content)
    assert [(entry["log_level"], entry["aside"]) for entry in logs] == [("error", str(aside))]


def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    state = State.in_file(tmp_path / "state.db")

    @sa_event.listens_for(state.engine, "connect")
    def small(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite takes no less than the file has now

    state.engine.dispose()
    with pytest.raises(StateError, match="the disk is full"):
        for _ in range(1_000):
            state.events.add(event(message="x" * 4000))
    assert state.faults.count == 1
    written = state.events.last()  # reading goes on
    sa_event.remove(state.engine, "connect", small)
    state.engine.dispose()
    state.events.add(event())
    assert state.events.last() == written + 1
    state.close()


def test_another_process_that_holds_the_lock_is_waited_for(tmp_path: Path) -> None:
    state = State.in_file(tmp_path / "state.db")
    with state.engine.connect() as holding:
        holding.exec_driver_sql("BEGIN IMMEDIATE")
        writing = threading.Thread(target=state.events.add, args=(event(),))
        writing.start()
        assert state.events.last() == 0  # readers never wait
        holding.commit()
        writing.join(20)
    assert state.events.last() == 1
    state.close()


def test_postgresql_gone_and_back(empty: PostgresServer) -> None:
    state = State.in_postgres(url_of(empty))
    state.events.add(event())
    empty.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgvillage'")
    state.events.add(event())  # a connection that died in the pool is no fault
    assert state.faults.count == 0
    empty.sql("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    state.engine.dispose()
    with pytest.raises(StateError, match="read-only"):
        state.events.add(event())
    empty.sql("SET default_transaction_read_only = off", "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
    state.engine.dispose()
    empty.sql("ALTER TABLE event RENAME TO hidden", database="state")
    with pytest.raises(StateError, match="tables are missing"):
        state.events.add(event())
    empty.sql("ALTER TABLE hidden RENAME TO event", database="state")
    state.events.add(event())
    assert state.events.last() >= 3
    assert state.faults.count == 2
    state.close()


def test_a_stopped_postgresql_is_our_error_until_it_is_back(empty: PostgresServer) -> None:
    state = State.in_postgres(url_of(empty))
    state.events.add(event())
    stop(empty.process, signal.SIGINT)
    try:
        with pytest.raises(StateError):
            state.events.add(event())
    finally:
        empty.restart()
    state.events.add(event())
    assert len(state.events.after(0)) == 2
    state.close()


def test_text_that_postgresql_has_no_place_for(state: State) -> None:
    state.events.add(event(message="a\0b\ud800c'\"<script>@here{}%s\n"))
    (found,) = state.events.after(0)
    assert found.message == "a\ufffdb?c'\"<script>@here{}%s\n"


def test_numbers_of_events_are_never_given_twice(state: State) -> None:
    state.events.add(event(at=OLD))
    state.prune(NOW, Retention())
    assert state.events.last() == 0
    state.events.add(event())
    assert state.events.last() == 2


def test_statuses_in_batch_and_by_name(state: State) -> None:
    state.statuses.put(*(TargetStatus(f"t{n:04}") for n in range(300)))
    state.statuses.put(TargetStatus("t0001", sync=Sync.DRIFTED, reasons=("a",)), TargetStatus("new"))
    state.decisions.suspend("t0001", Suspension("me", "first", NOW))
    state.decisions.suspend("t0001", Suspension("me", "why", NOW))
    found = {each.target: each for each in state.statuses.all()}
    assert len(found) == 301
    assert (found["t0001"].sync, found["t0001"].reasons) == (Sync.DRIFTED, ("a",))
    assert found["t0001"].suspension == Suspension("me", "why", NOW)


def test_requests_are_taken_once(state: State) -> None:
    for target in ("a", "b", "a"):
        state.decisions.ask(Request(target, "reconcile", "me", NOW))
    taken: list[Request] = []
    threads = [threading.Thread(target=lambda: taken.extend(state.decisions.take_requests(["a"]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [each.id for each in taken] == [1, 3]
    assert [each.target for each in state.decisions.take_requests(["a", "b"])] == ["b"]


def _run(identity: str, at: datetime, ended: datetime | None) -> RunRecord:
    return RunRecord(identity, "a", D1, "r", at, "replica", ended_at=ended)


def test_retention_keeps_what_is_open(state: State) -> None:
    for digest, at in ((D1, OLD), (D2, OLD + timedelta(days=1)), (D3, OLD + timedelta(days=2))):
        state.history.put_plan(PlanRecord("a", digest, "r", at, {}))
    state.history.put_plan(PlanRecord("b", D1, "r", OLD, {}))
    state.statuses.put(TargetStatus("a", digest=D1))
    state.history.begin_run(_run("done", OLD, OLD))
    state.history.begin_run(_run("running", OLD, None))
    state.history.begin_run(_run("new", NOW, NOW))
    state.history.seen_drifts("a", [drift("a/role/x", at=OLD), drift("a/role/y", at=OLD)], OLD)
    state.history.seen_drifts("a", [drift("a/role/y", at=OLD)], OLD)
    with state.engine.begin() as connection:
        connection.execute(_MANY_EVENTS, {"count": 1_201, "at": OLD})
    state.events.add(event())
    state.decisions.note(AuditEntry(OLD, "me", "approve", "a"))
    state.decisions.approve(Approval("a", D1, "me", OLD, OLD))
    state.decisions.approve(Approval("a", D1, "me", OLD, NOW + timedelta(days=1)))
    with state.engine.begin() as connection:
        waiting = {"channel": "c", "body": {}, "made_at": OLD, "due": OLD}
        connection.execute(insert(tables.outbox).values(**waiting))
        connection.execute(insert(tables.outbox).values(**waiting, delivered_at=OLD))
    gone = state.prune(NOW, Retention())
    assert {name: count for name, count in gone.items() if count} == {
        "plan": 1, "run": 1, "drift": 1, "event": 1_201, "audit": 1, "approval": 1, "outbox": 1,
    }  # fmt: skip
    assert {(each.target, each.digest) for each in state.history.plans()} == {("a", D1), ("a", D3), ("b", D1)}
    assert {each.id for each in state.history.runs()} == {"running", "new"}
    assert [each.address for each in state.history.drifts("a")] == ["a/role/y"]
    assert sum(state.prune(NOW, Retention()).values()) == 0


def test_pages_have_everything_once(state: State) -> None:
    for number in range(25):
        state.history.put_plan(PlanRecord("ab"[number % 2], f"{number:064}", "r", NOW, {"big": 1}))
        state.history.begin_run(_run(f"{number:02}", NOW + timedelta(seconds=number // 10), None))
        state.decisions.note(AuditEntry(NOW, "me", "approve", str(number)))
    state.history.seen_drifts("a", [drift(f"a/role/{number}") for number in range(25)], NOW)
    pages = state.pages
    for page_of, key in (
        (lambda after: pages.plans(None, 10, after), lambda each: each.digest),
        (lambda after: pages.runs(["a", "z"], 10, after), lambda each: each.id),
        (lambda after: pages.drifts(["a"], 10, after), lambda each: each.address),
        (lambda after: pages.audit(10, after), lambda each: each.target),
    ):
        seen, after, lengths = [], None, []
        while True:
            page = page_of(after)
            seen += [key(each) for each in page.records]
            lengths.append(len(page.records))
            after = page.end
            if after is None:
                break
        assert (lengths, len(set(seen))) == ([10, 10, 5], 25)
    assert [len(pages.plans(["a"], 50).records), len(pages.plans(["no"], 50).records)] == [13, 0]
    assert pages.plans(None, 1).records[0].document == {}


def test_export_streams(state: State) -> None:
    with state.engine.begin() as connection:
        row = {"at": NOW, "target": "a", "reason": "X", "message": "m", "severity": "info", "revision": ""}
        connection.execute(insert(tables.event), [row] * 2_000)
    fetched: list[int] = []
    rows = state.exported("events", NOW - timedelta(days=1))
    for each in rows:
        fetched.append(each["id"])
        if len(fetched) == 10:
            break
    rows.close()  # type: ignore[attr-defined]
    assert fetched == list(range(1, 11))
    assert sum(1 for _ in state.exported("events", None)) == 2_000
    assert list(state.exported("events", NOW + timedelta(days=1))) == []
    with pytest.raises(UsageError, match="no history of 'session'; there is of plans"):
        next(state.exported("session"))


def _plans_of(state: State, call: Any) -> str:
    """How the database would do what `call` asks for; it must ask one question."""
    asked: list[tuple[str, Any]] = []

    def heard(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        asked.append((statement, parameters))

    sa_event.listen(state.engine, "before_cursor_execute", heard)
    call()
    sa_event.remove(state.engine, "before_cursor_execute", heard)
    ((statement, parameters),) = asked
    explain = "EXPLAIN QUERY PLAN" if state.engine.dialect.name == "sqlite" else "EXPLAIN"
    with state.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).fetchall()
    return "\n".join(str(row[-1]) for row in rows)


def test_long_histories_are_asked_by_index(state: State) -> None:
    with state.engine.begin() as connection:
        connection.execute(_MANY_EVENTS, {"count": 100_000, "at": NOW})
    state.statuses.put(*(TargetStatus(f"t{n}") for n in range(1_000)))
    sqlite = state.engine.dialect.name == "sqlite"  # PostgreSQL takes no index where a table is empty
    if not sqlite:
        with state.engine.begin() as connection:
            connection.execute(text("ANALYZE"))
    for call in (
        lambda: state.events.after(99_000),
        lambda: state.events.after(50_000, "t7"),
        lambda: state.events.newest("t7"),
        lambda: state.pages.runs(["t7"], 10) if sqlite else state.events.after(99_999),
        lambda: state.pages.plans(None, 10, (NOW, "a", D1)) if sqlite else state.events.newest(),
    ):
        plan = _plans_of(state, call)
        assert re.search(r"USING (INTEGER PRIMARY KEY|(COVERING )?INDEX)|Index( Only)? Scan|Bitmap Index", plan), plan
    plan = _plans_of(state, state.statuses.all)
    assert len(state.statuses.all()) == 1_000
    assert "TEMP B-TREE" not in plan


def test_a_plan_keeps_when_it_was_first_seen_and_shows_what_is_held_by_now(state: State) -> None:
    """What is held is no part of a digest: two plans of one digest can say different things."""
    before, after = ({"targets": [{"changes": [{"address": a}]}], "gates": []} for a in ("c/role/x", "c/role/y"))
    state.history.put_plan(PlanRecord("c", D1, "r1", OLD, before))
    state.history.put_plan(PlanRecord("c", D1, "r2", NOW, {**before, "made": "later"}))
    found = state.history.plan("c", D1)
    assert found is not None
    assert (found.revision, found.document) == ("r1", before)
    state.history.put_plan(PlanRecord("c", D1, "r3", NOW, after))
    found = state.history.plan("c", D1)
    assert found is not None
    assert (found.revision, found.made_at, found.document) == ("r3", OLD, after)


def test_a_delivery_is_taken_once_each_hook_for_itself(state: State) -> None:
    assert state.intake.take("hub", "one", NOW)
    assert not state.intake.take("hub", "one", NOW)
    assert state.intake.take("lab", "one", NOW)
    assert state.faults.count == 0
