"""OpenLDAP's slapd on a free loopback port, with data, certificates and limits of the test's choosing."""

from __future__ import annotations

import base64
import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.servers import accepts, free_port, stop, wait_until

SUFFIX = "dc=example,dc=test"
ADMIN = f"cn=admin,{SUFFIX}"
PASSWORD = "s3cret-Of-The-Bind"
_SCHEMAS = ("core", "cosine", "inetorgperson", "nis")
# RFC 2307bis has it; Debian's schemas don't.
_GROUP_OF_MEMBERS = "objectclass ( 1.3.6.1.4.1.55555.1 NAME 'groupOfMembers' SUP top STRUCTURAL MUST cn MAY member )"


@dataclass(frozen=True)
class Certificate:
    cert: Path
    key: Path
    ca: Path | None = None


@dataclass(frozen=True)
class Slapd:
    port: int
    tls_port: int

    @property
    def uri(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"


@contextlib.contextmanager
def slapd(
    folder: Path, ldif: str, *, certificate: Certificate | None = None, limits: str = "", suffix: str = SUFFIX
) -> Iterator[Slapd]:
    data = folder / "db"
    data.mkdir(parents=True)
    (folder / "data.ldif").write_text(ldif)
    conf = folder / "slapd.conf"
    conf.write_text(_configuration(data, certificate, limits, suffix))
    loaded = ["slapadd", "-q", "-f", str(conf), "-l", str(folder / "data.ldif")]
    subprocess.run(loaded, check=True, capture_output=True)
    server = Slapd(free_port(), free_port())
    urls = f"ldap://127.0.0.1:{server.port}/"
    if certificate:
        urls += f" ldaps://127.0.0.1:{server.tls_port}/"
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(["slapd", "-f", str(conf), "-h", urls, "-d", "0"], stdout=out, stderr=out)
    try:
        wait_until(lambda: process.poll() is not None or accepts(server.port), "slapd", log)
        if process.poll() is not None:
            raise RuntimeError(f"slapd ended at once:\n{log.read_text(errors='replace')}")
        yield server
    finally:
        stop(process)


def _configuration(data: Path, certificate: Certificate | None, limits: str, suffix: str) -> str:
    lines = [f"include /etc/ldap/schema/{name}.schema" for name in _SCHEMAS]
    lines += [_GROUP_OF_MEMBERS, "modulepath /usr/lib/ldap", "moduleload back_mdb.la", "sizelimit unlimited"]
    if certificate:
        lines += [f"TLSCertificateFile {certificate.cert}", f"TLSCertificateKeyFile {certificate.key}"]
        if certificate.ca:
            # A client that shows a certificate of this authority may bind by it; one that shows none may come in too.
            lines += [f"TLSCACertificateFile {certificate.ca}", "TLSVerifyClient try"]
    lines += [
        "database mdb", "maxsize 1073741824", f'suffix "{suffix}"', f'rootdn "cn=admin,{suffix}"', f"rootpw {PASSWORD}",
        f"directory {data}", "index objectClass,cn,uid,member eq", limits,
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def record(dn: str, attributes: Mapping[str, list[str] | list[bytes] | str]) -> str:
    """One entry as LDIF; every value in base64, so that any value can be written."""
    lines = [f"dn:: {base64.b64encode(dn.encode()).decode()}"]
    for name, values in attributes.items():
        for value in [values] if isinstance(values, str) else values:
            raw = value if isinstance(value, bytes) else value.encode()
            lines.append(f"{name}:: {base64.b64encode(raw).decode()}")
    return "\n".join(lines) + "\n\n"


def person(cn: str, ou: str = "people", **more: str | list[str] | list[bytes]) -> str:
    attributes: dict[str, str | list[str] | list[bytes]] = {"objectClass": "inetOrgPerson", "cn": cn, "sn": "x"}
    return record(person_dn(cn, ou), attributes | more)


def person_dn(cn: str, ou: str = "people") -> str:
    return f"cn={escape_dn(cn)},ou={ou},{SUFFIX}"


def group_dn(cn: str) -> str:
    return f"cn={escape_dn(cn)},ou=groups,{SUFFIX}"


def escape_dn(value: str) -> str:
    """Everything but ASCII letters and digits as RFC 4514's hexadecimal pairs."""
    return "".join(chr(b) if b < 128 and chr(b).isalnum() else f"\\{b:02X}" for b in value.encode())


def folders(*names: str) -> str:
    root = record(SUFFIX, {"objectClass": ["dcObject", "organization"], "o": "example", "dc": "example"})
    return root + "".join(
        record(f"ou={name},{SUFFIX}", {"objectClass": "organizationalUnit", "ou": name}) for name in names
    )
