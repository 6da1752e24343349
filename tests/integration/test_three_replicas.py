"""Three real daemons on real targets and a real etcd cluster: killed, stopped, cut off. No two applies overlap."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from pgvillage.daemon.replica_keys import CLAIMS
from pgvillage.daemon.share_plan import ranked
from tests.integration.conftest import EstateMaker, wipe
from tests.integration.daemon_process import Daemon, start_replica
from tests.integration.estate_builder import EstateBuilder, cluster, credential, free_policy
from tests.servers import wait_until
from tests.servers.etcd import EtcdCluster, running_cluster
from tests.servers.postgres import PostgresServer, postgres_server

NAMES = ("x", "y", "z")
TARGETS = [f"t{number}" for number in range(6)]
ADDRESS = {target: f"127.0.0.{number}" for number, target in enumerate(TARGETS, 2)}
OWNER = {target: ranked(CLAIMS + target, NAMES)[0] for target in TARGETS}  # each has some
# Every CREATE SCHEMA takes a while, and notes under which fence it was done, from when to when.
NOTED = (
    "CREATE TABLE public.writes (fence bigint, holder text, began timestamptz, ended timestamptz)",
    """CREATE FUNCTION public.note() RETURNS event_trigger LANGUAGE plpgsql AS $$
    DECLARE began timestamptz := clock_timestamp();
    BEGIN
        PERFORM pg_sleep(0.2);
        INSERT INTO public.writes SELECT fence, fence_holder, began, clock_timestamp() FROM pgvillage.target;
    END $$""",
    "CREATE EVENT TRIGGER note ON ddl_command_end WHEN TAG IN ('CREATE SCHEMA') EXECUTE FUNCTION public.note()",
)
WRITING = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"


class Village:
    """The daemons by name, and what they wrote."""

    def __init__(self, estate: EstateBuilder, pg: PostgresServer) -> None:
        self.estate, self.pg = estate, pg
        self.daemons: dict[str, Daemon] = {}

    def start(self, name: str) -> None:
        prefix = f"village/{self.estate.folder.parent.name}"
        replicas = {"etcd": "etcd-a", "lease": 6, "prefix": prefix}
        self.daemons[name] = start_replica(self.estate, name, poll=5, observe=1, fingerprint=0, replicas=replicas)

    def signal(self, name: str, how: signal.Signals) -> None:
        self.daemons[name].process.send_signal(how)

    def writes(self, target: str) -> list[tuple[Any, ...]]:
        """Fence, holder, began, ended: in the order in which they ended."""
        return self.pg.sql("SELECT fence, holder, began, ended FROM public.writes ORDER BY ended", database=target)

    def count(self) -> int:
        return sum(len(self.writes(target)) for target in TARGETS)

    def wait(self, ready: Callable[[], object], what: str) -> None:
        try:
            wait_until(lambda: bool(ready()), what, seconds=120)
        except RuntimeError:
            said = {name: "".join(daemon.lines[-30:]) for name, daemon in self.daemons.items()}
            raise AssertionError(f"never: {what}\n" + "\n".join(f"{n}:\n{text}" for n, text in said.items())) from None

    def goes_on(self, targets: list[str], by: Callable[[str], bool] = lambda _: True) -> None:
        """Each of these targets is written to once more, by such a holder."""
        before = {target: len(self.writes(target)) for target in targets}
        for target in targets:
            self.wait(
                lambda t=target: any(by(holder) for _, holder, _, _ in self.writes(t)[before[t] :]),
                f"{target} is written to again",
            )

    def home(self) -> None:
        """Every target is its own replica's again."""
        for target, owner in OWNER.items():
            self.wait(lambda t=target, o=owner: (self.writes(t) or [(0, "")])[-1][1] == o, f"{target} is with {owner}")

    def judge(self) -> None:
        """No two applies overlapped, no fence went back, and each fence was one replica's."""
        for target in TARGETS:
            writes = self.writes(target)
            assert all(one[3] <= other[2] for one, other in pairwise(writes)), "intervals overlap"
            fences = [fence for fence, *_ in writes]
            assert fences == sorted(fences), "a fence went back"
            assert len({(fence, holder) for fence, holder, *_ in writes}) == len(set(fences))
        assert {holder for target in TARGETS for _, holder, *_ in self.writes(target)} == set(NAMES)


