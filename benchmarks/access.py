"""PgVillage against ldap2pg on the access case, in pairs: first apply, and nothing to do.

`python -m benchmarks.access --users 2000 --schemas 100` starts a PostgreSQL and a slapd of its own and prints a table.
ldap2pg is left out, and that is said, where its binary is not on PATH. Needs the test servers, which scripts/test
installs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.access_case import BASE, DATABASE, OWNER, make_case, write_case
from tests.servers.postgres import PostgresServer, postgres_server
from tests.servers.slapd import ADMIN, PASSWORD, slapd

_ACL = """
WITH ours AS (SELECT oid FROM pg_roles WHERE rolname !~ '^pg_' AND rolname NOT IN ('postgres', %s)),
entry AS (
  SELECT 'database' AS class, a.* FROM pg_database, aclexplode(datacl) a WHERE datname = current_database()
  UNION ALL SELECT 'schema', a.* FROM pg_namespace, aclexplode(nspacl) a
  UNION ALL SELECT CASE relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, a.*
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace AND nspname ~ '^s[0-9]', aclexplode(relacl) a)
SELECT class, privilege_type, count(*) FROM entry JOIN ours ON ours.oid = entry.grantee GROUP BY 1, 2
"""


def verify(server: PostgresServer, expected: dict[str, Any]) -> list[str]:
    """What the end state lacks or has too much of; nothing when it is right. Judges any tool alike."""
    with server.connect(DATABASE) as connection:
        roles = dict(
            connection.execute(
                "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname !~ '^pg_' AND rolname NOT IN ('postgres', %s)",
                (OWNER,),
            ).fetchall()
        )
        members = connection.execute(
            "SELECT p.rolname, m.rolname FROM pg_auth_members a JOIN pg_roles p ON p.oid = a.roleid "
            "JOIN pg_roles m ON m.oid = a.member WHERE p.rolname !~ '^pg_'"
        ).fetchall()
        acl: dict[str, dict[str, int]] = {}
        for object_class, privilege, count in connection.execute(_ACL, (OWNER,)).fetchall():
            acl.setdefault(object_class, {})[privilege] = count
    faults = []
    if roles != expected["roles"]:
        faults.append(f"roles: {len(roles)} found, {len(expected['roles'])} expected")
    if sorted(map(list, members)) != expected["memberships"]:
        faults.append(f"memberships: {len(members)} found, {len(expected['memberships'])} expected")
    if acl != expected["acl"]:
        faults.append(f"privileges: {acl} found, {expected['acl']} expected")
    return faults


def measure(users: int, schemas: int, tables: int, rounds: int) -> list[tuple[str, str, float]]:
    """(tool, phase, seconds): the median of `rounds`, tools taking turns."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgvillage-bench-")))
        folder.chmod(0o755)
        case = make_case(users, schemas, tables)
        write_case(case, folder / "case")
        expected = json.loads((folder / "case" / "expected.json").read_text())
        ldif = (folder / "case" / "data.ldif").read_text()
        uri = stack.enter_context(slapd(folder / "ldap", ldif)).uri
        server = stack.enter_context(postgres_server(folder / "pg", fsync="on", shared_buffers="512MB"))
        settings = _settings(folder, server, uri)
        tools: dict[str, Callable[[bool], float]] = {"pgvillage": lambda apply: _pgvillage(settings, apply=apply)}
        if shutil.which("ldap2pg"):
            tools["ldap2pg"] = lambda apply: _ldap2pg(folder / "case", server, uri, apply=apply)
        times: dict[tuple[str, str], list[float]] = {}
        subprocess.run(
            [sys.executable, "-m", "compileall", "-q", sys.prefix, "pgvillage"], check=False, capture_output=True
        )
        for _ in range(rounds):
            for tool, run in tools.items():
                _reset(server, folder / "case" / "init.sql")
                times.setdefault((tool, "first apply"), []).append(run(True))
                if faults := verify(server, expected):
                    raise SystemExit(f"{tool}: {'; '.join(faults)}")
                times.setdefault((tool, "nothing to do, cold"), []).append(min(run(False) for _ in range(3)))
                if tool == "pgvillage":
                    times.setdefault((tool, "nothing to do, warm"), []).append(_warm(settings))
        return [(tool, phase, statistics.median(found)) for (tool, phase), found in times.items()]


