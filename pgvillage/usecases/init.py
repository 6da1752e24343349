"""A new estate: a scaffold to start from, or manifests of a cluster that lives already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgvillage.core.errors import PgVillageError, UsageError
from pgvillage.core.lookup import Lookups
from pgvillage.core.plan import Plan, System, TargetId
from pgvillage.estate.loader import load_manifests
from pgvillage.estate.view import view_cluster
from pgvillage.resources.postgres.database import DatabaseState
from pgvillage.settings import Settings
from pgvillage.usecases.estate import Scope
from pgvillage.usecases.from_live import Document, documents
from pgvillage.usecases.observe import Observation, observe
from pgvillage.usecases.plan import make_plan
from pgvillage.usecases.world import World

WorldOf = Callable[[Settings], World]
_SCHEMAS = {"Estate": "estate", "Cluster": "cluster", "User": "user", "Group": "group"}


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the cluster to adopt; the password itself is never written, only where it comes from."""

    host: str
    user: str
    database: str
    sslmode: str
    password: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Written:
    files: tuple[str, ...]
    plan: Plan | None = None


def scaffold(folder: Path) -> Written:
    """An estate to fill in. Raises UsageError when there is something already."""
    estate = folder / "estate"
    _refuse_existing(folder)
    cluster = _cluster("my-cluster", "db1.example:5432")
    cluster["spec"]["postgres"] = {"parameters": {"log_min_duration_statement": "1s"}}
    cluster["spec"]["databases"] = [
        {"name": "app", "owner": "app_owner", "schemas": [{"name": "app", "owner": "app_owner"}]}
    ]
    names = {"clusters": {"all": True}}
    owner = _doc("Group", "app_owner", names)
    user = _doc(
        "User", "app", {**names, "auth": {"method": "scram", "password": {"secret": "app"}}, "memberOf": ["app_rw"]}
    )
    group = _doc(
        "Group", "app_rw", {**names, "privileges": [{"profile": "writer", "database": "app", "schemas": ["app"]}]}
    )
    files = {
        "estate.yaml": [_doc("Estate", "my-estate", {"policy": {"correct": "safe"}})],
        "clusters/my-cluster.yaml": [cluster],
        "groups.yaml": [owner, group],
        "users.yaml": [user],
    }
    written = _write(estate, files)
    settings = _settings(
        Connection("db1.example:5432", "pgvillage", "postgres", "verify-full", {"env": "PGVILLAGE_PASSWORD"})
    )
    settings["secrets"] = {"app": {"env": "APP_PASSWORD"}}
    _dump(folder / "pgvillage.yaml", [settings])
    return Written((*written, "pgvillage.yaml"))


async def from_live(folder: Path, name: str, connection: Connection, world_of: WorldOf) -> Written:
    """Write manifests of the cluster and plan them; the plan is expected to be empty and is returned either way."""
    _refuse_existing(folder)
    estate = folder / "estate"
    settings_document = _settings(connection)
    settings = Settings.model_validate(settings_document | {"repository": {"url": str(estate.absolute())}})
    world = world_of(settings)
    cluster = _cluster(name, connection.host)
    first = await _look(world, estate, cluster)
    names = sorted(a.name[0] for a, s in first.context.snapshot.live.items() if _is_open(s))
    cluster["spec"]["databases"] = [{"name": each} for each in names]
    seen = await _look(world, estate, cluster)
    capabilities = seen.context.capabilities
    if capabilities is None or seen.context.snapshot.unread:
        raise PgVillageError(
            "; ".join(u.reason for u in seen.context.snapshot.unread) or "the cluster could not be read"
        )
    leave_out = {capabilities.role, "postgres"}
    files = documents(_cluster(name, connection.host), seen.context.snapshot.live, capabilities.major, leave_out)
    files["estate.yaml"] = [_doc("Estate", name, {"policy": {"correct": "off"}})]
    written = _write(estate, files)
    _dump(folder / "pgvillage.yaml", [settings_document])
    planned = await make_plan(world, Scope())
    return Written((*written, "pgvillage.yaml"), planned.plan)


def _is_open(state: object) -> bool:
    return isinstance(state, DatabaseState) and not state.is_template and bool(state.allow_connections)


async def _look(world: World, estate: Path, cluster: Document) -> Observation:
    """Observe with a manifest that names the cluster and nothing else, so that everything is only looked at."""
    name = cluster["metadata"]["name"]
    _write(estate, {f"clusters/{name}.yaml": [cluster]})
    view = view_cluster(load_manifests(estate, world.names()), name, Lookups())
    return await observe(world, TargetId(name, System.POSTGRES), view)


def _refuse_existing(folder: Path) -> None:
    for name in ("estate", "pgvillage.yaml"):
        if (folder / name).exists():
            raise UsageError(f"{folder / name} exists already: choose an empty folder, so that nothing is overwritten")


def _cluster(name: str, host: str) -> Document:
    return _doc("Cluster", name, {"connection": {"hosts": [host], "credential": "admin"}})


def _doc(kind: str, name: str, spec: Document) -> Document:
    return {"apiVersion": "pgvillage/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _settings(connection: Connection) -> Document:
    credential: Document = {"user": connection.user}
    if connection.password is not None:
        credential["password"] = dict(connection.password)
    credential |= {"hosts": [connection.host], "sslmode": connection.sslmode, "database": connection.database}
    return {"repository": {"url": "estate"}, "state": ".pgvillage", "credentials": {"admin": credential}}


def _write(estate: Path, files: Mapping[str, list[Document]]) -> tuple[str, ...]:
    written = []
    for name, found in files.items():
        if found:
            _dump(estate / name, found)
            written.append(f"estate/{name}")
    return tuple(written)


def _dump(path: Path, found: list[Document]) -> None:
    """Readable YAML; our YAML 1.2 reads back what PyYAML's 1.1 quotes to be safe."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - an alias is never shorter to read
            return True

    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.dump_all(
        found, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110, explicit_start=len(found) > 1
    )
    path.write_text(text)
