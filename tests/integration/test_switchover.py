"""Switchover and failover of a real Patroni cluster by the real command line, while a client writes all the time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgvillage.clients.state.state import State
from tests.integration.estate_builder import (
    EXIT_BLOCKED,
    EXIT_LOCKED,
    EXIT_STALE,
    EXIT_USAGE,
    EstateBuilder,
    Ran,
    document,
    finish,
)
from tests.integration.warm_command import run_here
from tests.servers import wait_until
from tests.servers.patroni import FAILOVER_SECONDS, PatroniCluster, PatroniNode, patroni_cluster
from tests.servers.writing_client import TABLE, Writing, writing

_SECONDS = 240  # for a command that waits for the nodes itself


@pytest.fixture(scope="module")
def patroni(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatroniCluster]:
    with patroni_cluster(tmp_path_factory.mktemp("patroni")) as cluster:
        with cluster.connect(cluster.wait()) as connection:
            connection.execute(TABLE.encode())
        yield cluster


@pytest.fixture
def estate(patroni: PatroniCluster, tmp_path: Path) -> EstateBuilder:
    """Of a cluster that is well, whatever the test before did to it."""
    patroni.wait()
    password = tmp_path / "password"
    password.write_text(patroni.password)
    settings = {
        "credentials": {
            "admin": {
                "user": "postgres", "password": {"file": str(password)}, "hosts": ["127.0.0.1:*"],
                "sslmode": "disable",
            }
        },
        "etcd": {"store": {"endpoints": [patroni.etcd.url]}},
        "patroni": {"members": {"hosts": ["127.0.0.1:*"]}},
    }  # fmt: skip
    found = EstateBuilder(tmp_path / "a", settings)
    ha = {"engine": "patroni", "etcd": "store", "api": "members", "cluster": patroni.scope}
    # By the hosts a node is known whose lease has ended.
    spec = {"connection": {"credential": "admin", "hosts": [node.host for node in patroni.nodes]}, "ha": ha}
    found.documents = {"a": [document("Cluster", "orders", {"env": "test"}, **spec)]}
    found.commit()
    return found


@contextmanager
def application(patroni: PatroniCluster, file: Path) -> Iterator[Writing]:
    """It knows all nodes, and has written before and after what is done meanwhile."""
    hosts, ports = ",".join("127.0.0.1" for _ in patroni.nodes), ",".join(str(node.port) for node in patroni.nodes)
    conninfo = f"host={hosts} port={ports} user=postgres password={patroni.password} dbname=postgres"
    log = patroni.nodes[0].log
    with writing(file.name, file, f"{conninfo} connect_timeout=2 target_session_attrs=read-write") as client:
        wait_until(lambda: len(client.acknowledged) > 0, "a first write", log)
        yield client
        before = len(client.acknowledged)
        wait_until(lambda: len(client.acknowledged) > before, "a last write", log)


def lost(patroni: PatroniCluster, client: Writing) -> set[int]:
    with patroni.connect(patroni.wait()) as connection:
        return client.lost(connection)


def standby(patroni: PatroniCluster) -> PatroniNode:
    leader = patroni.wait()
    return next(node for node in patroni.nodes if node is not leader)


def switch(estate: EstateBuilder, *more: str) -> Ran:
    return finish(estate.start("switchover", "orders", "--yes", *more), _SECONDS)


def fail_over(estate: EstateBuilder, digest: str) -> Ran:
    return finish(estate.start("failover", "orders", "--accept-data-loss", digest), _SECONDS)


def asked(estate: EstateBuilder, *more: str) -> Ran:
    """The same in this process, for what is refused at once."""
    return run_here(estate, "switchover", "orders", "--yes", *more)


def test_a_switchover_to_a_node_loses_nothing(estate: EstateBuilder, patroni: PatroniCluster, tmp_path: Path) -> None:
    old, to = patroni.wait(), standby(patroni)
    with application(patroni, tmp_path / "written") as client:
        done = switch(estate, "--to", to.name, "-o", "json").done().document
    assert (done["done"], done["from"], done["to"], done["missing"]) == (True, old.name, to.name, [])
    assert patroni.wait() is to
    assert not lost(patroni, client)
    (outage,) = done["outages"]
    assert outage["problem"] is None
    assert outage["writes"] > 1
    assert 0 < outage["seconds"] < FAILOVER_SECONDS
    # The command's own client and ours met the same outage.
    assert abs(outage["seconds"] - client.longest_wait) < 5
    assert {node["role"] for node in done["after"]} == {"primary", "standby"}


def test_without_a_name_somebody_takes_over_and_the_history_knows(
    estate: EstateBuilder, patroni: PatroniCluster, tmp_path: Path
) -> None:
    file = Path(estate.settings["state"]) / "state.db"
    file.parent.mkdir(parents=True, exist_ok=True)
    State.in_file(file).close()
    old = patroni.wait()
    with application(patroni, tmp_path / "written-too") as client:
        ran = switch(estate).done()
    assert patroni.wait() is not old
    assert not lost(patroni, client)
    assert "stops taking writes" in ran.out
    assert f"Switchover done: {old.name} -> " in ran.out
    assert "without an acknowledged write" in ran.out
    state = State.in_file(file)
    try:
        audits = [entry for entry in state.decisions.audits() if entry.action == "switchover"]
        assert [entry.target for entry in audits] == ["orders:patroni"] * 2
        assert f"{old.name} -> " in audits[0].detail
        asked = state.decisions.take_requests(["orders", "orders:patroni"])
        assert {request.target for request in asked} == {"orders", "orders:patroni"}
    finally:
        state.close()


def test_what_is_refused_with_its_reason(estate: EstateBuilder, patroni: PatroniCluster) -> None:
    leader = patroni.wait()
    assert f"did you mean {leader.name}?" in asked(estate, "--to", f"{leader.name}x").done(EXIT_USAGE).err
    assert "is the primary already" in asked(estate, "--to", leader.name).done(EXIT_BLOCKED).err
    assert "did you mean orders?" in run_here(estate, "switchover", "order", "--yes").done(EXIT_USAGE).err
    nobody = run_here(estate, "switchover", "orders").done(EXIT_USAGE)
    assert "--yes" in nobody.err
    assert patroni.wait() is leader


def test_refused_in_pause(estate: EstateBuilder, patroni: PatroniCluster) -> None:
    leader = patroni.wait()
    patroni.pause()
    try:
        ran = asked(estate, "-o", "json").done(EXIT_BLOCKED)
    finally:
        patroni.pause(on=False)
    assert [obstacle["code"] for obstacle in ran.document["obstacles"]] == ["paused"]
    assert not ran.document["done"]
    assert patroni.wait() is leader


def test_refused_to_a_standby_that_lags(estate: EstateBuilder, patroni: PatroniCluster) -> None:
    leader, behind = patroni.wait(), standby(patroni)
    # Patroni itself would end a pause of the replay.
    with patroni.connect(behind) as connection:
        row = connection.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'").fetchone()
    assert row is not None
    os.kill(row[0], signal.SIGSTOP)
    try:
        with patroni.connect(leader) as connection:
            connection.execute("CREATE TABLE wide AS SELECT repeat('x', 500) FROM generate_series(1, 10000)")
            connection.execute("DROP TABLE wide")
        ran = asked(estate, "--to", behind.name).done(EXIT_BLOCKED)
        assert "bytes behind" in ran.err
    finally:
        os.kill(row[0], signal.SIGCONT)
    assert patroni.wait() is leader


def test_a_degraded_cluster_needs_consent_to_this_state(estate: EstateBuilder, patroni: PatroniCluster) -> None:
    leader = patroni.wait()
    gone = standby(patroni)
    patroni.kill(gone)
    try:
        wait_until(lambda: gone.name not in patroni.members(), "the end of a lease", gone.log, FAILOVER_SECONDS)
        ran = asked(estate).done(EXIT_BLOCKED)
        assert "does not answer" in ran.err
        digest = digest_of(ran)
        asked(estate, "--accept-data-loss", "0" * 12).done(EXIT_STALE)
        assert "12 hex digits" in asked(estate, "--accept-data-loss", digest[:11]).done(EXIT_USAGE).err
        assert patroni.wait(streaming=1) is leader
        switch(estate, "--accept-data-loss", digest).done()
        assert patroni.wait(streaming=1) is not leader
    finally:
        patroni.start(gone)
    patroni.wait()


def digest_of(ran: Ran) -> str:
    return ran.err.rpartition("--accept-data-loss")[2].split()[0]


def test_two_at_once(estate: EstateBuilder, patroni: PatroniCluster) -> None:
    leader = patroni.wait()
    ran = [finish(each, _SECONDS) for each in [estate.start("switchover", "orders", "--yes") for _ in range(2)]]
    assert sorted(each.code for each in ran) in ([0, EXIT_STALE], [0, EXIT_LOCKED]), [each.text for each in ran]
    assert any("is under way since" in each.err or "changed meanwhile" in each.err for each in ran)
    assert patroni.wait() is not leader


def test_killed_in_the_middle(estate: EstateBuilder, patroni: PatroniCluster) -> None:
    leader = patroni.wait()
    process = estate.start("switchover", "orders", "--yes")
    assert process.stdout is not None
    for line in process.stdout:
        if "asking patroni" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    told = asked(estate)
    assert told.code in (EXIT_LOCKED, EXIT_BLOCKED, EXIT_STALE), told.text
    patroni.wait()
    wait_until(lambda: asked(estate).code == 0, "the next switchover", leader.log, 2 * FAILOVER_SECONDS)
    patroni.wait()


def test_failover_of_a_paused_cluster_whose_primary_died(estate: EstateBuilder, patroni: PatroniCluster) -> None:
    leader = patroni.wait()
    patroni.pause()
    try:
        patroni.kill(leader)
        refused = run_here(estate, "failover", "orders").done(EXIT_BLOCKED)
        assert "without somebody's consent" in refused.err
        assert "failover is for this" in asked(estate).done(EXIT_BLOCKED).err
        stale = digest_of(refused)
        ran = fail_over(estate, stale)
        if ran.code == EXIT_STALE:  # the leader's lease ended in between, which is another state
            ran = fail_over(estate, digest_of(run_here(estate, "failover", "orders")))
        ran.done()
        assert "Failover done" in ran.out
        now = patroni.wait(streaming=0)
        assert now is not leader
    finally:
        patroni.pause(on=False)
        patroni.start(leader)
    patroni.wait()
