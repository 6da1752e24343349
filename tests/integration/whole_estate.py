"""An estate with every kind and every class of privileges, as much of it as a major version of PostgreSQL has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.integration.estate_builder import Document, cluster, free_policy, group, user
from tests.servers.postgres import PostgresServer

COPIER_PASSWORD = "planted-copier"
OBJECTS = (
    "CREATE SCHEMA app",
    "CREATE TABLE app.t (id int PRIMARY KEY, tenant text, total int)",
    "CREATE TABLE app.u (id int PRIMARY KEY)",
    "CREATE TABLE app.kept (id int)",
    "CREATE VIEW app.v AS SELECT 1 AS one",
    "CREATE SEQUENCE app.numbers",
    "CREATE FUNCTION app.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE PROCEDURE app.p(int) LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION app.guard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE FUNCTION app.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE TYPE app.mood AS ENUM ('good')",
    "CREATE DOMAIN app.age AS int",
    "SELECT lo_create(16423), lo_create(16424)",
)
PASSWORDS = {name: f"planted-{name}" for name in ("first", "second", "far", "near")} | {"copier": COPIER_PASSWORD}


def make_objects(server: PostgresServer) -> None:
    """What applications and another server would bring: a database with tables, a publisher with a slot."""
    copier = f"CREATE ROLE copier LOGIN SUPERUSER PASSWORD '{COPIER_PASSWORD}'"
    server.sql("CREATE DATABASE shop", "CREATE DATABASE source", copier)
    server.sql(*OBJECTS, database="shop")
    slot = "SELECT pg_create_logical_replication_slot('incoming', 'pgoutput')"
    server.sql("CREATE PUBLICATION one", "CREATE PUBLICATION two", slot, database="source")


@dataclass(frozen=True)
class Whole:
    """`changed` gives every field that can change its second value."""

    major: int
    host: str
    location: str
    changed: bool = False

    def two(self, first: Any, second: Any) -> Any:
        return second if self.changed else first

    def since(self, major: int, **keys: Any) -> dict[str, Any]:
        return keys if self.major >= major else {}

    def documents(self) -> dict[str, list[Document]]:
        return {"estate": [free_policy(), self.cluster()], "roles": self.roles()}

    def cluster(self) -> Document:
        return cluster(
            "c",
            self.host,
            postgres={"parameters": {"work_mem": self.two("8MB", "9MB"), "log_lock_waits": self.two(True, None)}},
            tablespaces=[self.tablespace()],
            replicationSlots=[
                {"name": "standby_1"},
                {
                    "name": "cdc",
                    "plugin": "test_decoding",
                    "database": "shop",
                    **self.since(14, twoPhase=True),
                    **self.since(17, failover=True),
                },
            ],
            databases=[self.shop(), self.made()],
            externalRoles=["copier"],
        )

    def tablespace(self) -> dict[str, Any]:
        costs = self.two((0.5, 1.1, 20, 30), (0.6, 1.2, 21, 31))
        names = ("seq_page_cost", "random_page_cost", "effective_io_concurrency", "maintenance_io_concurrency")
        return {
            "name": "fast",
            "location": self.location,
            "owner": self.two("keeper", "heir"),
            "comment": self.two("quick", "quicker"),
            "settings": dict(zip(names, costs, strict=True)),
        }

    def made(self) -> dict[str, Any]:
        """A database that the estate makes."""
        provider = {"localeProvider": "builtin", "builtinLocale": "C.UTF-8"} if self.major >= 17 else {}
        return {
            "name": "made",
            "owner": self.two("keeper", "heir"),
            "encoding": "UTF8",
            "locale": "C",
            "template": "template0",
            "tablespace": "fast",
            "connectionLimit": self.two(7, 8),
            "isTemplate": self.two(True, False),
            "allowConnections": self.two(True, False),
            "comment": self.two("made", "made anew"),
            **(provider or self.since(15, localeProvider="libc")),
        }

    def shop(self) -> dict[str, Any]:
        owner = self.two("keeper", "heir")
        return {
            "name": "shop",
            "owner": owner,
            "settings": {"default_statistics_target": self.two(200, 300)},
            "schemas": [
                {"name": "app", "owner": owner},
                {"name": "extra", "owner": owner, "comment": self.two("more", "yet more")},
            ],
            "extensions": [
                {"name": "citext", "version": self.two("1.4", "1.6"), "schema": self.two("public", "extra")},
                "postgres_fdw",
            ],
            "foreignDataWrappers": self.wrappers(),
            "foreignServers": [self.far()],
            "publications": self.publications(),
            "subscriptions": [self.subscription()],
            "eventTriggers": [
                {
                    "name": "guard",
                    "event": self.two("ddl_command_end", "sql_drop"),
                    "owner": self.two("chief", "heir"),
                    "tags": self.two(["DROP TABLE", "CREATE TABLE"], ["DROP VIEW"]),
                    "comment": self.two("guards", "watches"),
                    "function": self.two("app.guard", "app.watch"),
                    "enabled": self.two("always", "replica"),
                }
            ],
            "rowSecurity": [self.row_security()],
            "ownership": [{"owner": owner, "schemas": ["app"], "except": ["kept"]}],
            "public": self.public(),
        }

    def wrappers(self) -> list[dict[str, Any]]:
        checks = self.two(("pg_catalog", "postgresql_fdw_validator"), ("public", "postgres_fdw_validator"))
        handler = {"handler": {"schema": "public", "name": "postgres_fdw_handler"}} if self.changed else {}
        return [
            {"name": "postgres_fdw", "comment": self.two("of the package", "packed")},
            {
                "name": "own",
                "owner": self.two("chief", "heir"),
                "options": self.two({"a": "1", "b": "2"}, {"a": "3", "c": "4"}),
            },
            {"name": "strict", "validator": dict(zip(("schema", "name"), checks, strict=True)), **handler},
        ]

    def far(self) -> dict[str, Any]:
        secret = {"password": {"secret": self.two("far", "near")}}
        return {
            "name": "far",
            "wrapper": "own",
            "type": "kind",
            "version": self.two("9", "10"),
            "owner": self.two("keeper", "heir"),
            "comment": self.two("far away", "near"),
            "options": self.two({"host": "a", "port": "1"}, {"host": "b", "dbname": "c"}),
            "userMappings": [
                {"role": "keeper", "options": {"user": self.two("x", "y")}, "secretOptions": secret},
                {"role": "public", "options": {"user": self.two("nobody", "somebody")}},
            ],
        }

    def publications(self) -> list[dict[str, Any]]:
        table = {
            "table": "app.t",
            "columns": self.two(["id", "tenant"], ["id", "total"]),
            "where": self.two("id > 1", "id > 2"),
        }
        by_table = {
            "name": "out",
            "owner": self.two("chief", "heir"),
            "comment": self.two("goes out", "went out"),
            "publish": self.two(["insert"], ["insert", "truncate"]),
            "viaRoot": self.two(True, False),
            "tables": [table, *self.two([], ["app.u"])]
            if self.major >= 15
            else self.two(["app.t"], ["app.t", "app.u"]),
        }
        by_schema = self.since(15, name="whole", schemas=self.two(["extra"], ["extra", "app"]))
        return [by_table, {"name": "everything", "allTables": True}, *([by_schema] if by_schema else [])]

    def subscription(self) -> dict[str, Any]:
        place = {"host": "127.0.0.1", "port": int(self.host.rpartition(":")[2]), "database": "source", "user": "copier"}
        return {
            "name": "inbound",
            "owner": self.two("chief", "heir"),
            "comment": self.two("comes in", "came in"),
            "connection": {**place, "options": {"connect_timeout": self.two("10", "11")}},
            "password": {"secret": "copier"},
            "publications": self.two(["one"], ["one", "two"]),
            "slotName": "incoming",
            "createSlot": False,
            "copyData": False,
            "enabled": self.two(False, True),
            "synchronousCommit": self.two("off", "local"),
            **self.since(14, binary=self.two(False, True), streaming=self.two("off", "on")),
            **self.since(15, disableOnError=self.two(True, False)),
            **self.since(
                16,
                passwordRequired=self.two(True, False),
                runAsOwner=self.two(True, False),
                origin=self.two("any", "none"),
            ),
            **self.since(17, failover=self.two(False, True)),
        }

    def row_security(self) -> dict[str, Any]:
        own = {
            "name": "own",
            "command": "update",
            "roles": self.two(["readers"], ["readers", "clerk"]),
            "using": self.two("tenant = current_user", "tenant = 'all'"),
            "withCheck": self.two("id BETWEEN 1 AND 5", "id BETWEEN 1 AND 6"),
            "comment": self.two("own rows", "their rows"),
        }
        narrow = {"name": "narrow", "permissive": False, "command": self.two("select", "delete"), "using": "total > 0"}
        return {"table": "app.t", "forced": self.two(False, True), "exact": True, "policies": [own, narrow]}

    def public(self) -> dict[str, Any]:
        return {
            "database": self.two(["CONNECT"], ["CONNECT", "TEMPORARY"]),
            "schemas": {"app": self.two(["USAGE"], [])},
            "tables": {"app": self.two([], ["SELECT"])},
            "sequences": {"app": self.two(["SELECT"], [])},
            "functions": {"app": self.two([], ["EXECUTE"])},
            "types": {"app": self.two([], ["USAGE"])},
            "languages": {"plpgsql": self.two([], ["USAGE"])},
            "future": {"creators": ["keeper"], "function": self.two([], ["EXECUTE"]), "type": self.two(["USAGE"], [])},
        }

    def roles(self) -> list[Document]:
        grants = [
            *_in_database(self),
            {"grant": {"tablespace": ["CREATE"]}, "tablespaces": self.two(["fast"], ["pg_default"])},
        ]
        if self.major >= 15:
            words = self.two(["SET"], ["SET", "ALTER SYSTEM"])
            grants.append({"grant": {"parameter": words}, "parameters": ["work_mem", "my.own"]})
        return [
            group("keeper"),
            group("heir", superuser=True),
            group("chief", superuser=True),
            group("clerk", privileges=grants),
            group("readers", privileges=[self.reader()], members={"roles": self.two(["app"], ["app", "flags"])}),
            group("writers", privileges=[{"profile": "writer", "database": "shop", "schemas": ["extra"]}]),
            self.app(),
            self.flags(),
        ]

    def reader(self) -> dict[str, Any]:
        maintain = self.two([], ["MAINTAIN"]) if self.major >= 17 else []
        grant = {
            "table": [*self.two(["SELECT"], ["SELECT", "INSERT"]), *maintain],
            "sequence": self.two(["USAGE"], ["SELECT"]),
            "function": ["EXECUTE"],
            "type": ["USAGE"],
            "schema": self.two(["USAGE"], ["USAGE", "CREATE"]),
            "database": self.two(["CONNECT"], ["CONNECT", "TEMPORARY"]),
        }
        return {
            "grant": grant,
            "database": "shop",
            "schemas": ["app"],
            "future": {"creators": self.two(["keeper"], ["keeper", "heir"])},
        }

    def app(self) -> Document:
        options = {"inherit": self.two(False, True), "set": self.two(False, True)} if self.major >= 16 else {}
        return user(
            "app",
            auth={"method": "scram", "password": {"secret": self.two("first", "second")}},
            memberOf=[{"role": "writers", "admin": self.two(True, False), **options}],
            connectionLimit=self.two(20, 21),
            validUntil=self.two("2099-06-30", "2098-06-30"),
            comment=self.two("the application", "still"),
            settings={"statement_timeout": self.two("5min", "6min")},
            databaseSettings={"shop": {"work_mem": self.two("16MB", "17MB")}},
        )

    def flags(self) -> Document:
        names = ("superuser", "createdb", "createrole", "replication", "bypassrls")
        return user(
            "flags", login=self.two(True, False), inherit=self.two(True, False), **dict.fromkeys(names, self.changed)
        )


def _in_database(whole: Whole) -> list[dict[str, Any]]:
    """The classes whose objects a grant names one by one."""
    two = whole.two
    columns = {"schemas": ["app"], "tables": ["t"], "columns": two(["id"], ["id", "tenant"])}
    parts: list[dict[str, Any]] = [
        {"grant": {"table": two(["SELECT"], ["SELECT", "UPDATE"])}, **columns},
        {"grant": {"table": ["SELECT"]}, "schemas": ["app"], "tables": ["u"], "grantOption": two(False, True)},
        {
            "grant": {"function": ["EXECUTE"]},
            "schemas": ["app"],
            "functions": two(["f(int)"], ["f(int)", "p(integer)"]),
        },
        {"grant": {"type": ["USAGE"]}, "schemas": ["app"], "types": two(["mood"], ["mood", "age"])},
        {"grant": {"sequence": two(["USAGE"], ["UPDATE"])}, "schemas": ["app"], "sequences": ["numbers"]},
        {"grant": {"language": ["USAGE"]}, "languages": two(["plpgsql"], ["plpgsql", "sql"])},
        {"grant": {"foreignServer": ["USAGE"]}, "foreignServers": ["far"], "grantOption": two(False, True)},
        {"grant": {"foreignDataWrapper": ["USAGE"]}, "foreignDataWrappers": two(["own"], ["own", "strict"])},
        {"grant": {"largeObject": two(["SELECT"], ["SELECT", "UPDATE"])}, "largeObjects": [16423]},
        {"grant": {"schema": ["USAGE"]}, "future": {"creators": two(["keeper"], ["heir"])}},
    ]
    if whole.major >= 18:
        parts.append({"grant": {"largeObject": two(["SELECT"], ["UPDATE"])}, "future": {"creators": ["keeper"]}})
    return [{"database": "shop", **part} for part in parts]


def contents_gone(whole: Whole) -> dict[str, list[Document]]:
    """Everything in the database, and what hangs on it, is a tombstone."""
    documents = whole.documents()
    spec = documents["estate"][1]["spec"]
    shop = spec["databases"][0]

    def absent(part: Any, *keep: str) -> list[dict[str, Any]]:
        return [{"ensure": "absent", **{key: each[key] for key in ("name", *keep)}} for each in part]

    policies = [{**policy, "ensure": "absent"} for policy in shop["rowSecurity"][0]["policies"]]
    spec["databases"][0] = {
        "name": "shop",
        "settings": {},
        "schemas": absent([{"name": "extra"}]),
        "extensions": absent([{"name": "citext"}, {"name": "postgres_fdw"}]),
        "foreignDataWrappers": absent(shop["foreignDataWrappers"]),
        "foreignServers": absent(shop["foreignServers"], "wrapper", "userMappings"),
        "publications": absent(shop["publications"]),
        "subscriptions": absent(shop["subscriptions"]),
        "eventTriggers": absent(shop["eventTriggers"]),
        "rowSecurity": [{"table": "app.t", "enabled": False, "policies": policies}],
    }
    spec["replicationSlots"] = absent(spec["replicationSlots"])
    spec["postgres"]["parameters"] = {"work_mem": None}
    for document in documents["roles"]:
        document["spec"].pop("privileges", None)
        document["spec"].pop("replication", None)  # who may replicate is never dropped
    return documents


def all_gone(whole: Whole) -> dict[str, list[Document]]:
    """The databases, the roles and the tablespace are tombstones too."""
    names = ["keeper", "heir", "chief", "clerk", "readers", "writers"]
    gone = [{"name": name, "ensure": "absent", "deletionProtection": False} for name in ("shop", "made")]
    tablespace = [{"name": "fast", "ensure": "absent"}]
    roles = [
        *(group(name, ensure="absent") for name in names),
        user("app", ensure="absent"),
        user("flags", ensure="absent"),
    ]
    return {
        "estate": [free_policy(), cluster("c", whole.host, databases=gone, tablespaces=tablespace)],
        "roles": roles,
    }


LEFT = """
SELECT 'database', datname::text FROM pg_database WHERE datname !~ '^(template|postgres|source)'
UNION ALL SELECT 'role', rolname FROM pg_roles WHERE rolname !~ '^(pg_|postgres|copier)'
UNION ALL SELECT 'tablespace', spcname FROM pg_tablespace WHERE spcname !~ '^pg_'
UNION ALL SELECT 'slot', slot_name FROM pg_replication_slots
UNION ALL SELECT 'subscription', subname FROM pg_subscription
UNION ALL SELECT 'setting', setconfig::text FROM pg_db_role_setting
UNION ALL SELECT 'membership', roleid::regrole::text FROM pg_auth_members
  WHERE roleid::regrole::text !~ '^pg_'
"""


class Drift(NamedTuple):
    """What somebody does by hand in database shop, and what must be found: the address and the field."""

    address: str
    field: str
    since: int
    statement: str | None

    @property
    def gone(self) -> bool:
        return self.field == "gone"


def drifts_of(major: int) -> list[list[Drift]]:
    """The rounds of whole_drifts.yaml, as far as this major version has what they change."""
    rounds = yaml.safe_load(Path(__file__).with_name("whole_drifts.yaml").read_text())
    return [[drift for drift in _drifts(addresses) if drift.since <= major] for addresses in rounds]


def _drifts(addresses: dict[str, dict[str, Any]]) -> Iterator[Drift]:
    for address, fields in addresses.items():
        for field, entry in fields.items():
            since, statement = entry if isinstance(entry, list) else (13, entry)
            yield Drift(address, field, since, statement)
