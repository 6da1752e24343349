"""LDIF, DNs and the expansion of groups, without a server."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ldap3.operation.search import compile_filter, parse_filter

from pgvillage.clients.directory import expand
from pgvillage.clients.ldap import ask_directory
from pgvillage.clients.ldap_connection import SearchResult, Session, parse_uri, refuse_clear_text
from pgvillage.clients.ldap_dn import DnKey, InvalidDn, dn_key, is_within, parent_dn
from pgvillage.clients.ldap_entries import LdapEntries, _entry
from pgvillage.clients.ldap_entry import Entry, Found, Missing, Unread
from pgvillage.clients.ldap_failure import DirectoryRefused
from pgvillage.clients.ldif import read_ldif
from pgvillage.core.errors import SourceError
from pgvillage.core.ldap_filter import Filter, escape
from pgvillage.core.lookup import GroupAnswer, GroupQuery, Unanswered
from pgvillage.settings import Directory

BASE = "dc=x"


def parsed(text: str) -> dict[str, dict[str, tuple[bytes, ...]]]:
    return {entry.dn: dict(entry.attributes) for entry in read_ldif(text.encode(), "f.ldif").values()}


def test_reads_folding_base64_comments_version_and_windows_lines() -> None:
    text = (
        "# export\n of today\nversion: 1\r\n\r\ndn: cn=a,\n dc=x\nCN: a\n# in\n between\n"
        "member;x-tag: cn=b,dc=x\nmember:: " + base64.b64encode("cn=ü,dc=x".encode()).decode() + "\nmail:\n\n\n"
        "dn:: " + base64.b64encode("cn=ö,dc=x".encode()).decode() + "\ncn: 1 < 2: yes"
    )
    assert parsed(text) == {
        "cn=a,dc=x": {"cn": (b"a",), "member": (b"cn=b,dc=x", "cn=ü,dc=x".encode()), "mail": (b"",)},
        "cn=ö,dc=x": {"cn": (b"1 < 2: yes",)},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 2\n", "f.ldif:1: expected LDIF version 1, found '2'"),
        ("cn: a\n", "f.ldif:1: expected `dn:`"),
        ("\n\ndn: cn=a\nnonsense\n", "f.ldif:4: expected `attribute: value`, found 'nonsense'"),
        ("dn: cn=a\njpeg:< file:///etc/passwd\n", "f.ldif:2: `jpeg` points to a URL"),
        ("dn: cn=a\nchangetype: delete\n", "f.ldif:2: `changetype` makes this a change record"),
        ("dn: cn=a\ncontrol: 1.2.3 true\nchangetype: delete\n", "f.ldif:2: `control` makes this"),
        ("dn: cn=a\nmember:: ?!\n", "f.ldif:2: `member` is not base64"),
        (" cn=a\n", "f.ldif:1: a continuation"),
        ("dn: cn=a\n\n b\n", "f.ldif:3: a continuation"),
        ("dn: what\n", "f.ldif:1: 'what' is not a distinguished name"),
        ("dn:: /w==\n", "f.ldif:1: the dn is not UTF-8"),
        ("dn: cn=a\ncn: a\ndn: cn=b\n", "f.ldif:3: a second `dn:`"),
        ("dn: cn=a\n\ndn: CN = A\n", "f.ldif:3: a second entry for CN = A"),
    ],
)
def test_refuses_with_the_line(text: str, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        parsed(text)
    assert said in str(caught.value)


@settings(deadline=None)
@given(st.dictionaries(st.text("abcé ,", min_size=1).filter(str.strip), st.binary(min_size=1), max_size=5))
def test_what_is_written_is_read(people: dict[str, bytes]) -> None:
    expected: dict[DnKey, bytes] = {}
    text = ""
    for name, value in people.items():
        dn = "cn=" + "".join(f"\\{byte:02x}" for byte in name.encode()) + ",dc=x"
        if dn_key(dn) in expected:
            continue
        expected[dn_key(dn)] = value
        lines = f"dn: {dn}\nphoto:: {base64.b64encode(value).decode()}".split("\n")
        text += "\n".join(_folded(line) for line in lines) + "\n\n"
    assert {key: e.attributes["photo"][0] for key, e in read_ldif(text.encode(), "f").items()} == expected


def _folded(line: str) -> str:
    return "\n ".join(line[at : at + 9] for at in range(0, len(line), 9))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=A,DC=x", "cn = a , dc = X"),
        (r"cn=a\,b,dc=x", r"cn=a\2Cb,dc=x"),
        (r"cn=\C3\BC,dc=x", "cn=Ü,dc=x"),
        ("cn=a+uid=b,dc=x", "UID=B + CN=a,dc=x"),
        ("cn=a  b,dc=x", "cn=a b,dc=x"),
        (r"cn=\ a\ ,dc=x", r"cn=\20a\20,dc=x"),
        ("cn=#0401 61,dc=x".replace(" ", ""), "cn=a,dc=x"),
        ("2.5.4.3=a,domainComponent=x", "cn=a,dc=x"),
        (r"cn=a\"b\\c,dc=x", r"cn=a\22b\5cc,dc=x"),
        ("cn=a=b,dc=x", r"cn=a\3db,dc=x"),
        ("cn=,dc=x", "cn= ,dc=x"),
    ],
)
def test_same_name(one: str, other: str) -> None:
    assert dn_key(one) == dn_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"cn=a\,ou=b,dc=x", "cn=a,ou=b,dc=x"),
        (r"cn=a\+uid=b,dc=x", "cn=a+uid=b,dc=x"),
        ("cn=strasse,dc=x", "cn=straße,dc=x"),
        (r"cn=a\ ,dc=x", "cn=a,dc=x"),
        (r"cn=\ff,dc=x", r"cn=\fe,dc=x"),
        (r"cn=\#0401 61".replace(" ", ""), "cn=#040161"),
        ("cn=a,uid=b", "cn=a+uid=b"),
    ],
)
def test_different_names(one: str, other: str) -> None:
    assert dn_key(one) != dn_key(other)


@pytest.mark.parametrize(
    "text", ["", "a", "cn", "=a", "cn=a,", "cn=a;dc=x", 'cn="a",dc=x', "cn=a\\", "cn=#zz", "cn=\0"]
)
def test_no_name(text: str) -> None:
    with pytest.raises(InvalidDn):
        dn_key(text)


@settings(deadline=None)
@given(st.text(min_size=1), st.text(min_size=1))
def test_escaped_values_never_leave_their_rdn(one: str, other: str) -> None:
    def escaped(text: str) -> str:
        return "".join(f"\\{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))

    key = dn_key(f"cn={escaped(one)},ou={escaped(other)},dc=x")
    assert [len(rdn) for rdn in key] == [1, 1, 1]
    assert is_within(key, dn_key("DC=X"))
    assert not is_within(dn_key("dc=x"), key)


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_filter_values_are_letters_digits_and_hex(text: str) -> None:
    compiled = compile_filter(parse_filter(f"(cn={escape(text)})", None, True, False, None, False).elements[0])
    if text:
        assert bytes(compiled["equalityMatch"]["assertionValue"]) == text.encode()


NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Fixed:
    """Entries that are what the test says, and count what they are asked for."""

    def __init__(self, *entries: Entry, unread: dict[str, str] | None = None) -> None:
        self.found: dict[DnKey, Found] = {entry.key: entry for entry in entries}
        self.found.update((dn_key(dn), Unread(reason)) for dn, reason in (unread or {}).items())
        self.rounds = 0

    def base_fault(self) -> str:
        return ""

    def by_dn(self, dns: Mapping[DnKey, str]) -> dict[DnKey, Found]:
        self.rounds += 1
        return {key: self.found.get(key, Missing()) for key in dns}

    def by_user(self, values: Collection[str]) -> dict[str, Found]:
        raise AssertionError(f"nobody asked for users, found {values}")

    def ahead(self, direct: Mapping[DnKey, str], nested: Mapping[DnKey, str]) -> dict[DnKey, Entry]:
        return {}

    def by_membership(self, groups: Mapping[DnKey, str]) -> dict[DnKey, list[Entry] | Unread]:
        raise AssertionError(f"nobody asked for memberOf, found {groups}")

    def search(self, base: str, wanted: Filter) -> list[Entry] | Unread:
        raise AssertionError(f"nobody asked for a search, found {wanted}")

    def matching(self, dns: Mapping[DnKey, str], wanted: Filter) -> set[DnKey] | Unread:
        raise AssertionError(f"nobody asked for a filter, found {wanted}")

    def attribute_names(self) -> set[str]:
        return {"objectClass", "cn", "uid", "mail"}


def entry(dn: str, **attributes: list[str]) -> Entry:
    return Entry(dn, dn_key(dn), {name: tuple(v.encode() for v in values) for name, values in attributes.items()})


def group(name: str, *members: str) -> Entry:
    return entry(f"cn={name},dc=x", objectclass=["groupOfNames"], member=[f"cn={member},dc=x" for member in members])


def human(name: str, **attributes: list[str]) -> Entry:
    return entry(f"cn={name},dc=x", objectclass=["person"], **attributes)


def one(entries: Fixed, name: str, *, nested: bool = False, attributes: tuple[str, ...] = ()) -> object:
    query = GroupQuery("d", f"cn={name},dc=x", nested, attributes)
    return expand(Directory(uris=["ldap://h"], base=BASE), [query], entries, NOW)[query]


def test_a_chain_of_groups_costs_a_round_per_level_and_names_the_way() -> None:
    entries = Fixed(
        group("a", "b", "u1"), group("b", "c", "u2", "u1"), group("c", "a", "u3"), *map(human, ["u1", "u2"])
    )
    entries.found[dn_key("cn=u3,dc=x")] = human("u3")
    answer = one(entries, "a", nested=True)
    assert isinstance(answer, GroupAnswer)
    assert {member.dn: member.via for member in answer.members} == {
        "cn=u1,dc=x": (),
        "cn=u2,dc=x": ("cn=b,dc=x",),
        "cn=u3,dc=x": ("cn=b,dc=x", "cn=c,dc=x"),
    }
    assert answer.skipped == ()
    assert entries.rounds == 4


def test_people_in_a_place_that_can_not_be_read_are_not_known_to_have_left() -> None:
    place = entry("ou=p,dc=x", objectclass=["organizationalUnit"])
    team = entry("cn=g,dc=x", objectclass=["groupOfNames"], member=["cn=u1,ou=p,dc=x", "cn=u2,ou=p,dc=x"])
    hidden = one(Fixed(team), "g")
    assert isinstance(hidden, Unanswered)
    assert "none of its members was found, and ou=p,dc=x, where they should be" in hidden.reason
    left = one(Fixed(team, place), "g")
    assert isinstance(left, GroupAnswer)
    assert (left.members, len(left.skipped)) == ((), 2)
    someone = one(Fixed(team, entry("cn=u1,ou=p,dc=x", objectclass=["person"])), "g")
    assert isinstance(someone, GroupAnswer)
    assert [member.dn for member in someone.members] == ["cn=u1,ou=p,dc=x"]


GRAPHS = st.dictionaries(
    st.sampled_from("ABCDEF"), st.frozensets(st.sampled_from("ABCDEFuvwxyz"), max_size=5), min_size=1
)


@settings(deadline=None)
@given(GRAPHS, st.lists(st.tuples(st.sampled_from("ABCDEF"), st.booleans()), min_size=1, unique=True))
def test_any_mixture_of_groups_and_questions(graph: dict[str, frozenset[str]], asked: list[tuple[str, bool]]) -> None:
    entries = Fixed(
        *(group("G" + name, *map(named, members)) for name, members in graph.items()), *map(human, "uvwxyz")
    )
    queries = {(name, nested): GroupQuery("d", f"cn={named(name)},dc=x", nested) for name, nested in asked}
    answers = expand(Directory(uris=["ldap://h"], base=BASE), list(queries.values()), entries, NOW)
    for (name, nested), query in queries.items():
        answer = answers[query]
        if name not in graph:
            assert isinstance(answer, Unanswered)
            continue
        assert isinstance(answer, GroupAnswer), answer
        reached = reachable(graph, name) if nested else graph[name]
        assert sorted(m.dn for m in answer.members) == sorted(f"cn={one},dc=x" for one in reached if one.islower())
        gone = {one for one in reached if one.isupper() and one not in graph}
        assert {text.split(":")[0] for text in answer.skipped if "not in the directory" in text} == {
            f"cn={named(one)},dc=x" for one in gone
        }


def named(node: str) -> str:
    return f"G{node}" if node.isupper() else node


def reachable(graph: dict[str, frozenset[str]], start: str) -> frozenset[str]:
    found: frozenset[str] = graph[start]
    while (more := found.union(*(graph.get(one, frozenset()) for one in found))) != found:
        found = more
    return found


def test_an_unread_member_or_nested_group_leaves_the_group_unanswered() -> None:
    entries = Fixed(group("a", "u"), group("n", "a"), human("v"), unread={"cn=u,dc=x": "the answer was cut"})
    for name in ("a", "n"):
        answer = one(entries, name, nested=True)
        assert isinstance(answer, Unanswered)
        assert "member cn=u,dc=x: the answer was cut" in answer.reason


def test_a_group_that_is_not_followed_does_not_matter_when_unread_below() -> None:
    entries = Fixed(group("a", "u"), group("n", "a"), unread={"cn=u,dc=x": "cut"})
    answer = one(entries, "n")
    assert answer == GroupAnswer("cn=n,dc=x", (), ("cn=a,dc=x: is a group, and nested groups are not followed here",))


def test_part_of_the_members_is_no_answer() -> None:
    raw = {"objectClass": [b"group"], "member;range=0-1": [b"cn=u,dc=x", b"cn=v,dc=x"]}
    answer = one(Fixed(_entry("cn=a,dc=x", dn_key("cn=a,dc=x"), raw), human("u"), human("v")), "a")
    assert isinstance(answer, Unanswered)
    assert "found only the part `member;range=0-1`" in answer.reason


@pytest.mark.parametrize("classes", [["top"], ["organizationalUnit"], [], ["inetOrgPerson"]])
def test_what_is_no_group_is_no_empty_group(classes: list[str]) -> None:
    answer = one(Fixed(entry("cn=a,dc=x", objectclass=classes)), "a")
    assert isinstance(answer, Unanswered)
    assert "is not a group" in answer.reason


def test_a_group_without_members_is_an_answer() -> None:
    assert one(Fixed(group("a")), "a") == GroupAnswer("cn=a,dc=x", ())


def test_a_group_whose_member_attribute_is_not_read_is_no_empty_group() -> None:
    query = GroupQuery("d", "cn=a,dc=x")
    one_kind = Directory.model_validate({"uris": ["ldap://h"], "base": BASE, "memberAttributes": ["member"]})
    unique = entry("cn=a,dc=x", objectclass=["groupOfUniqueNames"], uniquemember=["cn=u,dc=x"])
    answer = expand(one_kind, [query], Fixed(unique), NOW)[query]
    assert isinstance(answer, Unanswered)
    assert "memberAttributes" in answer.reason


def test_values_are_chosen_the_same_way_each_time() -> None:
    u = human("B b", cn=["c", "b  B", "A"], mail=["z@x", "a@x"])
    answer = one(Fixed(group("g", "B b"), u), "g", attributes=("cn", "mail"))
    assert isinstance(answer, GroupAnswer)
    assert answer.members[0].attributes == {"cn": "b  B", "mail": "a@x"}


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ("uidd", "the directory knows no attribute uidd; did you mean uid?"),
        ("mail", "none of its 1 people has a readable mail; choose another attribute"),
    ],
)
def test_an_attribute_that_nobody_has_is_a_mistake_and_no_empty_group(attribute: str, said: str) -> None:
    answer = one(Fixed(group("g", "u"), human("u", uid=["u"])), "g", attributes=(attribute,))
    assert isinstance(answer, Unanswered)
    assert said in answer.reason


def test_who_lacks_an_attribute_or_holds_bytes_there_is_left_out() -> None:
    bad = Entry("cn=u,dc=x", dn_key("cn=u,dc=x"), {"uid": (b"\xff",)})
    people = [bad, human("v", uid=["v"]), human("w", uid=["w"], mail=["w@x"])]
    answer = one(Fixed(group("g", "u", "v", "w"), *people), "g", attributes=("uid", "mail"))
    assert isinstance(answer, GroupAnswer)
    assert [member.dn for member in answer.members] == ["cn=w,dc=x"]
    assert answer.skipped == ("cn=u,dc=x: has no readable mail, uid", "cn=v,dc=x: has no readable mail")


@pytest.mark.parametrize("attribute", ["*", "+", "", "uid;x", "u)(", "1.1"])
def test_only_names_of_attributes_are_asked_for(attribute: str) -> None:
    answer = one(Fixed(group("g")), "g", attributes=(attribute,))
    assert isinstance(answer, Unanswered)
    assert "is not an attribute's name" in answer.reason


def test_an_invalid_group_name_leaves_the_others_answered() -> None:
    queries = [GroupQuery("d", "developers"), GroupQuery("d", "cn=g,dc=x")]
    answers = expand(Directory(uris=["ldap://h"], base=BASE), queries, Fixed(group("g")), NOW)
    assert isinstance(answers[queries[0]], Unanswered)
    assert answers[queries[1]] == GroupAnswer("cn=g,dc=x", ())


@pytest.mark.parametrize(
    "uri",
    [
        "http://h",
        "ldap://",
        "ldap://u:p@h",
        "ldap://h/dc=x",
        "ldap://h?x",
        "ldap://h:x",
        "ldapi:///s",
        "h",
        "ldap://u:p4ss@h:x",
    ],
)
def test_only_plain_ldap_urls(uri: str) -> None:
    with pytest.raises(DirectoryRefused) as caught:
        parse_uri(uri)
    assert "p4ss" not in str(caught.value)


def directory(uri: str, **more: object) -> Directory:
    bind = {"dn": "cn=a", "password": {"env": "NEVER_READ"}}
    return Directory.model_validate({"uris": [uri], "base": BASE, "bind": bind, "startTls": False, **more})


async def test_a_password_never_goes_in_clear_over_a_network() -> None:
    query = GroupQuery("d", "cn=g,dc=x")
    answer = (await ask_directory("corp", directory("ldap://ldap.example.test"), [query]))[query]
    assert isinstance(answer, Unanswered)
    assert answer.reason.startswith("directory corp: ldap://ldap.example.test:389: the bind password would be sent in")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "127.9.9.9"])
def test_loopback_is_no_network(host: str) -> None:
    refuse_clear_text(parse_uri(f"ldap://{host}"), directory(f"ldap://{host}"))
    with pytest.raises(DirectoryRefused):
        refuse_clear_text(parse_uri("ldap://127.0.0.1.example.test"), directory("ldap://x"))


async def test_a_bad_file_leaves_everything_unanswered(tmp_path: Path) -> None:
    query = GroupQuery("d", "cn=g,dc=x")
    bad = tmp_path / "bad.ldif"
    bad.write_text("dn: cn=g,dc=x\nchangetype: delete\n")
    for path, said in ((bad, "bad.ldif:2: `changetype`"), (tmp_path / "none.ldif", "No such file")):
        answer = (await ask_directory("d", Directory(ldif=path, base=BASE), [query]))[query]
        assert isinstance(answer, Unanswered)
        assert said in answer.reason


def test_ldap3_is_loaded_only_when_a_server_is_asked() -> None:
    code = "import sys, pgvillage.clients.ldap; sys.exit('ldap3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Recorder:
    """A session that finds nothing and remembers what it was asked."""

    uri = "ldap://recorder"

    def __init__(self, *, continued: bool = False) -> None:
        self.continued = continued
        self.asked: list[tuple[str, str]] = []

    def children(self, parent: str, attributes: Sequence[str], at_most: int) -> SearchResult | None:
        return None

    def search(self, base: str, search_filter: str, scope: str, attributes: Sequence[str]) -> SearchResult:
        self.asked.append((scope, search_filter))
        return SearchResult([], self.continued)


def ldap_entries(session: Recorder) -> LdapEntries:
    return LdapEntries(cast("Session", session), Directory(uris=["ldap://h"], base=BASE), ["objectclass"])


def test_searches_hold_many_names_but_not_too_many_and_nothing_unescaped() -> None:
    session = Recorder()
    dns = [f"cn={'*)(|é,'[at % 5]}{at}".replace(",", r"\,") + ",dc=x" for at in range(1200)]
    dns += [f"cn={'x' * 3000}{at},dc=x" for at in range(100)]
    ldap_entries(session).by_dn({dn_key(dn): dn for dn in dns})
    filters = [text for scope, text in session.asked if scope == "SUBTREE"]
    assert sum(text.count("(entryDN=") for text in filters) == 1300
    assert sum(text.count("(cn=") for text in filters) == 1300
    assert max(text.count("=") for text in filters) == 500
    assert max(map(len, filters)) < 110_000
    assert len(filters) < 20
    for text in filters:
        assert re.fullmatch(r"\(\|(\((entryDN|cn)=([A-Za-z0-9]|\\[0-9a-f]{2})+\))+\)", text)


def test_a_pointer_to_another_server_is_no_entry_and_no_absence() -> None:
    key = dn_key("cn=a,dc=x")
    assert ldap_entries(Recorder()).by_dn({key: "cn=a,dc=x"}) == {key: Missing()}
    found = ldap_entries(Recorder(continued=True)).by_dn({key: "cn=a,dc=x"})[key]
    assert isinstance(found, Unread)
    assert "referral" in found.reason
    assert isinstance(ldap_entries(Recorder(continued=True)).by_user(["u"])["u"], Unread)
    assert ldap_entries(Recorder()).by_user(["u"]) == {"u": Missing()}


@pytest.mark.parametrize(
    ("dn", "parent"),
    [
        ("cn=a,ou=x,dc=y", "ou=x,dc=y"),
        (r"cn=a\,b+uid=1 , ou=x+l=z,dc=y", "ou=x+l=z,dc=y"),
        ("cn=#0403414243,dc=y", "dc=y"),
        ("dc=y", ""),
    ],
)
def test_the_entry_above(dn: str, parent: str) -> None:
    assert parent_dn(dn) == parent
    assert dn_key(dn)[1:] == (dn_key(parent) if parent else ())
