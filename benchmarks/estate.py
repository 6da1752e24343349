"""An estate's sweep: real databases in a few servers, and a thousand clusters that answer like a real one.

`python -m benchmarks.estate --databases 200 --clusters 1000` starts four PostgreSQL servers of its own, applies an
estate to them and plans it again, with a quarter, a half and all of the databases; then it plans estates of as many
clusters, each of which answers with what one of these servers said. It prints seconds and peak memory: growth should be
linear.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.servers.postgres import PostgresServer, postgres_server

_SERVERS = 4
_TABLES = 20
_WIDE = {"count": 1_000_000, "share": "100%"}
Document = dict[str, Any]


def _document(kind: str, name: str, **spec: Any) -> Document:
    return {"apiVersion": "pgvillage/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _cluster(name: str, host: str, databases: list[str]) -> Document:
    return _document(
        "Cluster",
        name,
        connection={"hosts": [host], "credential": "bench"},
        databases=[
            {"name": each, "owner": "keeper", "schemas": [{"name": "app", "owner": "keeper"}]} for each in databases
        ],
    )


def _roles(databases: list[str]) -> list[Document]:
    everywhere = {"clusters": {"all": True}}
    grants = [{"profile": "reader", "database": each, "schemas": ["app"]} for each in databases]
    return [
        _document("Estate", "bench", policy={"correct": "all", "limits": {"drop": _WIDE, "revoke": _WIDE}}),
        _document("Group", "keeper", **everywhere),
        _document("Group", "readers", **everywhere, privileges=grants),
        *(_document("User", f"user{n}", **everywhere, memberOf=["readers"]) for n in range(20)),
    ]


def _write(folder: Path, password: Path, databases: list[str], clusters: dict[str, str]) -> Path:
    """An estate in which every cluster (a name with its host) has the same databases."""
    estate = folder / "estate"
    estate.mkdir(parents=True, exist_ok=True)
    documents = [_cluster(name, host, databases) for name, host in clusters.items()]
    for number in range(0, len(documents), 100):
        _dump(estate / f"clusters{number}.yaml", documents[number : number + 100])
    _dump(estate / "roles.yaml", _roles(databases))
    git = ["git", "-C", str(estate), "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for arguments in (["init", "--quiet"], ["add", "-A"], ["commit", "--quiet", "--message", "bench"]):
        subprocess.run([*git, *arguments], check=True)
    credential = {"user": "postgres", "password": {"file": str(password)}, "sslmode": "disable"}
    settings = {
        "repository": {"url": str(estate)},
        "state": str(folder / "state"),
        "credentials": {"bench": {**credential, "hosts": ["127.0.0.1:*", *clusters.values()]}},
    }
    (folder / "pgvillage.yaml").write_text(json.dumps(settings))
    return folder / "pgvillage.yaml"


def _simulated(count: int) -> dict[str, str]:
    return {f"c{n}": f"pg{n}.example:5432" for n in range(count)}


def _dump(file: Path, documents: list[Document]) -> None:
    file.write_text("---\n".join(json.dumps(each) + "\n" for each in documents))


def _make_tables(server: PostgresServer, databases: list[str]) -> None:
    for database in databases:
        body = "".join(f"CREATE TABLE app.t{n} (id bigserial PRIMARY KEY); " for n in range(_TABLES))
        server.sql("SET ROLE keeper", body, database=database)


def _run(settings: Path, *verb: str) -> tuple[float, float]:
    """Seconds and peak megabytes of the command line."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *verb, "--settings", str(settings)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{verb} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return seconds, int(done.stderr.rsplit(None, 1)[-1]) / 1024


_MEASURED = """
import resource, sys
from pgvillage.__main__ import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


async def _sweep(settings: Path, recorded: Path, server: str) -> tuple[float, int]:
    """Seconds for planning all clusters of an estate, each answered with what was read from one; and the changes."""
    from pgvillage.core.plan import TargetId
    from pgvillage.estate.view import ClusterView
    from pgvillage.usecases.estate import Scope
    from pgvillage.usecases.plan import make_plan
    from pgvillage.usecases.world import QueriesOf, Reading
    from pgvillage.wiring import RealWorld, real_world

    first = await make_plan(real_world(recorded), Scope(targets=[server]))
    reading = next(iter(first.observations.values())).reading

    class Answering(RealWorld):
        async def read(self, _target: TargetId, view: ClusterView, _queries_of: QueriesOf) -> Reading:
            entries = {a._replace(target=view.name): entry for a, entry in reading.ledger.entries.items()}
            live, ledger = (
                replace(reading.live, target=view.name),
                replace(reading.ledger, entries=entries, revision=revision),
            )
            return replace(reading, live=live, ledger=ledger)

    world = Answering(real_world(settings).settings)
    revision = world.checkout().revision
    began = time.perf_counter()
    planned = await make_plan(world, Scope())
    return time.perf_counter() - began, len(planned.plan.changes)


def measure(databases: int, clusters: int) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgvillage-bench-")))
        folder.chmod(0o755)
        servers = {
            f"c{n}": stack.enter_context(postgres_server(folder / f"pg{n}", shared_buffers="64MB"))
            for n in range(_SERVERS)
        }
        password, hosts = servers["c0"].folder / "pw", {name: server.host for name, server in servers.items()}
        for part in (4, 2, 1):
            names = [f"db{n:03d}" for n in range(databases // part // _SERVERS)]
            settings = _write(folder / "real", password, names, hosts)
            seconds, _ = _run(settings, "apply", "--auto", "--only-result")
            print(f"{databases // part:5} databases: applied what was new in {seconds:6.2f} s", flush=True)
            for server in servers.values():
                new = [name for name in names if not server.sql("SELECT to_regclass('app.t0')", database=name)[0][0]]
                _make_tables(server, new)
            _run(settings, "apply", "--auto", "--only-result")
            seconds, memory = _run(settings, "plan", "--detailed-exitcode")
            print(f"{databases // part:5} databases: nothing to do in {seconds:6.2f} s, {memory:4.0f} MB", flush=True)
        small = _write(folder / "recorded", password, ["db000"], hosts)
        for part in (4, 2, 1):
            settings = _write(folder / f"many{part}", password, ["db000"], _simulated(clusters // part))
            code = f"from benchmarks.estate import report; report({str(settings)!r}, {str(small)!r})"
            subprocess.run([sys.executable, "-c", code], check=True)


def report(settings: str, recorded: str) -> None:
    """In a process of its own, so that its peak of memory is its own."""
    import resource

    seconds, changes = asyncio.run(_sweep(Path(settings), Path(recorded), "c0"))
    count = Path(settings).parent.name.removeprefix("many")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"simulated clusters (1/{count}): swept in {seconds:6.2f} s, {changes} changes, {memory:4.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", type=int, default=200)
    parser.add_argument("--clusters", type=int, default=1000)
    arguments = parser.parse_args()
    measure(arguments.databases, arguments.clusters)


if __name__ == "__main__":
    main()
