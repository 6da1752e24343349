"""Tablespaces, slots, wrappers, foreign servers and user mappings on a real server: made, changed, drifted, dropped."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_CHANGES, EXIT_INVALID, EstateBuilder, cluster, free_policy, group
from tests.integration.test_hostile_names import NAMES
from tests.servers import wait_until
from tests.servers.postgres import PostgresServer, as_user, postgres_server

PASSWORD = 'planted-it\'s\\a "far" {password} %s'
POSTGRES_FDW = {"name": "postgres_fdw"}


def major(server: PostgresServer) -> int:
    return int(server.sql("SHOW server_version_num")[0][0]) // 10000


@contextmanager
def server_folders(*names: str) -> Iterator[list[str]]:
    """Empty folders that the server may write."""
    with tempfile.TemporaryDirectory(prefix="pgvillage-tablespaces-") as home:
        owner = as_user()
        folders = [Path(home) / name for name in names]
        for folder in folders:
            folder.mkdir()
        for path in (Path(home), *folders):
            if owner:
                shutil.chown(path, owner["user"], owner["group"])
        yield [str(folder) for folder in folders]


def write(estate: EstateBuilder, server: PostgresServer, database: dict[str, Any], **spec: Any) -> None:
    databases = [{"name": "app", **database}, *spec.pop("more", [])]
    estate.settings["secrets"] = {
        name: {"file": str(estate.folder / name)} for name in ("far", "other") if (estate.folder / name).exists()
    }
    estate.documents = {
        "c": [
            free_policy(),
            cluster("c", server.host, databases=databases, **spec),
            group("keeper"),
            group("heir", superuser=True),
        ]
    }
    estate.commit()


def plant(estate: EstateBuilder, name: str, value: str) -> None:
    (estate.folder / name).write_text(value)


def drifted(estate: EstateBuilder, address: str) -> dict[str, Any]:
    found = estate.run("drift", "-o", "json").done(EXIT_CHANGES).changes
    assert list(found) == [address], list(found)
    assert found[address]["origin"] == "drift"
    change: dict[str, Any] = found[address]
    return change


def corrected(estate: EstateBuilder) -> None:
    estate.apply().done()
    estate.settled()


# --- tablespaces


def test_a_tablespace_lives(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    name = 'fast "disk"; -- %s {0}\''
    with server_folders("one two", "three") as (place, other):
        spec = {
            "name": name,
            "location": place,
            "owner": "keeper",
            "comment": "it's",
            "settings": {"seq_page_cost": 0.5, "effective_io_concurrency": 200},
        }
        write(estate, pg, {"tablespace": name}, tablespaces=[spec])
        estate.apply().done()
        estate.settled()
        of_database = (
            "SELECT spcname FROM pg_tablespace t JOIN pg_database d ON d.dattablespace = t.oid WHERE datname = 'app'"
        )
        assert pg.sql(of_database) == [(name,)]

        quoted = sql.Identifier(name).as_string(None)
        for statement, field, before, after in (
            (f"ALTER TABLESPACE {quoted} OWNER TO postgres", "owner", "postgres", "keeper"),
            (f"COMMENT ON TABLESPACE {quoted} IS 'hacked'", "comment", "hacked", "it's"),
            (f"ALTER TABLESPACE {quoted} SET (seq_page_cost = 2.50)", "seq_page_cost", "2.5", "0.5"),
            (f"ALTER TABLESPACE {quoted} RESET (effective_io_concurrency)", "effective_io_concurrency", None, "200"),
            (f"ALTER TABLESPACE {quoted} SET (random_page_cost = 9)", "random_page_cost", "9", None),
        ):
            pg.sql(statement)
            change = drifted(estate, f"c/tablespace/{_label(name)}")
            assert (change["before"].get(field), change["after"].get(field)) == (before, after)
            corrected(estate)

        changed = {**spec, "owner": "heir", "comment": "new", "settings": {"random_page_cost": 1.1}}
        write(estate, pg, {"tablespace": name}, tablespaces=[changed])
        assert estate.plan().done().changes.keys() == {f"c/tablespace/{_label(name)}"}
        corrected(estate)
        assert pg.sql(f"SELECT spcoptions FROM pg_tablespace WHERE spcname = {_text(name)}") == [
            (["random_page_cost=1.1"],)
        ]

        write(estate, pg, {"tablespace": name}, tablespaces=[{**changed, "location": other}])
        [change] = estate.plan().done().changes.values()
        assert "location can't be changed" in change["held"]

        write(estate, pg, {"tablespace": "pg_default"}, tablespaces=[changed])
        [change] = estate.plan().done().changes.values()
        assert 'ALTER DATABASE "app" SET TABLESPACE "pg_default"' in change["held"]

        gone = {"ensure": "absent", "deletionProtection": False}
        write(estate, pg, gone, tablespaces=[{"name": name, "ensure": "absent"}])
        digest = next(iter(estate.plan().targets.values()))["digest"]
        estate.apply("--approve", digest).done()
        estate.settled()
        assert pg.sql("SELECT count(*) FROM pg_tablespace") == [(2,)]


def test_tablespaces_that_cannot_be(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    write(estate, pg, {"tablespace": "nowhere"}, tablespaces=[{"name": "vague"}])
    changes = estate.plan().done().changes
    assert "needs `location`" in changes["c/tablespace/vague"]["held"]
    assert "no tablespace nowhere" in changes["c/database/app"]["held"]
    for place in ("relative", "/ends/", "/a/../b", "/it's"):
        write(estate, pg, {}, tablespaces=[{"name": "t", "location": place}])
        assert "location" in estate.run("validate").done(EXIT_INVALID).text


def _label(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(value: str) -> str:
    return sql.Literal(value).as_string(None)


# --- databases


def test_a_database_with_another_locale_provider(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    more = [
        {"name": "by icu", "localeProvider": "icu", "icuLocale": "nl_NL", "isTemplate": True},
        {"name": "built in", "localeProvider": "builtin", "builtinLocale": "C.UTF-8"},
        {"name": "of libc", "localeProvider": "libc", "locale": "C"},
    ]
    write(estate, pg, {}, more=more)
    version = major(pg)
    held = {address: change["held"] for address, change in estate.plan().done().changes.items() if change["held"]}
    expected = {name for name, since in (('"by icu"', 15), ('"built in"', 17)) if version < since}
    assert set(held) == {f"c/database/{name}" for name in expected}
    assert all(f"the server is {version}" in text for text in held.values())
    write(estate, pg, {}, more=[d for d in more if f'"{d["name"]}"' not in expected])
    estate.apply().done()
    estate.settled()
    if version < 15:
        return
    assert pg.sql("SELECT datlocprovider FROM pg_database WHERE datname = 'by icu'") in ([("i",)], [(b"i",)])
    pg.sql('ALTER DATABASE "by icu" IS_TEMPLATE false')
    change = drifted(estate, 'c/database/"by icu"')
    assert (change["before"]["is_template"], change["after"]["is_template"]) == (False, True)
    corrected(estate)
    write(estate, pg, {}, more=[{"name": "by icu", "localeProvider": "icu", "icuLocale": "de-DE"}])
    [change] = estate.plan().done().changes.values()
    assert "provider_locale can't be changed in place" in change["held"]


# --- replication slots


@pytest.fixture(scope="module")
def logical(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    folder = tmp_path_factory.mktemp("logical")
    with postgres_server(folder, wal_level="logical", max_replication_slots="10", max_wal_senders="10") as server:
        yield server


def slots(server: PostgresServer) -> list[tuple[Any, ...]]:
    return server.sql("SELECT slot_name, plugin, database FROM pg_replication_slots ORDER BY 1")


def test_slots_are_made_once_and_dropped_when_unused(logical: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(logical)
    modern = ({"twoPhase": True} if major(logical) >= 14 else {}) | ({"failover": True} if major(logical) >= 17 else {})
    wanted = [
        {"name": "standby_1"},
        {"name": "cdc", "plugin": "test_decoding", "database": 'a"b; %s {0}', **modern},
    ]
    more = [{"name": 'a"b; %s {0}'}]
    write(estate, logical, {}, more=more, replicationSlots=wanted)
    estate.apply().done()
    estate.settled()
    assert slots(logical) == [("cdc", "test_decoding", 'a"b; %s {0}'), ("standby_1", None, None)]

    logical.sql("SELECT pg_drop_replication_slot('standby_1')")
    assert drifted(estate, "c/slot/standby_1")["actions"] == ["create"]
    corrected(estate)

    for field, value in (("plugin", "pgoutput"), ("database", "app")):
        write(estate, logical, {}, more=more, replicationSlots=[wanted[0], {**wanted[1], field: value}])
        [change] = estate.plan().done().changes.values()
        assert f"{field} can't be changed in place" in change["held"]

    gone = [{"name": slot["name"], "ensure": "absent"} for slot in wanted]
    write(estate, logical, {}, more=more, replicationSlots=gone)
    with _streaming(logical, "cdc", 'a"b; %s {0}') as pid:
        held = estate.plan().done().changes["c/slot/cdc"]["held"]
        assert f"in use by pid {pid}" in held
        assert "the consumer" in held
    digest = next(iter(estate.plan().targets.values()))["digest"]
    estate.apply("--approve", digest).done()
    estate.settled()
    assert slots(logical) == []


@contextmanager
def _streaming(server: PostgresServer, slot: str, database: str) -> Iterator[int]:
    """A session that streams from the slot for as long as the block lasts."""
    consumer = server.connect(database, replication="database", application_name="the consumer")
    try:
        consumer.pgconn.send_query(f"START_REPLICATION SLOT {slot} LOGICAL 0/0".encode())
        consumer.pgconn.flush()
        _until(server, slot, active=True)
        yield consumer.info.backend_pid
    finally:
        consumer.close()
    _until(server, slot, active=False)


def _until(server: PostgresServer, slot: str, active: bool) -> None:
    text = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'"
    wait_until(lambda: server.sql(text) == [(active,)], "the consumer of the slot")


def test_what_keeps_wal_back_is_said(tmp_path: Path, estate_of: EstateMaker) -> None:
    with postgres_server(tmp_path / "pg", max_wal_size="32MB", min_wal_size="32MB", wal_level="logical") as server:
        server.sql("SELECT pg_create_physical_replication_slot('forgotten', true)")
        estate = estate_of(server)
        write(estate, server, {}, replicationSlots=[{"name": "ours"}])
        estate.apply().done()
        assert "forgotten" not in estate.plan().text
        for _ in range(6):
            server.sql(
                "CREATE TABLE IF NOT EXISTS junk (i int)",
                "INSERT INTO junk VALUES (1)",
                "SELECT pg_switch_wal()",
                "CHECKPOINT",
            )
        assert "slot (that no manifest declares) forgotten" in estate.run("plan").text
        write(estate, server, {})
        assert "forgotten" not in estate.run("plan").text, "nobody asked about slots"


def test_a_logical_slot_needs_its_level(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    write(estate, pg, {}, replicationSlots=[{"name": "cdc", "plugin": "pgoutput", "database": "app"}])
    assert "needs `wal_level: logical`" in estate.plan().done().changes["c/slot/cdc"]["held"]


# --- foreign data


def far(**more: Any) -> dict[str, Any]:
    return {
        "name": "far",
        "wrapper": "postgres_fdw",
        "owner": "keeper",
        "version": "9",
        "comment": "it's far",
        "options": {"host": "127.0.0.1", "dbname": "postgres"},
        "userMappings": [
            {"role": "keeper", "options": {"user": "reader"}, "secretOptions": {"password": {"secret": "far"}}},
            {"role": "public", "options": {"user": "nobody"}},
        ],
        **more,
    }


def foreign(server: dict[str, Any], **more: Any) -> dict[str, Any]:
    wrapper = {"name": "postgres_fdw", "owner": "heir", "comment": "of the package"}
    return {"extensions": ["postgres_fdw"], "foreignDataWrappers": [wrapper], "foreignServers": [server], **more}


def test_postgres_fdw_is_set_up_and_used(pg: PostgresServer, estate_of: EstateMaker) -> None:
    pg.sql("CREATE ROLE reader LOGIN PASSWORD " + _text(PASSWORD))
    estate = estate_of(pg)
    plant(estate, "far", PASSWORD)
    write(estate, pg, foreign(far()))
    port = {"host": "127.0.0.1", "dbname": "postgres", "port": str(pg.port)}
    write(estate, pg, foreign(far(options=port)), externalRoles=["reader"])
    estate.apply().done()
    estate.settled()
    with pg.connect("app") as connection:
        connection.execute("CREATE SCHEMA work AUTHORIZATION keeper")
        connection.execute("SET ROLE keeper")
        connection.execute(
            "CREATE FOREIGN TABLE work.roles (rolname name) SERVER far "
            "OPTIONS (schema_name 'pg_catalog', table_name 'pg_roles')"
        )
        found = connection.execute("SELECT count(*) FROM work.roles WHERE rolname = 'reader'").fetchone()
        assert found == (1,)
    assert PASSWORD not in pg.log.read_text().replace("CREATE ROLE reader LOGIN PASSWORD " + _text(PASSWORD), "")
    for arguments in (("plan", "--sql"), ("plan", "-o", "json"), ("explain", "c/user-mapping/app.far.keeper")):
        assert PASSWORD not in estate.run(*arguments).text


FAR = "c/server/app.far"
KEEPER, EVERYBODY = "c/user-mapping/app.far.keeper", "c/user-mapping/app.far.public"
WRAPPER = "c/foreign-data-wrapper/app.postgres_fdw"
DRIFTS = [
    ("ALTER SERVER far OWNER TO postgres", FAR, "owner", "postgres", "keeper"),
    ("ALTER SERVER far VERSION '10'", FAR, "version", "10", "9"),
    ("COMMENT ON SERVER far IS NULL", FAR, "comment", None, "it's far"),
    ("ALTER SERVER far OPTIONS (SET host 'evil')", FAR, "options.host", "evil", "127.0.0.1"),
    ("ALTER SERVER far OPTIONS (DROP dbname)", FAR, "options.dbname", None, "postgres"),
    ("ALTER SERVER far OPTIONS (ADD fetch_size '7')", FAR, "options.fetch_size", "7", None),
    ("ALTER USER MAPPING FOR keeper SERVER far OPTIONS (SET password 'hunter2')", KEEPER, "password", "", ""),
    ("ALTER USER MAPPING FOR keeper SERVER far OPTIONS (DROP password)", KEEPER, "password", "", ""),
    ("ALTER USER MAPPING FOR keeper SERVER far OPTIONS (SET user 'hunter2')", KEEPER, "user", "", ""),
    ("ALTER USER MAPPING FOR PUBLIC SERVER far OPTIONS (ADD password 'hunter2')", EVERYBODY, "password", "", ""),
    ("DROP USER MAPPING FOR PUBLIC SERVER far", EVERYBODY, "options", None, None),
    ("ALTER FOREIGN DATA WRAPPER postgres_fdw OWNER TO postgres", WRAPPER, "owner", "postgres", "heir"),
    ("COMMENT ON FOREIGN DATA WRAPPER postgres_fdw IS 'x'", WRAPPER, "comment", "x", "of the package"),
]


def test_every_drift_of_foreign_objects(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    plant(estate, "far", PASSWORD)
    write(estate, pg, foreign(far()))
    corrected(estate)
    for statement, address, field, before, after in DRIFTS:
        pg.sql(statement, database="app")
        change = drifted(estate, address)
        if "user-mapping" not in address:
            assert (change["before"].get(field), change["after"].get(field)) == (before, after), statement
        else:
            assert change["sensitive_changed"] == ["options"]
            assert "options" not in (change["before"] or {}) | change["after"]
            text = estate.run("drift").text + estate.plan("--sql").text
            assert "hunter2" not in text
            assert "planted" not in text
            assert change["actions"] == ["create"] or f"differ: {field}" in text
        corrected(estate)


def test_foreign_objects_change_and_go(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    plant(estate, "far", PASSWORD)
    plant(estate, "other", "planted-second")
    write(estate, pg, foreign(far()))
    corrected(estate)
    mappings = [
        {
            "role": "keeper",
            "options": {"user": "writer", "sslkey": "/k"},
            "secretOptions": {"password": {"secret": "other"}},
        },
        {"role": "public", "ensure": "absent"},
    ]
    options = {"host": "::1", "port": "1"}
    changed = far(owner="heir", version="10", comment="new", options=options, userMappings=mappings)
    write(estate, pg, foreign(changed))
    plan = estate.plan().done()
    assert set(plan.changes) == {FAR, KEEPER, EVERYBODY}
    assert {change["origin"] for change in plan.changes.values()} == {"git"}
    corrected(estate)
    found = pg.sql("SELECT srvversion, srvoptions, srvowner::regrole::text FROM pg_foreign_server", database="app")
    assert found[0][0] == "10"
    assert set(found[0][1]) == {"host=::1", "port=1"}
    assert found[0][2] == "heir"
    [(stored,)] = pg.sql("SELECT umoptions FROM pg_user_mapping", database="app")
    assert set(stored) == {"user=writer", "sslkey=/k", "password=planted-second"}

    for field, value in (("type", "other"), ("wrapper", "file_fdw")):
        write(estate, pg, foreign(far(**{field: value}), extensions=["postgres_fdw", "file_fdw"]))
        assert f"{field} can't be changed in place" in estate.plan().done().changes[FAR]["held"]

    gone = {
        "extensions": [{"name": "postgres_fdw", "ensure": "absent"}],
        "foreignDataWrappers": [{"name": "postgres_fdw", "ensure": "absent"}],
        "foreignServers": [far(ensure="absent")],
    }
    write(estate, pg, gone)
    corrected(estate)
    assert pg.sql("SELECT count(*) FROM pg_foreign_data_wrapper", database="app") == [(0,)]


def test_wrappers_of_ones_own(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    name, address = sql.Identifier('w"%s').as_string(None), 'c/foreign-data-wrapper/app."w\\"%s"'
    function = {"schema": "pg_catalog", "name": "postgresql_fdw_validator"}
    wrapper = {"name": 'w"%s', "owner": "heir", "options": {"host": "it's"}, "comment": "own"}
    strict = {"name": "strict", "validator": function}
    servers = [{"name": "s", "wrapper": 'w"%s', "type": "t\"'"}]
    write(estate, pg, {"foreignDataWrappers": [wrapper, strict], "foreignServers": servers})
    corrected(estate)
    pg.sql("ALTER FOREIGN DATA WRAPPER strict NO VALIDATOR", database="app")
    assert drifted(estate, "c/foreign-data-wrapper/app.strict")["before"].get("validator") is None
    corrected(estate)
    pg.sql(f"ALTER FOREIGN DATA WRAPPER {name} OPTIONS (SET host 'x', ADD port '1')", database="app")
    change = drifted(estate, address)
    found = {field: (change["before"].get(field), change["after"].get(field)) for field in change["after"]}
    assert found["options.host"] == ("x", "it's")
    assert change["before"]["options.port"] == "1"
    corrected(estate)
    write(estate, pg, {"foreignDataWrappers": [{**wrapper, "owner": "keeper"}]})
    assert "must be a superuser" in estate.plan().done().changes[address]["held"]
    absent = [{"name": 'w"%s', "ensure": "absent"}]
    write(estate, pg, {"foreignDataWrappers": absent, "foreignServers": [{**servers[0], "ensure": "absent"}]})
    corrected(estate)


def test_a_server_without_a_wrapper_is_refused(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    write(estate, pg, {})
    estate.apply().done()
    write(estate, pg, {"foreignServers": [{"name": "far", "wrapper": "postgres_fdv"}]})
    assert "no foreign-data wrapper postgres_fdv" in estate.plan().done().changes[FAR]["held"]


def test_who_leaves_leaves_no_mapping(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    plant(estate, "far", PASSWORD)
    write(estate, pg, foreign(far(userMappings=[])))
    estate.documents["c"].append(group("guest"))
    estate.commit()
    corrected(estate)
    pg.sql("CREATE USER MAPPING FOR guest SERVER far OPTIONS (user 'x')", database="app")
    estate.settled()
    estate.documents["c"][-1]["spec"]["ensure"] = "absent"
    estate.commit()
    corrected(estate)
    assert pg.sql("SELECT count(*) FROM pg_user_mappings", database="app") == [(0,)]


def test_hostile_names_of_foreign_objects(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    plant(estate, "far", PASSWORD)
    servers = [
        {
            "name": name,
            "wrapper": "dummy",
            "comment": name,
            "owner": name,
            "options": {name.replace("=", "-"): name},
            "userMappings": [
                {
                    "role": name,
                    "options": {name.replace("=", "-"): name},
                    "secretOptions": {"password": {"secret": "far"}},
                }
            ],
        }
        for name in NAMES
    ]
    wrapper = {"name": "dummy", "options": {"plain": "x"}}
    write(estate, pg, {"foreignDataWrappers": [wrapper], "foreignServers": servers})
    estate.documents["c"] += [{**group(f"r{at}", name)} for at, name in enumerate(NAMES)]
    estate.commit()
    corrected(estate)
    found = pg.sql("SELECT srvname, srvoptions[1] FROM pg_foreign_server", database="app")
    assert dict(found) == {name: f"{name.replace('=', '-')}={name}" for name in NAMES}
    assert {r for (r,) in pg.sql("SELECT usename FROM pg_user_mappings", database="app")} == set(NAMES)
    absent = copy.deepcopy(servers)
    for each in absent:
        each["ensure"] = "absent"
    documents = estate.documents["c"][4:]
    write(estate, pg, {"foreignDataWrappers": [wrapper], "foreignServers": absent})
    estate.documents["c"] += documents
    estate.commit()
    corrected(estate)


def test_an_account_with_less(pg: PostgresServer, estate_of: EstateMaker) -> None:
    pg.sql("CREATE ROLE little LOGIN PASSWORD 'planted-little'")
    estate = estate_of(pg)
    plant(estate, "far", PASSWORD)
    spec = {"externalRoles": ["little"], "tablespaces": [{"name": "pg_default"}], "replicationSlots": [{"name": "s"}]}
    write(estate, pg, foreign(far()), **spec)
    corrected(estate)
    pg.sql("ALTER USER MAPPING FOR keeper SERVER far OPTIONS (SET password 'hunter2')", database="app")
    pg.sql("GRANT USAGE ON SCHEMA pgvillage TO little", "GRANT SELECT ON ALL TABLES IN SCHEMA pgvillage TO little")
    plant(estate, "little", "planted-little")
    estate.settings["credentials"]["admin"] |= {"user": "little", "password": {"file": str(estate.folder / "little")}}
    estate.commit()
    ran = estate.plan()
    assert not {FAR, KEEPER, EVERYBODY, WRAPPER} & set(ran.changes), list(ran.changes)
    assert ran.text.count("may not see the options of user mappings") == 1
    lacking = [{"name": "new", "location": "/tmp/nowhere"}]
    write(
        estate,
        pg,
        foreign(far()),
        **{**spec, "tablespaces": lacking, "replicationSlots": [{"name": "s"}, {"name": "n"}]},
    )
    held = {a: c["held"] for a, c in estate.plan().changes.items()}
    assert "only a superuser" in held["c/tablespace/new"]
    assert "REPLICATION" in held["c/slot/n"]


def test_secrets_stand_in_their_place(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    for option in ("password", "sslpassword", "API_KEY", "token", "key"):
        mapping = {"role": "keeper", "options": {option: "hunter2"}}
        write(estate, pg, {"foreignServers": [far(userMappings=[mapping])]})
        text = estate.run("validate").done(EXIT_INVALID).text
        assert "secretOptions" in text
    mapping = {"role": "keeper", "secretOptions": {"password": {"secret": "nosuch"}}}
    write(estate, pg, {"foreignServers": [far(userMappings=[mapping, {"role": "keper"}, {"role": "keeper"}])]})
    text = estate.run("validate").done(EXIT_INVALID).text
    assert "no secret of the settings has this name" in text
    assert "did you mean keeper?" in text
    assert "declared twice" in text
