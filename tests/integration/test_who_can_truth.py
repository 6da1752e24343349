"""`who-can` against PostgreSQL's own has_…_privilege(), for every role, over a cluster of random odd rights."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pgvillage.access.question import parse_question
from pgvillage.access.who_can import Answer, answer
from pgvillage.core.address import quote_part
from pgvillage.core.plan import TargetId
from pgvillage.resources.postgres.acl import ALL
from pgvillage.usecases.estate import Scope, load_estate
from pgvillage.usecases.explain_role import explain_role
from pgvillage.usecases.who_can import _ask
from pgvillage.wiring import real_world
from tests.integration.conftest import new_estate
from tests.integration.estate_builder import EstateBuilder, cluster
from tests.servers.postgres import PostgresServer

DATABASE = 'odd "shop"'
SCHEMAS = ["app", "My Schema", 'a"b.c']
ODD_ROLES = ["R 0", 'r"1', "Ünï", "r%s", "r.dot", "r{}", "back\\slash"]
ROLES = ODD_ROLES + [f"r{n}" for n in range(len(ODD_ROLES), 36)]
PREDEFINED = ["pg_read_all_data", "pg_write_all_data", "pg_monitor", "pg_maintain"]
_FUNCTIONS = {
    "table": "has_table_privilege",
    "sequence": "has_sequence_privilege",
    "function": "has_function_privilege",
    "schema": "has_schema_privilege",
    "database": "has_database_privilege",
    "type": "has_type_privilege",
    "tablespace": "has_tablespace_privilege",
    "parameter": "has_parameter_privilege",
    "language": "has_language_privilege",
    "foreignDataWrapper": "has_foreign_data_wrapper_privilege",
    "foreignServer": "has_server_privilege",
    "largeObject": "has_largeobject_privilege",
}
# What no schema holds: SQL's words for the class, and for `who-can` names of one part, or in DATABASE.
OUTSIDE = {
    "tablespace": ("TABLESPACE", ["pg_default", "pg_global"]),
    "parameter": ("PARAMETER", ["work_mem", "log_statement", "odd.own", "datestyle"]),
    "language": ("LANGUAGE", ["plpgsql", "sql", "Odd l.1"]),
    "foreignDataWrapper": ("FOREIGN DATA WRAPPER", ["plain", 'W "x".']),
    "foreignServer": ("FOREIGN SERVER", ["far", 'S "x".']),
    "largeObject": ("LARGE OBJECT", ["16423", "16424"]),
}
_CLUSTER_WIDE = ("tablespace", "parameter")
_READS = 0x40000


@dataclass
class Odd:
    """A cluster full of random rights; `objects` maps a class to names in parts as `who-can` is given them."""

    server: PostgresServer
    estate: EstateBuilder
    seed: int
    objects: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    sessions: dict[str, psycopg.Connection[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.major = int(self.server.sql("SHOW server_version_num")[0][0]) // 10000
        self._roles()
        self._objects()
        for _ in range(420):
            self._grant()
        for _ in range(30):
            self._revoke()
        self._outside_schemas()

    def run(self, text: str, *names: str, database: str = "postgres") -> None:
        statement = sql.SQL(text.replace("{}", "{{}}").replace("%I", "{}")).format(*map(sql.Identifier, names))
        if database not in self.sessions:
            self.sessions[database] = self.server.connect(database)
        self.sessions[database].execute(statement)

    def _roles(self) -> None:
        chance = self.random.random
        for name in ROLES:
            words = ["LOGIN" if chance() < 0.6 else "NOLOGIN", "NOINHERIT" if chance() < 0.35 else "INHERIT"]
            words += ["SUPERUSER"] if chance() < 0.05 else []
            self.run(f"CREATE ROLE %I {' '.join(words)}", name)
        there = [name for (name,) in self.server.sql("SELECT rolname::text FROM pg_roles") if name in PREDEFINED]
        self.predefined = there
        for index, member in enumerate(ROLES):
            for group in self.random.sample(ROLES[:index], min(index, self.random.choice([0, 1, 1, 2, 3]))):
                self.run(f"GRANT %I TO %I{self._options()}", group, member)
        for group in there:
            for member in self.random.sample(ROLES, 3):
                self.run(f"GRANT %I TO %I{self._options()}", group, member)

    def _options(self) -> str:
        if self.major < 16:
            return self.random.choice(["", "", " WITH ADMIN OPTION"])
        words = [
            f"{w} {self.random.choice(['TRUE', 'FALSE'])}" for w in ("INHERIT", "SET") if self.random.random() < 0.5
        ]
        words += ["ADMIN TRUE"] if self.random.random() < 0.2 else []
        return f" WITH {', '.join(words)}" if words else ""

    def _objects(self) -> None:
        pick = self.random.choice
        self.run("CREATE DATABASE %I OWNER %I", DATABASE, pick(ROLES))
        self.objects = {
            "database": [(DATABASE,)],
            "schema": [],
            "table": [],
            "sequence": [],
            "function": [],
            "type": [],
        }
        for schema in SCHEMAS:
            self.run("CREATE SCHEMA %I", schema, database=DATABASE)
            self.objects["schema"].append((DATABASE, schema))
            for number in range(6):
                name = pick(["t", "T 1.", 't"']) + str(number)
                self._make(
                    "table", schema, name, 'CREATE TABLE %I.%I (id int, "A b" text, c.d int)'.replace("c.d", '"c.d"')
                )
            for number in range(3):
                self._make("sequence", schema, f"s {number}", "CREATE SEQUENCE %I.%I")
                self._make("type", schema, f"k{number}", "CREATE TYPE %I.%I AS ENUM ('a')")
            for number, arguments in enumerate(("", "integer", "text, integer[]")):
                made = f"CREATE FUNCTION %I.%I({arguments}) RETURNS int LANGUAGE sql AS 'SELECT 1'"
                self._make("function", schema, f"f{number}", made, f"({arguments})")
            if self.random.random() < 0.7:
                self.run("ALTER SCHEMA %I OWNER TO %I", schema, pick(ROLES), database=DATABASE)
        self.objects["schema"].append((DATABASE, "public"))
        self.objects["table"].append((DATABASE, "pg_catalog", "pg_class"))
        self.objects["table"].append((DATABASE, "pg_catalog", "pg_roles"))

    def _make(self, object_class: str, schema: str, name: str, statement: str, signature: str = "") -> None:
        self.run(statement, schema, name, database=DATABASE)
        owner = self.random.choice([*ROLES, "pg_database_owner"] if self.major >= 14 else ROLES)
        word = object_class.upper()
        self.run(f"ALTER {word} %I.%I{signature} OWNER TO %I", schema, name, owner, database=DATABASE)
        self.objects[object_class].append((DATABASE, schema, name + signature))

    def _place(self) -> tuple[str, tuple[str, ...], str]:
        object_class = self.random.choice(
            ["table", "table", "table", "sequence", "function", "type", "schema", "database"]
        )
        *parts, last = self.random.choice(self.objects[object_class])
        name, paren, rest = last.partition("(") if object_class == "function" else (last, "", "")
        dots = ".".join(["%I"] * max(len(parts), 1))
        names = (*parts[1:], name) if parts else (name,)
        return object_class, names, f"{object_class.upper()} {dots}{paren}{rest}"

    def _grant(self) -> None:
        object_class, names, text = self._place()
        known = [p for p in ALL[object_class] if p != "MAINTAIN" or self.major >= 17]
        privilege = self.random.choice([*known, "ALL"])
        if object_class == "table" and privilege in ALL["column"] and self.random.random() < 0.5:
            privilege += (
                {"pg_class": " (relname)", "pg_roles": " (rolname)"}[names[1]]
                if names[0] == "pg_catalog"
                else self.random.choice([" (id)", ' ("A b", "c.d")'])
            )
        public = self.random.random() < 0.04
        option = "" if public or self.random.random() < 0.7 else " WITH GRANT OPTION"
        grantees = [*ROLES, *self.predefined, *(["pg_database_owner"] if self.major >= 14 else [])]
        grantee = () if public else (self.random.choice(grantees),)
        self.run(
            f"GRANT {privilege} ON {text} TO {'PUBLIC' if public else '%I'}{option}",
            *names,
            *grantee,
            database=DATABASE,
        )

    def _revoke(self) -> None:
        """What PUBLIC has by itself, and what owners may take from themselves."""
        object_class, names, text = self._place()
        if names[0] == "pg_catalog":
            return
        if self.random.random() < 0.5:
            self.run(f"REVOKE ALL ON {text} FROM PUBLIC", *names, database=DATABASE)
        else:
            if object_class != "table":
                return
            text_of_owner = "SELECT tableowner FROM pg_tables WHERE schemaname = {} AND tablename = {}"
            found = sql.SQL(text_of_owner).format(*map(sql.Literal, names))
            row = self.sessions[DATABASE].execute(found).fetchone()
            assert row
            self.run(f"REVOKE SELECT, DELETE ON {text} FROM %I CASCADE", *names, row[0], database=DATABASE)

    def _outside_schemas(self) -> None:
        """Servers, wrappers, languages, large objects, tablespaces, parameters: made, given away, granted."""
        self.run("CREATE TRUSTED LANGUAGE %I HANDLER plpgsql_call_handler", "Odd l.1", database=DATABASE)
        for wrapper, server in zip(OUTSIDE["foreignDataWrapper"][1], OUTSIDE["foreignServer"][1], strict=True):
            self.run("CREATE FOREIGN DATA WRAPPER %I", wrapper, database=DATABASE)
            self.run("CREATE SERVER %I FOREIGN DATA WRAPPER %I", server, wrapper, database=DATABASE)
        for number in OUTSIDE["largeObject"][1]:
            self.run(f"SELECT lo_create({number})", database=DATABASE)
        for object_class, (word, names) in OUTSIDE.items():
            here = () if object_class in _CLUSTER_WIDE else (DATABASE,)
            self.objects[object_class] = [(*here, name) for name in names]
            for name in names:
                if object_class == "parameter" and self.major < 15:
                    continue
                shown, quoted = (name, ()) if object_class in ("parameter", "largeObject") else ("%I", (name,))
                if object_class not in ("parameter", "foreignDataWrapper"):
                    kind = word.removeprefix("FOREIGN ")
                    self.run(f"ALTER {kind} {shown} OWNER TO %I", *quoted, self.random.choice(ROLES), database=DATABASE)
                for _ in range(7):
                    self._grant_outside(object_class, f"{word} {shown}", quoted)

    def _grant_outside(self, object_class: str, text: str, names: tuple[str, ...]) -> None:
        privilege = self.random.choice([*ALL[object_class], "ALL"])
        public = self.random.random() < 0.04
        owners = ["pg_database_owner"] if self.major >= 14 and object_class not in _CLUSTER_WIDE else []
        grantee = () if public else (self.random.choice([*ROLES, *self.predefined, *owners]),)
        option = "" if public or self.random.random() < 0.7 else " WITH GRANT OPTION"
        to = "PUBLIC" if public else "%I"
        self.run(f"GRANT {privilege} ON {text} TO {to}{option}", *names, *grantee, database=DATABASE)
        if self.random.random() < 0.1 and "language" in object_class:
            self.run(f"REVOKE ALL ON {text} FROM PUBLIC", *names, database=DATABASE)

    def readers_of_large_object(self, number: str) -> list[str]:
        """Who can, by trying: has_largeobject_privilege() came with PostgreSQL 18."""
        session, found = self.sessions[DATABASE], []
        for (role,) in self.server.sql("SELECT rolname::text FROM pg_roles"):
            try:
                with session.transaction():
                    session.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
                    session.execute(f"SELECT lo_open({number}, {_READS})")
            except psycopg.errors.InsufficientPrivilege:
                continue
            found.append(role)
        return found


@pytest.fixture(scope="module")
def odd(pg_of_major: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    estate = new_estate(tmp_path_factory.mktemp("odd"), pg_of_major)
    estate.documents = {"a": [cluster("c", pg_of_major.host, databases=[{"name": DATABASE}])]}
    estate.commit()
    made = Odd(pg_of_major, estate, 20261123)
    yield made
    for session in made.sessions.values():
        session.close()


def asked(odd: Odd, questions: list[tuple[str, str]]) -> list[Answer]:
    """One look at each object; its privileges are then asked of what it found."""
    world = real_world(odd.estate.settings_file)

    async def look_at_all() -> dict[str, Answer]:
        loaded = await load_estate(world, Scope())
        limit = asyncio.Semaphore(4)

        async def one(privilege: str, name: str) -> tuple[str, Answer]:
            async with limit:
                return name, await _ask(world, TargetId("c"), loaded.views["c"], parse_question(privilege, name))

        first = {name: privilege for privilege, name in reversed(questions)}
        return dict(await asyncio.gather(*(one(privilege, name) for name, privilege in first.items())))

    looks = asyncio.run(look_at_all())
    return [
        answer(parse_question(privilege, name), looks[name].found, looks[name].feeds, "c", looks[name].read_at)
        for privilege, name in questions
    ]


def spelled(object_class: str, parts: tuple[str, ...]) -> str:
    *path, last = parts
    if object_class in OUTSIDE:
        word = OUTSIDE[object_class][0].lower().replace(" ", "-")
        return f"{word}:{last if object_class == 'parameter' else '.'.join(map(quote_part, parts))}"
    return ".".join([*map(quote_part, path), last if object_class == "function" else quote_part(last)])


def truths(odd: Odd) -> Iterator[tuple[str, str, str, str]]:
    """Class, privilege, name for who-can, and an SQL expression over pg_roles r."""
    for object_class, names in odd.objects.items():
        known = [p for p in ALL[object_class] if p != "MAINTAIN" or odd.major >= 17]
        for parts in names:
            oid = object_text(object_class, parts)
            for privilege in (*known, *(f"{p} WITH GRANT OPTION" for p in known)):
                truth = f"{_FUNCTIONS[object_class]}(r.oid, {oid}, '{privilege}')"
                if object_class == "parameter" and odd.major < 15:
                    truth = "r.rolsuper"
                if object_class == "largeObject" and odd.major < 18:
                    if privilege != "SELECT":
                        continue  # to open one for writing takes SELECT too
                    roles = sql.Literal(odd.readers_of_large_object(parts[-1])).as_string(None)
                    truth = f"r.rolname::text = ANY ({roles}::text[])"
                yield object_class, privilege, spelled(object_class, parts), truth
    for parts in [*odd.objects["table"][::3], (DATABASE, "pg_catalog", "pg_class")]:
        columns = ["id", "A b", "c.d"] if parts[1] != "pg_catalog" else ["relname", "oid"]
        for column in columns:
            for privilege in (*ALL["column"], "SELECT WITH GRANT OPTION"):
                literal = sql.Literal(column).as_string(None)
                truth = f"has_column_privilege(r.oid, {object_text('table', parts)}, {literal}, '{privilege}')"
                yield "column", privilege, spelled("table", (*parts, column)), truth


def object_text(object_class: str, parts: tuple[str, ...]) -> str:
    if object_class == "largeObject":
        return f"{parts[-1]}::oid"
    if object_class in ("database", "schema", *OUTSIDE):
        return sql.Literal(parts[-1]).as_string(None)
    name, paren, rest = parts[-1].partition("(") if object_class == "function" else (parts[-1], "", "")
    text = sql.Identifier(*parts[1:-1], name).as_string(None) + paren + rest
    return sql.Literal(text).as_string(None)


@pytest.mark.parametrize("pg_of_major", [13, 15, 16, 17, 18], indirect=True, ids=lambda major: f"pg{major}")
def test_every_role_every_object_every_privilege(odd: Odd) -> None:
    assert len(ROLES) >= 30
    assert sum(map(len, odd.objects.values())) >= 40
    wanted = list(truths(odd))
    roles = [name for (name,) in odd.server.sql("SELECT rolname::text FROM pg_roles r ORDER BY r.oid")]
    became = "SET" if odd.major >= 16 else "MEMBER"
    pairs = "SELECT r.rolname::text, g.rolname::text FROM pg_roles r, pg_roles g"
    may_set = f"{pairs} WHERE pg_has_role(r.oid, g.oid, '{became}')"
    sets: dict[str, set[str]] = {}
    for role, group in odd.server.sql(may_set, database=DATABASE):
        sets.setdefault(role, set()).add(group)
    rows: list[list[bool]] = []
    for start in range(0, len(wanted), 400):
        columns = ", ".join(f"array_agg({truth} ORDER BY r.oid)" for *_, truth in wanted[start : start + 400])
        rows += odd.server.sql(f"SELECT {columns} FROM pg_roles r", database=DATABASE)[0]
    answers = asked(odd, [(privilege, name) for _, privilege, name, _ in wanted])
    wrong: list[str] = []
    yes = later = 0
    for (object_class, privilege, name, _), found, row in zip(wanted, answers, rows, strict=True):
        truth = {role for role, has in zip(roles, row, strict=True) if has}
        becomes = {role for role in roles if role not in truth and sets.get(role, set()) & truth}
        place = f"{privilege} on {object_class} {name}"
        wrong += [f"{place}: of {role!r} PostgreSQL says {role in truth}" for role in truth ^ found.has]
        wrong += [f"{place}: after SET ROLE {role!r} {role in becomes}" for role in becomes ^ found.after_set_role]
        assert {r.name for g in found.groups for r in g.roles} == found.has | found.after_set_role | found.on_columns
        yes, later = yes + len(truth), later + len(becomes)
    assert wrong == [], "\n".join(sorted(wrong)[:40])
    assert yes > 3000  # so that agreeing on "nobody" is not all there is
    assert later > 300


@pytest.mark.parametrize("pg_of_major", [15, 17], indirect=True, ids=lambda major: f"pg{major}")
def test_explain_role_says_the_same(odd: Odd) -> None:
    questions = [q for q in truths(odd) if q[0] != "column" and "pg_catalog" not in q[2] and "OPTION" not in q[1]]
    known = {(kind, parts): spelled(kind, parts) for kind, names in odd.objects.items() for parts in names}
    supers = {name for (name,) in odd.server.sql("SELECT rolname::text FROM pg_roles WHERE rolsuper")}
    for role in [each for each in ROLES if each not in supers][:8]:
        oid = f"{sql.Literal(role).as_string(None)}::name"
        columns = ", ".join(truth.replace("r.oid", oid).replace("r.rolname", oid) for *_, truth in questions)
        row = odd.server.sql(f"SELECT {columns}", database=DATABASE)[0]
        expected = {(kind, p, name) for (kind, p, name, _), has in zip(questions, row, strict=True) if has}
        (account,) = asyncio.run(explain_role(real_world(odd.estate.settings_file), Scope(), role)).accounts
        said = {
            (right.place[0], privilege, known.get((right.place[0], parts_of(right.place, name)), ""))
            for right in account.rights
            for name in right.names
            for privilege in right.privileges
        }
        assert said & {question[:3] for question in questions} == expected, role


def parts_of(place: tuple[str, str, str], name: str) -> tuple[str, ...]:
    object_class, database, schema = place
    if object_class in OUTSIDE:
        return (name,) if object_class in _CLUSTER_WIDE else (database, name)
    return {"database": (database,), "schema": (database, schema)}.get(object_class, (database, schema, name))
