"""YAML 1.2 with positions: values, places, and what is refused."""

from __future__ import annotations

import math

import pytest

from pgvillage.core.errors import Diagnostic, Position
from pgvillage.estate.source_text import SourceText, dotted
from pgvillage.estate.yaml12 import MAX_ALIASED, MAX_DEPTH, decode, parse_documents


def _value(text: str) -> object:
    documents, faults = parse_documents(text, "a.yaml")
    assert faults == []
    return documents[0][0]


def _fault(text: str) -> Diagnostic:
    _, faults = parse_documents(text, "a.yaml")
    assert len(faults) == 1, faults
    return faults[0]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("y", "y"),
        ("true", True),
        ("TRUE", True),
        ("tRue", "tRue"),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("12", 12),
        ("-7", -7),
        ("+7", 7),
        ("0777", 777),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("190:20:30", "190:20:30"),
        ("2027-06-30", "2027-06-30"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("-1.5E-1", -0.15),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("+.inf", math.inf),
        ("1.2.3", "1.2.3"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("!!int '12'", 12),
        ("!!float 3", 3.0),
        ("! 12", "12"),
        ("64MB", "64MB"),
        ("=", "="),
        ("-x", "-x"),
        ("10%", "10%"),
        ("0o8", "0o8"),
        ("0xG", "0xG"),
        ("-0x1", "-0x1"),
    ],
)
def test_core_schema(written: str, value: object) -> None:
    found = _value(f"a: {written}\n")
    assert found == {"a": value}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(value)


def test_not_a_number() -> None:
    found = _value("a: .nan")
    assert isinstance(found, dict)
    assert math.isnan(found["a"])


def test_positions_of_keys_and_values() -> None:
    text = "# head\nspec:\n  databases:\n  - name: orders\n    tags: [a, é: b]\n  - {name: x}\n"
    [(document, positions)], faults = parse_documents(text, "a.yaml")
    assert not faults
    assert document == {"spec": {"databases": [{"name": "orders", "tags": ["a", {"é": "b"}]}, {"name": "x"}]}}
    assert positions["spec", "databases", 0, "name"] == (Position("a.yaml", 4, 5), Position("a.yaml", 4, 11))
    assert positions["spec", "databases", 1] == (Position("a.yaml", 6, 5), Position("a.yaml", 6, 5))
    assert positions["spec", "databases", 0, "tags", 1, "é"][1] == Position("a.yaml", 5, 18)
    assert positions.value(("spec", "databases", 7, "x")) == Position("a.yaml", 4, 3)
    assert positions.key(("nothing",)) == Position("a.yaml", 2, 1)


def test_several_documents_and_empty_ones() -> None:
    documents, faults = parse_documents("---\n# nothing\n---\na: 1\n...\n---\n---\nb: 2\n", "a.yaml")
    assert not faults
    assert [document for document, _ in documents] == [{"a": 1}, {"b": 2}]
    assert documents[1][1]["b",][0].line == 8
    assert parse_documents("", "a.yaml") == ([], [])


def test_alias_is_a_copy_with_its_own_place() -> None:
    [(document, positions)], faults = parse_documents("a: &x {k: [1]}\nb: *x\n", "a.yaml")
    assert not faults
    assert document == {"a": {"k": [1]}, "b": {"k": [1]}}
    assert positions.value(("b", "k", 0)) == Position("a.yaml", 2, 4)


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "second time; it stands on line 1"),
        ("x:\n  <<: {a: 1}\n", 2, 3, "merge keys"),
        ("a: !foo 1\n", 1, 4, "the tag !foo"),
        ("a: !!python/object:os.system x\n", 1, 4, "!!python/object:os.system"),
        ("a: !!python/tuple [1]\n", 1, 4, "!!python/tuple"),
        ("a: !!set {x: }\n", 1, 4, "!!set"),
        ("a: !!binary aGk=\n", 1, 4, "!!binary"),
        ("a: !!int x\n", 1, 4, "!!int"),
        ("1: a\n", 1, 1, "the key 1"),
        ("true: a\n", 1, 1, "the key true"),
        ("~: a\n", 1, 1, "the key ~"),
        ("? [a]\n: b\n", 1, 3, "a key is text"),
        ("a: &x [*x]\n", 1, 8, "inside its own anchor"),
        ("a: &x {b: {c: *x}}\n", 1, 15, "inside its own anchor"),
        ("a: *y\n", 1, 4, "no anchor above it"),
        ("a: &x b\n*x : c\n", 2, 1, "can't be a key"),
        ("a:\n\tb: 1\n", 2, 1, "cannot start any token"),
        ("a: 'x\n", 1, 6, "unexpected end of stream"),
        ("a: [\n", 1, 5, "did not find expected"),
        ("a: b: c\n", 1, 5, "mapping values are not allowed"),
        ("a: 1\nb: \0\n", 2, 4, "U+0000"),
        ("a: \x1b[31m\n", 1, 4, "U+001B"),
        ("a: x\u2028y\n", 1, 5, "U+2028"),
        ("\ufeffa: 1\n", 1, 1, "byte order mark"),
        ("a: " + "9" * 5000, 1, 4, "5000 digits"),
        ("%YAML 3.0\n---\na: 1\n", 1, 1, "incompatible"),
    ],
)
def test_refused_with_a_place(text: str, line: int, column: int, words: str) -> None:
    fault = _fault(text)
    assert words in fault.message
    assert fault.position == Position("a.yaml", line, column)
    assert fault.severity == "error"


