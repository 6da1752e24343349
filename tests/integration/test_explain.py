"""`pgvillage explain`: who asks for an object, what is live, what was applied, what differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import EstateMaker, new_estate, wipe
from tests.integration.estate_builder import EXIT_INVALID, EXIT_USAGE, EstateBuilder, group
from tests.integration.shop_estate import fill_shop, make_tables
from tests.integration.warm_command import run_here
from tests.servers.postgres import PostgresServer

LDIF = """\
dn: dc=example,dc=test
objectClass: domain
dc: example

dn: uid=alice,dc=example,dc=test
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: A

dn: cn=dba,dc=example,dc=test
objectClass: groupOfNames
cn: dba
member: uid=alice,dc=example,dc=test
"""


@pytest.fixture(scope="module")
def shop(shared_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> EstateBuilder:
    """The shop applied, and then some changes by hand."""
    wipe(shared_postgres)
    folder = tmp_path_factory.mktemp("explain")
    (folder / "people.ldif").write_text(LDIF)
    directory = {"ldif": str(folder / "people.ldif"), "base": "dc=example,dc=test"}
    estate = new_estate(folder / "a", shared_postgres, directories={"corp": directory})
    fill_shop(estate, shared_postgres.host)
    members = {"directory": "corp", "group": "cn=dba,dc=example,dc=test"}
    future = {"profile": "reader", "database": "shop", "schemas": ["app"], "future": {"creators": ["shop_owner"]}}
    estate.documents["roles"].append(group("dbas", members=members, privileges=[future]))
    estate.commit()
    estate.apply().done()
    make_tables(shared_postgres)
    estate.apply().done()
    shared_postgres.sql("ALTER ROLE app SUPERUSER PASSWORD 'planted-by-hand'", "REVOKE dbas FROM alice")
    shared_postgres.sql("REVOKE SELECT ON app.t2 FROM readers", database="shop")
    return estate


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("c/role/app", ["roles.yaml:105", "superuser = yes -> no", "password = changed", "now update (drift"]),
        ("c/role/alice", ["corp: uid=alice,dc=example,dc=test", "through dbas", "as declared"]),
        ("c/membership/dbas.alice", ["through dbas", "live does not exist", "create (drift"]),
        ("c/database/shop", ["cluster.yaml:", "owner = shop_owner", "connection_limit = 40", "made by PgVillage"]),
        ("c/schema/shop.app", ["owner = shop_owner", 'comment = "its tables"']),
        ("c/extension/shop.citext", ["schema = public"]),
        ("c/setting/role.app", ["statement_timeout = 5min"]),
        ("c/setting/role.app.database.shop", ["work_mem = 16MB"]),
        ("c/setting/database.shop", ["default_statistics_target = 200"]),
        ("c/privilege/table.shop.app.readers", ["SELECT = t1, v1 -> t1, t2, v1"]),
        ("c/privilege/database.shop.public", ["CONNECT = shop"]),
        ("c/default-privilege/table.shop.app.shop_owner.dbas", ["privileges = SELECT"]),
        ("c/parameter/work_mem", ["value = 8MB", "adopted"]),
        ("c/role/postgres", ["nowhere: PgVillage leaves it alone", "never applied", "nothing is done about it"]),
    ],
)
def test_an_address_of_every_kind(shop: EstateBuilder, address: str, words: list[str]) -> None:
    out = " ".join(run_here(shop, "explain", address).done().out.split())
    assert [word for word in words if word not in out] == [], out
    assert "planted" not in out
    assert "SCRAM" not in out


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("c/role/ap", "the nearest are c/role/app"),
        ("c/privilege/table.shop.app.reader", "the nearest are c/privilege/table.shop.app.readers"),
        ("c/role/zzzzzzzz", "neither the estate nor the cluster knows it"),
        ("c/rol/app", "did you mean role?"),
        ("cc/role/app", "did you mean c?"),
        ("c/role", "expected CLUSTER/KIND/NAME"),
        ("c/stolon/spec", "cluster 'c' has no stolon target"),
    ],
)
def test_what_is_not_known_is_wrong_usage(shop: EstateBuilder, address: str, words: str) -> None:
    assert words in run_here(shop, "explain", address).done(EXIT_USAGE).err


def test_a_broken_estate_explains_nothing(pg: PostgresServer, estate_of: EstateMaker, tmp_path: Path) -> None:
    estate = estate_of(pg, "broken")
    estate.documents["x"] = [group("g", lgin=True)]
    estate.commit()
    assert "did you mean login?" in estate.run("explain", "c/role/g").done(EXIT_INVALID).err
