"""Rotation through the command line: two real clusters, a file as the store, kill -9 between any two steps."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgvillage.daemon.replica_keys import CLAIMS
from pgvillage.daemon.share_plan import ranked
from tests.integration.conftest import new_estate, wipe
from tests.integration.daemon_process import serving, start_replica
from tests.integration.estate_builder import (
    EXIT_DONE,
    EXIT_PARTIAL,
    EstateBuilder,
    cluster,
    credential,
    free_policy,
    user,
)
from tests.integration.warm_command import run_here, start_warm, warm_words
from tests.servers.etcd import running_etcd
from tests.servers.pg_proxy import DROP, PgProxy, pg_proxy
from tests.servers.postgres import PostgresServer, postgres_server

A, B = "orders_app_a", "orders_app_b"
ROTATE = {"every": "30d", "roles": [A, B]}
AUTH = {"method": "scram", "password": {"secret": "orders-app"}, "rotate": ROTATE}
DATABASES = [{"name": "shop", "schemas": [{"name": "s"}]}]
PRIVILEGES = [{"grant": {"schema": ["USAGE", "CREATE"]}, "database": "shop", "schemas": ["s"]}]


@dataclass
class Shop:
    """Two clusters behind wires, one user that rotates, and the store of its logins."""

    estate: EstateBuilder
    servers: tuple[PostgresServer, PostgresServer]
    proxies: tuple[PgProxy, PgProxy]
    store: Path

    @property
    def record(self) -> dict[str, str]:
        found = json.loads(self.store.read_text())
        assert isinstance(found, dict)
        return found

    @property
    def passwords(self) -> set[str]:
        return {value for key, value in self.record.items() if key.endswith("password")}

    def age(self, days: int = 31) -> None:
        """Time passes: the login in use is older than it was."""
        since = datetime.now(UTC) - timedelta(days=days)
        self.store.write_text(json.dumps({**self.record, "since": since.strftime("%Y-%m-%dT%H:%M:%SZ")}))

    def connect(self, server: int = 0, login: str = "", password: str = "") -> psycopg.Connection[Any]:
        """As an application does: with what the record says."""
        record = self.record
        return self.servers[server].connect(
            "shop", login or record["username"], password=password or record["password"]
        )

    def works(self) -> None:
        for server in (0, 1):
            self.connect(server).close()

    def settled(self, active: str) -> None:
        assert run_here(self.estate, "plan", "--detailed-exitcode").done().code == EXIT_DONE
        record = self.record
        assert record["username"] == active
        assert set(record) == {"username", "password", "since", "previous_username", "previous_password"}
        for server in (0, 1):
            for username, password in (("username", "password"), ("previous_username", "previous_password")):
                self.connect(server, record[username], record[password]).close()


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("second"), log_statement="all") as server:
        yield server


@pytest.fixture
def shop(pg: PostgresServer, second: PostgresServer, tmp_path: Path) -> Iterator[Shop]:
    wipe(second)
    with ExitStack() as stack:
        proxies = (stack.enter_context(pg_proxy(pg.port)), stack.enter_context(pg_proxy(second.port)))
        estate = new_estate(tmp_path / "a", pg)
        estate.settings["credentials"] = {
            "one": credential(pg, proxies[0].port),
            "two": credential(second, proxies[1].port),
        }
        estate.settings["secrets"] = {"*": {"file": str(tmp_path / "{name}.json"), "generate": {}}}
        estate.settings["timeouts"] = {"connect": 3, "writer": 10}
        estate.documents = {
            "a": [
                free_policy(),
                *(
                    cluster(f"c{n}", f"127.0.0.1:{proxy.port}", name, databases=DATABASES)
                    for n, (proxy, name) in enumerate(zip(proxies, ("one", "two"), strict=True), 1)
                ),
                user("orders-app", auth=AUTH, privileges=PRIVILEGES, settings={"work_mem": "8MB"}, connectionLimit=7),
            ]
        }
        estate.commit()
        yield Shop(estate, (pg, second), proxies, tmp_path / "orders-app.json")


def test_a_life_with_rotations(shop: Shop) -> None:
    estate = shop.estate
    first = run_here(estate, "plan").done()
    assert not shop.store.exists(), "a plan writes nothing"
    assert "role orders_app_a" in first.out
    run_here(estate, "apply", "--auto").done()
    assert shop.store.stat().st_mode & 0o777 == 0o600
    shop.settled(A)
    old = shop.record
    with shop.connect() as session:
        found = session.execute("SELECT current_user, session_user, current_setting('work_mem')").fetchone()
        assert found == ("orders-app", A, "8MB")
        session.execute("CREATE TABLE s.t()")
        assert session.execute("SELECT tableowner FROM pg_tables WHERE tablename = 't'").fetchone() == ("orders-app",)

        shop.age()
        plan = run_here(estate, "plan", "-o", "json").done()
        assert plan.changes["c1/role/orders_app_b"]["origin"] == "git"
        assert plan.changes["c1/role/orders_app_b"]["risk"] == "change"
        assert plan.changes["c1/role/orders_app_b"]["reason"] == "rotation is due"
        assert set(plan.changes) == {"c1/role/orders_app_b", "c2/role/orders_app_b"}
        assert f"rotate the password of {B}: {A} is 31 d old" in plan.out
        assert "next_password" not in shop.record, "a plan writes nothing"
        before_the_rotation = run_here(estate, "explain", f"c1/role/{A}").done().out
        assert f"{A} is in use since" in before_the_rotation

        ran = run_here(estate, "apply", "--auto", "--only-result").done()
        assert f"{B} is in use from now on (secret orders-app); {A} stays valid until the next rotation" in ran.out
        shop.settled(B)
        assert shop.record["previous_password"] == old["password"], "the old login is as it was"
        assert session.execute("SELECT 1").fetchone() == (1,), "a session goes on"
        shop.connect(0, A, old["password"]).close()

        shop.age()
        run_here(estate, "apply", "--auto").done()
        shop.settled(A)
        assert session.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        shop.connect(0, A, old["password"])


def test_ci_without_the_store_agrees_on_the_digest(shop: Shop) -> None:
    estate = shop.estate
    run_here(estate, "apply", "--auto").done()
    shop.age()
    digests = {name: t["digest"] for name, t in run_here(estate, "plan", "-o", "json").done().targets.items()}
    shop.store.rename(shop.store.with_suffix(".hidden"))
    estate.settings["secrets"] = {"orders-app": {"env": "NO_SUCH_VARIABLE"}}
    estate.settings_file.write_text(json.dumps(estate.settings))
    ci = run_here(estate, "plan", "-o", "json").done()
    assert {name: t["digest"] for name, t in ci.targets.items()} == digests
    assert "whether a rotation is due is not known here" in ci.out
    assert f"{A} and {B} by turns; which one is in use is not known" in run_here(estate, "explain", f"c1/role/{A}").out


def test_a_cluster_that_is_down_delays_promotion(shop: Shop) -> None:
    estate = shop.estate
    run_here(estate, "apply", "--auto").done()
    shop.age()
    old = shop.record
    shop.proxies[1].server_port = 1  # nothing listens there
    ran = run_here(estate, "apply", "--auto").done(EXIT_PARTIAL)
    note = f"{A} stays in use until every cluster has the new password of {B}; not yet: c2 (unreachable)"
    assert note in ran.out
    assert shop.record["username"] == A
    assert shop.record["next_username"] == B
    shop.works()
    again = run_here(estate, "apply", "--auto").done(EXIT_PARTIAL)
    assert shop.record["next_password"] not in {old["password"], old["previous_password"]}
    assert f"{B} has its new password here; {A} stays in use until every cluster has it" in again.out
    pending = shop.record["next_password"]
    shop.proxies[1].server_port = shop.servers[1].port
    run_here(estate, "apply", "--auto").done()
    assert shop.record["password"] == pending, "what was begun is what is used"
    shop.settled(B)


def _kill_at(shop: Shop, proxy: int, start: str, after: str = "") -> None:
    """kill -9 when this statement is about to reach the server, at its first after one that begins with `after`."""
    process = start_warm(shop.estate, "apply", "--auto")
    seen = [not after]

    def kill(n: int, text: str, pid: int | None = process.pid) -> object:
        seen[0] = seen[0] or text.startswith(after)
        if not seen[0] or not text.startswith(start) or pid is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return DROP

    shop.proxies[proxy].before = kill
    process.join(30)
    assert process.exitcode == -signal.SIGKILL, warm_words(shop.estate)
    for each in shop.proxies:
        each.reset()


@pytest.mark.parametrize("start", ["SELECT pg_catalog.pg_try_advisory_lock", "ALTER ROLE", "COMMIT"])
@pytest.mark.parametrize("proxy", [0, 1])
def test_kill_9_in_a_rotation(shop: Shop, proxy: int, start: str) -> None:
    run_here(shop.estate, "apply", "--auto").done()
    shop.age()
    old = shop.record
    _kill_at(shop, proxy, start, after="ALTER ROLE" if start == "COMMIT" else "")
    assert shop.record["username"] == A, "nothing was promoted"
    assert shop.record["password"] == old["password"]
    assert shop.record["previous_password"] == old["previous_password"], "nothing is lost before the new one is in use"
    shop.works()
    pending = shop.record.get("next_password")
    assert pending or start.startswith("SELECT"), "stored before it is set"
    run_here(shop.estate, "apply", "--auto").done()
    assert pending in (None, shop.record["password"])
    shop.settled(B)


@pytest.mark.parametrize("start", ["CREATE ROLE", "COMMIT"])
def test_kill_9_in_the_first_apply(shop: Shop, start: str) -> None:
    _kill_at(shop, 0, start, after="ALTER ROLE" if start == "COMMIT" else "")
    assert "username" not in shop.record, "no application is given what does not work everywhere"
    run_here(shop.estate, "apply", "--auto").done()
    shop.settled(A)


def test_kill_9_at_the_promotion(shop: Shop) -> None:
    """The store's lock is taken as soon as the new password is stored, so that the apply stops at its last step."""
    run_here(shop.estate, "apply", "--auto").done()
    shop.age()
    folder = os.open(shop.store.parent, os.O_RDONLY)
    process = start_warm(shop.estate, "apply", "--auto")

    def lock(n: int, text: str) -> None:
        if text.startswith("ALTER ROLE"):
            fcntl.flock(folder, fcntl.LOCK_EX)

    for proxy in shop.proxies:
        proxy.before = lock
    process.join(6)
    assert process.exitcode is None, warm_words(shop.estate)
    pending = shop.record["next_password"]
    for server in (0, 1):
        shop.connect(server, B, pending).close()
    process.kill()
    process.join(10)
    os.close(folder)
    assert shop.record["username"] == A
    shop.works()
    for each in shop.proxies:
        each.reset()
    run_here(shop.estate, "apply", "--auto").done()
    assert shop.record["password"] == pending
    shop.settled(B)