def test_faults_are_collected() -> None:
    documents, faults = parse_documents("a: !x 1\nb: !y 2\n---\nok: 1\n---\n1: 2\n", "a.yaml")
    assert [fault.position.line for fault in faults if fault.position] == [1, 2, 6]
    assert [document for document, _ in documents] == [{"ok": 1}]


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 100_000, "- " * 50_000, "a: " + "[" * (MAX_DEPTH + 1)])
def test_depth_is_capped(text: str) -> None:
    assert f"more than {MAX_DEPTH} levels" in _fault(text).message


def test_depth_below_the_cap_is_fine() -> None:
    assert _value("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_aliases_can_not_add_depth() -> None:
    lines = ["a0: &a0 [1]", *(f"a{n}: &a{n} [[[[[[[[[[*a{n - 1}]]]]]]]]]]" for n in range(1, 8))]
    assert "levels deep" in _fault("\n".join(lines)).message


def test_a_billion_laughs() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert f"more than {MAX_ALIASED} values" in _fault("\n".join(lines)).message
    one = "a: &a [" + "x, " * 900 + "]\n"
    assert _value(one + "b: [" + ", ".join(["*a"] * 10) + "]\n")


def test_invalid_utf8_has_a_place() -> None:
    fault = decode(b"a: 1\nb: \xff\n", "a.yaml")
    assert isinstance(fault, Diagnostic)
    assert fault.position == Position("a.yaml", 2, 4)
    assert decode("é".encode(), "a.yaml") == "é"
    utf16 = decode("a: 1".encode("utf-16"), "a.yaml")
    assert isinstance(utf16, Diagnostic)
    assert "not UTF-8" in utf16.message


def test_excerpt_points_at_the_column_and_is_cut() -> None:
    text = "a: 1\nkey: " + "x" * 300 + " \x9b!\n"
    source = SourceText("a.yaml", text)
    assert source.excerpt(Position("a.yaml", 1, 4)) == "  a: 1\n     ^"
    line, caret = source.excerpt(Position("a.yaml", 2, 307)).splitlines()
    assert len(line) <= 102
    assert line[caret.index("^") :].startswith("\\x9b!")
    assert source.excerpt(Position("a.yaml", 99, 1)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "password: hunter2\nb: !x 1\npassword: hunter2\n",
        "a: {password: hunter2, b: !x 1}",
        "a: {b: !x 1, password: 'hunter2 x'}",
        "a: {b: !x 1, api_token: [hunter2]}",
        "password: !x hunter2",
        'password: "hunter2 \n  hunter2": x',
        "password: |\n  hunter2\n hunter2",
        "password:\n  hunter2\n : x [",
        "password: >-\n  hunter2: {\n\t- hunter2",
        "a: {password: 'hunter2, b: c",
        "a: [b: c # password: hunter2",
        "DB_PASSWORD=hunter2: [",
        'a: "x\n  password: hunter2',
    ],
)
def test_secrets_are_not_in_excerpts(text: str) -> None:
    documents, faults = parse_documents(text, "a.yaml")
    shown = "".join(str(fault) for fault in faults)
    assert "hunter2" not in shown
    for _, positions in documents:
        for path in positions.marks:
            assert "hunter2" not in str(positions.diagnose("x", path))
    assert faults or documents


def test_path_as_text() -> None:
    assert dotted(("spec", "databases", 0, "owner")) == "spec.databases[0].owner"
    assert dotted(("spec", "a b\x1b", "c")) == 'spec."a b\\x1b".c'
    assert dotted(()) == ""
