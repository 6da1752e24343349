"""A real Patroni of three nodes through the command line: drift, parameters of every class, HBA, pause, kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest

from tests.integration.estate_builder import EXIT_CHANGES, EstateBuilder, Ran, cluster, finish, free_policy, group
from tests.servers import wait_until
from tests.servers.patroni import PatroniCluster, PatroniNode, patroni_cluster
from tests.servers.slapd import ADMIN, PASSWORD, SUFFIX, slapd

SECONDS = 300  # an apply restarts every node, one after the other, and looks at all between
HBA = [
    {"type": "host", "database": "all", "role": "all", "address": "127.0.0.1/32", "method": "scram-sha-256"},
    {"type": "host", "database": "replication", "role": "all", "address": "127.0.0.1/32", "method": "scram-sha-256"},
]


@pytest.fixture(scope="module")
def patroni(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatroniCluster]:
    with patroni_cluster(tmp_path_factory.mktemp("patroni")) as found:
        yield found


class Lab:
    """An estate whose only cluster is that Patroni."""

    def __init__(self, folder: Path, patroni: PatroniCluster) -> None:
        self.patroni = patroni
        (folder / "pw").write_text(patroni.password)
        password = {"file": str(folder / "pw")}
        admin = {"user": "postgres", "password": password, "hosts": ["127.0.0.1:*"], "sslmode": "disable"}
        self.estate = EstateBuilder(
            folder / "a",
            {
                "credentials": {"admin": admin},
                "etcd": {"store": {"endpoints": [patroni.etcd.url], "timeout": 5}},
                "patroni": {"members": {"hosts": ["127.0.0.1:*"]}},
            },
        )
        self.ha: dict[str, Any] = {"engine": "patroni", "etcd": "store", "api": "members", "cluster": patroni.scope}

    def declare(self, parameters: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **ha: Any) -> None:
        postgres: dict[str, Any] = {"parameters": parameters or {}}
        more = dict(spec or {})
        if "hba" in more:
            postgres["hba"] = more.pop("hba")
        whole = cluster("c", self.patroni.nodes[0].host, ha={**self.ha, **ha}, postgres=postgres, **more)
        whole["spec"]["connection"]["hosts"] = [node.host for node in self.patroni.nodes]
        self.estate.documents = {"a": [free_policy(), whole, group("o")]}
        self.estate.commit()

    def apply(self, *options: str) -> Ran:
        return finish(self.estate.start("apply", "--target", "c:patroni", "--auto", *options), SECONDS)

    def changes(self) -> dict[str, dict[str, Any]]:
        ran = self.estate.plan("--target", "c:patroni")
        found = ran.targets["c:patroni"]
        assert found["status"] == "planned", found
        return {change["address"]: change for change in found["changes"]}

    def settled(self) -> None:
        assert self.changes() == {}, self.estate.plan("--target", "c:patroni").text

    def config(self) -> dict[str, Any]:
        found = json.loads(self.patroni.etcd.ctl("get", f"/service/{self.patroni.scope}/config", "--print-value-only"))
        assert isinstance(found, dict)
        return found

    def shown(self, name: str) -> list[str]:
        """The value in force on each node."""
        return [self._show(node, name) for node in self.patroni.nodes]

    def shown_of_those_that_answer(self, name: str) -> list[str]:
        found = []
        for node in self.patroni.nodes:
            with suppress(psycopg.Error):
                found.append(self._show(node, name))
        return found

    def _show(self, node: PatroniNode, name: str) -> str:
        with self.patroni.connect(node) as connection:
            return str(connection.execute("SELECT current_setting(%s)", [name]).fetchall()[0][0])


@pytest.fixture
def lab(tmp_path: Path, patroni: PatroniCluster) -> Lab:
    patroni.wait()
    # Each estate is a repository of its own: what another one applied is none of its history.
    patroni.etcd.ctl("del", "pgvillage/", "--prefix")
    return Lab(tmp_path, patroni)


def test_reload_parameters_timings_and_drift(lab: Lab) -> None:
    before = lab.config()
    lab.declare({"work_mem": "8MB"}, timings={"ttl": 30, "loopWait": 1, "retryTimeout": 3})
    assert {"c/patroni/parameter.work_mem", "c/patroni/field.ttl"} <= lab.changes().keys()
    lab.apply().done()
    lab.settled()
    assert lab.config()["postgresql"]["parameters"]["work_mem"] == "8MB"
    assert {key for key in before if key not in lab.config()} == set(), "what is not named is left alone"
    wait_until(lambda: set(lab.shown("work_mem")) == {"8MB"}, "the reload", lab.patroni.nodes[0].log)
    lab.patroni.configure(postgresql={"parameters": {"work_mem": "1MB"}})
    (change,) = (
        lab.estate.run("drift", "--target", "c:patroni", "-o", "json")
        .done(EXIT_CHANGES)
        .targets["c:patroni"]["changes"]
    )
    assert (change["address"], change["origin"]) == ("c/patroni/parameter.work_mem", "drift")
    lab.apply().done()
    lab.settled()
    lab.declare({"work_mem": "8MB"}, timings={"ttl": 20, "loopWait": 10, "retryTimeout": 10})
    refused = lab.estate.plan("--target", "c:patroni")
    assert "loopWait (10) + 2 * retryTimeout (10) must be at most ttl (20)" in refused.text
    lab.declare({"work_mem": "8MB"}, timings={"ttl": 20})
    lab.patroni.configure(loop_wait=10, retry_timeout=10)
    try:
        refused = lab.estate.plan("--target", "c:patroni")
        assert "loop_wait (10) + 2 * retry_timeout (10) must be at most ttl (20)" in refused.text
    finally:
        lab.patroni.configure(loop_wait=1, retry_timeout=3)


def test_what_patroni_sets_itself_is_refused_with_the_reason(lab: Lab) -> None:
    lab.declare({"max_connections": 10, "port": 1})
    told = lab.estate.run("validate").text
    assert "would silently take 100" in told
    assert "postgresql.listen" in told


def test_raise_and_lower_in_one_plan_while_a_client_writes(lab: Lab) -> None:
    lab.declare({"max_connections": 60, "max_worker_processes": 8, "shared_buffers": "128MB"}, synchronous={"min": 1})
    lab.apply().done()
    lab.settled()
    lab.declare({"max_connections": 50, "max_worker_processes": 9, "shared_buffers": "96MB"}, synchronous={"min": 1})
    changes = lab.changes()
    assert {f"c/patroni/running.n{at}" for at in (1, 2, 3)} <= changes.keys()
    assert all(changes[f"c/patroni/running.n{at}"]["risk"] == "restart" for at in (1, 2, 3))
    assert all(changes[f"c/patroni/running.n{at}"]["origin"] == "git" for at in (1, 2, 3))
    with Client(lab.patroni) as client:
        lab.apply().done()
    lab.settled()
    assert set(lab.shown("max_connections")) == {"50"}
    assert set(lab.shown("max_worker_processes")) == {"9"}
    assert set(lab.shown("shared_buffers")) == {"96MB"}
    lost = client.lost()
    print(f"acknowledged {len(client.acknowledged)}, lost {len(lost)}, longest wait {client.longest:.1f} s")
    assert client.acknowledged
    assert not lost


def test_a_killed_apply_goes_on_from_what_is_there(lab: Lab) -> None:
    lab.declare({"max_connections": 61})
    process = lab.estate.start("apply", "--target", "c:patroni", "--auto")
    try:
        wait_until(lambda: "61" in lab.shown_of_those_that_answer("max_connections"), "a first restart", seconds=120)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    lab.patroni.wait()
    left = [address for address in lab.changes() if "/running." in address]
    assert 0 < len(left) < 3, left
    lab.apply().done()
    lab.settled()
    assert set(lab.shown("max_connections")) == {"61"}


def test_rules_of_access_reload_and_never_lock_out(lab: Lab) -> None:
    extra = {"type": "host", "database": "all", "role": "app user", "address": "10.0.0.0/8", "method": "md5"}
    lab.declare(spec={"hba": [*HBA, extra]})
    changes = lab.changes()
    assert changes.keys() == {"c/patroni/hba"}, changes
    lab.apply().done()
    lab.settled()
    assert 'host all "app user" 10.0.0.0/8 md5' in lab.config()["postgresql"]["pg_hba"]
    asked = "SELECT count(*) FROM pg_hba_file_rules WHERE 'app user' = ANY(user_name)"

    def known() -> bool:
        with lab.patroni.connect(lab.patroni.nodes[0]) as connection:
            return connection.execute(asked.encode()).fetchall() == [(1,)]

    wait_until(known, "the rules", lab.patroni.nodes[0].log)
    lab.declare(spec={"hba": [extra]})
    plan = lab.estate.plan("--target", "c:patroni")
    assert "would lock out PgVillage itself: no rule lets in role postgres" in plan.text
    assert "would lock out Patroni" in plan.text
    assert lab.apply().code != 0
    assert len(lab.config()["postgresql"]["pg_hba"]) >= 3


def test_a_pause_holds_restarts_and_nothing_else(lab: Lab) -> None:
    lab.declare({"work_mem": "9MB", "max_locks_per_transaction": 70})
    lab.patroni.pause()
    try:
        changes = lab.changes()
        held = {address for address, change in changes.items() if change.get("held")}
        assert held == {f"c/patroni/running.n{at}" for at in (1, 2, 3)}, changes
        lab.apply()
        assert lab.config()["postgresql"]["parameters"]["max_locks_per_transaction"] == 70
        assert set(lab.shown("max_locks_per_transaction")) == {"64"}
    finally:
        lab.patroni.pause(on=False)
    lab.apply().done()
    lab.settled()
    assert set(lab.shown("max_locks_per_transaction")) == {"70"}


def test_slots_are_patronis(lab: Lab) -> None:
    lab.declare(spec={"replicationSlots": [{"name": "keep_me"}]})
    assert lab.changes().keys() == {"c/patroni/slot.keep_me"}
    assert not [a for a in lab.estate.plan("--target", "c").changes if a.startswith("c/slot/")]
    lab.apply().done()
    lab.settled()
    assert lab.config()["slots"] == {"keep_me": {"type": "physical"}}
    lab.declare(spec={"replicationSlots": [{"name": "keep_me", "ensure": "absent"}]})
    assert "data would be lost" in lab.apply().text
    lab.apply("--approve", lab.estate.plan("--target", "c:patroni").targets["c:patroni"]["digest"]).done()
    assert not lab.config().get("slots")


_PEOPLE = f"""dn: {SUFFIX}
objectClass: top
objectClass: domain
dc: example

