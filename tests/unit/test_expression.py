"""Expressions as people write them beside what PostgreSQL 15 stored for them (taken from a real server)."""

from __future__ import annotations

import pytest

from pgvillage.resources.postgres.expression import same_expression, surely_another
from pgvillage.resources.postgres.expression_tokens import expression_fault

SAME = [
    ("true", "true"),
    ("id > 1", "(id > 1)"),
    ("id > -5", "(id > '-5'::integer)"),
    ("big = 5", "(big = 5)"),
    ("name = 'x'", "(name = 'x'::text)"),
    ("code = 'x'", "((code)::text = 'x'::text)"),
    ("code IN ('a', 'b')", "((code)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))"),
    (
        "code NOT IN ('a', 'b')",
        "((code)::text <> ALL ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
    ),
    ("id IN (1, 2)", "(id = ANY (ARRAY[1, 2]))"),
    ("id in (7)", "(id = 7)"),
    ("id NOT IN (7)", "(id <> 7)"),
    ("amount >= 1.5", "(amount >= 1.5)"),
    ("amount BETWEEN 1 AND 5", "((amount >= (1)::numeric) AND (amount <= (5)::numeric))"),
    ("id NOT BETWEEN 1 AND 5 OR ok", "(((id < 1) OR (id > 5)) OR ok)"),
    ("name LIKE 'a%'", "(name ~~ 'a%'::text)"),
    ("code LIKE 'b%'", "((code)::text ~~ 'b%'::text)"),
    ("name NOT ILIKE 'a%' AND id <> 3", "((name !~~* 'a%'::text) AND (id <> 3))"),
    ("name != 'it''s'", "(name <> 'it''s'::text)"),
    ("id = 1 AND name = 'x' OR NOT ok", "(((id = 1) AND (name = 'x'::text)) OR (NOT ok))"),
    ("id = 1 AND (name = 'x' OR ok)", "((id = 1) AND ((name = 'x'::text) OR ok))"),
    ("(id = 2 OR id = 3) AND (ok OR ok IS NULL)", "(((id = 2) OR (id = 3)) AND (ok OR (ok IS NULL)))"),
    ("ok IS NOT TRUE", "(ok IS NOT TRUE)"),
    ("name IS DISTINCT FROM 'z'", "(name IS DISTINCT FROM 'z'::text)"),
    ("name = current_user", "(name = CURRENT_USER)"),
    ("name = current_setting('app.tenant')", "(name = current_setting('app.tenant'::text))"),
    ("id = current_setting('app.id')::int", "(id = (current_setting('app.id'::text))::integer)"),
    (
        "id = current_setting('app.id2', true)::integer AND name = session_user",
        "((id = (current_setting('app.id2'::text, true))::integer) AND (name = SESSION_USER))",
    ),
    ("coalesce(name, code, 'none') = 'q'", "(COALESCE(name, (code)::text, 'none'::text) = 'q'::text)"),
    ("lower(name) = upper('q')", "(lower(name) = upper('q'::text))"),
    ("id + 1 * 2 > 3 - big", "((id + (1 * 2)) > (3 - big))"),
    ("(id + 1) * 2 > 3", "(((id + 1) * 2) > 3)"),
    ("at > now() - interval '1 day'", "(at > (now() - '1 day'::interval))"),
    ("day >= '2020-01-01'", "(day >= '2020-01-01'::date)"),
    ("day = DATE '2021-01-01'", "(day = '2021-01-01'::date)"),
    ("'a' = ANY (tags)", "('a'::text = ANY (tags))"),
    ("tags && ARRAY['x', 'y']", "(tags && ARRAY['x'::text, 'y'::text])"),
    ("doc ->> 'k' = 'v'", "((doc ->> 'k'::text) = 'v'::text)"),
    ("(doc -> 'a' ->> 'b')::int = 3", "((((doc -> 'a'::text) ->> 'b'::text))::integer = 3)"),
    ("mood = 'ok'", "(mood = 'ok'::app.mood)"),
    ("mood = 'sad'::app.mood", "(mood = 'sad'::app.mood)"),
    ('"Odd Name" = 4', '("Odd Name" = 4)'),
    ("t.id = 12", "(id = 12)"),
    ("app.t.id = 13", "(id = 13)"),
    ("CASE WHEN ok THEN id = 1 ELSE id = 2 END", "\nCASE\n    WHEN ok THEN (id = 1)\n    ELSE (id = 2)\nEND"),
    (
        "CASE id WHEN 1 THEN ok WHEN 2 THEN false END",
        "\nCASE id\n    WHEN 1 THEN ok\n    WHEN 2 THEN false\n    ELSE NULL::boolean\nEND",
    ),
    ("name || 'x' = 'yx'", "((name || 'x'::text) = 'yx'::text)"),
    ("name ~ '^a' AND name !~* 'b$'", "((name ~ '^a'::text) AND (name !~* 'b$'::text))"),
    ("cast(id AS text) = '9'", "((id)::text = '9'::text)"),
    ("amount::float8 > 2", "((amount)::double precision > (2)::double precision)"),
    ("EXISTS (SELECT 1 FROM app.o WHERE o.id = t.id)", "(EXISTS ( SELECT 1\n   FROM app.o\n  WHERE (o.id = t.id)))"),
    (
        "id IN (SELECT o.id FROM app.o WHERE o.name = current_user)",
        "(id IN ( SELECT o.id\n   FROM app.o\n  WHERE (o.name = CURRENT_USER)))",
    ),
    ("pg_has_role(current_user, 'postgres', 'MEMBER')", "pg_has_role(CURRENT_USER, 'postgres'::name, 'MEMBER'::text)"),
    ("pg_catalog.length(name) = 77", "(length(name) = 77)"),
    ("tags[1] = 'one'", "(tags[1] = 'one'::text)"),
    ("-id < 3", "((- id) < 3)"),
    ("id % 2 = 0", "((id % 2) = 0)"),
    ("E'a\\\\b' = name", "('a\\b'::text = name)"),
    ("name = user", "(name = USER)"),
    ("ok = (id > 3)", "(ok = (id > 3))"),
    ("NOT (ok AND id = 1)", "(NOT (ok AND (id = 1)))"),
]
# Beyond what is compared: said to the user, and never taken for a change by hand.
UNMATCHED = [
    ("length(trim(name)) > 3", "(length(TRIM(BOTH FROM name)) > 3)"),
    ("extract(year from day) = 2020", "(EXTRACT(year FROM day) = (2020)::numeric)"),
    (
        "at AT TIME ZONE 'UTC' > '2020-01-01'",
        "((at AT TIME ZONE 'UTC'::text) > '2020-01-01 00:00:00'::timestamp without time zone)",
    ),
    ("(id, big) = (1, 2)", "((id = 1) AND (big = 2))"),
    ("name COLLATE \"C\" < 'm'", "((name COLLATE \"C\") < 'm'::text)"),
]


