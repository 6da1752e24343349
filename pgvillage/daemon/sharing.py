"""The shares of this daemon by its settings: alone on its state folder, or one of several by leases in etcd."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pgvillage.clients.etcd import EtcdClient
from pgvillage.core.errors import SettingsError
from pgvillage.daemon.folder_lock import folder_lock
from pgvillage.daemon.membership import Tempo
from pgvillage.daemon.replica_keys import Identity
from pgvillage.daemon.replicas import Replicas
from pgvillage.daemon.shares import Alone
from pgvillage.settings import Etcd, Settings

_REQUESTS = 4  # that may time out within a lease, one after the other


@asynccontextmanager
async def shares_of(settings: Settings, state: Path, me: str) -> AsyncIterator[Alone | Replicas]:
    """Those of the replica `me`, while inside.

    Raises SettingsError when another daemon has the state folder, or another estate the prefix in etcd.
    """
    with folder_lock(state):
        replicas = settings.serve.replicas
        if replicas is None:
            yield Alone(me)
            return
        etcd = _quick(etcd_of(settings, replicas.etcd), replicas.lease)
        async with (
            EtcdClient(replicas.etcd, etcd) as client,
            Replicas(client, replicas.prefix, me, Identity.of(settings.repository), Tempo.of(replicas.lease)) as shares,
        ):
            yield shares


def etcd_of(settings: Settings, name: str) -> Etcd:
    """The etcd of `serve.replicas`. Raises SettingsError when there is none of this name."""
    if name not in settings.etcd:
        near = difflib.get_close_matches(name, settings.etcd, 1)
        known = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(settings.etcd)) or 'none'}"
        raise SettingsError(f"serve.replicas.etcd: the settings have no etcd {name!r}{known}")
    return settings.etcd[name]


def _quick(etcd: Etcd, lease: float) -> Etcd:
    """A member that hangs must leave time to ask another one before the lease ends."""
    return etcd.model_copy(update={"timeout": min(etcd.timeout, lease / _REQUESTS)})
