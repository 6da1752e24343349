"""`pgvillage directory test`: what it prints, what it gives to programs, and a command that can be pasted."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.estate_builder import EXIT_DONE, EXIT_ERROR, EXIT_PARTIAL, EXIT_USAGE, EstateBuilder, group
from tests.servers import free_port
from tests.servers.dns import dns_server
from tests.servers.slapd import ADMIN, PASSWORD, SUFFIX, Slapd, folders, group_dn, person, person_dn, record, slapd

ODD = 'it\'s; $(rm) "x"'


def data() -> str:
    text = folders("people", "groups") + person("ann", uid="Ann") + person("bob", uid="bob") + person("nameless")
    text += person("old", uid="old", objectClass=["inetOrgPerson", "shadowAccount"], shadowExpire="1")
    dns = [person_dn(cn) for cn in ("ann", "bob", "nameless", "old", "gone")]
    return text + record(group_dn(ODD), {"objectClass": "groupOfNames", "cn": ODD, "member": dns})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with slapd(tmp_path_factory.mktemp("ldap"), data()) as running:
        yield running


@pytest.fixture
def estate(server: Slapd, tmp_path: Path) -> EstateBuilder:
    bind = {"dn": ADMIN, "password": {"env": "LDAP_PASSWORD"}}
    corp = {"uris": [f"ldap://127.0.0.1:{free_port()}", server.uri], "base": SUFFIX, "startTls": False, "bind": bind}
    built = EstateBuilder(tmp_path, {"directories": {"corp": corp}}, environment={"LDAP_PASSWORD": PASSWORD})
    members: dict[str, Any] = {"directory": "corp", "group": group_dn(ODD)}
    built.documents = {"a": [group("team", members=members), group("typo", members={**members, "role": "{uidd}"})]}
    built.commit()
    return built


def test_what_a_person_reads(estate: EstateBuilder) -> None:
    ran = estate.run("directory", "test").done(EXIT_PARTIAL)
    for words in (
        "OpenLDAP", "connection refused", f"bind as {ADMIN}", "✓ team  2 people", "ann, bob",
        "old (the account expired on 1970-01-02 (shadowExpire))", "has no readable uid", "is not in the directory",
        "did you mean uid?", "a.yaml:",
    ):  # fmt: skip
        assert words in ran.out, ran.out
    assert PASSWORD not in ran.text
    estate.run("directory", "test", "corp", "--group", "team").done(EXIT_DONE)
    estate.run("directory", "test", "--group", "typo").done(EXIT_ERROR)


def test_the_command_asks_the_same_and_can_be_pasted(estate: EstateBuilder, tmp_path: Path) -> None:
    ran = estate.run("directory", "test", "--group", "team", "-o", "json").done(EXIT_DONE)
    [directory] = ran.document["directories"]
    [found] = directory["groups"]
    assert [one["name"] for one in found["people"]] == ["ann", "bob"]
    assert directory["searches"] <= 8
    words = shlex.split(found["ldapsearch"])
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    at = words.index("-W")
    done = subprocess.run(
        [*words[:at], "-y", str(secret), *words[at + 1 :]], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("member: ") == 5


def test_a_group_by_its_dn_needs_no_estate(estate: EstateBuilder) -> None:
    estate.settings["repository"] = {"url": "/nowhere"}
    estate.settings_file.write_text(json.dumps(estate.settings))
    ran = estate.run("directory", "test", "--group", group_dn(ODD)).done(EXIT_DONE)
    assert "3 people" in ran.out
    assert "cn=nameless" in ran.out


def test_names_that_are_not_there(estate: EstateBuilder) -> None:
    assert "did you mean corp?" in estate.run("directory", "test", "crp").done(EXIT_USAGE).err
    assert "did you mean team?" in estate.run("directory", "test", "--group", "teem").done(EXIT_USAGE).err


def test_a_directory_that_is_down(estate: EstateBuilder) -> None:
    estate.settings["directories"]["corp"]["uris"].pop()
    estate.commit()
    ran = estate.run("directory", "test").done(EXIT_ERROR)
    assert "problem" in ran.out
    assert "connection refused" in ran.out


def test_servers_that_the_dns_names(estate: EstateBuilder, server: Slapd) -> None:
    corp = estate.settings["directories"]["corp"]
    del corp["uris"]
    with dns_server({"_ldap._tcp.localhost": [f"0 0 {server.port} localhost."]}) as resolver:
        estate.settings["directories"]["corp"] = {**corp, "srv": "localhost", "resolver": resolver}
        estate.commit()
        ran = estate.run("directory", "test").done(EXIT_PARTIAL)
        assert f"_ldap._tcp.localhost: ldap://localhost:{server.port}" in ran.out
        assert "✓ team  2 people" in ran.out
    with dns_server({}) as resolver:
        estate.settings["directories"]["corp"]["resolver"] = resolver
        estate.commit()
        ran = estate.run("directory", "test").done(EXIT_ERROR)
        assert (
            "the DNS names no server: _ldaps._tcp.localhost: no such name; _ldap._tcp.localhost: no such name"
            in ran.out
        )
