"""Who leads a stolon cluster, by its clusterdata."""

from __future__ import annotations

from collections.abc import Mapping

from pgvillage.core.leadership import EngineKeys, Kept, Leadership, checked_addresses, host_port
from pgvillage.resources.stolon.clusterdata import parse_clusterdata

KEY = "clusterdata"


def stolon_keys(prefix: str, cluster: str) -> EngineKeys:
    """`prefix` is that of all stolon clusters in etcd, such as `stolon/cluster`."""
    return EngineKeys("stolon", f"{prefix.strip('/')}/{cluster}/", KEY, False, leadership_of, term_of)


def leadership_of(keys: Mapping[str, Kept]) -> Leadership:
    """Keepers that have not said yet where their PostgreSQL listens are left out. Raises ValueError."""
    data = parse_clusterdata(keys[KEY].value)
    master = data.dbs.get(data.master_db)
    found = {db.keeper: host_port(db.address, db.port) for db in data.dbs.values() if db.address and db.port}
    return Leadership(
        engine="stolon",
        leader=master.keeper if master else "",
        addresses=checked_addresses(found),
        system_identifier=master.system_id if master else "",
        timeline=master.timeline if master else 0,
        term=data.master_db,
    )


def term_of(kept: Kept | None) -> str:
    """A keeper that comes back gets a new database uid, so that one uid is one term. Raises ValueError."""
    return parse_clusterdata(kept.value).master_db if kept else ""
