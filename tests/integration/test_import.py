"""What is imported from other tools' files can be applied to a real server, and then the plan is empty."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pgvillage.estate.yaml12 import parse_documents
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import COMMAND, ROOT, EstateBuilder, free_policy
from tests.servers.postgres import PostgresServer

FIXTURES = ROOT / "tests/fixtures/imports"
SHOP = "dc=shop,dc=test"
LDIF = f"""\
dn: {SHOP}
objectClass: dcObject
dc: shop

dn: ou=groups,{SHOP}
objectClass: organizationalUnit
ou: groups

dn: uid=anna,{SHOP}
objectClass: inetOrgPerson
uid: anna
cn: anna
sn: x

dn: cn=dba,ou=groups,{SHOP}
objectClass: groupOfNames
cn: dba
member: uid=anna,{SHOP}

dn: cn=staff,ou=groups,{SHOP}
objectClass: groupOfNames
cn: staff
member: uid=anna,{SHOP}

dn: cn=dba-team,ou=groups,{SHOP}
objectClass: posixGroup
cn: dba-team
gidNumber: 1
memberUid: anna
"""
# What the tools take for granted: databases, and tables that migrations have made.
BEFORE: dict[str, tuple[str, list[str]]] = {
    "pgfga": ("", []),
    "ldap2pg": ("shop", ["CREATE SCHEMA app", "CREATE SCHEMA archive", "CREATE TABLE app.t (a int)"]),
    "ldap2pg-v5": ("shop", ["CREATE TABLE public.t (a int)"]),
    "pgbedrock": (
        "books",
        ["CREATE SCHEMA finance", "CREATE TABLE finance.ledger ()", "CREATE TABLE finance.lines ()"],
    ),
    "terraform": ("shop", ["CREATE SCHEMA app", "CREATE TABLE app.orders ()", "CREATE TABLE app.lines ()"]),
}
FILES = {
    "pgfga": ["pgfga.yaml"],
    "ldap2pg": ["ldap2pg.yml"],
    "ldap2pg-v5": ["ldap2pg.yml"],
    "pgbedrock": ["spec.yml", "--database", "books"],
    "terraform": ["terraform.tfstate"],
}


def imported(case: str, server: PostgresServer, folder: Path, estate: EstateBuilder) -> dict[str, Any]:
    """The estate with the imported documents; roles by name."""
    file, *more = FILES[case]
    arguments = ["import", str(FIXTURES / case / file), "--to", str(folder), *more]
    done = subprocess.run([*COMMAND, *arguments], check=True, cwd=ROOT, capture_output=True, text=True)
    assert "Not carried over" in done.stdout
    settings = documents(folder / "pgvillage.yaml")[0]
    found = [d for p in sorted((folder / "estate").rglob("*.yaml")) for d in documents(p)]
    for document in found:
        if document["kind"] == "Cluster":
            document["spec"]["connection"]["hosts"] = [server.host]
        if document["kind"] == "Estate":  # as its reader does, who has seen what is held
            assert document["spec"]["policy"] == {"correct": "off"}
            document["spec"]["policy"] = free_policy()["spec"]["policy"]
    estate.documents = {"imported": found}
    estate.settings |= {key: settings[key] for key in ("secrets",) if key in settings}
    if "directories" in settings:
        (folder / "people.ldif").write_text(LDIF)
        estate.settings["directories"] = {"main": {"ldif": str(folder / "people.ldif"), "base": SHOP}}
    estate.environment |= {source["env"]: f"planted-{name}" for name, source in settings.get("secrets", {}).items()}
    estate.commit("imported")
    return {d["spec"].get("role", d["metadata"]["name"]): d["spec"] for d in found if d["kind"] in ("User", "Group")}


def documents(path: Path) -> list[Any]:
    """By YAML 1.2: `off` is a word there."""
    return [content for content, _ in parse_documents(path.read_text(), path.name)[0]]


@pytest.mark.parametrize("case", FILES)
def test_an_imported_estate_is_applied_and_then_nothing_is_left(
    case: str, pg: PostgresServer, estate_of: EstateMaker, tmp_path: Path
) -> None:
    database, statements = BEFORE[case]
    if database:
        pg.sql(f"CREATE DATABASE {database}")
        pg.sql(*statements, database=database)
    estate = estate_of(pg)
    roles = imported(case, pg, tmp_path / "imported", estate)
    estate.apply().done()
    estate.settled()
    there = {name for (name,) in pg.sql("SELECT rolname FROM pg_roles")}
    assert {name for name, spec in roles.items() if spec.get("ensure") != "absent"} <= there
    assert ("anna" in there) is (case in ("pgfga", "ldap2pg", "ldap2pg-v5"))


def test_readers_of_a_state_can_read_what_its_owner_makes_later(
    pg: PostgresServer, estate_of: EstateMaker, tmp_path: Path
) -> None:
    database, statements = BEFORE["terraform"]
    pg.sql(f"CREATE DATABASE {database}")
    pg.sql(*statements, database=database)
    estate = estate_of(pg)
    imported("terraform", pg, tmp_path / "imported", estate)
    estate.apply().done()
    pg.sql("SET ROLE shop_owner", "CREATE TABLE app.later (a int)", database="shop")
    assert pg.sql("SELECT has_table_privilege('readers', 'app.later', 'SELECT')", database="shop") == [(True,)]
    assert pg.sql("SELECT has_table_privilege('writers', 'app.later', 'SELECT')", database="shop") == [(False,)]
    assert pg.sql("SELECT rolpassword LIKE 'SCRAM%' FROM pg_authid WHERE rolname = 'shop_owner'") == [(True,)]
