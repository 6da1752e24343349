"""Rules of pg_hba.conf as lines."""

from __future__ import annotations

from typing import Any

import pytest

from pgvillage.estate.hba_text import hba_faults, hba_line, lets_in, masked_line
from pgvillage.estate.manifest.cluster import HbaRule


def rule(**more: Any) -> HbaRule:
    given = {"type": "host", "database": "all", "role": "all", "address": "10.0.0.0/8", "method": "md5", **more}
    return HbaRule.model_validate({name: value for name, value in given.items() if value is not None})


LINES: dict[str, dict[str, Any]] = {
    "host all all 10.0.0.0/8 md5": {},
    "local all all peer": {"type": "local", "address": None, "method": "peer"},
    'host "all","my db",sameuser +ops,"a b" ::1/128 md5': {
        "database": '"all", my db ,sameuser', "role": '+ops,"a b"', "address": "::1/128",
    },
    'host "a#b" all "10.0.0.0 255.0.0.0" md5': {"database": "a#b", "address": "10.0.0.0 255.0.0.0"},
    'host all all .example.org ldap ldapserver="a b" ldapprefix="say ""x""" ldapsuffix=""': {
        "address": ".example.org", "method": "ldap",
        "options": {"ldapserver": "a b", "ldapprefix": 'say "x"', "ldapsuffix": ""},
    },
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_lines(line: str) -> None:
    assert hba_line(rule(**LINES[line])) == line


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"database": "a,,b"}, "database"),
        ({"database": 'a"b'}, "database"),
        ({"role": "a\nb"}, "role"),
        ({"address": "10.0.0.0/33"}, "address"),
        ({"address": "10.0.0.1"}, "address"),
        ({"address": "pg2/32"}, "address"),
        ({"address": "a b"}, "address"),
        ({"method": "peer"}, "method"),
        ({"method": "cert"}, "method"),
        ({"method": "ldap"}, "method"),
        ({"method": "md5", "options": {"map": "x"}}, "options"),
        ({"method": "ident", "options": {"map": "x\ny"}}, "options"),
    ],
)
def test_what_postgresql_would_not_read(given: dict[str, Any], field: str) -> None:
    assert field in {name for name, _ in hba_faults(rule(**given))}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"address": "samenet"},
        {"address": "db.example.org"},
        {"address": "10.0.0.0 255.0.0.0"},
        {"type": "hostssl", "method": "cert", "options": {"map": "m", "clientname": "DN"}},
        {"type": "hostssl", "method": "scram-sha-256", "options": {"clientcert": "verify-ca"}},
        {"method": "ldap", "options": {"ldapserver": "l", "ldapprefix": "cn=", "ldapsuffix": ",dc=x"}},
        {"method": "ldap", "options": {"ldapurl": "ldap://l/dc=x?uid?sub"}},
    ],
)
def test_what_it_reads(given: dict[str, Any]) -> None:
    assert list(hba_faults(rule(**given))) == []


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ([], False),
        ([{}], True),
        ([{"type": "local", "address": None}], False),
        ([{"role": "other"}], False),
        ([{"role": '"all"'}], False),
        ([{"role": "+any"}], True),
        ([{"database": "other"}], False),
        ([{"database": "sameuser"}], False),
        ([{"method": "reject", "address": "all"}, {}], False),
        ([{"method": "reject"}, {"address": "all"}], True),
        ([{"role": "a,deploy", "database": "x,app"}], True),
    ],
)
def test_who_is_let_in(rules: list[dict[str, Any]], found: bool) -> None:
    assert lets_in([rule(**each) for each in rules], "deploy", "app") is found


def test_a_password_is_not_shown() -> None:
    line = 'host all all all ldap ldapbindpasswd="planted "" secret" ldapserver=x radiussecrets=planted'
    assert masked_line(line) == "host all all all ldap ldapbindpasswd=… ldapserver=x radiussecrets=…"
