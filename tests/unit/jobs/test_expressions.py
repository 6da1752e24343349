"""The expressions of `when` and checks, and their regular expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvillage.jobs.expression import Kind, Name, Value, check_types, evaluate, parse_expression, references
from pgvillage.jobs.fault import TextFault
from pgvillage.jobs.pattern import compile_pattern

VALUES: Mapping[Name, Value] = {
    ("steps", "load-data", "rc"): 0,
    ("steps", "load-data", "rows"): 12,
    ("steps", "load-data", "output"): "first line\nOK: done\n",
    ("steps", "load-data", "value"): Decimal("1.50"),
    ("steps", "other", "rows"): None,
    ("steps", "other", "skipped"): True,
    ("matrix", "region"): "eu",
}
KINDS: Mapping[Name, Kind] = {
    ("steps", "a", "rows"): Kind.NUMBER,
    ("steps", "a", "output"): Kind.TEXT,
    ("steps", "a", "skipped"): Kind.FLAG,
    ("steps", "a", "value"): Kind.ANY,
}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("steps.load-data.rc == 0", True),
        ("steps.load-data.rows > 12 or steps.load-data.rows >= 12", True),
        ("steps.load-data.value == 1.5", True),
        ("steps.load-data.output matches '^OK: [a-z]+$'", True),
        ("steps.load-data.output not contains 'done'", False),
        ("matrix.region in ['us', 'eu']", True),
        ("matrix.region not in ['us', \"ap\"]", True),
        ("not (steps.load-data.rc != 0) and steps.other.skipped", True),
        ("steps.other.rows == null", True),
        ("steps.other.rows > 0", False),
        ("steps.other.rows == 0", False),
        ("true and not false", True),
        ("false and matrix.region > 'a' or true", True),
        ("-1 < 0", True),
        ("'it''s' == \"it's\"", True),
    ],
)
def test_values(text: str, result: bool) -> None:
    assert evaluate(parse_expression(text), VALUES) is result


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        ("steps.a.rows", "expected true or false, found a number", 0),
        ("steps.a.rows contains 'x'", "`contains` looks at text, found a number", 0),
        ("steps.a.rows == 'x'", "a number is compared with text", 13),
        ("steps.a.skipped > 1", "`>` compares numbers or texts, found true or false", 16),
        ("steps.a.rows > null", "found null", 13),
        ("steps.a.output in [1]", "text is compared with a number", 15),
    ],
)
def test_kinds_that_do_not_fit(text: str, message: str, at: int) -> None:
    term = parse_expression(text)
    with pytest.raises(TextFault) as caught:
        check_types(term, KINDS)
    assert (message in caught.value.message, caught.value.at) == (True, at)


@pytest.mark.parametrize(
    ("text", "message", "at", "hint"),
    [
        ("a = 1", "unknown sign =", 2, "write =="),
        ("a && b", "unknown sign &&", 2, "write and"),
        ("a == 1 b", "expected `and`, `or` or the end", 7, ""),
        ("(a == 1", "this `(` is not closed", 0, ""),
        ("a ==", "found the end", 4, ""),
        ("a matches b", "needs a regular expression in quotes", 10, ""),
        ("a matches '(x'", "this `(` is not closed", 11, ""),
        ("a in 3", "`in` needs a list", 2, ""),
        ("'open", "this text has no end", 0, ""),
        ("__import__('os')", "expected `and`, `or` or the end", 10, ""),
        ("a.b; c", "unexpected ;", 3, ""),
        ("not " * 60 + "a", "nested deeper than", 160, ""),
        ("(" * 60, "nested deeper than", 40, ""),
        ("a or " * 500, "at most 2000 characters", 0, ""),
    ],
)
def test_texts_that_are_none(text: str, message: str, at: int, hint: str) -> None:
    with pytest.raises(TextFault) as caught:
        parse_expression(text)
    assert message in caught.value.message
    assert caught.value.at == at
    assert hint in caught.value.hint


def test_values_of_the_wrong_kind_are_told_when_they_are_there() -> None:
    term = parse_expression("steps.a.value > 3")
    check_types(term, KINDS)
    with pytest.raises(TextFault, match="text is compared with a number"):
        evaluate(term, {("steps", "a", "value"): "12"})


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                "steps.b.rc",
                "not",
                "and",
                "or",
                "in",
                "(",
                ")",
                "[",
                "]",
                ",",
                "==",
                "<",
                "1",
                "'x'",
                "matches",
                "null",
            ]
        ),
        max_size=14,
    )
)
def test_any_words_are_an_expression_or_a_fault(words: list[str]) -> None:
    text = " ".join(words)
    try:
        found = references(parse_expression(text))
    except TextFault as fault:
        assert 0 <= fault.at <= len(text)  # noqa: PT017
    else:
        assert all(text.startswith(".".join(each.name), each.at) for each in found)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                "b",
                ".",
                "[ab]",
                "[^a]",
                "(a|b)",
                "(ab)",
                "a*",
                "b+",
                "a?",
                "(a|)*",
                "a{2}",
                "b{1,2}",
                "a{0,}",
                "^",
                "$",
                "\\w",
                "\\s",
                "\n",
            ]
        ),
        max_size=7,
    ).map("".join),
    st.text("ab c\n", max_size=12),
)
def test_patterns_find_what_pythons_find(pattern: str, text: str) -> None:
    # Python's $ is also before a last line's end, which is a line's end here as well
    assert compile_pattern(pattern).found_in(text) is bool(re.search(pattern, text, re.MULTILINE))


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(a|a)*b", "(a*)*c", "(.*)(.*)(.*)(.*)x", "(a|aa)+$"])
def test_patterns_that_explode_elsewhere_do_not_here(pattern: str) -> None:
    compile_pattern(pattern).found_in("a" * 60_000 + "!")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?=a)", "look around"),
        ("(?P<n>a)", "look around"),
        ("\\1", "not supported"),
        ("a**", "not supported"),
        ("a{101}", "counts go from 0"),
        ("((a{100}){100}){100}", "states"),
        ("*a", "repeats nothing"),
        ("[a", "not closed"),
        ("a)", "closing"),
        ("[z-a]", "smaller"),
        ("(" * 30 + ")" * 30, "nested"),
        ("x" * 501, "500"),
        ("[[:alpha:]]", "[:alpha:]"),
    ],
)
def test_patterns_that_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(TextFault) as caught:
        compile_pattern(pattern)
    assert message in caught.value.message


def test_patterns_without_case() -> None:
    assert compile_pattern("(?i)error [A-Z]+").found_in("an ERROR abc")
    assert not compile_pattern("error").found_in("ERROR")


def test_nothing_repeated_a_million_times_is_nothing() -> None:
    assert compile_pattern("^(((((){100}){100}){100}){100}){100}b$").found_in("b")
