"""Scripts with everything that makes cutting hard, and the statements PostgreSQL sees in each."""

from __future__ import annotations

CORPUS: tuple[tuple[str, int], ...] = (
    ("SELECT 1; SELECT 2", 2),
    ("SELECT ';', E'\\';', 'it''s;', U&'\\0041;', B'1', X'1F', N';';", 1),
    ("SELECT $$;$$, $a$;$b$;$a$, $_1$;$_1$", 1),
    ("SELECT 1 AS \";\", 2 AS \"a\"\";\"; SELECT 3", 2),
    ("-- ; only a comment\nSELECT 1 -- ;\n; /* ; /* ; */ ; */ SELECT 2", 2),
    ("SELECT E'a'\n  'b\\';'", 1),
    ("SELECT E'a' -- goes on ;\n  'b\\';'", 1),
    ("DO $$ BEGIN PERFORM 1; PERFORM 2; END $$; SELECT 1", 2),
    ("SELECT '1'::text, 2::int, (ARRAY[1,2,3])[1:2], (ARRAY[1,2,3])[:2], (ARRAY[1,2,3])[2:]", 1),
    ("SELECT a[lo:hi] FROM (SELECT ARRAY[1,2,3] AS a, 1 AS lo, 2 AS hi) x", 1),
    ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 1", 2),
    (
        "CREATE OR REPLACE FUNCTION pg_temp.g(n int) RETURNS int LANGUAGE sql BEGIN ATOMIC\n"  # noqa: ISC004
        "SELECT CASE WHEN n > 1 THEN 1 ELSE 2 END; END; SELECT pg_temp.g(1)",
        2,
    ),
    ("CREATE TEMP TABLE begin_t (\"end\" int); INSERT INTO begin_t VALUES (1); DROP TABLE begin_t", 3),
    ("CREATE TEMP TABLE r (a int); CREATE RULE n AS ON INSERT TO r DO ALSO (SELECT 1; SELECT 2); DROP TABLE r", 3),
    ("SELECT 1.5e10, 1., .5, 1e-3", 1),
    ("SELECT '{}'::jsonb #-'{a}', 3*-2 --;\n, 4; SELECT 1", 2),
    ("SELECT 'é;', $é$;$é$, \"ü;\" FROM (SELECT 1 AS \"ü;\") x", 1),
    (";;SELECT 1;;", 1),
    ("", 0),
    ("  -- nothing\n", 0),
    ("SELECT a$b FROM (SELECT 1 AS a$b) x; SELECT 1", 2),
    ("CREATE PROCEDURE pg_temp.p() LANGUAGE sql BEGIN ATOMIC SELECT 1; END; CALL pg_temp.p()", 2),
    ("SELECT '\\'; SELECT '\\\\'", 2),
)  # fmt: skip
