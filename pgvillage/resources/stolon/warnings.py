"""What stolon's own state tells a person: its health, and settings that bite later."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from pgvillage.core.address import Address, quote_part
from pgvillage.core.plan import Finding
from pgvillage.estate.hba_text import lets_in
from pgvillage.estate.view import ClusterView
from pgvillage.resources.stolon.clusterdata import ClusterData
from pgvillage.resources.stolon.live import Found
from pgvillage.resources.stolon.nodes import topology_of

_UNDATED = datetime(1970, 1, 1, tzinfo=UTC)  # problems of the engine's state have no hour


def warnings(target: str, found: Found) -> Iterator[Finding]:
    """Health comes from the topology where that is known, so that no plan says it twice."""
    data = found.data
    assert data is not None
    if found.topology is None:
        yield from _health(target, data, found)
    yield from _strict(found, data)


def rules_findings(view: ClusterView, found: Found) -> Iterator[Finding]:
    """What is wrong with who may log in: too many, or not even PgVillage."""
    assert found.data is not None
    rules = view.cluster.spec.postgres.hba
    if rules is None:
        if found.data.spec.get("pgHBA") is None:
            text = (
                "pgHBA is null: stolon then lets every role into every database by password from everywhere "
                "(`host all all 0.0.0.0/0 md5`); declare `postgres.hba`"
            )
            yield Finding("warning", text)
        return
    unsafe = strict_is_unsafe(found.data)
    if unsafe and found.spec["defaultSUReplAccessMode"] != "strict":
        yield Finding("warning", unsafe)
    databases = ["postgres", *(d.name for d in view.databases if d.spec.ensure == "present")]
    shut = [name for name in databases if found.login and not lets_in(rules, found.login, name)]
    if shut:
        where = view.located.at("spec", "postgres", "hba")
        names = ", ".join(map(quote_part, shut))
        text = (
            f"{where}: no rule would let PgVillage itself in: role {quote_part(found.login)}, database {names}; stolon "
            "adds no rule for it. Add one before any `reject`"
        )
        yield Finding("error", text, blocks=True)


def _health(target: str, data: ClusterData, found: Found) -> Iterator[Finding]:
    for problem in topology_of(target, data, found.presence, _UNDATED).problems:
        where = f"keeper {quote_part(problem.node)}: " if problem.node else ""
        address = Address(target, "keeper", (problem.node,)) if problem.node else None
        yield Finding(problem.severity, where + problem.text, address)
    for uid, keeper in sorted(data.keepers.items()):
        if not keeper.healthy:
            yield Finding("warning", f"keeper {quote_part(uid)} is not healthy", Address(target, "keeper", (uid,)))


def _strict(found: Found, data: ClusterData) -> Iterator[Finding]:
    if found.spec["defaultSUReplAccessMode"] != "strict":
        return
    for keeper, what in _unfit_addresses(data):
        yield Finding(
            "error",
            f"defaultSUReplAccessMode is strict and keeper {quote_part(keeper)} has {what}: stolon writes a line into "
            "the primary's pg_hba.conf that PostgreSQL can't read, so it takes up no change of rules, and would not "
            "start again. Set it to `all` until that keeper is back (stolonctl update --patch)",
        )


def strict_is_unsafe(data: ClusterData) -> str:
    """Empty, or why defaultSUReplAccessMode had better stay as it is: stolon puts `/32` behind each keeper's address,
    whatever that is.
    """
    for keeper, what in _unfit_addresses(data):
        return (
            f"defaultSUReplAccessMode is left as it is, as keeper {quote_part(keeper)} has {what}, of which stolon "
            "would make a line that PostgreSQL can't read; superuser and replication role may come from everywhere, "
            "by password, unless a firewall says otherwise"
        )
    return ""


def _unfit_addresses(data: ClusterData) -> Iterable[tuple[str, str]]:
    for db in sorted(data.dbs.values(), key=lambda each: each.keeper):
        try:
            if ipaddress.ip_address(db.address).version == 6:
                yield db.keeper, f"an IPv6 address ({db.address})"
        except ValueError:
            yield db.keeper, f"the name {quote_part(db.address)} for an address" if db.address else "no address yet"
