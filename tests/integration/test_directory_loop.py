"""Directories that fail, lose entries or empty groups: what is unknown takes nothing away, what is known does."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import (
    EXIT_BLOCKED,
    EXIT_PARTIAL,
    EstateBuilder,
    cluster,
    document,
    free_policy,
    group,
)
from tests.servers import free_port
from tests.servers.postgres import PostgresServer
from tests.servers.slapd import ADMIN, PASSWORD, SUFFIX, folders, group_dn, person, person_dn, record, slapd
from tests.servers.tcp_cut import cut_after

PEOPLE = [f"p{at}" for at in range(8)]


def ldif(members: Sequence[str], *, entry: bool = True, people: Sequence[str] = PEOPLE) -> str:
    text = folders("people", "groups") + "".join(person(name, uid=name) for name in people)
    if entry:
        dns = [person_dn(name) for name in members]
        text += record(
            group_dn("team"), {"objectClass": "groupOfMembers", "cn": "team", **({"member": dns} if dns else {})}
        )
    return text


class Team:
    """An estate whose group `team` is fed by a directory; each look may meet another directory."""

    def __init__(self, estate: EstateBuilder, server: PostgresServer, folder: Path) -> None:
        self.estate, self.server, self.folder, self.number = estate, server, folder, 0
        self.uri = f"ldap://127.0.0.1:{free_port()}"
        self.members: dict[str, Any] = {"directory": "corp", "group": group_dn("team"), "memberOf": ["umbrella"]}
        self.policy = free_policy()
        self.password = PASSWORD

    def write(self) -> None:
        bind = {"dn": ADMIN, "password": {"command": ["echo", self.password]}}
        self.estate.settings["directories"] = {
            "corp": {"uris": [self.uri], "base": SUFFIX, "bind": bind, "startTls": False, "timeout": 3}
        }
        self.estate.documents = {
            "a": [
                self.policy,
                cluster("c", self.server.host),
                group("umbrella"),
                group("team", members=self.members),
            ]
        }
        self.estate.commit()

    @contextmanager
    def directory(self, text: str, limits: str = "") -> Iterator[None]:
        self.number += 1
        with slapd(self.folder / f"ldap{self.number}", text, limits=limits) as server:
            self.uri = server.uri
            self.write()
            yield

    def live(self) -> dict[str, tuple[bool, int]]:
        """Who may log in, and how many memberships they have."""
        rows = self.server.sql(
            "SELECT rolname, rolcanlogin, (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) "
            "FROM pg_roles r WHERE rolname ~ '^p[0-9]'"
        )
        return {name: (login, count) for name, login, count in rows}


ALL_IN = dict.fromkeys(PEOPLE, (True, 2))


@pytest.fixture
def team(pg: PostgresServer, estate_of: EstateMaker, tmp_path: Path) -> Team:
    found = Team(estate_of(pg), pg, tmp_path)
    with found.directory(ldif(PEOPLE)):
        found.estate.apply().done()
        found.estate.settled()
    assert found.live() == ALL_IN
    return found


def unchanged(team: Team, *words: str) -> None:
    """A look and an apply that both say why and take nothing."""
    plan = team.estate.plan().done(EXIT_PARTIAL)
    assert not plan.changes
    assert any(d["severity"] == "error" for d in plan.document["diagnostics"])
    ran = team.estate.apply().done(EXIT_PARTIAL)
    for word in words:
        assert word in ran.text, ran.text
    assert PASSWORD not in ran.text
    assert team.live() == ALL_IN


def test_a_directory_that_is_down(team: Team) -> None:
    team.uri = f"ldap://127.0.0.1:{free_port()}"
    team.write()
    unchanged(team, "nothing is taken away", "corp")


def test_a_bind_that_is_refused(team: Team) -> None:
    team.password = "wrong"
    with team.directory(ldif([])):
        unchanged(team, "nothing is taken away", "invalid credentials")


def test_a_group_entry_that_is_lost(team: Team) -> None:
    with team.directory(ldif([], entry=False)):
        unchanged(team, "nothing is taken away", "found none")


def test_an_answer_that_is_cut_at_the_size_limit(team: Team) -> None:
    team.members["nested"] = True
    with team.directory(ldif(PEOPLE), limits="limits * size.soft=3 size.hard=3 size.prtotal=3"):
        # the root DN is above limits: ask as nobody
        directory = team.estate.settings["directories"]["corp"]
        del directory["bind"]
        team.estate.commit()
        plan = team.estate.plan()
        assert not [c for c in plan.changes.values() if c["actions"] == ["delete"]], plan.out
        assert plan.code == EXIT_PARTIAL, plan.text
        ran = team.estate.apply().done(EXIT_PARTIAL)
        assert "size" in ran.text.lower(), ran.text
        assert team.live() == ALL_IN


def test_a_base_that_is_not_there(team: Team) -> None:
    with team.directory(ldif([])):
        team.estate.settings["directories"]["corp"]["base"] = f"ou=nowhere,{SUFFIX}"
        team.estate.commit()
        unchanged(team, "nothing is taken away", "the base can't be read")


def as_nobody(team: Team) -> None:
    """The root DN is above access rules."""
    del team.estate.settings["directories"]["corp"]["bind"]
    team.estate.commit()


def test_a_group_entry_that_is_a_referral(team: Team) -> None:
    elsewhere = {"objectClass": ["referral", "extensibleObject"], "cn": "team", "ref": "ldap://127.0.0.1:9/"}
    with team.directory(ldif([], entry=False) + record(group_dn("team"), elsewhere)):
        unchanged(team, "nothing is taken away", "referral")


@pytest.mark.parametrize(
    ("what", "said"),
    [("attrs=uid", "people has a readable uid"), (f'dn.subtree="ou=people,{SUFFIX}"', "none of its members was found")],
)
def test_a_part_that_may_not_be_read(team: Team, what: str, said: str) -> None:
    with team.directory(ldif(PEOPLE), limits=f"access to {what} by * none\naccess to * by * read"):
        as_nobody(team)
        unchanged(team, "nothing is taken away", said)


def test_a_member_list_that_may_not_be_read_is_held_by_the_limits(team: Team) -> None:
    """It looks just like a group without members: what protects here is the policy, by its defaults."""
    team.policy = document("Estate", "tests", policy={"correct": "all"})
    with team.directory(ldif(PEOPLE), limits="access to attrs=member by * none\naccess to * by * read"):
        as_nobody(team)
        ran = team.estate.apply().done(EXIT_BLOCKED)
        assert "limit" in ran.text
        assert team.live() == ALL_IN


def test_a_schema_that_may_not_be_read(team: Team) -> None:
    hidden = 'database frontend\naccess to dn.base="cn=Subschema" by * none\naccess to * by * read'
    with team.directory(ldif(PEOPLE), limits=hidden):
        as_nobody(team)
        assert not team.estate.plan().done().changes
        team.members["role"] = "{uidd}"
        team.write()
        as_nobody(team)
        unchanged(
            team, "nothing is taken away", "people has a readable uidd; choose another"
        )  # no name can be suggested


def test_a_directory_that_dies_before_the_last_byte(team: Team) -> None:
    with team.directory(ldif(PEOPLE)):
        port = int(team.uri.rpartition(":")[2])
        with cut_after(port) as whole:
            team.uri = whole.uri
            team.write()
            assert not team.estate.plan().done().changes
        with cut_after(port, whole.passed[-1] - 1) as cut:
            team.uri = cut.uri
            team.write()
            unchanged(team, "nothing is taken away")
        assert set(cut.passed) == {whole.passed[-1] - 1}


def test_a_group_that_was_emptied_on_purpose(team: Team) -> None:
    with team.directory(ldif([])):
        plan = team.estate.plan().done()
        assert {c["origin"] for c in plan.changes.values()} == {"directory"}
        team.estate.apply().done()
        team.estate.settled()
        assert team.live() == dict.fromkeys(PEOPLE, (False, 0))


def test_emptying_more_than_the_limit_needs_an_approval(team: Team) -> None:
    limits = {"drop": {"count": 3, "share": "10%"}, "revoke": {"count": 5, "share": "25%"}}
    team.policy = document("Estate", "tests", policy={"correct": "all", "limits": limits})
    with team.directory(ldif([])):
        ran = team.estate.apply().done(EXIT_BLOCKED)
        assert "limit" in ran.text
        assert team.live() == ALL_IN
        digest = team.estate.plan().targets["c"]["digest"]
        team.estate.apply("--approve", digest[:12]).done()
        assert team.live() == dict.fromkeys(PEOPLE, (False, 0))


def test_a_leaver_is_shut_out_at_once(team: Team) -> None:
    team.server.sql("ALTER ROLE p0 PASSWORD 'his'")
    with team.server.connect("postgres", "p0", password="his") as session, team.directory(ldif(PEOPLE[1:])):
        team.estate.apply().done()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            team.server.connect("postgres", "p0", password="his")
        assert team.live() == {**ALL_IN, "p0": (False, 0)}
        team.estate.settled()
    with team.directory(ldif(PEOPLE)):
        team.estate.apply().done()
        team.estate.settled()
        assert team.live() == ALL_IN, "who comes back is let in again"


def test_a_leaver_is_dropped_when_the_time_has_come(team: Team) -> None:
    team.members["onLeave"] = {"drop": "after 30d", "heir": "umbrella"}
    with team.directory(ldif(PEOPLE)):
        team.estate.apply().done()
    team.server.sql("CREATE TABLE public.hers (i int)", "ALTER TABLE public.hers OWNER TO p0")
    with team.directory(ldif(PEOPLE[1:])):
        team.estate.apply().done()
        assert team.live()["p0"] == (False, 0)
        team.estate.settled()
        team.server.sql(
            "UPDATE pgvillage.ledger SET disabled_since = now() - interval '31 days' WHERE disabled_since IS NOT NULL"
        )
        team.estate.apply().done()
        team.estate.settled()
        assert "p0" not in team.live()
    owner = team.server.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'hers'")
    assert owner == [("umbrella",)]
    team.server.sql("DROP TABLE public.hers")


def test_one_that_was_let_in_by_hand_is_shut_out_again(team: Team) -> None:
    with team.directory(ldif(PEOPLE[1:])):
        team.estate.apply().done()
        team.server.sql("ALTER ROLE p0 LOGIN")
        change = team.estate.run("drift", "-o", "json").done(2).changes["c/role/p0"]
        assert (change["before"]["login"], change["after"]["login"]) == (True, False)
        team.estate.apply().done()
        team.estate.settled()


def test_a_slow_directory_does_not_hold_up_for_ever(team: Team) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        team.uri = f"ldap://127.0.0.1:{silent.getsockname()[1]}"
        team.write()
        start = time.monotonic()
        unchanged(team, "nothing is taken away")
        assert time.monotonic() - start < 60