@contextmanager
def undoing(pg: PostgresServer) -> Iterator[None]:
    """Somebody who drops the schema again and again, so that there is always something to apply."""
    over = threading.Event()

    def undo() -> None:
        while not over.wait(1.2):
            for target in TARGETS:
                with suppress(psycopg.Error), pg.connect(target) as connection:
                    connection.execute("SET lock_timeout = '50ms'")
                    connection.execute("DROP SCHEMA IF EXISTS app")

    thread = threading.Thread(target=undo)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with running_cluster(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.fixture(scope="module")
def pg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One server with an address for each target: an estate takes two clusters on one address for a mistake."""
    folder = tmp_path_factory.mktemp("postgres")
    with postgres_server(folder, listen_addresses=",".join(["127.0.0.1", *ADDRESS.values()])) as server:
        with (server.data / "pg_hba.conf").open("a") as file:
            file.write("host all all 127.0.0.0/8 scram-sha-256\n")
        server.sql("SELECT pg_reload_conf()")
        yield server


@pytest.fixture
def village(pg: PostgresServer, estate_of: EstateMaker, etcd: EtcdCluster) -> Iterator[Village]:
    estate = estate_of(
        pg,
        credentials={t: credential(pg, database=t, hosts=[f"{ADDRESS[t]}:*"]) for t in TARGETS},
        etcd={"etcd-a": {"endpoints": etcd.urls}},
        timeouts={"staleWriter": 8, "writer": 20},
    )
    estate.documents = {"a": [free_policy(), *(_cluster(target, f"{ADDRESS[target]}:{pg.port}") for target in TARGETS)]}
    estate.commit()
    wipe(pg)
    pg.sql(*(f"CREATE DATABASE {target}" for target in TARGETS))
    estate.apply().done()
    for target in TARGETS:
        pg.sql(*NOTED, database=target)
    found = Village(estate, pg)
    with undoing(pg):
        try:
            for name in NAMES:
                found.start(name)
            yield found
        finally:
            for daemon in found.daemons.values():
                daemon.close()


def _cluster(name: str, host: str) -> dict[str, Any]:
    return cluster(name, host, credential=name, databases=[{"name": name, "schemas": [{"name": "app"}]}])


def test_replicas_that_are_killed_and_stopped(village: Village) -> None:
    village.home()
    _killed(village, "x")
    _stopped_in_a_transaction(village, "y")
    village.judge()


def test_an_etcd_that_loses_its_leader_and_its_quorum(village: Village, etcd: EtcdCluster) -> None:
    village.home()
    _etcds_leader_killed(village, etcd)
    _etcd_lost(village, etcd)
    _left(village, "z")
    village.judge()


def _of(name: str) -> list[str]:
    return [target for target, owner in OWNER.items() if owner == name]


def _killed(village: Village, name: str) -> None:
    """Its targets go to others within the lease; the others' stay; it comes back and gets its own again."""
    village.signal(name, signal.SIGKILL)
    village.daemons.pop(name).close()
    village.goes_on(_of(name), lambda holder: holder != name)
    village.start(name)
    village.home()


def _stopped_in_a_transaction(village: Village, name: str) -> None:
    """It sleeps with a transaction open, beyond its lease. Awakened it writes nothing more by its old right."""
    target = _of(name)[0]
    village.wait(lambda: village.pg.sql(WRITING.replace("%s", f"'{target}'")), f"{name} writes")
    village.signal(name, signal.SIGSTOP)
    try:
        village.goes_on(_of(name), lambda holder: holder != name)
        old = max(fence for fence, holder, *_ in village.writes(target) if holder == name)
    finally:
        village.signal(name, signal.SIGCONT)
    daemon = village.daemons[name]
    daemon.wait(lambda: daemon.said("the lease was not renewed in time: nothing is written until etcd answers")
                or daemon.said("etcd has ended our lease: others may claim our share, and we begin again"),
                "it notices")  # fmt: skip
    village.home()
    assert max(fence for fence, holder, *_ in village.writes(target) if holder == name) > old


def _etcds_leader_killed(village: Village, etcd: EtcdCluster) -> None:
    leader = etcd.leader()
    etcd.signal(leader, signal.SIGKILL)
    village.goes_on(TARGETS)
    etcd.start(leader)
    etcd.leader()


def _etcd_lost(village: Village, etcd: EtcdCluster) -> None:
    """Nobody writes once the leases are over, all go on looking, and all come back by themselves."""
    dead = [at for at in range(3) if at != etcd.leader()]
    for at in dead:
        etcd.signal(at, signal.SIGKILL)
    daemons = village.daemons.values()
    village.wait(lambda: all(daemon.metric("replica_may_write") == 0 for daemon in daemons), "all leases are over")
    assert all(daemon.metric("etcd_reachable") == 0 for daemon in daemons)
    time.sleep(1)  # a transaction that had begun before ends
    before, looks = village.count(), {daemon: daemon.metric("looks_total") for daemon in daemons}
    village.wait(lambda: all(daemon.metric("looks_total") >= looks[daemon] + 4 for daemon in daemons), "looks go on")
    assert village.count() == before
    for at in dead:
        etcd.start(at)
    village.goes_on(TARGETS)


def _left(village: Village, name: str) -> None:
    """Asked to stop, it gives up its share at once."""
    assert village.daemons[name].stop(30) == 0
    village.goes_on(_of(name), lambda holder: holder != name)