dn: ou=people,{SUFFIX}
objectClass: organizationalUnit
ou: people

dn: uid=ann,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: A
userPassword: her-own-words

dn: cn=operators,{SUFFIX}
objectClass: groupOfNames
cn: operators
member: uid=ann,ou=people,{SUFFIX}
"""


def test_an_operator_logs_in_by_the_directorys_password(lab: Lab, tmp_path: Path) -> None:
    with slapd(tmp_path / "ldap", _PEOPLE) as directory:
        bind = {"dn": ADMIN, "password": {"command": ["echo", PASSWORD]}}
        lab.estate.settings["directories"] = {
            "corp": {"uris": [directory.uri], "base": SUFFIX, "bind": bind, "startTls": False}
        }
        ldap = {"ldapserver": "127.0.0.1", "ldapport": str(directory.port)}
        ldap |= {"ldapprefix": "uid=", "ldapsuffix": f",ou=people,{SUFFIX}"}
        rule = {"type": "host", "database": "all", "role": "+operators", "address": "127.0.0.1/32", "method": "ldap"}
        lab.declare(spec={"hba": [{**rule, "options": ldap}, *HBA]})
        members = {"directory": "corp", "group": f"cn=operators,{SUFFIX}", "role": "{uid}"}
        lab.estate.documents["a"].append(group("operators", members=members))
        lab.estate.commit()
        finish(lab.estate.start("apply", "--auto"), SECONDS).done()
        leader = lab.patroni.leader()
        assert leader is not None
        wait_until(lambda: psql(leader, "her-own-words")[0] == 0, "the rule, and the role", leader.log)
        code, out, err = psql(leader, "her-own-words")
        assert out.strip() == "ann|t", (code, err)
        code, out, err = psql(leader, "guessed")
        assert (code, out) == (2, "")
        assert 'LDAP authentication failed for user "ann"' in err
    lab.declare(spec={"hba": HBA})
    lab.apply().done()


def psql(node: PatroniNode, password: str) -> tuple[int, str, str]:
    """Who is logged in, and whether the directory's group is theirs."""
    asked = "SELECT current_user, pg_has_role('operators', 'member')"
    command = ["psql", "-XAt", "-h", "127.0.0.1", "-p", str(node.port), "-U", "ann", "-d", "postgres", "-c", asked]
    environment = {**os.environ, "PGPASSWORD": password}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return ran.returncode, ran.stdout, ran.stderr


