"""PgRoute66: groups of hosts become clusters, and where it listens the settings of the routing API."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from pgvillage.core.node_name import node_name
from pgvillage.estate.document_names import document_names
from pgvillage.imports.draft import Document, Draft
from pgvillage.imports.reading import Node, Reading, Section
from pgvillage.imports.scope import Scope

_PORT = 8433
_CERT, _KEY = "routing.crt", "routing.key"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LOGIN = ("user", "dbname", "sslmode", "sslrootcert")


def fits(content: dict[str, object]) -> bool:
    """Whether this looks like PgRoute66's file: hosts by name with libpq's keys."""
    hosts = content.get("hosts")
    if not isinstance(hosts, dict) or not hosts:
        return False
    return all(isinstance(each, dict) and "host" in each for each in hosts.values())


@dataclass(frozen=True, slots=True)
class _Host:
    name: str
    place: str
    node: Node


def convert(reading: Reading, scope: Scope) -> Draft:
    draft = Draft("PgRoute66", reading.root)
    top = reading.root.section()
    hosts = {name: _host(draft, name, node) for name, node in top.get("hosts").named()}
    draft.server.hosts = list(dict.fromkeys(host.place for host in hosts.values()))
    _groups(draft, top.get("groups"), hosts, scope)
    draft.settings["routing"] = _routing(top)
    top.decline("loglevel", "the routing API logs what changes, without a level", "leave it out")
    top.decline("logfile", "the routing API logs to stderr", "let systemd or the container keep its log")
    return draft


def _host(draft: Draft, name: str, node: Node) -> _Host:
    keys = node.section()
    host, port = keys.get("host").text(), keys.get("port").text() or "5432"
    if not host:
        keys.get("host").fault("a host")
    place = f"[{host}]:{port}" if ":" in host and not host.startswith("/") else f"{host}:{port}"
    _login(draft, keys)
    password = keys.get("password")
    if password.value is not None:
        draft.server.password = {"env": "PGPASSWORD"}
        password.note("a password stands here; it is not copied", "put its value into the variable PGPASSWORD")
    if node_name(place) != name:
        node.note(
            f"the routing API answers {node_name(place)!r} for this host", "who reads the answers must know it so"
        )
    keys.rest = "the settings' credential has: user, password, hosts, sslmode, sslrootcert, sslcert, sslkey, database"
    return _Host(name, place, node)


def _login(draft: Draft, keys: Section) -> None:
    """One login for all; who differs is named."""
    server = draft.server
    for key in _LOGIN:
        found = keys.get("dbname", "database") if key == "dbname" else keys.get(key)
        attribute = "database" if key == "dbname" else key
        text, before = found.text(), getattr(server, attribute)
        if text and before and text != before:
            found.note(f"another host has another {key}, and one credential is made for all", "add a credential for it")
        elif text:
            setattr(server, attribute, text)


def _groups(draft: Draft, groups: Node, hosts: dict[str, _Host], scope: Scope) -> None:
    name_of, grouped = document_names(), set()
    for name, node in groups.named():
        places = []
        for item in node.entries():
            host = hosts.get(item.text())
            if host is None:
                item.note("this host is not among `hosts`", "add it to the Cluster's connection.hosts by hand")
                continue
            grouped.add(host.name)
            places.append(host.place)
        if not places:
            node.note("a group without hosts is no cluster", "leave it out")
            continue
        cluster = name_of(name)
        if cluster != name:
            node.note(f"the group is called {cluster!r}: clusters have no other names", "ask for ?group= by this name")
        draft.clusters[cluster] = list(dict.fromkeys(places))
    if not draft.clusters:
        draft.clusters[scope.cluster] = draft.server.hosts
    elif loose := [host for name, host in hosts.items() if name not in grouped]:
        for host in loose:
            host.node.note("this host is in no group, and so in no cluster", "add it to a Cluster's connection.hosts")


def _routing(top: Section) -> Document:
    bind, port = top.get("bind"), top.get("port")
    address = bind.text() or "127.0.0.1"
    shown = f"[{address}]" if ":" in address else address
    found: Document = {"listen": f"{shown}:{port.number(_PORT)}"}
    if port.value is None:
        top.node.note(
            f"the file names no port; the routing API listens on {_PORT}", "change `routing.listen` if needed"
        )
    if address not in _LOOPBACK and not _is_loopback(address):
        found["anonymousRead"] = True
        bind.note("PgRoute66 answers whoever asks; `anonymousRead: true` keeps it so", "add `tokens` to close it")
    ssl = top.get("ssl")
    if ssl.value is not None:
        keys = ssl.section()
        found["tls"] = {"cert": _CERT, "key": _KEY}
        keys.decline("b64cert", f"a certificate stands here; {_CERT} is named instead", "decode it (base64 -d) into it")
        keys.decline("b64key", f"a private key stands here; {_KEY} is named instead", "decode it (base64 -d) into it")
    return found


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False
