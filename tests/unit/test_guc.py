"""Values of parameters: what means the same is the same, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvillage.core.guc import Guc
from pgvillage.resources.postgres.guc import canonical_value, problem, split_list, value_sql


def guc(vartype: str, unit: str | None = None, name: str = "x", enumvals: tuple[str, ...] = ()) -> Guc:
    return Guc(name, vartype, unit, "user", enumvals, "", "", configured=False, pending_restart=False)


GUCS = [
    guc("integer", "kB"), guc("integer", "8kB"), guc("integer", "ms"), guc("integer", "min"), guc("integer", "B"),
    guc("integer"), guc("real", "ms"), guc("real"), guc("bool"), guc("enum", enumvals=("on", "off", "local")),
    guc("string"), guc("string", name="search_path"),
]  # fmt: skip
numbers = st.from_regex(
    r"\s?[+-]?(0x[0-9a-f]{1,400}|[0-9]{1,5}(\.[0-9]{1,3})?(e[0-9]{1,4})?) ?(kB|MB|ms|s|min|d|B|QB)?", fullmatch=True
)
values = st.one_of(
    numbers, st.text(), st.sampled_from(["t", "o", "of", "ON", "yes", "1e999", "0x" + "f" * 300, '"a", b'])
)


@given(st.sampled_from(GUCS), values)
def test_canonical_is_idempotent_and_total(one: Guc, value: str) -> None:
    text = canonical_value(one, value)
    assert canonical_value(one, text) == text
    problem(one, "x", value)


@pytest.mark.parametrize(
    ("unit", "same"),
    [
        ("kB", ["64MB", "65536kB", "65536", "67108864B", " 64 MB ", "0.0625GB", "0x10000"]),
        ("8kB", ["64MB", "8192", "65536kB"]),
        ("ms", ["5min", "300s", "300000", "300000ms", "300000000us"]),
        ("s", ["1d", "24h", "86400"]),
        ("kB", ["-1", " -1 "]),
        ("kB", ["0", "0MB", "0kB"]),
    ],
)
def test_units(unit: str, same: list[str]) -> None:
    assert len({canonical_value(guc("integer", unit), text) for text in same}) == 1


@pytest.mark.parametrize(("one", "two"), [("64MB", "64kB"), ("64", "64MB"), ("64mb", "64MB"), ("1", "-1")])
def test_other_values_stay_others(one: str, two: str) -> None:
    assert canonical_value(guc("integer", "kB"), one) != canonical_value(guc("integer", "kB"), two)


names = st.lists(st.text(min_size=1), min_size=1)


@given(names)
def test_lists_round_trip(found: list[str]) -> None:
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in found)
    assert split_list(quoted) == found
    assert split_list(canonical_value(guc("string", name="search_path"), quoted)) == found


@given(names, names)
def test_lists_are_equal_when_their_names_are(one: list[str], two: list[str]) -> None:
    path = guc("string", name="search_path")
    texts = [", ".join('"' + name.replace('"', '""') + '"' for name in found) for found in (one, two)]
    assert (canonical_value(path, texts[0]) == canonical_value(path, texts[1])) is (one == two)


def test_a_text_that_is_no_list_is_one_odd_name() -> None:
    assert split_list('foo"bar') == ['foo"bar']
    assert value_sql("search_path", 'foo"bar, x') == "'foo\"bar, x'"


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        ('"$user", public', "'$user', 'public'"),
        ("", "''"),
        ('""', "''"),
        ('"a,b",c', "'a,b', 'c'"),
        ("it's", "'it''s'"),
    ],
)
def test_list_sql(value: str, sql: str) -> None:
    assert value_sql("search_path", value) == sql


@pytest.mark.parametrize(
    ("one", "value", "said"),
    [
        (None, "1", "knows no parameter"),
        (guc("bool"), "o", "on or off"),
        (guc("integer", "kB"), "1e999", "expected a number"),
        (guc("integer", "kB"), "1ms", "expected a number"),
        (guc("enum", enumvals=("on", "local")), "Local", ""),
        (guc("enum", enumvals=("on", "local")), "1", ""),
        (guc("enum", enumvals=("on", "local")), "x", "expected one of on, local"),
    ],
)  # fmt: skip
def test_problems(one: Guc | None, value: str, said: str) -> None:
    found = problem(one, "x", value)
    assert said in found
    assert bool(said) is bool(found)
