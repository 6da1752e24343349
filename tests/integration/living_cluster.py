"""A PostgreSQL with a life behind it, which nobody made for PgVillage."""

from __future__ import annotations

from tests.servers.postgres import PostgresServer

ODD = 'Weird "Name" ü\' 1'


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


ROLES = (
    "CREATE ROLE shop_owner", "CREATE ROLE readers", "CREATE ROLE writers NOINHERIT", "CREATE ROLE lookers",
    "CREATE ROLE stamped",
    "CREATE ROLE boss LOGIN SUPERUSER PASSWORD 'planted-boss'",
    "CREATE ROLE maker LOGIN CREATEROLE CREATEDB CONNECTION LIMIT 3 VALID UNTIL '2031-02-03 04:05:06+00'",
    "CREATE ROLE app LOGIN PASSWORD 'planted-app' VALID UNTIL '2030-06-30 00:00+00'",
    "CREATE ROLE sleeper NOLOGIN VALID UNTIL '2029-01-01 00:00+00'",
    "CREATE ROLE endless LOGIN VALID UNTIL 'infinity'", "CREATE ROLE ancient LOGIN VALID UNTIL '12345-01-01 00:00+00'",
    "CREATE ROLE copier LOGIN REPLICATION BYPASSRLS NOINHERIT",
    f"CREATE ROLE {quoted(ODD)} LOGIN", 'CREATE ROLE "123" LOGIN', 'CREATE ROLE "1e5"', 'CREATE ROLE "null"',
    'CREATE ROLE "UPPER" LOGIN', 'CREATE ROLE "upper" LOGIN', 'CREATE ROLE "new\nline"', 'CREATE ROLE "日本語"',
    "COMMENT ON ROLE app IS E'line one\nline: two # \\'quoted\\' \t tab'",
    "GRANT readers TO writers", "GRANT writers TO app WITH ADMIN OPTION", f"GRANT readers TO {quoted(ODD)}",
    "GRANT pg_monitor TO app", "GRANT readers TO postgres", "GRANT boss TO maker", "GRANT lookers TO copier",
    "ALTER ROLE app SET statement_timeout = '5min'", "ALTER ROLE app SET search_path = app, \"$user\", public",
    "ALTER ROLE app SET my.custom = 'a, b=c'", "ALTER ROLE app SET temp_tablespaces = ''",
    "ALTER ROLE readers SET work_mem = '16MB'", "ALTER ROLE postgres SET work_mem = '17MB'",
    "CREATE DATABASE shop OWNER shop_owner", "CREATE DATABASE \"Odd DB; --\" OWNER app CONNECTION LIMIT 7",
    "CREATE DATABASE shut OWNER shop_owner", "ALTER DATABASE shut ALLOW_CONNECTIONS false",
    "CREATE DATABASE stamp IS_TEMPLATE true", "COMMENT ON DATABASE shop IS 'the shop'",
    "ALTER DATABASE shop SET work_mem = '8MB'", "ALTER DATABASE shop SET search_path = app, public",
    "ALTER ROLE app IN DATABASE shop SET lock_timeout = '3s'", "ALTER ROLE readers IN DATABASE shut SET jit = off",
    "ALTER ROLE stamped IN DATABASE stamp SET jit = off", "ALTER ROLE ALL SET jit = off",
    "REVOKE ALL ON DATABASE shop FROM PUBLIC", "GRANT CONNECT ON DATABASE shop TO readers, writers",
    "GRANT TEMPORARY, CREATE ON DATABASE shop TO app WITH GRANT OPTION", "GRANT CONNECT ON DATABASE shut TO readers",
    "GRANT CONNECT ON DATABASE template1 TO app", "ALTER SYSTEM SET work_mem = '5MB'", "ALTER SYSTEM SET jit = off",
    "SELECT pg_reload_conf()", "ALTER SYSTEM SET max_connections = 61",
    "ALTER SYSTEM SET log_line_prefix = '%m [%p] %q%a@%d '",
)  # fmt: skip
SHOP = (
    "CREATE EXTENSION citext", "CREATE EXTENSION pg_trgm", "CREATE SCHEMA app AUTHORIZATION shop_owner",
    "CREATE SCHEMA archive AUTHORIZATION shop_owner", "CREATE SCHEMA mine AUTHORIZATION app", "CREATE SCHEMA empty",
    "CREATE SCHEMA \"Odd Schema\"", "COMMENT ON SCHEMA app IS 'its tables'",
    *(f"CREATE TABLE {s}.t{i} (i serial)" for s in ("app", "archive") for i in range(12)),
    *(f"ALTER TABLE {s}.t{i} OWNER TO shop_owner" for s in ("app", "archive") for i in range(12)),
    "CREATE VIEW app.v AS SELECT 1", "CREATE TABLE mine.a (i int)", "CREATE TABLE mine.b (i int)",
    "ALTER TABLE mine.a OWNER TO app", 'CREATE TABLE "Odd Schema"."T, ""x""" (i serial)',
    "ALTER TABLE app.v OWNER TO writers",
    "GRANT USAGE ON SCHEMA app, archive TO readers, writers, lookers",
    "GRANT SELECT ON ALL TABLES IN SCHEMA app, archive TO readers, lookers",
    "GRANT SELECT ON ALL SEQUENCES IN SCHEMA app, archive TO readers, lookers",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO writers",
    "GRANT ALL ON ALL SEQUENCES IN SCHEMA app TO writers", "GRANT UPDATE ON archive.t3, archive.t4 TO writers",
    "GRANT ALL ON SCHEMA archive TO \"UPPER\"", "GRANT ALL ON ALL TABLES IN SCHEMA archive TO \"UPPER\"",
    "GRANT SELECT ON app.t1 TO app WITH GRANT OPTION", "GRANT SELECT ON mine.b TO app",
    "GRANT SELECT (i) ON app.t2 TO endless", "GRANT USAGE ON SCHEMA empty TO readers",
    'GRANT SELECT ON "Odd Schema"."T, ""x""" TO "日本語", PUBLIC', "GRANT USAGE ON SCHEMA app TO PUBLIC",
    "REVOKE ALL ON SCHEMA public FROM PUBLIC", "GRANT CREATE ON SCHEMA public TO writers",
    "REVOKE SELECT ON app.t5 FROM shop_owner", "GRANT SELECT ON app.t6 TO boss, postgres",
    # of the future: what a profile stands for, other things than there are, one for every schema, one of PUBLIC
    "ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA app GRANT SELECT ON TABLES TO readers",
    "ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA app GRANT SELECT ON SEQUENCES TO readers",
    "ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner, postgres IN SCHEMA archive GRANT SELECT ON TABLES TO lookers",
    "ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA archive GRANT INSERT ON TABLES TO lookers WITH GRANT OPTION",
    "ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA empty GRANT SELECT ON TABLES TO readers",
    "ALTER DEFAULT PRIVILEGES FOR ROLE maker GRANT SELECT, UPDATE ON TABLES TO writers",
    "ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT EXECUTE ON FUNCTIONS TO writers",
    "ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES FOR ROLE app REVOKE ALL ON TABLES FROM app",
    # every other class
    'GRANT SELECT (i), UPDATE (i) ON "Odd Schema"."T, ""x""" TO endless WITH GRANT OPTION',
    "CREATE FUNCTION app.pay(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION app.pay(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE PROCEDURE archive.\"do \"\"it\"(a int) LANGUAGE sql AS 'SELECT 1'",
    "CREATE TYPE archive.mood AS ENUM ('good')",
    "REVOKE ALL ON ALL ROUTINES IN SCHEMA archive FROM PUBLIC", "GRANT EXECUTE ON FUNCTION app.pay(int, text) TO app",
    "GRANT EXECUTE ON ALL ROUTINES IN SCHEMA archive TO readers", "GRANT USAGE ON TYPE archive.mood TO writers",
    "REVOKE USAGE ON TYPE archive.mood FROM PUBLIC", "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
    "GRANT USAGE ON LANGUAGE plpgsql TO writers", "CREATE FOREIGN DATA WRAPPER files", "SELECT lo_create(4711)",
    "CREATE SERVER elsewhere FOREIGN DATA WRAPPER files", "GRANT USAGE ON FOREIGN SERVER elsewhere TO app",
    "GRANT USAGE ON FOREIGN DATA WRAPPER files TO app WITH GRANT OPTION",
    "GRANT SELECT ON LARGE OBJECT 4711 TO lookers",
    "GRANT CREATE ON TABLESPACE pg_default TO app", "GRANT SET, ALTER SYSTEM ON PARAMETER work_mem TO app",
    "GRANT SET ON PARAMETER jit, log_lock_waits TO readers",
    "ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner GRANT USAGE ON SCHEMAS TO readers",
    "ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA app GRANT USAGE ON TYPES TO writers",
    # what somebody else than the owner passed on
    "SET ROLE app", "GRANT SELECT ON app.t1 TO \"upper\"", "RESET ROLE",
)  # fmt: skip


def fill_living(server: PostgresServer) -> None:
    server.sql(*ROLES)
    server.sql(*SHOP, database="shop")
