"""Where a run's SQL goes: which node, in which state, with which login."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgvillage.clients.job_sql.account import refuse_mighty
from pgvillage.clients.pg_connect import Endpoint, addresses_of, connect
from pgvillage.clients.pg_ledger import PRIMARY
from pgvillage.clients.pg_way import Way
from pgvillage.core.errors import CredentialRefused, ReadError
from pgvillage.core.leadership import Session
from pgvillage.settings import Credential

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

    Connection = AsyncConnection[TupleRow]

# A client that stopped in the middle of a transaction may hold its locks no longer than this.
_IDLE = "60s"
_STATE = f"SELECT {PRIMARY}"


@dataclass(frozen=True, slots=True)
class JobLogin:
    """Who jobs log in as: a credential of the settings, by its name there."""

    name: str
    credential: Credential


@dataclass(frozen=True, slots=True)
class Place:
    """`node` is a host as `nodes` gives it, "" for any that is what `target` asks for; it must be that too."""

    database: str
    target: str = "primary"
    node: str = ""


@dataclass(frozen=True, slots=True)
class JobDoor:
    """The ways in: `way` is the cluster's own, whose credential makes the ledger; `login` is the jobs', if any.

    `superuser`: the settings allow this job to run with an account that is superuser or may become one.
    """

    way: Way
    login: JobLogin | None = None
    superuser: bool = False

    async def main(self) -> Endpoint:
        async with self.way as way:
            return await way.find()

    async def jobs(self) -> Endpoint:
        found = await self.main()
        if self.login is None:
            return found
        return replace(found, credential_name=self.login.name, credential=self.login.credential)

    async def connect(self, place: Place) -> tuple[Connection, bool]:
        """A session of the jobs' login, and whether its server is in recovery.

        Raises CredentialRefused, ReadError: no such node, not what was asked for, an account that may do too much.
        """
        endpoint = await self.jobs()
        session, recovering = await _to_node(endpoint, place)
        try:
            if not self.superuser:
                await refuse_mighty(session, endpoint.cluster)
        except BaseException:
            await session.close()
            raise
        return session, recovering


async def nodes(way: Way) -> list[str]:
    """HOST[:PORT] of each node: by the manifest, or by the HA engine. Raises ReadError."""
    async with way:
        return list(dict.fromkeys((await way.find()).hosts))


async def _to_node(endpoint: Endpoint, place: Place) -> tuple[Connection, bool]:
    if place.node and place.node not in endpoint.hosts:
        raise ReadError(endpoint.cluster, f"{place.node!r} is none of its nodes: {', '.join(endpoint.hosts)}")
    if place.target == "primary":
        alone = replace(endpoint, hosts=(place.node,)) if place.node else endpoint
        return await _to_primary(alone, place.database), False
    refused: dict[str, str] = {}
    for recovering in _WANTED[place.target]:
        for host in [place.node] if place.node else endpoint.hosts:
            session = await _to_host(replace(endpoint, hosts=(host,)), place.database, recovering, refused)
            if session is not None:
                return session
    said = "; ".join(f"{host}: {why}" for host, why in refused.items())
    raise ReadError(endpoint.cluster, f"no node for target {place.target}: {said}")


_WANTED: Mapping[str, tuple[bool | None, ...]] = {
    "standby": (True,), "prefer-standby": (True, None), "any": (None,), "all": (None,),
}  # fmt: skip


async def _to_primary(endpoint: Endpoint, database: str) -> Connection:
    session = await connect(endpoint, database, application="pgvillage job", settings=_options())
    try:
        _, timeline = await _state(session, endpoint)  # libpq has seen that it is the primary
        endpoint.object_to(Session(addresses_of(session), "", timeline))
    except BaseException:
        await session.close()
        raise
    return session


async def _to_host(
    endpoint: Endpoint, database: str, recovering: bool | None, refused: dict[str, str]
) -> tuple[Connection, bool] | None:
    """None, with the reason in `refused`, where the host does not answer or is not in the state asked for."""
    (host,) = endpoint.hosts
    try:
        session = await connect(endpoint, database, application="pgvillage job", settings=_options(), primary=False)
    except CredentialRefused:
        raise
    except ReadError as error:
        refused[host] = str(error)
        return None
    try:
        found, _ = await _state(session, endpoint)
    except BaseException:
        await session.close()
        raise
    if recovering is None or found == recovering:
        return session, found
    await session.close()
    refused[host] = "it is the primary"
    return None


async def _state(session: Connection, endpoint: Endpoint) -> tuple[bool, int]:
    import psycopg

    try:
        row = await (await session.execute(_STATE)).fetchone()
    except psycopg.Error as error:
        raise ReadError(endpoint.cluster, str(error)) from None
    assert row is not None
    return bool(row[0]), int(row[1])


def _options() -> dict[str, str]:
    return {"idle_in_transaction_session_timeout": _IDLE, "DateStyle": "ISO"}
