"""The example estate on a real PostgreSQL, slapd and etcd: applied, drifted, corrected, empty again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.estate_builder import EXIT_CHANGES, EstateBuilder, credential
from tests.integration.follow_estate import belonging_to
from tests.servers.etcd import EtcdServer, running_etcd
from tests.servers.postgres import PostgresServer, postgres_server
from tests.servers.slapd import slapd

EXAMPLE = Path(__file__).parents[2] / "examples" / "estate-repo"
CLUSTERDATA = Path(__file__).parents[1] / "fixtures" / "stolon" / "clusterdata-three-keepers-sync.json"
KEY = "stolon/cluster/billing/clusterdata"
BASE = "dc=corp,dc=example"

TROUBLE = {
    "orders/role/orders_app": ("ALTER ROLE orders_app SUPERUSER", "superuser: yes -> no"),
    "orders/role/reporter": ("ALTER ROLE reporter VALID UNTIL 'infinity'", "valid_until: (none) -> 2031-01-01"),
    "orders/membership/orders_rw.orders_app": (
        "REVOKE orders_rw FROM orders_app",
        "+ membership orders_app in orders_rw",
    ),
    "orders/privilege/table.orders.app.alice": ("GRANT DELETE ON app.customers TO alice", "DELETE: - "),
    "orders/privilege/table.orders.app.orders_readers": (
        "REVOKE ALL ON app.customers FROM orders_readers",
        "SELECT: + ",
    ),
    "orders/privilege/database.orders.public": ("GRANT TEMPORARY ON DATABASE orders TO PUBLIC", "TEMPORARY: "),
    "orders/schema/orders.app": ("ALTER SCHEMA app OWNER TO postgres", "owner: postgres -> orders_owner"),
    "orders/setting/role.orders_app": ("ALTER ROLE orders_app RESET ALL", "statement_timeout: "),
    "orders/extension/orders.citext": ("DROP EXTENSION citext", "+ extension citext in orders"),
    "orders/parameter/work_mem": ("ALTER SYSTEM SET work_mem = '1GB'", "value: 1GB -> 16MB"),
}


Servers = tuple[PostgresServer, PostgresServer, EtcdServer, str]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("example")
    # slapadd takes the version's line for an entry of its own
    ldif = (EXAMPLE / "directory" / "corp.ldif").read_text().removeprefix("version: 1\n\n")
    with (
        postgres_server(folder / "orders") as orders,
        postgres_server(folder / "billing") as billing,
        running_etcd(folder / "etcd") as etcd,
        slapd(folder / "ldap", ldif, suffix=BASE) as directory,
    ):
        etcd.ctl("put", KEY, json.dumps(belonging_to(json.loads(CLUSTERDATA.read_text()), billing)))
        yield orders, billing, etcd, directory.uri


def test_the_example_from_beginning_to_end(servers: Servers, tmp_path: Path) -> None:
    orders, billing, etcd, uri = servers
    estate = _estate(tmp_path, orders, billing, etcd, uri)
    estate.apply().done()
    orders.sql("SET ROLE orders_owner", "CREATE TABLE app.customers (id bigint)", database="orders")
    estate.settled()

    for statement, _ in TROUBLE.values():
        orders.sql(statement, "SELECT pg_reload_conf()", database="orders")
    document = json.loads(etcd.ctl("get", KEY, "--print-value-only"))
    document["cluster"]["spec"]["pgParameters"]["work_mem"] = "1MB"
    etcd.ctl("put", KEY, json.dumps(document))

    drift = estate.run("drift").done(EXIT_CHANGES)
    for address, (_, words) in TROUBLE.items():
        assert words in drift.text, f"{address}: no {words!r} in\n{drift.text}"
    assert "value: 1MB -> 32MB" in drift.text
    found = estate.run("drift", "-o", "json").done(EXIT_CHANGES).changes
    assert set(found) == {*TROUBLE, "billing/stolon/parameter.work_mem"}

    estate.apply("--correct", "all", *_approved(estate)).done()
    estate.settled()
    assert orders.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'orders_app'") == [(False,)]


def _approved(estate: EstateBuilder) -> list[str]:
    """So much trouble at once passes the limits of a small estate: a person looks and approves exactly this."""
    targets = estate.run("plan", "-o", "json", "--correct", "all").targets
    return [word for target in targets.values() for word in ("--approve", target["digest"])]


def _estate(folder: Path, orders: PostgresServer, billing: PostgresServer, etcd: EtcdServer, uri: str) -> EstateBuilder:
    settings = {
        "credentials": {"orders-admin": credential(orders), "billing-admin": credential(billing)},
        "secrets": {"orders-app": {"command": ["echo", "planted-app-password"]}},
        "directories": {"corp": {"uris": [uri], "base": BASE, "startTls": False}},
        "etcd": {"etcd-a": {"endpoints": [etcd.url]}},
    }
    estate = EstateBuilder(folder, settings)
    estate.settings["repository"]["path"] = "example"
    root = estate.repository / "example"
    shutil.copytree(EXAMPLE, root)
    for name, server in (("orders", orders), ("billing", billing)):
        file = root / "clusters" / f"{name}.yaml"
        file.write_text(re.sub(r"hosts: \[[^\]]*\]", f'hosts: ["{server.host}"]', file.read_text()))
    estate.commit()
    return estate
