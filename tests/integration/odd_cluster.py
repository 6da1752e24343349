"""A PostgreSQL that grew for years: much, mixed, oddly named, and partly forgotten."""

from __future__ import annotations

from collections.abc import Iterator

from tests.integration.living_cluster import quoted
from tests.servers.postgres import PostgresServer

OWNERS = ("own_a", "own_b", "Own C", "own.d", "own-é")
ODD_NAMES = ("it's", 'dou"ble', "two words", "dot.ted", "ünïcode 表", "UPPER", "%s %d", "{}{x}", "x" * 63, "a, b (c)")
TEAMS = tuple(f"team_{number}" for number in range(12))
PEOPLE = tuple(f"person_{number:02d}" for number in range(48))
SECRETS = ("planted-remote-secret", "planted-subscription-secret")


def fill_odd(server: PostgresServer, major: int) -> None:
    """Fill the server; `major` decides what there is to be odd about."""
    server.sql(*_roles(major))
    server.sql(*_databases())
    server.sql(*_shop(major), database="Odd. Shop")
    server.sql(*_grants(major), database="Odd. Shop")
    server.sql("ALTER DATABASE nobody ALLOW_CONNECTIONS false")


def acl_entries(server: PostgresServer) -> int:
    """How many single grants there are in the shop, PostgreSQL's own aside."""
    found = server.sql(
        "SELECT count(*) FROM (SELECT relacl, relnamespace FROM pg_class UNION ALL SELECT proacl, pronamespace"
        " FROM pg_proc UNION ALL SELECT typacl, typnamespace FROM pg_type) x(acl, space),"
        " LATERAL aclexplode(x.acl) WHERE space NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_|^inf')",
        database="Odd. Shop",
    )
    return int(found[0][0])


def _roles(major: int) -> Iterator[str]:
    yield from (f"CREATE ROLE {quoted(name)}" for name in (*OWNERS, *TEAMS, *ODD_NAMES))
    yield from (f"CREATE ROLE {name} LOGIN IN ROLE {TEAMS[i % 12]}" for i, name in enumerate(PEOPLE))
    attributes = "SUPERUSER CREATEDB CREATEROLE NOINHERIT LOGIN REPLICATION BYPASSRLS CONNECTION LIMIT 2"
    yield f"CREATE ROLE every_attribute {attributes}"
    yield from (
        f"CREATE ROLE {name} LOGIN VALID UNTIL '{until}'"
        for name, until in (("gone", "2001-02-03 04:05+00"), ("forever", "infinity"), ("never", "-infinity"))
    )
    yield from (f"GRANT team_{n} TO team_{n + 1}" for n in range(8))
    yield "GRANT team_9 TO team_0 WITH ADMIN OPTION"
    if major >= 16:
        yield "GRANT team_10 TO team_1 WITH INHERIT FALSE, SET FALSE"
        yield "GRANT team_10 TO team_2 WITH INHERIT FALSE"
    yield "GRANT pg_read_all_stats TO team_3"
    yield 'ALTER ROLE person_00 SET search_path = "Odd. Schema", public, "$user"'
    yield "ALTER ROLE person_01 SET DateStyle = 'ISO, DMY'"
    yield "ALTER ROLE person_02 SET session_preload_libraries = 'auto_explain'"
    yield "COMMENT ON ROLE person_03 IS 'has %s and {} and \"quotes\"'"


def _databases() -> Iterator[str]:
    yield 'CREATE DATABASE "Odd. Shop" OWNER own_a'
    yield "CREATE DATABASE zero CONNECTION LIMIT 0"
    yield "CREATE DATABASE nobody"
    yield "CREATE DATABASE closed OWNER own_b"
    yield "REVOKE ALL ON DATABASE closed FROM PUBLIC, own_b"
    yield "CREATE DATABASE stencil IS_TEMPLATE true"
    yield 'ALTER DATABASE "Odd. Shop" SET search_path = app, "Odd. Schema"'
    yield 'REVOKE TEMPORARY ON DATABASE "Odd. Shop" FROM PUBLIC'
    yield "ALTER SYSTEM SET session_preload_libraries = ''"


def _shop(major: int) -> Iterator[str]:
    yield from (
        f"CREATE EXTENSION {name} SCHEMA public" for name in ("citext", "hstore", "pg_stat_statements", "postgres_fdw")
    )
    for schema in ("app", "Odd. Schema", "tidy", "shut"):
        yield f"CREATE SCHEMA {quoted(schema)} AUTHORIZATION own_a"
    yield from _app()
    yield from (f"CREATE TABLE tidy.t{n} (id serial PRIMARY KEY)" for n in range(5))
    yield from (f"ALTER TABLE tidy.t{n} OWNER TO own_b" for n in range(5))
    yield from (f'CREATE TABLE "Odd. Schema".{quoted(name)} (id int)' for name in ODD_NAMES)
    yield "CREATE TABLE shut.secret (tenant text, who name)"
    yield "CREATE SCHEMA nearly"
    for number in range(9):
        yield f"CREATE TABLE nearly.t{number} ()"
        yield f"ALTER TABLE nearly.t{number} OWNER TO own_a"
    yield "CREATE TABLE nearly.stray ()"
    yield "ALTER TABLE nearly.stray OWNER TO own_b"
    yield "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'elsewhere.example', dbname 'x')"
    yield "CREATE USER MAPPING FOR person_05 SERVER far OPTIONS (user 'them', password 'planted-remote-secret')"
    yield "CREATE USER MAPPING FOR PUBLIC SERVER far"
    yield "CREATE FOREIGN TABLE app.far_table (id int) SERVER far"
    yield "CREATE PUBLICATION parts FOR TABLE app.t1, app.t2 WITH (publish = 'insert, update')"
    yield "CREATE PUBLICATION everything FOR ALL TABLES"
    if major >= 15:
        yield "CREATE PUBLICATION filtered FOR TABLE app.t3 (id, note) WHERE (id > 10)"
        yield "CREATE PUBLICATION whole FOR TABLES IN SCHEMA tidy"
    yield (
        "CREATE SUBSCRIPTION taken CONNECTION"
        " 'host=127.0.0.1 port=1 dbname=x user=repl password=planted-subscription-secret'"
        " PUBLICATION p WITH (connect = false, slot_name = NONE)"
    )
    yield "CREATE FUNCTION app.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'"
    yield "CREATE EVENT TRIGGER watcher ON ddl_command_end WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION app.watch()"
    yield "ALTER TABLE shut.secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    yield "CREATE POLICY mine ON shut.secret USING (who = current_user) WITH CHECK (who = current_user)"
    yield "CREATE POLICY teams ON shut.secret AS RESTRICTIVE FOR SELECT TO team_1, team_2 USING (tenant LIKE 'a%')"
    yield "CREATE POLICY asleep ON app.t9 FOR DELETE USING (id < 3)"
    yield "SELECT pg_create_physical_replication_slot(n) FROM unnest(ARRAY['stolon_ab12', 'archive']) n"


