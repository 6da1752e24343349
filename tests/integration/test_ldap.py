"""Directories asked over the wire: OpenLDAP with TLS, limits, referrals and odd names, and servers that misbehave."""

from __future__ import annotations

import contextlib
import datetime
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvillage.clients.ldap import ask_directory, visit_directory
from pgvillage.clients.ldap_dn import dn_key
from pgvillage.core.lookup import GroupAnswer, GroupQuery, Member, Unanswered
from pgvillage.settings import Directory
from tests.servers import free_port
from tests.servers.dns import dns_server
from tests.servers.slapd import (
    ADMIN,
    PASSWORD,
    SUFFIX,
    Certificate,
    Slapd,
    folders,
    group_dn,
    person,
    person_dn,
    record,
    slapd,
)
from tests.servers.tcp_cut import cut_after

ODD = [
    "Müller, Jürgen", 'a "quoted" name', "#hash", "plus+plus", "back\\slash", " led and trailed ", "star*(paren)",
    "x>=y:=z~=1", "semi;colon<angle>", "日本 語", "n" * 70, "equal=sign", "\\2c", "quote'#'01'B", "tab\there",
]  # fmt: skip


def group(cn: str, members: list[str], kind: str = "groupOfNames", attribute: str = "member") -> str:
    return record(group_dn(cn), {"objectClass": kind, "cn": cn, attribute: members})


def posix(cn: str, users: list[str]) -> str:
    return record(group_dn(cn), {"objectClass": "posixGroup", "cn": cn, "gidNumber": "1", "memberUid": users})