def test_set_everywhere_by_runs_of_one_cluster_each(shop: Shop) -> None:
    run_here(shop.estate, "apply", "--auto").done()
    shop.age()
    run_here(shop.estate, "apply", "--auto", "-t", "c1").done()
    run_here(shop.estate, "apply", "--auto", "-t", "c2").done()
    assert shop.record["username"] == A
    shop.works()
    plan = run_here(shop.estate, "plan", "--detailed-exitcode").done()
    assert f"{B} has its new password here; {A} stays in use until every cluster has it" in plan.out
    ran = run_here(shop.estate, "apply", "--auto").done()
    assert f"{B} is in use from now on" in ran.out
    shop.settled(B)


def test_two_appliers_at_once(shop: Shop) -> None:
    run_here(shop.estate, "apply", "--auto").done()
    for turn in (B, A, B):
        shop.age()
        running = [shop.estate.start("apply", "--auto") for _ in range(2)]
        said = "".join(process.communicate(timeout=90)[0] for process in running)
        assert [process.returncode for process in running] == [0, 0], said
        assert said.count(f"{turn} is in use from now on") == 2, said  # once a cluster, by one of the two
        shop.settled(turn)


def test_from_a_plain_password(shop: Shop) -> None:
    """The application moves over while both ways are open; then the old one is closed."""
    estate, own = shop.estate, shop.estate.documents["a"][-1]["spec"]
    old = shop.store.with_name("old.json")
    own["auth"] = {"method": "scram", "password": {"secret": "old"}}
    estate.commit()
    run_here(estate, "apply", "--auto").done()
    plain = old.read_text().strip()
    own["auth"] = {**AUTH, "rotate": {**ROTATE, "keepLogin": True}}
    estate.commit()
    run_here(estate, "apply", "--auto").done()
    shop.settled(A)
    shop.connect(0, "orders-app", plain).close()
    own["auth"] = AUTH
    estate.commit()
    plan = run_here(estate, "plan", "-o", "json").done()
    assert plan.changes["c1/role/orders-app"]["risk"] == "access"
    with shop.connect() as session:
        run_here(estate, "apply", "--auto").done()
        assert session.execute("SELECT 1").fetchone() == (1,)
    shop.settled(A)
    with pytest.raises(psycopg.OperationalError, match=r"not permitted to log in|password authentication failed"):
        shop.connect(0, "orders-app", plain)


