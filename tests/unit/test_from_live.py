"""Living grants in the words of manifests: what is read back from them is what was there, whatever it was."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pgvillage.core.address import Address
from pgvillage.core.change import Resource, Source
from pgvillage.estate.manifest.common import Grant, PrivilegeSet
from pgvillage.estate.view import BUILT_IN_PROFILES
from pgvillage.estate.yaml12 import parse_documents
from pgvillage.resources.postgres.acl import ALL, WITH_GRANT_OPTION, every_privilege
from pgvillage.resources.postgres.default_privilege import DefaultPrivilegeState, _settled, _spelt_out
from pgvillage.resources.postgres.privilege_inventory import Inventory, PrivilegeState, address_of
from pgvillage.resources.postgres.privilege_resolve import resolve_one
from pgvillage.resources.postgres.privilege_wishes import EVERY, _of_grant
from pgvillage.usecases.estate_files import dumped
from pgvillage.usecases.live_grants import OWN_PROFILES, LiveGrants

MAJOR = 17
PROFILES = {**BUILT_IN_PROFILES, **{n: PrivilegeSet.model_validate(p) for n, p in OWN_PROFILES.items()}}
PLACES = {
    ("database", "d", ""): frozenset({"d"}),
    ("schema", "d", "s"): frozenset({"s"}),
    ("schema", "d", "s2"): frozenset({"s2"}),
    ("table", "d", "s"): frozenset({"a", "b", "mine"}),
    ("sequence", "d", "s"): frozenset({"q"}),
    ("table", "d", "s2"): frozenset({"c"}),
}
OWNED = {("table", "d", "s"): {"r": frozenset({"mine"})}}
INVENTORY = Inventory(PLACES, OWNED, {"d": frozenset({"s", "s2"})}, {})


def privileges(object_class: str) -> st.SearchStrategy[frozenset[str]]:
    """Some, all, or none, each with the option or without."""
    names = sorted(ALL[object_class])
    some = st.frozensets(st.sampled_from(names)) | st.just(frozenset(names))
    return st.tuples(some, st.frozensets(st.sampled_from(names), max_size=2)).map(
        lambda pair: frozenset({*(pair[0] - pair[1]), *(p + WITH_GRANT_OPTION for p in pair[1])})
    )


@st.composite
def entries(draw: st.DrawFn, place: tuple[str, str, str]) -> dict[str, frozenset[str]]:
    free = sorted(PLACES[place] - OWNED.get(place, {}).get("r", frozenset()))
    found = {p: frozenset(free) for p in draw(privileges(place[0]))}
    if len(free) > 1 and draw(st.booleans()):
        for privilege in sorted(found):
            found[privilege] = draw(st.just(frozenset(free)) | st.frozensets(st.sampled_from(free), min_size=1))
    return found


HELD = st.fixed_dictionaries({place: entries(place) for place in PLACES})
DEFAULTS = st.dictionaries(
    st.tuples(
        st.sampled_from(["table", "sequence"]), st.just("d"), st.sampled_from(["", "s", "s2"]),
        st.sampled_from(["owner", "other"]), st.just("r"),
    ),
    st.none(),
    max_size=4,
).flatmap(lambda keys: st.fixed_dictionaries({key: privileges(key[0]).filter(bool) for key in keys}))  # fmt: skip


def said(held: Any, defaults: Any) -> list[dict[str, Any]]:
    states = {
        address_of("c", place, "r").name: PrivilegeState(found, PLACES[place]) for place, found in held.items() if found
    }
    future = {name: DefaultPrivilegeState(found) for name, found in defaults.items()}
    return LiveGrants(states, future, INVENTORY, MAJOR, {"d"}).by_role().get("r", [])


def read_back(grants: list[dict[str, Any]]) -> dict[Any, Any]:
    wished: dict[Any, dict[str, frozenset[str]]] = defaultdict(dict)
    for document in grants:
        grant = Grant.model_validate(document)
        for place, _, privilege, objects, _ in _of_grant(grant, _set_of(grant), "r", Source()):
            known = wished[place].get(privilege, frozenset())
            wished[place][privilege] = EVERY if EVERY in (known, objects) else known | objects
    found = {}
    for place, wish in wished.items():
        address = address_of("c", place, "r")
        mine = OWNED.get(place, {}).get("r", frozenset())
        state, missing = resolve_one(Resource(address, PrivilegeState(wish), Source()), address, mine, INVENTORY, MAJOR)
        assert missing == []
        if state is not None:
            found[place] = dict(state.entries)
    return found


def _set_of(grant: Grant) -> PrivilegeSet:
    return grant.grant if grant.grant is not None else PROFILES[grant.profile or ""]


def read_back_future(grants: list[dict[str, Any]]) -> dict[Any, frozenset[str]]:
    found: dict[Any, set[str]] = defaultdict(set)
    for grant in map(Grant.model_validate, grants):
        option = WITH_GRANT_OPTION if grant.grant_option else ""
        for creator in grant.future.creators if grant.future else ():
            for object_class in ("table", "sequence"):
                for schema in grant.schemas or [""]:
                    given = {p + option for p in _set_of(grant).of(object_class)}
                    found[object_class, "d", schema, creator, "r"] |= given
    spelt = {}
    for name, given in found.items():
        state = _spelt_out(Address("c", "default-privilege", name), DefaultPrivilegeState(_settled(given)), MAJOR)
        assert isinstance(state, DefaultPrivilegeState)
        if state.privileges:
            spelt[name] = state.privileges
    return spelt


@settings(max_examples=300, deadline=None)
@given(HELD, DEFAULTS)
def test_what_is_read_back_is_what_was_there(held: Any, defaults: Any) -> None:
    grants = said(held, defaults)
    assert read_back(grants) == {place: found for place, found in held.items() if found}
    assert read_back_future(grants) == defaults


def whole(place: tuple[str, str, str], *names: str) -> dict[str, frozenset[str]]:
    return dict.fromkeys(names, PLACES[place] - OWNED.get(place, {}).get("r", frozenset()))


READS = {
    ("schema", "d", "s"): whole(("schema", "d", "s"), "USAGE"),
    ("table", "d", "s"): whole(("table", "d", "s"), "SELECT"),
    ("sequence", "d", "s"): whole(("sequence", "d", "s"), "SELECT"),
}
CONNECTS = {("database", "d", ""): {"CONNECT": frozenset({"d"})}}


def test_profiles_are_recognised() -> None:
    assert said({**READS, **CONNECTS}, {}) == [{"profile": "reader", "database": "d", "schemas": ["s"]}]
    assert said(READS, {}) == [{"profile": "schema-reader", "database": "d", "schemas": ["s"]}]
    owner = {place: whole(place, *every_privilege(place[0], MAJOR)) for place in PLACES}
    assert said(owner, {}) == [{"profile": "owner", "database": "d", "schemas": ["s", "s2"]}]


def test_what_a_profile_does_not_say_stands_beside_it() -> None:
    more = {**READS, **CONNECTS, ("table", "d", "s"): {"SELECT": frozenset("ab"), "INSERT": frozenset("b")}}
    more["database", "d", ""] = {"CONNECT": frozenset("d"), "TEMPORARY": frozenset("d")}
    assert said(more, {}) == [
        {"grant": {"database": ["TEMPORARY"]}, "database": "d"},
        {"profile": "reader", "database": "d", "schemas": ["s"]},
        {"grant": {"table": ["INSERT"]}, "database": "d", "schemas": ["s"], "tables": ["b"]},
    ]


def test_defaults_join_the_grant_that_says_the_same() -> None:
    names = [(c, "d", "s", "owner", "r") for c in ("table", "sequence")]
    grants = said({**READS, **CONNECTS}, dict.fromkeys(names, frozenset({"SELECT"})))
    assert grants == [{"profile": "reader", "database": "d", "schemas": ["s"], "future": {"creators": ["owner"]}}]


PRINTABLE = st.characters(blacklist_categories=("Cs", "Cc", "Cn"), blacklist_characters="\ufeff")
AMBIGUOUS = (
    "1e5", "0o7", "0x1F", "null", "~", "true", "No", "off", "12:30", "1_000", "=", "a: b", "- x", "#", "2027-01-01",
    "\n", "a\n b",
)  # fmt: skip
SCALARS = st.text(PRINTABLE) | st.sampled_from(AMBIGUOUS)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(SCALARS, SCALARS | st.booleans() | st.integers() | st.lists(SCALARS), max_size=4))
def test_what_is_written_is_read_as_it_was(content: dict[str, Any]) -> None:
    found, faults = parse_documents(dumped([{"apiVersion": "x", "spec": content}]), "f")
    assert not faults
    assert found[0][0] == {"apiVersion": "x", "spec": content}
