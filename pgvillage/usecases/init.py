"""A new estate: a scaffold to start from, or manifests of a cluster that lives already."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pgvillage.core.address import Address
from pgvillage.core.change import Change
from pgvillage.core.errors import UsageError
from pgvillage.core.lookup import Lookups
from pgvillage.core.plan import Plan, System, TargetId
from pgvillage.estate.loader import load_manifests
from pgvillage.estate.view import view_cluster
from pgvillage.report.words import show_name, title
from pgvillage.settings import Settings
from pgvillage.usecases.estate import Scope
from pgvillage.usecases.estate_files import dumped, write_estate
from pgvillage.usecases.from_live import Adopted, adopted, connection_of, document, inexpressible
from pgvillage.usecases.live_cluster import Outside, is_ordinary, live_cluster
from pgvillage.usecases.observe import Observation, observe
from pgvillage.usecases.plan import make_plan
from pgvillage.usecases.world import World

Document = dict[str, Any]
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_ATTEMPTS = 5
_SETTINGS_HEAD = """\
# The settings of PgVillage: where the estate is and how to log in. Passwords are named here, never written.
"""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the cluster to adopt; the password itself is never written, only where it comes from."""

    hosts: Sequence[str]
    user: str
    database: str
    sslmode: str
    password: Mapping[str, Any] | None
    sslrootcert: str | None = None


@dataclass(frozen=True, slots=True)
class Repositories:
    """What init asks of git: the work tree that a folder is in, and making one."""

    around: Callable[[Path], Path | None]
    start: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Written:
    """`outside` says of each role, database or object that stays unmanaged why; `secrets` are to be filled in."""

    files: tuple[str, ...]
    plan: Plan | None = None
    outside: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


def scaffold(folder: Path, git: Repositories) -> Written:
    """An estate to fill in. Raises UsageError when there is something already."""
    refuse_existing(folder)
    connection = Connection(["db1.example:5432"], "pgvillage", "postgres", "verify-full", {"env": "PGVILLAGE_PASSWORD"})
    write_settings(folder, connection, {"secrets": {"app": {"env": "APP_PASSWORD"}}}, git)
    files = write_estate(folder, _examples(connection))
    return Written((*files, "pgvillage.yaml"))


def _examples(connection: Connection) -> dict[str, list[Document]]:
    everywhere = {"clusters": {"all": True}}
    schema = {"name": "app", "owner": "app_owner"}
    cluster = {
        "connection": connection_of(connection.hosts),
        "postgres": {"parameters": {"log_min_duration_statement": "1s"}},
        "databases": [{"name": "app", "owner": "app_owner", "schemas": [schema]}],
    }
    on_app = {"database": "app", "schemas": ["app"], "future": {"creators": ["app_owner"]}}
    groups = [
        document("Group", "app_owner", everywhere),
        document("Group", "app_readers", {**everywhere, "privileges": [{"profile": "reader", **on_app}]}),
        document("Group", "app_writers", {**everywhere, "privileges": [{"profile": "writer", **on_app}]}),
    ]
    auth = {"method": "scram", "password": {"secret": "app"}}
    return {
        "estate.yaml": [document("Estate", "my-estate", {"policy": {"correct": "safe"}})],
        "clusters/my-cluster.yaml": [document("Cluster", "my-cluster", cluster)],
        "groups.yaml": groups,
        "users.yaml": [document("User", "app", {**everywhere, "auth": auth, "memberOf": ["app_writers"]})],
    }


async def from_live(
    folder: Path, name: str, connection: Connection, world_of: Callable[[Settings], World], git: Repositories
) -> Written:
    """Write manifests of the cluster, and only such as make an empty plan; that plan is returned.

    All is tried in a folder of its own first, so that a failure leaves nothing behind.
    """
    refuse_existing(folder)
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name {name!r}: expected lower-case letters, digits, `-`, `_` and `.`, at most 63")
    with tempfile.TemporaryDirectory(prefix="pgvillage-init-") as temporary:
        stage = Path(temporary)
        (stage / "estate").mkdir()
        git.start(stage / "estate")
        world = world_of(_settings_of_stage(stage, connection))
        seen = await _look_twice(world, stage, name, connection)
        fitted = await _fitted(world_of, stage, name, connection, seen)
        files = _moved(stage, folder)
    secrets = _secrets_to_fill_in(fitted.said.secrets)
    write_settings(folder, connection, {"secrets": secrets} if secrets else {}, git)
    words = {source["env"]: fitted.said.secrets[secret] for secret, source in secrets.items()}
    return Written((*files, "pgvillage.yaml"), fitted.plan, {**fitted.outside, **fitted.said.left}, words)