def test_no_password_turns_up_anywhere(shop: Shop) -> None:
    estate = shop.estate
    starts = [server.log.stat().st_size for server in shop.servers]
    saved = estate.folder / "plan.json"
    said: list[str] = []
    planted: set[str] = set()
    for command in (["apply", "--auto", "--sql"], ["apply", "--auto", "-o", "json"], ["apply", str(saved)]):
        if command[1] == str(saved):
            run_here(estate, "plan", "--out", str(saved)).done()
            said.append(saved.read_text())
        said.append(run_here(estate, *command).done().text)
        planted |= shop.passwords
        shop.age()
        said += [run_here(estate, "plan", "--sql", "-o", how).done().text for how in ("text", "json", "markdown")]
        said.append(run_here(estate, "apply", "--auto", "-t", "c1", "-o", "markdown").done().text)
        planted |= shop.passwords
        said += [run_here(estate, "explain", f"c1/role/{role}").done().text for role in (A, B, "orders-app")]
        said.append(run_here(estate, "drift").done().text)
        said.append(run_here(estate, "doctor").done().text)
    for server, start in zip(shop.servers, starts, strict=True):
        said.append(server.log.read_bytes()[start:].decode())
        said.append(repr(server.sql("SELECT l.*, t.* FROM pgvillage.ledger l, pgvillage.target t")))
    said += [f.read_text(errors="replace") for f in (estate.folder / "state").rglob("*") if f.is_file()]
    said.append(estate.git("log", "-p", "--all"))
    assert len(planted) >= 5
    for text in said:
        for password in planted:
            assert password not in text
        assert not re.search(r"SCRAM-SHA-256\$[0-9]+:", text)


