"""One look at a Patroni cluster: in etcd, with our ledger beside it, or by its members' REST API alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pgvillage.clients.engine_ledger import parse_store_ledger
from pgvillage.clients.patroni.rest import PatroniRest
from pgvillage.clients.patroni.store import PatroniStore, system_of
from pgvillage.core.errors import ReadError
from pgvillage.core.ledger import Ledger
from pgvillage.core.live import Live

NO_LEDGER = (
    "read by Patroni's REST API: without etcd there is no ledger, so that all that differs counts as drift, and two "
    "PgVillages would not see each other"
)


async def read_in_etcd(name: str, store: PatroniStore, login: str) -> tuple[Live, Ledger]:
    """Raises ReadError."""
    found = await store.read()
    rows: dict[str, Sequence[Sequence[Any]]] = {"keys": sorted(found.values.items()), "login": [(login,)]}
    live = Live(name, rows)
    ledger = parse_store_ledger(name, system_of(found.values), found.ledger.value if found.ledger else None)
    return live, ledger


async def read_by_rest(name: str, rest: PatroniRest, members: Sequence[str], login: str) -> tuple[Live, Ledger]:
    """Raises ReadError when no member answers."""
    async with rest:
        cluster, config = await asked(name, rest, members)
    rows: dict[str, Sequence[Sequence[Any]]] = {
        "rest": [(cluster, config)],
        "login": [(login,)],
        "notes": [(NO_LEDGER,)],
    }
    return Live(name, rows), Ledger(why_not="no ledger yet", renewable=False)


async def asked(name: str, rest: PatroniRest, members: Sequence[str]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """GET /cluster and GET /config of the first member that answers both. `rest` is entered already."""
    faults = []
    for url in members:
        try:
            return await rest.cluster(url), await rest.config(url)
        except ReadError as error:
            faults.append(str(error).removeprefix(f"{name}: "))
    why = "; ".join(faults) or "the settings name no `members` for it"
    raise ReadError(name, f"no member answered: {why}")


class RestWatch:
    """What moves with every change of the configuration, asked of the members."""

    blind = ""
    connections = 0

    def __init__(self, name: str, rest: PatroniRest, members: Sequence[str]) -> None:
        self._name, self._rest, self._members = name, rest, members

    async def look(self) -> Mapping[str, str]:
        import hashlib
        import json

        async with self._rest:
            cluster, config = await asked(self._name, self._rest, self._members)
        found = cluster.get("members")
        members = found if isinstance(found, list) else []
        roles = [[each.get("name"), each.get("role")] for each in members if isinstance(each, Mapping)]
        told = json.dumps([config, roles], sort_keys=True, default=str)
        return {"spec": hashlib.sha256(told.encode()).hexdigest()}

    async def close(self) -> None:
        """Nothing is kept between looks."""