def data() -> str:
    text = folders("people", "groups", "other")
    text += "".join(person(cn, uid=f"odd{at}") for at, cn in enumerate(ODD))
    text += "".join(person(f"u{at}", uid=f"u{at}", mail=f"u{at}@example.test") for at in range(50))
    text += person("nomail", uid="nomail") + person("twin1", uid="twin") + person("twin2", uid="twin")
    text += person("outsider", "other", uid="outsider")
    text += record(
        f"cn=multi+uid=m,ou=people,{SUFFIX}", {"objectClass": "inetOrgPerson", "cn": "multi", "uid": "m", "sn": "x"}
    )
    text += group("odd", [person_dn(cn) for cn in ODD])
    text += group("fifty", [person_dn(f"u{at}") for at in range(50)])
    text += group("spelled", [f"CN = U1 ,OU=People, {SUFFIX}", rf"cn=\75\32,ou=people,{SUFFIX}"])
    text += group("multi", [f"UID=M+CN=multi,ou=people,{SUFFIX}"])
    text += group("unique", [person_dn("u1") + "#'0101'B", person_dn("u2")], "groupOfUniqueNames", "uniqueMember")
    text += posix("posix", ["u3", "U4", "nobody*", "odd0"]) + posix("twins", ["twin"]) + posix("emptied", [])
    text += group("void", [], "groupOfMembers")
    text += group("one", [group_dn("two"), person_dn("u1")])
    text += group("two", [group_dn("three"), person_dn("u2")])
    text += group("three", [group_dn("one"), person_dn("u3"), person_dn("u1")])
    text += group("gone", [person_dn("u1"), person_dn("who left"), "cn=x,dc=elsewhere"])
    text += group("mail", [person_dn("u1"), person_dn("nomail")])
    text += record(
        f"ou=far,{SUFFIX}",
        {"objectClass": ["referral", "extensibleObject"], "ou": "far", "ref": f"ldap://127.0.0.1:1/ou=far,{SUFFIX}"},
    )
    return text + group("below", [f"cn=x,ou=far,{SUFFIX}"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ldap")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Slapd]:
    with slapd(folder / "plain", data()) as running:
        yield running


@pytest.fixture
def bind(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("LDAP_PASSWORD", PASSWORD)
    return {"dn": ADMIN, "password": {"env": "LDAP_PASSWORD"}}


def plain(server: Slapd, **more: Any) -> Directory:
    values: dict[str, Any] = {"uris": [server.uri], "startTls": False, "base": SUFFIX, "timeout": 5}
    return Directory.model_validate(values | more)


def query(cn: str, *attributes: str, nested: bool = False) -> GroupQuery:
    return GroupQuery("corp", cn if "=" in cn else group_dn(cn), nested, attributes)


async def ask(settings: Directory, *queries: GroupQuery) -> list[GroupAnswer | Unanswered]:
    answers = await ask_directory("corp", settings, queries)
    assert set(answers) == set(queries)
    return [answers[query] for query in queries]


async def answered(settings: Directory, query: GroupQuery) -> GroupAnswer:
    answer = (await ask(settings, query))[0]
    assert isinstance(answer, GroupAnswer), answer
    return answer


async def unanswered(settings: Directory, query: GroupQuery) -> str:
    answer = (await ask(settings, query))[0]
    assert isinstance(answer, Unanswered), answer
    assert PASSWORD not in answer.reason
    return answer.reason


def values(answer: GroupAnswer, name: str) -> list[str]:
    return sorted(member.attributes[name] for member in answer.members)


async def test_names_of_all_kinds_come_back_as_they_are(server: Slapd) -> None:
    answer = await answered(plain(server), query("odd", "cn", "uid"))
    assert values(answer, "cn") == sorted(ODD)
    assert values(answer, "uid") == sorted(f"odd{at}" for at in range(len(ODD)))
    assert {dn_key(member.dn) for member in answer.members} == {dn_key(person_dn(cn)) for cn in ODD}
    assert answer.skipped == ()


@pytest.mark.parametrize(
    ("cn", "uids"),
    [
        ("spelled", ["u1", "u2"]),
        ("multi", ["m"]),
        ("unique", ["u1", "u2"]),
        ("void", []),
        ("emptied", []),
        ("fifty", sorted(f"u{at}" for at in range(50))),
    ],
)
async def test_members(server: Slapd, cn: str, uids: list[str]) -> None:
    answer = await answered(plain(server, pageSize=7), query(cn, "uid"))
    assert values(answer, "uid") == uids
    assert answer.skipped == ()


async def test_users_by_name(server: Slapd) -> None:
    answer = await answered(plain(server, base=f"ou=people,{SUFFIX}"), query("posix", "uid"))
    assert values(answer, "uid") == ["odd0", "u3", "u4"]
    assert answer.skipped == ("nobody*: is not in the directory, or this account may not read it",)


async def test_users_by_name_where_a_referral_may_hide_one(server: Slapd) -> None:
    reason = await unanswered(plain(server), query("posix", "uid"))
    assert "member nobody*: expected an entry called nobody*, found only referrals" in reason


async def test_one_name_for_two_people_is_no_answer(server: Slapd) -> None:
    assert "expected one entry called twin, found 2" in await unanswered(plain(server), query("twins"))


async def test_only_what_was_asked_for(server: Slapd) -> None:
    answer = await answered(plain(server), query("mail", "mail"))
    assert answer.members == (Member(f"cn=u1,ou=people,{SUFFIX}", {"mail": "u1@example.test"}),)
    assert answer.skipped == (f"cn=nomail,ou=people,{SUFFIX}: has no readable mail",)


async def test_nested_groups_in_a_circle(server: Slapd) -> None:
    answer = await answered(plain(server), query("one", "uid", nested=True))
    assert {member.attributes["uid"]: member.via for member in answer.members} == {
        "u1": (),
        "u2": (group_dn("two"),),
        "u3": (group_dn("two"), group_dn("three")),
    }
    flat = await answered(plain(server), query("one", "uid"))
    assert values(flat, "uid") == ["u1"]
    assert flat.skipped == (f"{group_dn('two')}: is a group, and nested groups are not followed here",)


async def test_members_that_are_gone_or_elsewhere_are_left_out_in_words(server: Slapd) -> None:
    answer = await answered(plain(server), query("gone", "uid"))
    assert values(answer, "uid") == ["u1"]
    assert [text.split(": ", 1)[1] for text in answer.skipped] == [
        "is not in the directory, or this account may not read it",
        f"lies outside the base {SUFFIX}",
    ]


async def test_the_group_itself_may_stand_outside_the_base(server: Slapd) -> None:
    answer = await answered(plain(server, base=f"ou=people,{SUFFIX}"), query("fifty", "uid"))
    assert len(answer.members) == 50


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("typo", "expected an entry, found none"),
        (f"ou=groups,{SUFFIX}", "is not a group: it has no members and its object classes are organizationalunit"),
        (person_dn("u1"), "is not a group"),
        (f"ou=far,{SUFFIX}", "referral"),
        (f"cn=x,ou=far,{SUFFIX}", "referral"),
        ("below", "referral"),
        ("cn=x,dc=elsewhere", "no such object|expected an entry|referral|unwilling"),
        ("cn=unescaped,,dc=x", "is not a distinguished name"),
    ],
)
async def test_no_answer_says_why_and_leaves_the_others_alone(server: Slapd, asked: str, said: str) -> None:
    bad, good = await ask(plain(server), query(asked), query("fifty"))
    assert isinstance(bad, Unanswered)
    assert any(part in bad.reason for part in said.split("|")), bad.reason
    assert isinstance(good, GroupAnswer)
    assert len(good.members) == 50


async def test_a_base_that_is_not_there(server: Slapd, folder: Path) -> None:
    # Every member of every group lies outside such a base: an answer would empty them all.
    reason = await unanswered(plain(server, base=f"ou=typo,{SUFFIX}"), query("fifty"))
    assert f"the base can't be read: {server.uri}: reading ou=typo,{SUFFIX}: no such object" in reason
    reason = await unanswered(Directory(ldif=folder / "plain" / "data.ldif", base=f"ou=typo,{SUFFIX}"), query("fifty"))
    assert "expected entries below the base" in reason
    assert "referral" in await unanswered(plain(server, base=f"ou=far,{SUFFIX}"), query("fifty"))


@pytest.mark.parametrize(
    ("limits", "page_size"),
    [
        ("sizelimit 10", 4),
        ("sizelimit 10", 500),
        ("limits * size.prtotal=10", 4),  # cut in the middle of the pages
        ("limits * size.unchecked=10", 4),
        ("limits * size.pr=5 size.hard=10", 500),
    ],
)
async def test_a_cut_answer_is_no_answer(tmp_path: Path, limits: str, page_size: int) -> None:
    with slapd(tmp_path / "cut", data(), limits=limits) as server:
        reason = await unanswered(plain(server, pageSize=page_size), query("fifty", "uid"))
        assert "limit was exceeded, the answer is cut" in reason


async def test_a_server_that_cannot_search_by_dn_is_searched_by_name(tmp_path: Path) -> None:
    with slapd(tmp_path / "old", data(), limits="access to attrs=entryDN by * none\naccess to * by * read") as server:
        answer = await answered(plain(server), query("odd", "cn"))
        assert values(answer, "cn") == sorted(ODD)
        assert values(await answered(plain(server), query("multi", "uid")), "uid") == ["m"]
        assert values(await answered(plain(server), query("one", "uid", nested=True)), "uid") == ["u1", "u2", "u3"]


async def test_many_members_that_are_gone(tmp_path: Path) -> None:
    text = folders("people", "groups") + person("u1", uid="u1")
    text += group("leavers", [person_dn(f"left{at}") for at in range(230)] + [person_dn("u1")])
    with slapd(tmp_path / "fine", text) as server:
        answer = await answered(plain(server), query("leavers", "uid"))
        assert (len(answer.members), len(answer.skipped)) == (1, 230)
    with slapd(tmp_path / "old", text, limits="access to attrs=entryDN by * none\naccess to * by * read") as server:
        assert "200 such entries were read one by one" in await unanswered(plain(server), query("leavers", "uid"))


async def test_many_people_come_by_one_list_or_by_name_where_that_is_not_allowed(tmp_path: Path) -> None:
    text = folders("people", "groups") + "".join(person(f"u{at}", uid=f"u{at}") for at in range(300))
    text += group("many", [person_dn(f"u{at}") for at in range(0, 300, 2)])
    text += group("few", [person_dn(f"u{at}") for at in range(0, 300, 3)])
    cases = {
        "open": "",
        "limited": "limits * size.soft=20 size.hard=20 size.prtotal=20",
        "unlisted": f'access to dn.base="ou=people,{SUFFIX}" attrs=children by * none\naccess to * by * read',
    }
    for name, limits in cases.items():
        with slapd(tmp_path / name, text, limits=limits) as server:
            settings = plain(server, pageSize=20)
            if name == "limited":
                assert "size limit" in await unanswered(settings, query("many", "uid"))
                continue
            assert len((await answered(settings, query("many", "uid"))).members) == 150
            assert len((await answered(settings, query("few", "uid"))).members) == 100


async def test_a_right_that_is_missing(tmp_path: Path) -> None:
    hidden = f'access to dn.subtree="ou=people,{SUFFIX}" by * none stop\naccess to * by * read'
    refused = f'access to dn.subtree="ou=people,{SUFFIX}" by * disclose stop\naccess to * by * read'
    with slapd(tmp_path / "hidden", data(), limits=hidden) as server:
        # nobody is found, and where they are can't be read either: that is no empty group
        assert "none of its members was found" in await unanswered(plain(server), query("mail", "uid"))
    with slapd(tmp_path / "refused", data(), limits=refused) as server:
        assert "insufficient access" in await unanswered(plain(server), query("mail", "uid"))


async def test_a_wrong_password(server: Slapd, bind: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert len((await answered(plain(server, bind=bind), query("fifty"))).members) == 50
    monkeypatch.setenv("LDAP_PASSWORD", PASSWORD + "-wrong")
    uris = [server.uri, "ldap://127.0.0.1:1"]
    reason = await unanswered(plain(server, bind=bind, uris=uris), query("fifty"))
    assert f"{server.uri}: bind as {ADMIN}: invalid credentials" in reason
    assert "127.0.0.1:1:" not in reason  # the next server would only count one more failed login
    monkeypatch.delenv("LDAP_PASSWORD")
    assert "LDAP_PASSWORD is not set" in await unanswered(plain(server, bind=bind), query("fifty"))


async def test_the_next_server_answers_when_the_first_is_dead(server: Slapd) -> None:
    dead = f"ldap://127.0.0.1:{free_port()}"
    answer = await answered(plain(server, uris=[dead, server.uri]), query("fifty"))
    assert len(answer.members) == 50
    reason = await unanswered(plain(server, uris=[dead, "ldap://127.0.0.1:1"]), query("fifty"))
    assert f"{dead}: connecting: connection refused" in reason
    assert "ldap://127.0.0.1:1: connecting: connection refused" in reason


@contextlib.contextmanager
def stranger(talk: Callable[[socket.socket], None] | None) -> Iterator[str]:
    """A server of one connection that says what `talk` says; None never even accepts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                peer, _ = listener.accept()
                with peer:
                    assert talk
                    talk(peer)

        thread = threading.Thread(target=serve, daemon=True)
        if talk:
            thread.start()
        yield f"ldap://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR) if talk else None
    if talk:
        thread.join(5)
        assert not thread.is_alive()


async def test_a_server_that_never_answers(server: Slapd) -> None:
    with stranger(None) as silent:
        started = time.monotonic()
        reason = await unanswered(plain(server, uris=[silent], timeout=0.3), query("fifty"))
        assert "no answer in time" in reason
        answer = await answered(plain(server, uris=[silent, server.uri], timeout=0.3), query("fifty"))
        assert len(answer.members) == 50
        assert time.monotonic() - started < 5


async def test_an_answer_that_is_cut_is_none_wherever_it_is_cut(server: Slapd, bind: dict[str, Any]) -> None:
    asked = query("one", "mail", nested=True)
    with cut_after(server.port) as whole:
        everybody = await answered(plain(server, uris=[whole.uri], bind=bind, timeout=2), asked)
    [count] = whole.passed
    assert len(everybody.members) == 3
    for at in {1, count - 1, *range(count // 20, count, count // 20)}:
        with cut_after(server.port, at) as cut:
            reason = await unanswered(plain(server, uris=[cut.uri], bind=bind, timeout=2), asked)
        assert cut.uri in reason
        assert cut.passed == [at]


async def test_a_server_that_drips_is_cut(server: Slapd) -> None:
    ended = threading.Event()

    def drip(peer: socket.socket) -> None:
        peer.sendall(b"\x30\x84\x00\x10\x00\x00")
        with contextlib.suppress(OSError):
            while True:
                peer.sendall(b"\x00")
                time.sleep(0.05)
        ended.set()

    with stranger(drip) as uri:
        reason = await unanswered(plain(server, uris=[uri], timeout=0.2), query("fifty"))
        assert "expected all answers within 1.2 s" in reason
        assert ended.wait(5)


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x30\x03\x02\x01\x01", b"\x30\x00", b"\xff" * 99]
)
async def test_a_server_of_another_protocol(server: Slapd, bind: dict[str, Any], said: bytes) -> None:
    with stranger(lambda peer: peer.sendall(said)) as uri:
        assert uri in await unanswered(plain(server, uris=[uri], timeout=0.5, bind=bind), query("fifty"))


async def test_a_server_that_echoes_the_password(server: Slapd, bind: dict[str, Any]) -> None:
    def echo(peer: socket.socket) -> None:
        request = peer.recv(4096)
        assert PASSWORD.encode() in request
        text = PASSWORD.encode()
        body = b"\x0a\x01\x31\x04\x00\x04" + bytes([len(text)]) + text
        message = request[2 : 4 + request[3]] + b"\x61" + bytes([len(body)]) + body
        peer.sendall(b"\x30" + bytes([len(message)]) + message)

    with stranger(echo) as uri:
        assert "invalid credentials" in await unanswered(plain(server, uris=[uri], bind=bind), query("fifty"))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, folder: Path) -> Path:
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def certificate(folder: Path, issued: trustme.LeafCert) -> Certificate:
    folder.mkdir(parents=True)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem", append=True)
    return Certificate(folder / "cert.pem", folder / "key.pem")


@pytest.fixture(scope="module")
def tls_server(authority: trustme.CA, folder: Path) -> Iterator[Slapd]:
    issued = certificate(folder / "good", authority.issue_cert("127.0.0.1", "localhost"))
    with slapd(folder / "tls", data(), certificate=issued) as running:
        yield running


def secure(uri: str, ca: Path | None, **more: Any) -> Directory:
    return Directory.model_validate({"uris": [uri], "base": SUFFIX, "timeout": 5, "ca": ca, **more})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
async def test_tls(tls_server: Slapd, ca: Path, bind: dict[str, Any], scheme: str, host: str) -> None:
    port = tls_server.port if scheme == "ldap" else tls_server.tls_port
    answer = await answered(secure(f"{scheme}://{host}:{port}", ca, bind=bind), query("fifty"))
    assert len(answer.members) == 50


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
async def test_a_certificate_of_an_unknown_authority(tls_server: Slapd, tmp_path: Path, scheme: str) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    uri = f"{scheme}://127.0.0.1:{tls_server.port if scheme == 'ldap' else tls_server.tls_port}"
    for file, named in ((other, str(other)), (None, "that this system trusts")):
        reason = await unanswered(secure(uri, file), query("fifty"))
        assert "the server's certificate was refused" in reason
        assert named in reason
        assert "set `ca`" in reason


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
async def test_servers_that_the_dns_names(tls_server: Slapd, ca: Path, bind: dict[str, Any], scheme: str) -> None:
    port = tls_server.port if scheme == "ldap" else tls_server.tls_port
    records = [f"2 0 {port} localhost.", f"1 0 {free_port()} localhost."]
    with dns_server({f"_{scheme}._tcp.localhost": records}) as resolver:
        where = {"srv": "localhost", "resolver": resolver, "base": SUFFIX, "ca": ca, "bind": bind, "timeout": 5}
        visit = await visit_directory("corp", Directory.model_validate(where), [query("fifty")])
    [answer] = visit.answers.values()
    assert isinstance(answer, GroupAnswer), answer
    assert len(answer.members) == 50
    assert visit.uri == f"{scheme}://localhost:{port}"
    assert visit.tls is not None
    assert len(visit.failed) == 1
    assert "connection refused" in visit.failed[0]


async def test_a_certificate_that_is_not_for_the_name_in_the_dns(
    authority: trustme.CA, ca: Path, tmp_path: Path
) -> None:
    issued = authority.issue_cert("127.0.0.1", "ldap.example.test")
    with (
        slapd(tmp_path / "db", data(), certificate=certificate(tmp_path / "certificate", issued)) as server,
        dns_server({"_ldaps._tcp.localhost": [f"0 0 {server.tls_port} localhost."]}) as resolver,
    ):
        where = {"srv": "localhost", "resolver": resolver, "base": SUFFIX, "ca": ca, "timeout": 5}
        reason = await unanswered(Directory.model_validate(where), query("fifty"))
    assert "expected a valid one for localhost" in reason


@pytest.mark.parametrize("kind", ["expired", "mismatch"])
async def test_a_certificate_that_does_not_fit(
    authority: trustme.CA, ca: Path, tmp_path: Path, bind: dict[str, Any], kind: str, tls_server: Slapd
) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    issued = (
        authority.issue_cert("127.0.0.1", not_before=past - datetime.timedelta(days=9), not_after=past)
        if kind == "expired"
        else authority.issue_cert("other.example.test")
    )
    with slapd(tmp_path / "db", data(), certificate=certificate(tmp_path / "certificate", issued)) as server:
        for uri in (server.uri, f"ldaps://127.0.0.1:{server.tls_port}"):
            reason = await unanswered(secure(uri, ca, bind=bind), query("fifty"))
            assert "expected a valid one for 127.0.0.1" in reason
            assert ("has expired" if kind == "expired" else "mismatch") in reason
        answer = await answered(secure(server.uri, ca, uris=[server.uri, tls_server.uri]), query("fifty"))
        assert len(answer.members) == 50


async def test_a_server_that_does_not_start_tls(server: Slapd, ca: Path) -> None:
    assert "StartTLS: expected TLS to start" in await unanswered(secure(server.uri, ca), query("fifty"))
    assert "TLS failed" in await unanswered(secure(f"ldaps://127.0.0.1:{server.port}", ca), query("fifty"))
    assert "cannot read the CA file" in await unanswered(secure(server.uri, ca.with_name("none")), query("fifty"))


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
async def test_a_client_certificate_says_who_we_are(
    authority: trustme.CA, ca: Path, tmp_path: Path, folder: Path, scheme: str
) -> None:
    ours = certificate(tmp_path / "client", authority.issue_cert("reader.example.test", common_name="reader"))
    theirs = certificate(tmp_path / "server", authority.issue_cert("127.0.0.1"))
    only_ours = "access to * by dn.regex=cn=reader read by * auth"
    with slapd(
        tmp_path / "db", data(), certificate=Certificate(theirs.cert, theirs.key, ca), limits=only_ours
    ) as server:
        uri = f"{scheme}://127.0.0.1:{server.port if scheme == 'ldap' else server.tls_port}"
        files = {"cert": ours.cert, "key": ours.key}
        answer = await answered(secure(uri, ca, tls=files, bind={"external": True}), query("fifty", "uid"))
        assert len(answer.members) == 50
        # shown and not used, it opens nothing
        assert "the base can't be read" in await unanswered(secure(uri, ca, tls=files), query("fifty"))
        swapped = {"cert": theirs.cert, "key": ours.key}
        reason = await unanswered(secure(uri, ca, tls=swapped, bind={"external": True}), query("fifty"))
        assert "cannot use the client certificate" in reason


async def test_a_client_certificate_is_never_left_unused(server: Slapd, ca: Path) -> None:
    where = plain(server, bind={"external": True}, tls={"cert": ca, "key": ca})
    assert "a client certificate needs TLS" in await unanswered(where, query("fifty"))


async def test_an_account_that_expired(tmp_path: Path) -> None:
    both = ["inetOrgPerson", "shadowAccount"]
    text = folders("people", "groups") + person("old", uid="old", objectClass=both, shadowExpire="1000")
    text += person("new", uid="new", objectClass=both, shadowExpire="99999") + group(
        "shadow", [person_dn("old"), person_dn("new")]
    )
    with slapd(tmp_path / "db", text) as server:
        found = (await answered(plain(server), query("shadow", "uid"))).members
        assert {m.attributes["uid"]: m.disabled for m in found} == {
            "old": "the account expired on 1972-09-27 (shadowExpire)",
            "new": "",
        }


async def test_filters_and_searches(server: Slapd) -> None:
    people = f"ou=people,{SUFFIX}"

    def with_filter(text: str) -> GroupQuery:
        return GroupQuery("corp", group_dn("fifty"), False, ("uid",), text)

    answer = await answered(plain(server), with_filter(r"(|(mail=u7@*)(uid=\75\38))"))
    assert (values(answer, "uid"), answer.unfit) == (["u7", "u8"], 48)
    by_name = GroupQuery("corp", "", False, ("uid",), "(&(objectClass=person)(cn=no*l))", people)
    assert values(await answered(plain(server), by_name), "uid") == ["nomail"]
    assert "did you mean mail?" in await unanswered(plain(server), with_filter("(mial=u7@*)"))
    assert "found none among 50" in await unanswered(plain(server), with_filter("(mail=nobody)"))
    # the base holds a referral: what lies behind it was not searched
    everywhere = GroupQuery("corp", "", False, ("uid",), "(uid=u7)")
    assert "not asked; narrow the base" in await unanswered(plain(server), everywhere)
    outside = GroupQuery("corp", "", False, ("uid",), "(uid=u7)", "dc=elsewhere")
    assert "lies outside the directory's base" in await unanswered(plain(server), outside)


async def test_a_mistyped_attribute_is_no_empty_group(server: Slapd) -> None:
    reason = await unanswered(plain(server), query("fifty", "uidd"))
    assert "the directory knows no attribute uidd; did you mean uid?" in reason
    reason = await unanswered(plain(server, userAttribute="uiid", base=f"ou=people,{SUFFIX}"), query("posix", "cn"))
    assert "userAttribute of the settings: the directory knows no attribute uiid; did you mean uid?" in reason
    assert "memberAttributes has memberOf, and the directory knows no attribute memberOf" in await unanswered(
        plain(server, memberAttributes=["memberOf"]), query("fifty", "uid")
    )


def comparable(answer: GroupAnswer | Unanswered) -> object:
    if isinstance(answer, Unanswered):
        return "unanswered"
    people = {dn_key(m.dn): (m.attributes, tuple(map(dn_key, m.via))) for m in answer.members}
    return dn_key(answer.dn), people, sorted(text.rsplit(": ", 1)[1] for text in answer.skipped)


GROUPS = [
    "odd", "fifty", "spelled", "multi", "unique", "posix", "twins", "emptied", "void", "one", "two", "three", "gone",
    "mail", "below", "typo",
]  # fmt: skip


@given(
    asked=st.lists(
        st.builds(
            GroupQuery,
            st.just("corp"),
            st.sampled_from([*map(group_dn, GROUPS), person_dn("u1"), f"ou=far,{SUFFIX}", f"ou=groups,{SUFFIX}"]),
            st.booleans(),
            st.lists(st.sampled_from(["uid", "cn", "mail"]), unique=True).map(tuple),
        ),
        min_size=1,
        unique=True,
    ),
    base=st.sampled_from([SUFFIX, f"ou=people,{SUFFIX}", f"OU=groups, {SUFFIX}"]),
    page=st.sampled_from([3, 500]),
)
@settings(max_examples=60, deadline=None)
async def test_a_file_answers_as_the_server_does(
    server: Slapd, folder: Path, asked: list[GroupQuery], base: str, page: int
) -> None:
    file = folder / "plain" / "data.ldif"
    over_wire = await ask(plain(server, base=base, pageSize=page), *asked)
    from_file = await ask(Directory(ldif=file, base=base), *asked)
    assert list(map(comparable, over_wire)) == list(map(comparable, from_file))
