"""Rendered configurations of HAProxy and keepalived, judged by the real programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.estate_builder import EstateBuilder, Ran, document
from tests.servers.haproxy import adapted, checked

# keepalived looks for it, and takes no loopback
INTERFACE = next(place.name for place in sorted(Path("/sys/class/net").iterdir()) if place.name != "lo")
VIP = {"address": "10.1.0.10/24", "via": "haproxy", "interface": INTERFACE, "routerId": 51}
VIP6 = {"address": "fd00::9/64"}
PATRONI = {"engine": "patroni", "api": "lab"}
PEERS = ("--peer", "lb1=10.1.0.21", "--peer", "lb2=10.1.0.22")
ADDRESS = ("10.1.0.1",)
ROUTING = "http://127.0.0.1:8433"


def rendered(folder: Path, *arguments: str, hosts: tuple[str, ...] = ("10.1.0.1", "10.1.0.2:5433"), **spec: Any) -> Ran:
    estate = EstateBuilder(folder / "estate", {"credentials": {"admin": {"user": "x", "hosts": ["*"]}}})
    spec = {key: value for key, value in spec.items() if value is not None}
    estate.documents["c"] = [
        document("Cluster", "or-ders.1", connection={"hosts": list(hosts), "credential": "admin"}, **spec)
    ]
    if "ha" in spec:
        estate.settings["patroni"] = {"lab": {"hosts": ["*:8008"], "members": ["http://10.1.0.1:8008"]}}
    estate.commit()
    return estate.run("render", arguments[0], "or-ders.1", *arguments[1:])


@pytest.mark.parametrize(
    ("hosts", "spec", "part"),
    [
        (("pg1.example", "[::1]:5433"), {"connect": {"routing": ROUTING}}, "server _::1_:5433 [::1]:5433 check"),
        (("10.1.0.1",), {"connect": {"routing": "https://localhost:8433"}}, "verifyhost localhost"),
        (("10.1.0.1",), {"connect": {"routing": "https://[::1]:8433", "vip": VIP6}}, "bind [::]:5000"),
        (("10.1.0.1",), {"ha": PATRONI, "connect": {"haproxy": {"checkPort": 8009}}}, " port 8009"),
    ],
)  # fmt: skip
def test_haproxy_takes_it(tmp_path: Path, hosts: tuple[str, ...], spec: Mapping[str, Any], part: str) -> None:
    out = tmp_path / "haproxy.cfg"
    ran = rendered(tmp_path, "haproxy", "--token-variable", "ROUTING_TOKEN", "--out", str(out), hosts=hosts, **spec)
    assert ran.done().out == ""
    text = out.read_text()
    assert part in text
    out.write_text(adapted(text, 8404))
    code, words = checked("haproxy", "-c", "-f", out, environment={"ROUTING_TOKEN": "x"})
    assert code == 0, words
    assert not [line for line in words.splitlines() if "[WARNING]" in line and "could not resolve" not in line]
    out.write_text(out.read_text().replace("option httpchk", "option httpchkk"))
    assert checked("haproxy", "-c", "-f", out)[0] != 0, "the check itself finds faults"


@pytest.mark.parametrize(
    ("via", "arguments", "script"),
    [
        ("haproxy", ("--node", "lb2", *PEERS), "http://127.0.0.1:8404/alive"),
        ("keepalived", ("--node", "10.1.0.1"), "http://127.0.0.1:8433/nodes/or-ders.1/10.1.0.1/primary"),
    ],
)
def test_keepalived_takes_it(tmp_path: Path, via: str, arguments: tuple[str, ...], script: str) -> None:
    ran = rendered(tmp_path, "keepalived", *arguments, connect={"routing": ROUTING, "vip": {**VIP, "via": via}})
    text = ran.done().out
    assert script in text
    assert "nopreempt" in text
    place = tmp_path / "keepalived.conf"
    place.write_text(text)
    # by its words: keepalived 2.2 can end its own test with SIGTERM, whatever it found
    assert checked("keepalived", "-t", "-f", place)[1].strip() == ""
    place.write_text(text.replace("virtual_router_id 51", "virtual_router_id 999"))
    assert "999" in checked("keepalived", "-t", "-f", place)[1], "the check itself finds faults"


@pytest.mark.parametrize(
    ("arguments", "hosts", "connect", "words"),
    [
        (("haproxy",), ADDRESS, {}, "run `pgvillage routing` and name its address as connect.routing"),
        (("haproxy",), ("/run/pg",), {"routing": ROUTING}, "/run/pg is a socket's folder"),
        (("haproxy", "--ca", 'x" bad'), ADDRESS, {"routing": ROUTING}, "--ca"),
        (("keepalived",), ADDRESS, {"routing": ROUTING}, "add connect.vip"),
        (("keepalived",), ADDRESS, {"routing": ROUTING, "vip": VIP6}, "interface and routerId"),
        (("keepalived", "--node", "lb3", *PEERS), ADDRESS, {"routing": ROUTING, "vip": VIP}, "did you mean lb"),
        (("keepalived",), ("pg1.example",), {"routing": ROUTING, "vip": VIP}, "--peer lb1=10.1.0.21"),
        (("keepalived", "--peer", "a{=10.1.0.1"), ADDRESS, {"routing": ROUTING, "vip": VIP}, "--peer a{=10.1.0.1"),
    ],
)  # fmt: skip
def test_what_is_lacking_is_told(
    tmp_path: Path, arguments: tuple[str, ...], hosts: tuple[str, ...], connect: dict[str, Any], words: str
) -> None:
    assert words in rendered(tmp_path, *arguments, hosts=hosts, connect=connect or None).done(64).err