class Client:
    """Writes one row after the other wherever it may, and remembers what was acknowledged."""

    def __init__(self, patroni: PatroniCluster) -> None:
        self._patroni, self._over = patroni, threading.Event()
        self.acknowledged: list[int] = []
        self.longest = 0.0
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        with self._connect() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS written (n bigint PRIMARY KEY)")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _connect(self) -> psycopg.Connection[Any]:
        ports = ",".join(str(node.port) for node in self._patroni.nodes)
        return psycopg.connect(
            host=",".join("127.0.0.1" for _ in self._patroni.nodes), port=ports, user="postgres", dbname="postgres",
            password=self._patroni.password, target_session_attrs="read-write", autocommit=True, connect_timeout=2,
        )  # fmt: skip

    def _write(self) -> None:
        number, last = 0, time.monotonic()
        while not self._over.is_set():
            with suppress(psycopg.Error), self._connect() as connection:
                while not self._over.is_set():
                    number += 1
                    connection.execute("INSERT INTO written VALUES (%s)", [number])
                    self.acknowledged.append(number)
                    self.longest, last = max(self.longest, time.monotonic() - last), time.monotonic()
                    self._over.wait(0.01)
            self._over.wait(0.05)

    def lost(self) -> set[int]:
        with self._connect() as connection:
            there = {n for (n,) in connection.execute("SELECT n FROM written").fetchall()}
        return set(self.acknowledged) - there
