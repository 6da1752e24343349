"""The routing API with a real HAProxy before a real three-node Patroni: who reaches which node, whatever happens."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Self

import psycopg
import pytest

from tests.integration.estate_builder import EstateBuilder, document
from tests.integration.routing_process import RoutingProcess, routing
from tests.servers import free_port, wait_until
from tests.servers.haproxy import running_haproxy
from tests.servers.patroni import FAILOVER_SECONDS, PatroniCluster, PatroniNode, patroni_cluster
from tests.servers.postmaster import children

LAG = 1_000_000


@dataclass
class Front:
    """The cluster, what routes to it, and the ports of HAProxy."""

    patroni: PatroniCluster
    api: RoutingProcess
    port: int
    standby_port: int
    stats: int

    def reached(self, port: int) -> int:
        """The port of the PostgreSQL that somebody reaches there now."""
        asked = b"SELECT current_setting('port')::int"
        with psycopg.connect(
            host="127.0.0.1", port=port, user="postgres", password=self.patroni.password, dbname="postgres",
            connect_timeout=5, autocommit=True,
        ) as connection:  # fmt: skip
            row = connection.execute(asked).fetchone()
            assert row is not None
            return int(row[0])

    def all_reached(self, port: int, times: int = 6) -> set[int]:
        """Of several connections; 0 stands for one that failed."""
        found = set()
        for _ in range(times):
            try:
                found.add(self.reached(port))
            except psycopg.Error:
                found.add(0)
        return found

    def reads_reach(self, *nodes: PatroniNode) -> None:
        self._reach(self.standby_port, {node.port for node in nodes}, 6)

    def writes_reach(self, node: PatroniNode) -> None:
        self._reach(self.port, {node.port}, 2)

    def _reach(self, port: int, wanted: set[int], times: int) -> None:
        found: list[set[int]] = [set()]

        def there() -> bool:
            found[0] = self.all_reached(port, times)
            return found[0] == wanted

        try:
            wait_until(there, f"{wanted}", seconds=60)
        except RuntimeError:
            known = self.api.ask("/v1/groups")[1]
            pytest.fail(f"expected to reach {wanted}, reached {found[0]}\n{known}\n{''.join(self.api.lines[-20:])}")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("routing")
    with ExitStack() as stack:
        patroni = stack.enter_context(patroni_cluster(folder / "patroni"))
        port, standby_port, listen = free_port(), free_port(), f"127.0.0.1:{free_port()}"
        credential = {
            "user": "postgres", "password": {"env": "ROUTING_PASSWORD"}, "hosts": ["127.0.0.1:*"], "sslmode": "disable",
        }  # fmt: skip
        estate = EstateBuilder(
            folder / "estate", {"credentials": {"admin": credential}, "routing": {"listen": listen}},
            environment={"ROUTING_PASSWORD": patroni.password},
        )  # fmt: skip
        hosts = [node.host for node in patroni.nodes]
        haproxy = {"port": port, "standbyPort": standby_port, "maxLag": LAG}
        estate.documents["clusters"] = [
            document(
                "Cluster", "lab", connection={"hosts": hosts, "credential": "admin"},
                connect={"routing": f"http://{listen}", "haproxy": haproxy},
            )
        ]  # fmt: skip
        estate.commit()
        text = estate.run("render", "haproxy", "lab").done().out
        api = stack.enter_context(routing(estate))
        api.wait("/v1/primary", 200)
        stats = stack.enter_context(running_haproxy(folder, text, port))
        yield Front(patroni, api, port, standby_port, stats)


@dataclass
class Writer:
    """A client that writes all the time through HAProxy, and connects again when it must."""

    front: Front
    written: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: len(self.written) > 20, "the first writes", seconds=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def more(self) -> None:
        """Waits until it writes again, after what happened before."""
        count = len(self.written)
        wait_until(lambda: len(self.written) > count + 20, "writes", seconds=FAILOVER_SECONDS)

    @property
    def longest(self) -> float:
        """Seconds between two writes."""
        return max(after - before for before, after in zip(self.written, self.written[1:], strict=False))

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(psycopg.Error):
                self._write_on()
            self._stop.wait(0.02)

    def _write_on(self) -> None:
        with psycopg.connect(
            host="127.0.0.1", port=self.front.port, user="postgres", password=self.front.patroni.password,
            dbname="postgres", connect_timeout=5, autocommit=True,
        ) as connection:  # fmt: skip
            connection.execute("CREATE TABLE IF NOT EXISTS written (at timestamptz DEFAULT now())")
            while not self._stop.is_set():
                try:
                    connection.execute("INSERT INTO written DEFAULT VALUES")
                except psycopg.errors.ReadOnlySqlTransaction as error:
                    self.wrong.append(str(error))
                    raise
                self.written.append(time.monotonic())
                self._stop.wait(0.01)


def test_writes_reach_the_primary_and_reads_are_spread(front: Front) -> None:
    leader = front.patroni.wait()
    front.api.wait_for_primary(leader.host)
    front.writes_reach(leader)
    front.reads_reach(*front.patroni.replicas())


def test_a_switchover_is_followed(front: Front, record_property: pytest.RecordProperty) -> None:
    before = front.patroni.wait()
    front.writes_reach(before)
    with Writer(front) as writer:
        after = front.patroni.switchover()
        front.api.wait_for_primary(after.host)
        writer.more()
        front.writes_reach(after)
    record_property("longest_pause", writer.longest)
    print(f"longest pause of a writer at a switchover: {writer.longest:.2f} s, read-only errors: {len(writer.wrong)}")
    front.patroni.wait()
    front.reads_reach(*front.patroni.replicas())


def test_a_standby_that_lags_gets_no_reads(front: Front) -> None:
    leader = front.patroni.wait()
    slow, other = front.patroni.replicas()
    front.reads_reach(slow, other)
    with front.patroni.connect(slow) as connection:
        row = connection.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'").fetchone()
    assert row is not None
    os.kill(row[0], signal.SIGSTOP)  # replay stands still; Patroni would end a pause
    try:
        with front.patroni.connect(leader) as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS filler AS SELECT repeat('x', 100) FROM generate_series(1, 30000)"
            )
        front.reads_reach(other)
        path = f"/nodes/lab/{slow.host}/replica"
        assert front.api.ask(f"{path}?lag={LAG}", "OPTIONS") == (503, "")
        assert front.api.ask(path, "HEAD") == (200, "")
    finally:
        os.kill(row[0], signal.SIGCONT)
        with front.patroni.connect(leader) as connection:
            connection.execute("DROP TABLE IF EXISTS filler")
    front.reads_reach(slow, other)


def test_a_host_that_hangs_stalls_nobody(front: Front) -> None:
    leader = front.patroni.wait()
    hung, other = front.patroni.replicas()
    front.reads_reach(hung, other)
    postmaster = hung.postmaster()
    assert postmaster is not None
    assert hung.process is not None
    everybody = [hung.process.pid, postmaster, *children(postmaster)]
    for pid in everybody:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        front.api.wait(f"/v1/{hung.host}/status", 422)
        looks = front.api.metric('pgvillage_routing_looks_total{result="ok"}')
        failures = front.api.metric('pgvillage_routing_looks_total{result="failed"}')
        wait_until(
            lambda: front.api.metric('pgvillage_routing_looks_total{result="failed"}') > failures + 1, "two failures"
        )
        # the other two were asked every 0.2 s while the hung one waited for its time limits of a second
        assert front.api.metric('pgvillage_routing_looks_total{result="ok"}') > looks + 4
        assert front.api.primary() == leader.host
        front.reads_reach(other)
    finally:
        for pid in everybody:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    front.reads_reach(hung, other)


def test_a_killed_primary_is_followed_by_its_successor(front: Front) -> None:
    before = front.patroni.wait()
    with Writer(front) as writer:
        front.patroni.kill(before)
        wait_until(lambda: front.patroni.leader() not in (None, before), "a new leader", seconds=FAILOVER_SECONDS)
        after = front.patroni.leader()
        assert after is not None
        front.api.wait_for_primary(after.host)
        writer.more()
    print(f"longest pause of a writer at kill -9: {writer.longest:.2f} s, read-only errors: {len(writer.wrong)}")
    front.patroni.start(before)
    front.patroni.wait()
    assert front.api.ask("/v1/primary")[0] == 200, "the old one came back as a standby: no split brain"
    front.reads_reach(*front.patroni.replicas())
