"""Where clients are sent: manifest and settings, without asking the cluster."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from pgvillage.core.client_target import ClientTls, Role
from pgvillage.core.errors import UsageError
from pgvillage.estate.manifest import Cluster
from pgvillage.settings import Credential
from pgvillage.usecases.dsn import Found, Wishes, client_target

HOSTS = ["pg1.example", "[2001:db8::2]:5433", "/run/postgresql:5434"]
VIP = {"vip": {"address": "10.1.0.10/24", "via": "haproxy"}}


def _found(wishes: Wishes, name: str = "orders", sslmode: str = "require", **spec: Any) -> Found:
    place = {} if "nodes" in spec else {"connection": {"hosts": HOSTS, "credential": "admin", "sslmode": "verify-ca"}}
    metadata = {"name": "orders"}
    cluster = Cluster.model_validate(
        {"apiVersion": "pgvillage/v1", "kind": "Cluster", "metadata": metadata, "spec": {**place, **spec}}
    )
    credential = Credential.model_validate(
        {"user": "pgv", "hosts": ["*"], "sslmode": sslmode, "sslrootcert": "/ca.pem", "sslcert": "/own", "sslkey": "/k"}
    )
    world: Any = SimpleNamespace(
        settings=SimpleNamespace(credentials={"admin": credential}),
        checkout=lambda _revision: None,
        manifests=lambda _checkout: SimpleNamespace(clusters={"orders": SimpleNamespace(document=cluster)}),
    )
    return asyncio.run(client_target(world, name, wishes))


def test_hosts_are_the_manifests_in_its_order() -> None:
    hosts = (("pg1.example", 5432), ("2001:db8::2", 5433), ("/run/postgresql", 5434))
    assert _found(Wishes()).target.hosts == hosts
    nodes = [{"name": "n1", "address": "10.0.0.1"}, {"name": "n2", "address": "10.0.0.2"}]
    assert _found(Wishes(), nodes=nodes).target.hosts == (("10.0.0.1", 5432), ("10.0.0.2", 5432))


def test_a_proxy_is_the_way_to_the_primary_alone_and_can_be_passed_by() -> None:
    found = _found(Wishes(Role.PRIMARY), connect=VIP)
    assert (found.target.hosts, found.through) == ((("10.1.0.10", 5432),), "haproxy at 10.1.0.10/24")
    for role in (Role.STANDBY, Role.PREFER_STANDBY, Role.ANY):
        found = _found(Wishes(role), connect=VIP)
        assert (len(found.target.hosts), found.through, len(found.warnings)) == (3, "", 1)
    found = _found(Wishes(direct=True), connect=VIP)
    assert (len(found.target.hosts), found.through, found.warnings) == (3, "", ())


def test_haproxy_has_a_port_for_each_role() -> None:
    connect = {**VIP, "haproxy": {"port": 6000, "standbyPort": 6001}}
    ports = {Role.PRIMARY: [6000], Role.STANDBY: [6001], Role.PREFER_STANDBY: [6001, 6000], Role.ANY: [6001, 6000]}
    for role, wanted in ports.items():
        found = _found(Wishes(role), connect=connect)
        assert found.target.hosts == tuple(("10.1.0.10", port) for port in wanted)
        assert (found.through, found.warnings) == ("HAProxy at 10.1.0.10", ())
    assert len(_found(Wishes(direct=True), connect=connect).target.hosts) == 3


def test_stolon_proxy_is_for_the_primary() -> None:
    connect = {"proxy": ["proxy1.example:25432", "proxy2.example:25432"]}
    found = _found(Wishes(), connect=connect)
    assert found.target.hosts == (("proxy1.example", 25432), ("proxy2.example", 25432))
    assert found.through == "stolon-proxy"
    assert "leads to the primary" in _found(Wishes(Role.STANDBY), connect=connect).warnings[0]


@pytest.mark.parametrize(
    ("sslmode", "wished", "mode"),
    [("require", "", "verify-ca"), ("verify-full", "", "verify-full"), ("verify-full", "require", "require")],
)
def test_tls_is_the_stricter_of_manifest_and_credential_unless_the_user_says(
    sslmode: str, wished: str, mode: str
) -> None:
    tls = _found(Wishes(tls=ClientTls(wished, cert="/mine.pem")), sslmode=sslmode).target.tls
    assert (tls.mode, tls.rootcert) == (mode, "/ca.pem")
    # PgVillage's own certificate and key are not for clients
    assert (tls.cert, tls.key) == ("/mine.pem", "")


def test_database_is_the_only_one_that_the_cluster_lists_or_postgres() -> None:
    assert _found(Wishes()).target.database == "postgres"
    assert _found(Wishes(), databases=[{"name": "shop"}]).target.database == "shop"
    assert _found(Wishes(), databases=[{"name": "shop"}, {"name": "b"}]).target.database == "postgres"
    assert _found(Wishes(database="mine"), databases=[{"name": "shop"}]).target.database == "mine"


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean orders"):
        _found(Wishes(), name="order")
    with pytest.raises(UsageError, match="known: orders"):
        _found(Wishes(), name="xyz")