def _secrets_to_fill_in(secrets: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The part of the settings that names where they come from: the environment, until somebody says better."""
    return {name: {"env": re.sub(r"[^A-Z0-9]+", "_", name.upper())} for name in sorted(secrets)}


def _moved(stage: Path, folder: Path) -> tuple[str, ...]:
    shutil.rmtree(stage / "estate" / ".git")
    for part in ("estate", "schemas"):
        shutil.copytree(stage / part, folder / part)
    return (*sorted(p.relative_to(folder).as_posix() for p in (folder / "estate").rglob("*.yaml")), "schemas/")


def _settings_of_stage(stage: Path, connection: Connection, secrets: Mapping[str, str] | None = None) -> Settings:
    places = {"repository": {"url": str(stage / "estate")}, "state": str(stage / "state")}
    more = {"secrets": _secrets_to_fill_in(secrets or {})}
    return Settings.model_validate(_credential(connection) | places | more)


async def _look_twice(world: World, stage: Path, name: str, connection: Connection) -> Observation:
    """First for the names of the databases, then into each of them."""
    cluster = document("Cluster", name, {"connection": connection_of(connection.hosts)})
    first = await _look(world, stage, cluster)
    names = sorted(a.name[0] for a, s in first.context.snapshot.live.items() if is_ordinary(a.name[0], s))
    cluster["spec"]["databases"] = [{"name": each} for each in names]
    return await _look(world, stage, cluster)


async def _look(world: World, stage: Path, cluster: Document) -> Observation:
    """Observe with a manifest that names the cluster and nothing else, so that everything is only looked at."""
    name = cluster["metadata"]["name"]
    write_estate(stage, {f"clusters/{name}.yaml": [cluster]})
    view = view_cluster(load_manifests(stage / "estate", world.names()), name, Lookups())
    return await observe(world, TargetId(name, System.POSTGRES), replace(view, survey=True))


@dataclass(frozen=True, slots=True)
class _Fitted:
    """Manifests with their plan; roles and databases outside, with why."""

    plan: Plan
    said: Adopted
    outside: Mapping[str, str]


async def _fitted(
    world_of: Callable[[Settings], World], stage: Path, name: str, connection: Connection, seen: Observation
) -> _Fitted:
    """What would be changed by the manifests is left outside, and it is planned again."""
    capabilities, snapshot = seen.context.capabilities, seen.context.snapshot
    assert capabilities is not None
    outside = Outside({capabilities.role: "PgVillage connects as this role", "postgres": ""})
    outside.databases.update(seen.reading.live.failures)
    for address, state in snapshot.live.items():
        if address.kind == "role" and (why := inexpressible(state)):
            outside.roles[address.name[0]] = why
    for _ in range(_ATTEMPTS):
        live = live_cluster(name, connection_of(connection.hosts), snapshot, capabilities.major, outside)
        said = adopted(live)
        _empty(stage / "estate")
        write_estate(stage, said.files, said.remarks)
        world = world_of(_settings_of_stage(stage, connection, said.secrets))
        plan = (await make_plan(world, Scope())).plan
        if not _leave_outside(plan, live.roles, outside):
            break
    return _Fitted(plan, said, dict(_why_outside(name, outside)))


def _why_outside(cluster: str, outside: Outside) -> Iterator[tuple[str, str]]:
    yield from ((f"role {show_name(role)}", why) for role, why in outside.roles.items() if why)
    yield from ((f"database {show_name(database)}", why) for database, why in outside.databases.items())
    for (kind, name), why in outside.objects.items():
        yield title(Address(cluster, kind, name)), why


def _empty(estate: Path) -> None:
    """Without the manifests that were written before."""
    for each in estate.iterdir():
        if each.is_dir() and each.name != ".git":
            shutil.rmtree(each)
        elif each.is_file():
            each.unlink()


def _leave_outside(plan: Plan, roles: Collection[str], outside: Outside) -> bool:
    """What the plan would change is noted; whether there was anything new."""
    before = len(outside)
    for change in plan.changes:
        why = f"manifests can't say all of it: {change.address}"
        kind, name = change.address.kind, change.address.name
        if (role := _role_of(change)) in roles:
            outside.roles[role] = why
        elif kind in ("privilege", "default-privilege"):
            outside.objects["public", (name[1],)] = why
        else:
            outside.objects[kind, name[:2] if kind == "ownership" else name] = why
    return len(outside) > before


def _role_of(change: Change) -> str:
    """Whose manifest asks for it."""
    name = change.address.name
    match change.address.kind:
        case "role":
            return name[0]
        case "membership" | "setting":
            return name[1] if name[0] != "database" else ""
        case "privilege" | "default-privilege":
            return name[-1]
        case _:
            return ""


def refuse_existing(folder: Path) -> None:
    for name in ("estate", "pgvillage.yaml", "schemas"):
        if (folder / name).exists():
            raise UsageError(f"{folder / name} exists already: choose another folder, so that nothing is overwritten")


def _credential(connection: Connection) -> Document:
    credential: Document = {"user": connection.user}
    if connection.password is not None:
        credential["password"] = dict(connection.password)
    credential |= {"hosts": list(connection.hosts), "sslmode": connection.sslmode, "database": connection.database}
    if connection.sslrootcert:
        credential["sslrootcert"] = connection.sslrootcert
    return {"credentials": {"admin": credential}}


def write_settings(folder: Path, connection: Connection, more: Document, git: Repositories) -> None:
    """The estate becomes a repository of its own, unless it lies in one already."""
    around = git.around(folder)
    if around is None:
        git.start(folder / "estate")
        repository: Document = {"url": "estate"}
    else:
        inside = (folder.absolute() / "estate").relative_to(around)
        repository = {"url": str(around), "path": inside.as_posix()}
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"repository": repository, "state": ".pgvillage", **_credential(connection), **more}
    (folder / "pgvillage.yaml").write_text(_SETTINGS_HEAD + dumped([settings]), encoding="utf-8")