def _settings(folder: Path, server: PostgresServer, uri: str) -> Path:
    estate = folder / "case" / "estate"
    file = estate / "estate.yaml"
    file.write_text(file.read_text().replace("@PORT@", str(server.port)))
    git = ["git", "-C", str(estate), "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "bench"]):
        subprocess.run([*git, *arguments], check=True)
    password = {"file": str(server.folder / "pw")}
    credential = {"user": "postgres", "password": password, "hosts": ["127.0.0.1:*"], "sslmode": "disable"}
    directory = {"uris": [uri], "base": BASE, "startTls": False}
    settings = {
        "repository": {"url": str(estate)},
        "state": str(folder / "state"),
        "credentials": {"bench": credential},
        "directories": {"corp": directory},
    }
    (folder / "pgvillage.yaml").write_text(json.dumps(settings))
    return folder / "pgvillage.yaml"


def _reset(server: PostgresServer, init: Path) -> None:
    """As it was: no database, no roles, no ledger."""
    server.sql(f"DROP DATABASE IF EXISTS {DATABASE}", "DROP SCHEMA IF EXISTS pgvillage CASCADE")
    names = [
        row[0] for row in server.sql("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'")
    ]
    for start in range(0, len(names), 500):
        server.sql("DROP ROLE " + ", ".join(f'"{name}"' for name in names[start : start + 500]))
    environment = {**os.environ, "PGPASSWORD": server.password}
    subprocess.run(
        ["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "-f",
         init],
        check=True, env=environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    server.sql("CHECKPOINT")


def _timed(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return seconds


def _pgvillage(settings: Path, *, apply: bool) -> float:
    # As installed: with compiled modules, whatever the environment of this run says about writing them.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    verb = ["apply", "--auto", "--only-result"] if apply else ["plan"]
    return _timed([sys.executable, "-m", "pgvillage", *verb, "--settings", str(settings)], environment)


def _ldap2pg(case: Path, server: PostgresServer, uri: str, *, apply: bool) -> float:
    environment = {
        **os.environ,
        "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres", "PGPASSWORD": server.password,
        "PGDATABASE": DATABASE, "LDAPURI": uri, "LDAPBINDDN": ADMIN, "LDAPPASSWORD": PASSWORD,
    }  # fmt: skip
    return _timed(["ldap2pg", "-c", str(case / "ldap2pg.yml"), *(["--real"] if apply else [])], environment)


def _warm(settings: Path) -> float:
    """The daemon's loop: the same process plans again."""
    from pgvillage.usecases.estate import Scope
    from pgvillage.usecases.plan import make_plan
    from pgvillage.wiring import real_world

    async def best() -> float:
        world, times = real_world(settings), []
        for _ in range(4):
            began = time.perf_counter()
            await make_plan(world, Scope())
            times.append(time.perf_counter() - began)
        return min(times[1:])

    return asyncio.run(best())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--schemas", type=int, default=100)
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found = measure(arguments.users, arguments.schemas, arguments.tables, arguments.rounds)
    other = {phase: seconds for tool, phase, seconds in found if tool == "ldap2pg"}
    for tool, phase, seconds in found:
        base = other.get(phase) or other.get("nothing to do, cold" if "warm" in phase else "")
        ratio = f"  {seconds / base:5.2f}x of ldap2pg" if base and tool != "ldap2pg" else ""
        print(f"{tool:10} {phase:22} {seconds:7.3f} s{ratio}")
    if not other:
        print("ldap2pg is not on PATH: not compared")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory of a child: {peak:.0f} MB")


if __name__ == "__main__":
    main()
