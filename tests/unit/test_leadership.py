"""Who leads by etcd, and which sessions are refused: pure, and whatever stands in the keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pgvillage.core.leadership import Kept, Leadership, Session, checked_addresses
from pgvillage.resources.patroni.leadership import patroni_keys
from pgvillage.resources.stolon.leadership import stolon_keys

NODES = {"n1": "10.0.0.1:5432", "n2": "10.0.0.2:5432"}
FIXTURE = Path(__file__).parents[1] / "fixtures" / "stolon" / "clusterdata-three-keepers-sync.json"


def leads(leader: str = "n1", *, followed: bool = True) -> Leadership:
    return Leadership("patroni", leader, NODES, "77", 3, "t", followed)


@pytest.mark.parametrize(
    ("leadership", "session", "words"),
    [
        (leads(), Session(("10.0.0.1:5432",), "77", 3), ""),
        (leads(), Session(("pg1.example:5432", "10.0.0.1:5432"), "77", 4), ""),
        (leads(followed=False), Session(("vip.example:5000", "10.0.0.9:5000"), "77", 3), ""),
        (leads(), Session(("10.0.0.2:5432",), "77", 3), "n1 leads, and the server that takes writes is n2 (10.0.0.2"),
        (leads(followed=False), Session(("pg2.example:5432", "10.0.0.2:5432")), "is n2 (pg2.example:5432)"),
        (leads(), Session(("10.0.0.9:5432",)), "is a node that it does not know"),
        (
            leads(),
            Session(("10.0.0.1:5432",), "78", 3),
            "is 78, and patroni's cluster in etcd has 77",
        ),
        (leads(followed=False), Session(("vip:5000",), "77", 2), "on timeline 2, and patroni's leader n1 on 3"),
        (leads(""), Session(("10.0.0.1:5432",), "77", 3), "no leader in etcd now"),
        (leads("a\nb"), Session(("10.0.0.1:5432",)), '"a\\u000ab" leads'),
    ],
)
def test_objections(leadership: Leadership, session: Session, words: str) -> None:
    found = leadership.objection(session)
    assert words in found if words else not found


def test_the_leader_is_asked_first() -> None:
    assert leads("n2").hosts == ["10.0.0.2:5432", "10.0.0.1:5432"]


@pytest.mark.parametrize(
    "address",
    ["/var/run:5432", "a:5432,b:5432", "a", "a:0", "a:65536", "a b:1", "a:5432\n", "@sock:5432", "-a:5432", "a%:1", ""],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        checked_addresses({"n": address})


def test_addresses_and_their_number() -> None:
    assert checked_addresses({"b": "pg.example:5432", "a": "[2001:db8::1]:5433"}) == {
        "a": "[2001:db8::1]:5433", "b": "pg.example:5432",
    }  # fmt: skip
    with pytest.raises(ValueError, match="65 nodes; at most 64"):
        checked_addresses({f"n{n}": "a:1" for n in range(65)})


def test_stolon() -> None:
    keys = stolon_keys("/stolon/cluster/", "demo")
    assert keys.prefix + keys.leader_key == "stolon/cluster/demo/clusterdata"
    whole = json.loads(FIXTURE.read_text())
    found = keys.leadership_of({"clusterdata": _kept(whole)})
    assert (found.leader, found.addresses["keeper3"]) == ("keeper3", "127.0.0.1:35433")
    assert (found.system_identifier, found.timeline) == ("7711065021696455327", 1)
    assert found.term == keys.term_of(_kept(whole)) == "5bba7514"
    whole["cluster"]["status"]["master"] = "6b44074d"
    assert keys.term_of(_kept(whole)) != found.term
    whole["dbs"]["6b44074d"]["status"]["listenAddress"] = "evil,host"
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        keys.leadership_of({"clusterdata": _kept(whole)})


def test_patroni() -> None:
    keys = patroni_keys("/service/", "lab")
    assert keys.prefix == "/service/lab/"
    found = keys.leadership_of(
        {
            "leader": Kept(b"n2", 7),
            "initialize": Kept(b"77", 1),
            "members/n1": _kept({"conn_url": "postgres://10.0.0.1:5432/postgres", "timeline": 1}),
            "members/n2": _kept({"conn_url": "postgres://[2001:db8::1]:5433/postgres", "timeline": 2}),
            "members/n3": _kept({"conn_url": ["no", "text"]}),
            "members/n4": Kept(b"\xff[", 1),
            "config": Kept(b"[" * 100_000, 1),
        }
    )
    assert found.hosts == ["[2001:db8::1]:5433", "10.0.0.1:5432"]
    assert (found.leader, found.system_identifier, found.timeline) == ("n2", "77", 2)
    assert found.term == keys.term_of(Kept(b"n2", 7))
    assert found.term != keys.term_of(Kept(b"n2", 9)), "it led, another did, and it leads again"
    assert keys.term_of(None) == ""


def _kept(value: Any) -> Kept:
    return Kept(json.dumps(value).encode(), 1)
