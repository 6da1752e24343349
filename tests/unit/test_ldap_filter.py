"""Filters: read strictly, written so that ldap3 sends what was meant; and entries of a file judged by them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ldap3.operation.search import compile_filter
from ldap3.operation.search import parse_filter as ldap3_filter

from pgvillage.clients.ldap_dn import dn_key
from pgvillage.clients.ldap_entry import Entry
from pgvillage.clients.ldif_filter import cannot_judge, fits
from pgvillage.core.ldap_filter import (
    Combined,
    Filter,
    InvalidFilter,
    Item,
    Rule,
    attributes_of,
    escape,
    parse_filter,
    readable,
    write_filter,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(uid=ann)", Item("uid", "=", ("ann",))),
        ("(uid=)", Item("uid", "=", ("",))),
        ("(mail=*)", Item("mail", "=", ("", ""))),
        (r"(cn=a*b\2a*)", Item("cn", "=", ("a", "b*", ""))),
        ("(n>=5)", Item("n", ">=", ("5",))),
        ("(2.5.4.3=x)", Item("2.5.4.3", "=", ("x",))),
        (r"(cn=\c3\a4)", Item("cn", "=", ("ä",))),
        ("(cn=a b=c)", Item("cn", "=", ("a b=c",))),
        ("(u:1.2.840.113556.1.4.803:=2)", Rule("u", "1.2.840.113556.1.4.803", of_dn=False, value="2")),
        ("(ou:dn:=x)", Rule("ou", "", of_dn=True, value="x")),
        ("(ou:=x)", Rule("ou", "", of_dn=False, value="x")),
        ("(!(a=b))", Combined("!", (Item("a", "=", ("b",)),))),
        ("(&(a=b)(|(c=d)(e=f)))", Combined("&", (
            Item("a", "=", ("b",)), Combined("|", (Item("c", "=", ("d",)), Item("e", "=", ("f",)))),
        ))),
    ],
)  # fmt: skip
def test_filters(text: str, found: Filter) -> None:
    assert parse_filter(text) == found
    assert parse_filter(write_filter(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "uid=ann", "(uid=ann", "(uid=ann))", "()", "(&)", "(!(a=b)(c=d))", "(a=b) ", " (a=b)", "(& (a=b))", "(a)",
     r"(a=\zz)", r"(a=\4)", "(a=b**c)", "(a>=b*c)", "(=b)", "(a b=c)", r"(a=\ff)", "(a:1.2=b)", "(a=\0)", "(" * 99,
     "(!" * 60 + "(a=b)" + ")" * 60, "(1a=b)", "(a_b=c)"],
)  # fmt: skip
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidFilter):
        parse_filter(text)


ITEMS = st.builds(
    lambda name, parts: Item(name, "=", tuple(parts)),
    st.sampled_from(["cn", "uid"]),
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=3),
)


@settings(deadline=None)
@given(ITEMS)
def test_any_value_comes_through_and_never_leaves_its_item(item: Item) -> None:
    assert parse_filter(write_filter(item)) == item
    if len(item.parts) == 1:
        elements = ldap3_filter(write_filter(item), None, True, False, None, False).elements
        compiled = compile_filter(elements[0])
        assert bytes(compiled["equalityMatch"]["assertionValue"]) == item.parts[0].encode()


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_both_ways_of_writing_a_value_mean_it(text: str) -> None:
    for written in (escape(text), readable(text)):
        assert parse_filter(f"(cn={written})") == Item("cn", "=", (text,))


def test_the_attributes_of_a_filter() -> None:
    assert list(attributes_of(parse_filter("(&(A=1)(!(b=*))(:1.2.3:=x)(c:dn:=y))"))) == ["A", "b", "c"]


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ("(cn=ANN)", True), ("(cn=bob)", False), ("(cn=a*)", True), ("(cn=*n*n)", True), ("(cn=*x*)", False),
        ("(mail=*)", False), ("(!(mail=*))", True), ("(&(cn=ann)(ou=x))", False), ("(|(cn=ann)(ou=x))", True),
        ("(manager=CN=Boss, DC=x)", True), ("(manager=cn=b*)", True),
    ],
)  # fmt: skip
def test_entries_of_a_file(text: str, fit: bool) -> None:
    entry = Entry("cn=ann,dc=x", dn_key("cn=ann,dc=x"), {"cn": (b"Ann",), "manager": (b"cn=boss,dc=x",)})
    wanted = parse_filter(text)
    assert not cannot_judge(wanted)
    assert fits(entry, wanted) is fit


def test_a_file_says_what_it_cannot_judge() -> None:
    assert "matching rule 1.2.3" in cannot_judge(parse_filter("(&(a=b)(!(u:1.2.3:=2)))"))
    assert "with >=" in cannot_judge(parse_filter("(a>=1)"))
