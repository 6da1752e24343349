"""Addresses: whatever the name, it is printed on one line and read back."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvillage.core.address import Address, parse_address
from pgvillage.core.errors import UsageError

parts = st.lists(st.text(), min_size=1, max_size=4).map(tuple)


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]*", fullmatch=True), parts)
def test_round_trip(target: str, name: tuple[str, ...]) -> None:
    address = Address(target, "role", name)
    assert parse_address(str(address)) == address
    assert str(address).isprintable()


@given(st.text(), st.text())
def test_different_names_print_differently(one: str, two: str) -> None:
    assert (str(Address("c", "role", (one,))) == str(Address("c", "role", (two,)))) is (one == two)
    assert str(Address("c", "role", (one, two))) != str(Address("c", "role", (f"{one}.{two}",)))


@given(st.text())
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_address(text)


@pytest.mark.parametrize(
    "text",
    ["", "c", "c/role", "c/role/", "/role/x", "c//x", 'c/role/"x', "c/role/x.", "c/role/.x",
     'c/role/x"y"', 'c/r/"\\Uffffffff"'],
)  # fmt: skip
def test_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="is not an address"):
        parse_address(text)


def test_as_people_see_it() -> None:
    assert str(Address("orders", "table", ("app", 'we"ird.name', "\n"))) == 'orders/table/app."we\\"ird.name"."\\u000a"'
