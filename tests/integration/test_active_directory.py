"""A real Active Directory (Samba): nesting, ranges, pages, disabled accounts, odd names, TLS, and the whole command."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from pgvillage.clients.ldap import ask_directory, visit_directory
from pgvillage.clients.ldap_dn import dn_key
from pgvillage.core.lookup import GroupAnswer, GroupQuery, Unanswered
from pgvillage.settings import Directory
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_PARTIAL, cluster, free_policy
from tests.integration.estate_builder import group as group_document
from tests.servers.postgres import PostgresServer
from tests.servers.samba_ad import (
    ADMIN,
    BASE,
    DISABLED,
    PASSWORD,
    STAFF,
    SambaAd,
    group,
    missing,
    person,
    person_dn,
    samba_ad,
)
from tests.servers.slapd import record

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no Samba domain controller here: {missing()}")

ODD = ["Müller, Jürgen", 'a "quoted" name', "#hash", "plus+plus", "back\\slash", "star*(paren)", "x>=y:=z~=1",
       "semi;colon<angle>", "日本 語", "equal=sign", "n" * 64]  # fmt: skip
MANY = 2_000
TICKS = 10_000_000


def filetime(unix: int) -> str:
    return str((unix + 11_644_473_600) * TICKS)


def data() -> str:
    text = record(STAFF, {"objectClass": "organizationalUnit"})
    text += "".join(person(f"User {at}", f"u{at}") for at in range(MANY))
    text += "".join(person(cn, f"odd{at}") for at, cn in enumerate(ODD))
    text += person("Gone", "gone", userAccountControl=DISABLED)
    text += person("Past", "past", accountExpires=filetime(1_500_000_000))
    text += person("Later", "later", accountExpires=filetime(4_000_000_000))
    text += person("Never", "never", accountExpires=str((1 << 63) - 1), mail="never@corp.test")
    text += record(person_dn("Contact"), {"objectClass": "contact"})
    return text


def groups() -> str:
    text = group("big", [person_dn(f"User {at}") for at in range(MANY)])
    text += group("odd", [person_dn(cn) for cn in ODD])
    text += group("states", [person_dn(cn) for cn in ("Gone", "Past", "Later", "Never", "Contact")])
    text += group("empty", [])
    text += group("three", [person_dn("User 3"), person_dn("User 1")])
    text += group("two", [person_dn("three"), person_dn("User 2")])
    text += group("one", [person_dn("two"), person_dn("User 1")])
    return text


def circle() -> str:
    return f"dn: {person_dn('three')}\nchangetype: modify\nadd: member\nmember: {person_dn('one')}\n\n"


@pytest.fixture(scope="module")
def ad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SambaAd]:
    folder = tmp_path_factory.mktemp("ad")
    with samba_ad(folder, data(), groups(), circle()) as server:
        yield server


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AD_PASSWORD", PASSWORD)


def settings(ad: SambaAd, **more: Any) -> Directory:
    bind = {"dn": ADMIN, "password": {"env": "AD_PASSWORD"}}
    values = {"uris": [ad.ldaps], "base": BASE, "bind": bind, "ca": ad.ca, "timeout": 15}
    return Directory.model_validate(values | more)


def query(cn: str, *attributes: str, nested: bool = False, **more: str) -> GroupQuery:
    return GroupQuery("corp", person_dn(cn) if cn else "", nested, attributes or ("samaccountname",), **more)


async def ask(where: Directory, asked: GroupQuery) -> GroupAnswer | Unanswered:
    return (await ask_directory("corp", where, [asked]))[asked]


async def answered(where: Directory, asked: GroupQuery) -> GroupAnswer:
    answer = await ask(where, asked)
    assert isinstance(answer, GroupAnswer), answer
    return answer


async def unanswered(where: Directory, asked: GroupQuery) -> str:
    answer = await ask(where, asked)
    assert isinstance(answer, Unanswered), answer
    assert PASSWORD not in answer.reason
    return answer.reason


def accounts(answer: GroupAnswer) -> list[str]:
    return sorted(member.attributes["samaccountname"] for member in answer.members)


async def test_nested_groups_in_a_circle_are_two_searches(ad: SambaAd) -> None:
    asked = query("one", nested=True)
    visit = await visit_directory("corp", settings(ad), [asked])
    answer = visit.answers[asked]
    assert isinstance(answer, GroupAnswer), answer
    assert {m.attributes["samaccountname"]: len(m.via) for m in answer.members} == {"u1": 0, "u2": 1, "u3": 2}
    assert answer.skipped == ()
    assert visit.product.startswith("Active Directory")
    # the base, the group, the rootDSE, the groups in it at any depth, and everybody in any of them
    assert visit.round_trips == 5
    flat = await answered(settings(ad), query("one"))
    assert accounts(flat) == ["u1"]
    assert "nested groups are not followed here" in flat.skipped[0]


@pytest.mark.parametrize("page", [100, 999, 5_000])
async def test_two_thousand_members_in_pages(ad: SambaAd, page: int) -> None:
    asked = query("big")
    visit = await visit_directory("corp", settings(ad, pageSize=page), [asked])
    answer = visit.answers[asked]
    assert isinstance(answer, GroupAnswer), answer
    assert accounts(answer) == sorted(f"u{at}" for at in range(MANY))
    assert answer.skipped == ()
    assert visit.round_trips <= 5 + MANY / min(page, 1_000)


async def test_odd_names_come_back_as_they_are(ad: SambaAd) -> None:
    for nested in (True, False):
        answer = await answered(settings(ad), query("odd", "cn", "samaccountname", nested=nested))
        assert sorted(m.attributes["cn"] for m in answer.members) == sorted(ODD)
        assert {dn_key(m.dn) for m in answer.members} == {dn_key(person_dn(cn)) for cn in ODD}
        assert answer.skipped == ()


async def test_disabled_and_expired_accounts_are_told_from_the_others(ad: SambaAd) -> None:
    answer = await answered(settings(ad), query("states"))
    found = {m.attributes["samaccountname"]: m.disabled for m in answer.members}
    assert found == {
        "gone": "the account is disabled (userAccountControl)",
        "past": "the account expired on 2017-07-14 (accountExpires)",
        "later": "",
        "never": "",
    }
    assert answer.skipped == (f"CN=Contact,{STAFF}: has no readable samaccountname",)


async def test_filters_and_searches(ad: SambaAd) -> None:
    enabled = "(!(userAccountControl:1.2.840.113556.1.4.803:=2))"
    answer = await answered(settings(ad), query("states", filter=f"(&(objectCategory=person){enabled})"))
    assert accounts(answer) == ["later", "never", "past"]
    assert answer.unfit == 1  # the contact is a person too, and has no account
    assert accounts(await answered(settings(ad), query("", filter="(mail=never@*)", base=STAFF))) == ["never"]
    # from the domain's root the server points to its other partitions, which hold no people
    assert accounts(await answered(settings(ad), query("", filter="(sAMAccountName=u17)"))) == ["u17"]
    reason = await unanswered(settings(ad), query("states", filter="(departmnt=sales)"))
    assert "the directory knows no attribute departmnt; did you mean department?" in reason
    assert "found nobody" in await unanswered(settings(ad), query("", filter="(department=nowhere)"))


async def test_a_mistyped_attribute_is_no_empty_group(ad: SambaAd) -> None:
    reason = await unanswered(settings(ad), query("one", "samacountname"))
    assert "the directory knows no attribute samacountname; did you mean sAMAccountName?" in reason
    assert "none of its 1 people has a readable uid" in await unanswered(settings(ad), query("one", "uid"))


async def test_groups_by_the_membership_of_people(ad: SambaAd) -> None:
    by_people = settings(ad, memberAttributes=["memberOf"])
    assert accounts(await answered(by_people, query("one", nested=True))) == ["u1", "u2", "u3"]
    assert accounts(await answered(by_people, query("empty"))) == []
    assert "expected an entry" in await unanswered(by_people, query("typo"))


async def test_a_primary_group_does_not_pass_for_an_empty_one(ad: SambaAd) -> None:
    users = GroupQuery("corp", f"CN=Domain Users,CN=Users,{BASE}", False, ("samaccountname",))
    reason = await unanswered(settings(ad), users)
    assert "people whose primary group is Domain Users are not in its member list" in reason
    assert "(primaryGroupID=513)" in reason
    assert (await answered(settings(ad), query("empty"))).members == ()


async def test_a_large_member_list_is_read_in_ranges(ad: SambaAd) -> None:
    """Samba cuts no lists by itself, so the entry is made to look cut as Active Directory does it."""
    from pgvillage.clients.ldap_connection import Line, connect, parse_uri
    from pgvillage.clients.ldap_entries import LdapEntries, _parsed
    from pgvillage.core.secret import Secret

    where = settings(ad)
    line = Line()
    session = connect(parse_uri(ad.ldaps), where, Secret(PASSWORD), line)
    try:
        found = session.search(person_dn("big"), "(objectClass=*)", "BASE", ["member;range=0-699"])
        entry = next(_parsed(found.entries))
        assert entry.cut == "member;range=0-699"
        assert len(entry.attributes["member"]) == 700
        whole = LdapEntries(session, where, ["member"])._whole(entry)
        assert not whole.cut
        assert len(set(whole.attributes["member"])) == MANY
    finally:
        line.drop()


@pytest.mark.parametrize("secure", ["ldaps", "starttls"])
async def test_tls_with_its_authority(ad: SambaAd, secure: str) -> None:
    where = settings(ad, uris=[ad.ldaps if secure == "ldaps" else ad.ldap])
    visit = await visit_directory("corp", where, [query("one")])
    assert visit.tls is not None
    assert visit.tls.version in ("TLSv1.2", "TLSv1.3")
    assert ad.address in visit.tls.names
    stranger = where.model_copy(update={"ca": None})
    assert "the server's certificate was refused" in await unanswered(stranger, query("one"))


async def test_a_bind_without_tls_is_refused_by_us_and_by_the_server(ad: SambaAd) -> None:
    from pgvillage.clients import ldap_connection

    where = settings(ad, uris=[ad.ldap], startTls=False)
    assert "would be sent in clear text" in await unanswered(where, query("one"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ldap_connection, "is_loopback", lambda _: True)
        reason = await unanswered(where, query("one"))
    assert "stronger authentication is required; use ldaps:// or StartTLS" in reason


def test_the_whole_command(ad: SambaAd, pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    bind = {"dn": ADMIN, "password": {"env": "AD_PASSWORD"}}
    directory = {"uris": [ad.ldap], "base": BASE, "bind": bind, "ca": str(ad.ca), "timeout": 3}
    estate.settings["directories"] = {"corp": directory}
    members: dict[str, Any] = {"directory": "corp", "role": "{sAMAccountName}", "disabled": "keep"}
    members["group"] = person_dn("states")
    nested = {"directory": "corp", "role": "{sAMAccountName}", "group": person_dn("one"), "nested": True}

    def write() -> None:
        fed = [group_document("states", members=members), group_document("nest", members=nested)]
        estate.documents = {"a": [free_policy(), cluster("c", pg.host), *fed]}
        estate.commit()

    def may_log_in() -> set[str]:
        rows = pg.sql("SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname !~ '^(pg_|postgres)'")
        return {name for (name,) in rows}

    write()
    estate.apply().done()
    estate.settled()
    everybody = {"gone", "past", "later", "never", "u1", "u2", "u3"}
    assert may_log_in() == everybody
    members["disabled"] = "leave"
    write()
    change = estate.plan().done().changes["c/role/gone"]
    assert change["reason"] == "the account is disabled (userAccountControl)"
    estate.apply().done()
    estate.settled()
    left = everybody - {"gone", "past"}
    assert may_log_in() == left
    os.kill(ad.process.pid, signal.SIGSTOP)
    try:
        assert not estate.plan().done(EXIT_PARTIAL).changes
        assert "nothing is taken away" in estate.apply().done(EXIT_PARTIAL).text
    finally:
        os.kill(ad.process.pid, signal.SIGCONT)
    assert may_log_in() == left
