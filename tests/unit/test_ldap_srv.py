"""Servers of a directory looked up in the DNS: their order, what is refused, and what is said where there are none."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import dns.rcode
import pytest
from pydantic import ValidationError

from pgvillage.clients.ldap import ask_directory
from pgvillage.clients.ldap_connection import bind_words, connect, refuse_clear_text
from pgvillage.clients.ldap_failure import DirectoryRefused, ServerGone, Uri, in_words
from pgvillage.clients.ldap_srv import SrvRecord, find_servers, in_order
from pgvillage.core.lookup import GroupQuery, Unanswered
from pgvillage.settings import Directory, address_and_port
from tests.servers import free_port
from tests.servers.dns import Zone, dns_server

DOMAIN = "corp.example"
LDAPS, LDAP = f"_ldaps._tcp.{DOMAIN}", f"_ldap._tcp.{DOMAIN}"


def directory(**more: object) -> Directory:
    return Directory.model_validate({"srv": DOMAIN, "base": "dc=x", "timeout": 0.3, **more})


def found(zone: Zone, domain: str = DOMAIN) -> list[str]:
    with dns_server(zone) as resolver:
        return [str(uri) for uri in find_servers(domain, directory(srv=domain, resolver=resolver)).uris]


def why_none(zone: Zone, kind: type[Exception] = ServerGone) -> str:
    with pytest.raises(kind) as caught:
        found(zone)
    return str(caught.value)


def test_priorities_come_in_order_and_ports_are_the_records_own() -> None:
    records = ["20 0 636 c.corp.example.", "5 0 1636 a.corp.example.", "10 9 636 B.Corp.Example."]
    assert found({LDAPS: records}) == [
        "ldaps://a.corp.example:1636", "ldaps://B.Corp.Example:636", "ldaps://c.corp.example:636"
    ]  # fmt: skip


@pytest.mark.parametrize("ldaps", [dns.rcode.NXDOMAIN, [], ["0 0 0 ."]])
def test_ldap_is_asked_where_there_is_no_ldaps(ldaps: list[str] | dns.rcode.Rcode) -> None:
    zone: Zone = {LDAPS: ldaps, LDAP: ["0 0 389 dc.corp.example."]}
    assert found(zone) == ["ldap://dc.corp.example:389"]
    assert found(zone, f"{DOMAIN}.") == ["ldap://dc.corp.example:389"]


def test_ldap_is_not_asked_where_there_is_ldaps() -> None:
    assert found({LDAPS: ["0 0 636 a.corp.example."], LDAP: ["0 0 389 a.corp.example."]}) == [
        "ldaps://a.corp.example:636"
    ]


def test_no_more_servers_than_a_run_can_wait_for() -> None:
    assert found({LDAPS: [f"{at} 0 636 s{at}.corp.example." for at in range(40)]}) == [
        f"ldaps://s{at}.corp.example:636" for at in range(8)
    ]


def test_a_draw_by_weight() -> None:
    light, heavy, none = (SrvRecord(1, weight, 636, f"w{weight}") for weight in (1, 3, 0))
    records = [heavy, none, light]
    firsts: Counter[str] = Counter()
    for drawn in range(5):
        order = list(in_order(records, lambda top, drawn=drawn: min(top, drawn)))  # type: ignore[misc]
        assert sorted(r.weight for r in order) == [0, 1, 3]
        firsts[order[0].host] += 1
    assert firsts == {"w0": 1, "w1": 1, "w3": 3}


def test_the_draw_is_random_and_never_crosses_priorities() -> None:
    records = [SrvRecord(priority, 1, 636, f"{priority}{at}") for priority in (7, 3) for at in "abc"]
    orders = {tuple(r.host for r in in_order(records)) for _ in range(300)}
    assert len(orders) > 6
    assert all(sorted(order[:3]) == ["3a", "3b", "3c"] for order in orders)


@pytest.mark.parametrize(
    "target",
    ["dc.evil.test.", "evilcorp.example.", "corp.example.evil.test.", "example.", "127.0.0.1.", r"a\032b.corp.example.",
     r"a\@b.corp.example."],
)  # fmt: skip
def test_a_server_outside_the_domain_is_refused_and_with_it_the_answer(target: str) -> None:
    said = why_none({LDAPS: ["0 0 636 dc.corp.example.", f"9 0 636 {target}"]}, DirectoryRefused)
    assert said.startswith(f"{LDAPS}: expected ")


def test_the_domain_itself_is_inside() -> None:
    assert found({LDAPS: ["0 0 636 corp.example."]}) == ["ldaps://corp.example:636"]


def test_a_record_without_a_port() -> None:
    assert "expected a host and a port" in why_none({LDAPS: ["0 0 0 dc.corp.example."]}, DirectoryRefused)


def test_what_is_said_where_there_is_none() -> None:
    said = why_none({LDAP: []})
    assert f"{LDAPS}: no such name; {LDAP}: no SRV record; correct `srv`" in said
    assert "no such service" in why_none({LDAPS: ["0 0 0 ."], LDAP: ["0 0 0 ."]})


@pytest.mark.parametrize("name", [LDAPS, LDAP])
def test_a_dns_that_does_not_answer_is_no_answer(name: str) -> None:
    assert "within 0.3 s" in why_none({name: None})
    assert "failed to answer" in why_none({name: dns.rcode.SERVFAIL})


async def test_no_answer_of_the_dns_is_no_answer_of_the_directory() -> None:
    settings = directory(resolver=f"127.0.0.1:{free_port()}")
    query = GroupQuery("corp", "cn=g,dc=x")
    answer = (await ask_directory("corp", settings, [query]))[query]
    assert isinstance(answer, Unanswered)
    assert answer.reason.startswith(f"directory corp: {LDAPS}: ")


async def test_a_password_never_goes_in_clear_to_a_server_that_was_found() -> None:
    query = GroupQuery("corp", "cn=g,dc=x")
    bind = {"dn": "cn=a", "password": {"env": "NEVER_READ"}}
    with dns_server({LDAP: ["0 0 389 dc.corp.example."]}) as resolver:
        settings = directory(resolver=resolver, bind=bind, startTls=False)
        answer = (await ask_directory("corp", settings, [query]))[query]
    assert isinstance(answer, Unanswered)
    assert "would be sent in clear text" in answer.reason


@pytest.mark.parametrize(
    ("text", "address"),
    [("10.0.0.1", ("10.0.0.1", 53)), ("10.0.0.1:5353", ("10.0.0.1", 5353)), ("::1", ("::1", 53)),
     ("[::1]:54", ("::1", 54)), ("[::1]", ("::1", 53))],
)  # fmt: skip
def test_a_resolver(text: str, address: tuple[str, int]) -> None:
    assert address_and_port(text) == address


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "exactly one of: uris, srv, ldif"),
        ({"srv": DOMAIN, "uris": ["ldap://h"]}, "exactly one of: uris, srv, ldif"),
        ({"srv": DOMAIN, "ldif": "x.ldif"}, "exactly one of: uris, srv, ldif"),
        ({"srv": LDAP}, "such as corp.example; no _ldap._tcp"),
        ({"srv": "corp.example/x"}, "such as corp.example"),
        ({"srv": ""}, "such as corp.example; no _ldap._tcp"),
        ({"uris": ["ldap://h"], "resolver": "10.0.0.1"}, "srv, which is not set"),
        ({"srv": DOMAIN, "resolver": "ns.corp.example"}, "does not appear to be an IPv4 or IPv6 address"),
        ({"srv": DOMAIN, "resolver": "10.0.0.1:0"}, "expected a port"),
        ({"srv": DOMAIN, "bind": {"gssapi": True, "dn": "cn=a"}}, "either external, or gssapi, or by dn"),
        ({"srv": DOMAIN, "bind": {"gssapi": True, "external": True}}, "either external, or gssapi, or by dn"),
        ({"srv": DOMAIN, "bind": {}}, "or gssapi: true"),
    ],
)
def test_settings_that_do_not_fit_together(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Directory.model_validate({"base": "dc=x", **fields})


def test_dnspython_is_loaded_only_when_the_dns_is_asked() -> None:
    code = "import sys, pgvillage.clients.ldap; sys.exit('dns' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


KERBEROS = {"srv": None, "uris": ["ldaps://h"], "bind": {"gssapi": True}}


def test_kerberos_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(DirectoryRefused, match=r"pip install 'pgvillage\[kerberos\]'"):
        connect(Uri("ldaps", "h.invalid", 636), directory(**KERBEROS), None, None)  # type: ignore[arg-type]


def test_kerberos_without_a_ticket() -> None:
    class MissingCredentialsError(Exception):
        __module__ = "gssapi.raw.exceptions"

    with pytest.raises(ServerGone, match=r"Kerberos failed: No credentials were supplied; is there a ticket \(klist\)"):  # noqa: SIM117
        with in_words(Uri("ldaps", "h", 636), bind_words(directory(**KERBEROS))):
            raise MissingCredentialsError("No credentials were supplied")


def test_kerberos_needs_tls() -> None:
    settings = directory(**KERBEROS, startTls=False)
    with pytest.raises(DirectoryRefused, match="protects none of the answers"):
        refuse_clear_text(Uri("ldap", "h", 389), settings)
    refuse_clear_text(Uri("ldaps", "h", 636), settings)