@pytest.mark.parametrize(("wish", "live"), SAME)
def test_says_the_same(wish: str, live: str) -> None:
    assert same_expression(wish, live)
    assert not surely_another(wish, live)
    assert not expression_fault(wish)


@pytest.mark.parametrize(("wish", "live"), UNMATCHED)
def test_cannot_be_told(wish: str, live: str) -> None:
    assert not same_expression(wish, live)
    assert not surely_another(wish, live)
    assert same_expression(live, live)


def test_no_two_are_taken_for_one_another() -> None:
    assert not [(a, b) for a, _ in SAME for other, b in SAME if a != other and same_expression(a, b)]


@pytest.mark.parametrize(
    ("wish", "live"),
    [
        ("tenant = current_user", "true"),
        ("tenant = 'a'", "(tenant = 'b'::text)"),
        ("id = 1", "(id = 2)"),
        ("id = 1", "(other = 1)"),
        ("EXISTS (SELECT 1 FROM app.o WHERE o.id = t.id)", "true"),
    ],
)
def test_a_change_by_hand_is_told(wish: str, live: str) -> None:
    assert not same_expression(wish, live)
    assert surely_another(wish, live)


@pytest.mark.parametrize("text", ["a) OR (b", "a -- b", "a /* b */", "a; b", "$$a$$", "(a", r"E'\\''"])
def test_what_could_leave_its_place_is_refused(text: str) -> None:
    assert expression_fault(text)
