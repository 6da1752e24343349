"""Edits of a manifest's text: what is asked for changes, every other line stays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvillage.estate.yaml12 import parse_documents
from pgvillage.estate.yaml_edit import Unclear, append_item, document_of, set_value
from pgvillage.usecases.estate_files import dumped, inline

BLOCK = """\
# head
kind: User   # who
metadata: {name: a}
spec:
  memberOf:
    - one   # first
    # between
    - two
  # before settings
  settings:
    work_mem: 1MB   # small
# the end
---
kind: Group
metadata: {name: b}
spec: {clusters: {names: [c]}}
"""


def read(text: str) -> list[Any]:
    documents, faults = parse_documents(text, "f")
    assert not faults
    return [content for content, _ in documents]


def lines_changed(old: str, new: str) -> tuple[list[str], list[str]]:
    before, after = old.splitlines(), new.splitlines()
    return [line for line in before if line not in after], [line for line in after if line not in before]


def test_an_item_goes_below_the_last_one() -> None:
    new = append_item(BLOCK, 0, ("spec", "memberOf"), "three, or so", inline)
    assert lines_changed(BLOCK, new) == ([], ["    - 'three, or so'"])
    assert read(new)[0]["spec"]["memberOf"] == ["one", "two", "three, or so"]


def test_a_value_keeps_the_comment_beside_it() -> None:
    new = set_value(BLOCK, 0, ("spec", "settings", "work_mem"), "off", inline)
    assert lines_changed(BLOCK, new) == (["    work_mem: 1MB   # small"], ["    work_mem: off   # small"])


def test_keys_that_are_missing_are_made() -> None:
    new = set_value(BLOCK, 0, ("spec", "createdb"), True, inline)
    assert lines_changed(BLOCK, new) == ([], ["  createdb: true"])
    new = append_item(BLOCK, 1, ("spec", "privileges"), {"profile": "reader"}, inline)
    assert read(new)[1]["spec"] == {"clusters": {"names": ["c"]}, "privileges": [{"profile": "reader"}]}
    new = set_value(BLOCK, 1, ("spec", "databaseSettings", "d", "jit"), "on", inline)
    assert read(new)[1]["spec"]["databaseSettings"] == {"d": {"jit": "on"}}


def test_documents_are_found_by_kind_and_name() -> None:
    assert document_of(BLOCK, "Group", "b") == 1
    with pytest.raises(Unclear, match="no Group a"):
        document_of(BLOCK, "Group", "a")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("spec:\n  settings:\n    a: b\n", ("spec", "settings")),
        ("spec: &x {a: b}\nother: *x\n", ("spec", "a")),
        ("spec: {a: b}\r\n", ("spec", "a")),
        ("spec: text\n", ("spec", "a")),
    ],
)
def test_what_is_not_clear_is_refused(text: str, path: tuple[str, ...]) -> None:
    with pytest.raises(Unclear):
        set_value(text, 0, path, "new", inline)


NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Cn"), blacklist_characters="\ufeff"), min_size=1)
VALUES = st.recursive(
    NAMES | st.booleans() | st.integers(), lambda v: st.lists(v) | st.dictionaries(NAMES, v), max_leaves=4
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, VALUES, min_size=1), NAMES, VALUES)
def test_any_value_can_be_put_under_any_key(content: dict[str, Any], name: str, value: Any) -> None:
    text = dumped([{"kind": "User", "spec": content}])
    try:
        new = set_value(text, 0, ("spec", name), value, inline)
    except Unclear:
        assert isinstance(content.get(name), list | dict)
    else:
        assert read(new)[0]["spec"] == {**content, name: value}