def _app() -> Iterator[str]:
    """Four hundred objects of five owners."""
    for n in range(200):
        yield f"CREATE TABLE app.t{n} (id serial, note text)"
    yield "CREATE TABLE app.parted (day date) PARTITION BY RANGE (day)"
    yield from (
        f"CREATE TABLE app.part_{y} PARTITION OF app.parted FOR VALUES FROM ('{y}-01-01') TO ('{y + 1}-01-01')"
        for y in range(2010, 2030)
    )
    yield from (f"CREATE VIEW app.v{n} AS SELECT id FROM app.t{n}" for n in range(60))
    yield from (f"CREATE MATERIALIZED VIEW app.m{n} AS SELECT id FROM app.t{n}" for n in range(20))
    yield from (f"CREATE SEQUENCE app.s{n}" for n in range(20))
    for n in range(25):
        for arguments in ("a int", "a text, VARIADIC b int[] DEFAULT '{}'"):
            yield f"CREATE FUNCTION app.f{n}({arguments}) RETURNS int LANGUAGE sql AS 'SELECT 1'"
    yield from (f"CREATE TYPE app.e{n} AS ENUM ('one')" for n in range(15))
    yield from (f"CREATE DOMAIN app.d{n} AS text" for n in range(15))
    yield from (f"ALTER TABLE app.t{n} OWNER TO {quoted(OWNERS[n % 5])}" for n in range(200))


def _grants(major: int) -> Iterator[str]:
    spaces = 'app, tidy, "Odd. Schema"'
    readers, writers = ", ".join(TEAMS[:6]), ", ".join(TEAMS[6:10])
    yield f"GRANT USAGE ON SCHEMA {spaces} TO {readers}, {writers}, team_10"
    yield f"GRANT SELECT ON ALL TABLES IN SCHEMA {spaces} TO {readers}"
    yield f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {spaces} TO {writers}"
    yield f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {spaces} TO {writers}"
    yield "GRANT SELECT ON app.t1, app.t2 TO person_06 WITH GRANT OPTION"
    yield "GRANT UPDATE (note) ON app.t3 TO person_07"
    yield "REVOKE SELECT ON app.t4 FROM team_0"
    yield "GRANT EXECUTE ON FUNCTION app.f1(int) TO person_08"
    yield "REVOKE EXECUTE ON FUNCTION app.f2(int) FROM PUBLIC"
    yield "REVOKE ALL ON ALL ROUTINES IN SCHEMA shut FROM PUBLIC"
    yield "GRANT USAGE ON SCHEMA shut TO PUBLIC"
    yield "GRANT SELECT ON ALL TABLES IN SCHEMA tidy TO PUBLIC"
    yield "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC"
    yield "GRANT SELECT ON public.pg_stat_statements TO team_11"
    yield "GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA shut TO team_3, team_4, team_5"
    yield "GRANT EXECUTE ON FUNCTION public.pg_stat_statements_reset TO team_11"
    yield from (f'GRANT SELECT ON "Odd. Schema".{quoted(name)} TO {quoted(name)}' for name in ODD_NAMES)
    defaults = "ALTER DEFAULT PRIVILEGES FOR ROLE"
    yield f"{defaults} own_a IN SCHEMA app GRANT SELECT ON TABLES TO {readers}"
    yield f"{defaults} own_b GRANT ALL ON TABLES TO team_6 WITH GRANT OPTION"
    yield f"{defaults} own_a REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"
    yield f'{defaults} "Own C" REVOKE USAGE ON TYPES FROM PUBLIC'
    yield f"{defaults} own_b GRANT USAGE ON SCHEMAS TO team_7"
    yield "SET ROLE person_06"
    yield "GRANT SELECT ON app.t1 TO person_09"
    yield "RESET ROLE"
    if major >= 17:
        yield f"GRANT MAINTAIN ON ALL TABLES IN SCHEMA tidy TO {writers}"
    # what a role leaves that was dropped in another database only: nothing, and a policy for nobody in particular
    yield "CREATE ROLE leaver"
    yield "GRANT SELECT ON app.t5 TO leaver"
    yield "DROP OWNED BY leaver"
    yield "DROP ROLE leaver"
