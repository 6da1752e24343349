"""The demo: the main job from beginning to end, on servers of its own, through the real command line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from pgvillage.clients.etcd import EtcdClient
from pgvillage.clients.pg_dsn import run_statements
from pgvillage.core.errors import PgVillageError
from pgvillage.demo.embedded import EmbeddedEtcd, EmbeddedPostgres, embedded_etcd, embedded_postgres
from pgvillage.settings import Etcd

_HERE = Path(__file__).parent
_CLUSTERDATA_KEY = "stolon/cluster/billing/clusterdata"
_GIT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
_WHO = ["-c", "user.name=Demo", "-c", "user.email=demo@example.org", "-c", "commit.gpgsign=false"]

_TABLES = (
    "SET ROLE orders_owner",
    "CREATE TABLE app.customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name public.citext)",
    "CREATE TABLE app.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer bigint NOT NULL)",
)
_TROUBLE = (
    ("ALTER ROLE orders_app SUPERUSER", "somebody was in a hurry at night"),
    ("GRANT DELETE ON app.customers TO alice", "a favour that nobody wrote down"),
    ("REVOKE orders_rw FROM orders_app", "and one mistake"),
)
_TROUBLE_IN_STOLON = {"max_connections": "20"}

Command = Callable[[Sequence[str]], int]


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything the story plays on."""

    folder: Path
    console: Console
    command: Command
    orders: EmbeddedPostgres
    billing: EmbeddedPostgres
    etcd: EmbeddedEtcd

    @property
    def settings(self) -> Path:
        return self.folder / "pgvillage.yaml"


def play(folder: Path, console: Console, command: Command) -> int:
    """The whole story, `command` being the command line: arguments to exit code.

    `folder` is made anew; nothing is left running. Raises PgVillageError.
    """
    began = time.monotonic()
    _clear(folder)
    console.print(Text("PgVillage demo: two PostgreSQL clusters and an etcd, started just for this", style="bold"))
    with (
        embedded_postgres(folder / "servers" / "orders") as orders,
        embedded_postgres(folder / "servers" / "billing") as billing,
        embedded_etcd(folder / "servers") as etcd,
    ):
        stage = Stage(folder, console, command, orders, billing, etcd)
        console.print(f"PostgreSQL {orders.version} on ports {orders.port} and {billing.port}, etcd at {etcd.url}")
        _prepare(stage)
        _tell(stage)
    seconds = time.monotonic() - began
    console.print()
    console.print(Text(f"Done in {seconds:.0f} s. The servers are stopped; the estate is in {folder}", style="bold"))
    return 0


def _tell(stage: Stage) -> None:
    _chapter(stage, "1. What Git asks for, and what is not there yet")
    _run(stage, "plan")
    _chapter(stage, "2. Apply it")
    _run(stage, "apply", "--auto", "--only-result")
    _chapter(stage, "3. The application makes its tables; who may read and write them was declared for future ones too")
    for statement in _TABLES[1:]:
        stage.console.print(Text(f"orders=> {statement}", style="cyan"))
    _sql(stage.orders, "orders", *_TABLES)
    _chapter(stage, "4. Git and the clusters agree")
    _run(stage, "plan")
    _chapter(stage, "5. Somebody changes things by hand")
    for statement, why in _TROUBLE:
        stage.console.print(Text.assemble((f"orders=# {statement}", "cyan"), (f"   -- {why}", "dim")))
    _sql(stage.orders, "orders", *(statement for statement, _ in _TROUBLE))
    _break_stolon(stage)
    _chapter(stage, "6. What chat would say")
    _run(stage, "drift", "-o", "chat")
    _chapter(stage, "7. Correct it")
    _run(stage, "apply", "--auto")
    _chapter(stage, "8. And all is as Git says")
    _run(stage, "plan")