def test_the_daemon_rotates_by_itself(shop: Shop) -> None:
    with serving(shop.estate) as daemon:
        daemon.wait(shop.store.exists, "a record")
        daemon.wait(lambda: shop.record.get("username") == A, "the first login")
        shop.age()
        daemon.wait(lambda: shop.record.get("username") == B, "the other one")
        daemon.rounds(2)
        notes = {entry["note"] for entry in daemon.said("note")}
        assert f"{B} is in use from now on (secret orders-app); {A} stays valid until the next rotation" in notes
        assert not [password for password in shop.passwords if password in "".join(daemon.lines)]
    shop.settled(B)


def test_clusters_of_different_replicas_rotate_together(shop: Shop, tmp_path: Path) -> None:
    """Each replica knows only its own targets' runs; at those of the others it looks while a rotation is under way."""
    names = ("x", "y")
    assert len({ranked(CLAIMS + target, names)[0] for target in ("c1", "c2")}) == len(names)
    with ExitStack() as stack:
        etcd = stack.enter_context(running_etcd(tmp_path / "etcd"))
        shop.estate.settings["etcd"] = {"etcd-a": {"endpoints": [etcd.url]}}
        daemons = []
        for name in names:
            daemons.append(start_replica(shop.estate, name, poll=0.3, observe=0.5, replicas={"etcd": "etcd-a"}))
            stack.callback(daemons[-1].close)
        daemons[0].wait(shop.store.exists, "a record")
        daemons[0].wait(lambda: shop.record.get("username") == A, "the first login")
        for daemon in daemons:  # who starts first may have done all of it before the other one has its share
            daemon.wait(lambda each=daemon: each.said("planned"), "a share of its own")
        shop.age()
        daemons[0].wait(lambda: shop.record.get("username") == B, "the other one")
        for daemon in daemons:
            daemon.wait(lambda each=daemon: each.said("applied"), "an apply of its own")
    shop.settled(B)
