"""What `serve` needs before it can begin, looked at for `pgvillage doctor`: nothing is changed and nothing is sent."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from pgvillage.clients.etcd import EtcdClient
from pgvillage.clients.state.standing import standing
from pgvillage.clients.tls_files import expiry
from pgvillage.core.errors import PgVillageError, SettingsError
from pgvillage.daemon.folder_lock import folder_lock
from pgvillage.daemon.listening import bound
from pgvillage.daemon.needs_of_people import PEOPLE
from pgvillage.daemon.service import replica_name
from pgvillage.daemon.sharing import etcd_of
from pgvillage.settings import Etcd
from pgvillage.usecases.doctor import Check
from pgvillage.wiring import RealWorld

_SECONDS = 40  # of each check; a secret's command may take 30
_LEAST_SPACE, _LITTLE_SPACE = 100 << 20, 1 << 30
_RENEW = timedelta(days=14)
_HERE = ("127.0.0.1", "localhost", "::1")


async def needs(world: RealWorld) -> list[Check]:
    """All at the same time, in a fixed order; one that fails or hangs is a failed check and no more."""
    checks: list[tuple[str, Callable[[RealWorld], Sequence[Check]]]] = [
        ("state", _state), ("space", _space), ("listen", _listen), ("tls", _tls), ("url", _url),
        ("replica", _replica), *PEOPLE,
    ]  # fmt: skip
    found = await asyncio.gather(
        *(_within(name, asyncio.to_thread(check, world)) for name, check in checks),
        *(_within(f"etcd {name}", _etcd(name, etcd)) for name, etcd in world.settings.etcd.items()),
    )
    return [check for each in found for check in each]


async def _within(name: str, check: Coroutine[None, None, Sequence[Check]]) -> Sequence[Check]:
    try:
        async with asyncio.timeout(_SECONDS):
            return await check
    except PgVillageError as error:
        return [Check(name, False, str(error))]
    except TimeoutError:
        return [Check(name, False, f"no answer within {_SECONDS} s")]


def _state(world: RealWorld) -> Sequence[Check]:
    folder = world.state_folder()
    there = _existing(folder)
    if not os.access(there, os.W_OK | os.X_OK):
        return [Check("state", False, f"this account may not write {there}: give it a folder of its own (`state`)")]
    found = standing(world.settings, folder)
    if found is None:
        return [Check("state", True, f"none yet: the daemon makes it (folder {folder})")]
    if found.closed:
        return [Check("state", False, f"{found.place}: {found.closed}")]
    age = "no event yet" if found.newest is None else f"last event {_ago(datetime.now(UTC) - found.newest)} ago"
    return [Check("state", True, f"{found.place}, version {found.version}, {found.size / 1e6:.1f} MB, {age}")]


def _existing(folder: Path) -> Path:
    """It, or the nearest folder above that is there."""
    return next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))


def _ago(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _space(world: RealWorld) -> Sequence[Check]:
    folder = _existing(world.state_folder())
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e6:,.0f} MB free at {folder}"
    if free < _LEAST_SPACE:
        return [Check("space", False, f"{text}: history and new commits can't be stored; make room")]
    little = free < _LITTLE_SPACE
    return [Check("space", True, f"{text}: little for history and clone" if little else text, warning=little)]


def _listen(world: RealWorld) -> Sequence[Check]:
    listen = world.settings.serve.listen
    try:
        bound(listen).close()
    except SettingsError as error:
        if "Address already in use" in str(error) and _serves(world.state_folder()):
            return [Check("listen", True, f"{listen}, in use by our own daemon")]
        raise SettingsError(f"{error}; stop what listens there, or change serve.listen") from None
    return [Check("listen", True, f"{listen} is free")]


def _serves(folder: Path) -> bool:
    """Whether a daemon has this state folder."""
    if not (folder / "daemon.lock").exists():
        return False
    try:
        with folder_lock(folder, note=False):
            return False
    except SettingsError:
        return True


def _tls(world: RealWorld) -> Sequence[Check]:
    files = world.settings.serve.tls
    if files is None:
        return []
    ends = expiry("serve.tls", files.cert, files.key)
    left = ends - datetime.now(UTC)
    if left <= timedelta():
        return [Check("tls", False, f"{files.cert} ended at {ends:%Y-%m-%d %H:%M} UTC: renew it")]
    soon = left < _RENEW
    hint = ": renew it; the daemon takes the new one by itself" if soon else ""
    return [Check("tls", True, f"{files.cert} is good until {ends:%Y-%m-%d}{hint}", warning=soon)]


def _url(world: RealWorld) -> Sequence[Check]:
    settings = world.settings
    url = settings.serve.url
    if url is None:
        if not settings.channels and settings.dashboard.oidc is None:
            return []
        text = "serve.url is not set: messages have no links, and a provider is told the address that browsers used"
        return [Check("url", True, text, warning=True)]
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in _HERE:
        text = f"{url} is not https: passwords and sessions go over the network as they are"
        return [Check("url", True, text, warning=True)]
    return [Check("url", True, url)]


def _replica(world: RealWorld) -> Sequence[Check]:
    serve = world.settings.serve
    if serve.replicas is None:
        return []
    name = replica_name(world)
    etcd_of(world.settings, serve.replicas.etcd)
    if serve.replica is None and name.split(".")[0] == "localhost":
        return [Check("replica", False, f"{name} is every host's name: set serve.replica, another for each")]
    return [Check("replica", True, f"{name}, by leases in etcd {serve.replicas.etcd}")]


async def _etcd(name: str, settings: Etcd) -> Sequence[Check]:
    title = f"etcd {name}"
    async with EtcdClient(name, settings) as client:
        health = await client.health()
    problems = "; ".join(health.problems)
    if not health.quorum or any(alarm.kind == "NOSPACE" for alarm in health.alarms or ()):
        return [Check(title, False, problems or "no quorum")]
    count = len(health.members or ())
    text = f"{count} member{'' if count == 1 else 's'}, quorum, {health.db_size / 1e6:.1f} MB"
    return [Check(title, True, f"{text}; {problems}" if problems else text, warning=bool(problems))]
