"""Access control lists: every quoting that PostgreSQL's putid writes is read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION, every_privilege, privileges_of, public_at_creation

LETTERS = {
    "r": "SELECT",
    "a": "INSERT",
    "w": "UPDATE",
    "d": "DELETE",
    "D": "TRUNCATE",
    "x": "REFERENCES",
    "t": "TRIGGER",
}
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


def putid(name: str, *, always: bool) -> str:
    """Src/backend/utils/adt/acl.c: quoted unless all is alphanumeric (by locale, once) or `_`; a quote is doubled."""
    if not always and all(c.isalnum() or c == "_" for c in name):
        return name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


@given(
    st.dictionaries(names, st.dictionaries(st.sampled_from(list(LETTERS)), st.booleans(), min_size=1)),
    names,
    st.booleans(),
)
def test_round_trip(held: dict[str, dict[str, bool]], owner: str, always: bool) -> None:
    entries = [
        f"{putid(name, always=always)}={''.join(c + '*' * o for c, o in letters.items())}/{putid(owner, always=always)}"
        for name, letters in held.items()
    ]
    found = privileges_of("table", owner, [f"=r/{putid(owner, always=always)}", *entries])
    wanted = {
        name: frozenset(LETTERS[c] + WITH_GRANT_OPTION * option for c, option in letters.items())
        for name, letters in held.items()
        if name != owner
    }
    public = wanted.pop("public", frozenset()) | {"SELECT"}
    assert {**found, "public": found["public"]} == {**wanted, "public": public}


def test_two_grantors_add_up_and_the_option_includes_the_privilege() -> None:
    assert privileges_of("table", "o", ["ann=rw/o", "ann=r*/bob"]) == {
        "ann": frozenset({"UPDATE", "SELECT WITH GRANT OPTION"})
    }


def test_the_default_list() -> None:
    assert privileges_of("database", "o", None) == {"public": frozenset({"CONNECT", "TEMPORARY"})}
    assert privileges_of("table", "o", None) == {}
    assert privileges_of("database", "o", []) == {}


def test_versions() -> None:
    assert every_privilege("table", 17) - every_privilege("table", 16) == {"MAINTAIN"}
    assert public_at_creation(("schema", "app", "public"), 14) == {"USAGE", "CREATE"}
    assert public_at_creation(("schema", "app", "public"), 15) == {"USAGE"}
    assert public_at_creation(("schema", "app", "other"), 15) == frozenset()