def _clear(folder: Path) -> None:
    """A folder of an earlier demo may go; anything else in the way stays."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "pgvillage.yaml").is_file() or not (folder / "estate").is_dir():
            raise PgVillageError(f"{folder} is not empty and not an earlier demo: choose another --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _chapter(stage: Stage, title: str) -> None:
    stage.console.print()
    stage.console.print(Text.assemble((title, "bold"), (" " + "─" * max(3, 96 - len(title)), "dim")))


def _run(stage: Stage, *arguments: str) -> None:
    """One command of PgVillage as a person would give it, in this process."""
    stage.console.print(Text(f"$ pgvillage {' '.join(arguments)}", style="bold cyan"))
    code = stage.command([*arguments, "--settings", str(stage.settings)])
    if code not in (0, 2):
        raise PgVillageError(f"the demo stopped: pgvillage {arguments[0]} ended with exit code {code}")


def _prepare(stage: Stage) -> None:
    """The estate as a Git repository, the settings beside it, and what stolon would have written."""
    estate = stage.folder / "estate"
    shutil.copytree(_example(), estate)
    for name, port in (("orders", stage.orders.port), ("billing", stage.billing.port)):
        file = estate / "clusters" / f"{name}.yaml"
        text = re.sub(r"hosts: \[[^\]]*\]", f'hosts: ["127.0.0.1:{port}"]', file.read_text())
        file.write_text(re.sub(r"\$schema=\S+/", "$schema=", text))
    _git(estate, "init", "--quiet", "--initial-branch=main")
    _git(estate, "add", "--all")
    _git(estate, *_WHO, "commit", "--quiet", "--message", "The estate of the example company")
    stage.settings.write_text(json.dumps(_settings(stage), indent=2) + "\n")
    stage.settings.chmod(0o600)
    data = json.loads((_HERE / "clusterdata.json").read_text())
    asyncio.run(_put(stage, data))


def _example() -> Path:
    """From an installed package, or from the repository."""
    for folder in (_HERE / "estate-repo", _HERE.parents[1] / "examples" / "estate-repo"):
        if folder.is_dir():
            return folder
    raise PgVillageError("the example estate is not part of this installation")


def _settings(stage: Stage) -> dict[str, Any]:
    """JSON is YAML too; passwords stand in files of their own that nobody else can read."""

    def credential(name: str, server: EmbeddedPostgres) -> dict[str, Any]:
        password = _private(stage.folder / "secrets" / name, server.password)
        # The embedded servers have no TLS: the settings say so, a manifest could not.
        return {
            "user": server.user,
            "password": {"file": password},
            "hosts": [f"127.0.0.1:{server.port}"],
            "sslmode": "disable",
        }

    app = _private(stage.folder / "secrets" / "orders-app", secrets.token_urlsafe(18))
    return {
        "repository": {"url": "estate", "branch": "main"},
        "state": "state",
        "credentials": {
            "orders-admin": credential("orders-admin", stage.orders),
            "billing-admin": credential("billing-admin", stage.billing),
        },
        "secrets": {"orders-app": {"file": app}},
        "directories": {"corp": {"ldif": "estate/directory/corp.ldif", "base": "dc=corp,dc=example"}},
        "etcd": {"etcd-a": {"endpoints": [stage.etcd.url]}},
    }


def _private(file: Path, value: str) -> str:
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(value)
    return str(file)


def _git(folder: Path, *arguments: str) -> None:
    environment = {**os.environ, **_GIT}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PgVillageError(f"git {arguments[0]} failed: {done.stderr.strip()}")


def _sql(server: EmbeddedPostgres, database: str, *statements: str) -> None:
    parameters = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    run_statements({**parameters, "dbname": database}, list(statements))


def _break_stolon(stage: Stage) -> None:
    """As somebody with stolonctl would: straight into etcd."""
    shown = json.dumps({"pgParameters": _TROUBLE_IN_STOLON})
    stage.console.print(Text(f"$ stolonctl --cluster-name billing update --patch '{shown}'", style="cyan"))
    asyncio.run(_patch(stage, _TROUBLE_IN_STOLON))


async def _patch(stage: Stage, parameters: dict[str, str]) -> None:
    async with EtcdClient("demo", Etcd(endpoints=[stage.etcd.url])) as client:
        found = await client.get(_CLUSTERDATA_KEY)
        assert found is not None
        data = json.loads(found.value)
        data["cluster"]["spec"]["pgParameters"] |= parameters
        await client.put(_CLUSTERDATA_KEY, json.dumps(data).encode())


async def _put(stage: Stage, data: dict[str, Any]) -> None:
    async with EtcdClient("demo", Etcd(endpoints=[stage.etcd.url])) as client:
        await client.put(_CLUSTERDATA_KEY, json.dumps(data).encode())
