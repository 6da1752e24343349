"""A real Active Directory domain controller: Samba in a network namespace of its own, reached over a bridge.

Its ports are fixed (389, 636), so it can't stand beside another LDAP server; a namespace needs root.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.servers import network, run, stop, wait_until, which
from tests.servers.slapd import escape_dn, record

BASE = "DC=corp,DC=test"
STAFF = f"OU=Staff,{BASE}"
ADMIN = f"CN=Administrator,CN=Users,{BASE}"
PASSWORD = "s3cret-Of-The-Domain"
HOST = "dc1.corp.test"  # what the certificate is for, beside the address
NORMAL, DISABLED = "544", "546"  # userAccountControl: a normal account that needs no password, and the same disabled


def missing() -> str:
    """Why no domain controller can be started here, or ''."""
    programs = [name for name in ("samba", "samba-tool", "ldbadd") if not which(name)]
    return f"not installed: {', '.join(programs)}" if programs else network.missing()


@dataclass(frozen=True)
class SambaAd:
    address: str
    ca: Path
    database: Path
    process: subprocess.Popen[bytes]

    @property
    def ldap(self) -> str:
        return f"ldap://{self.address}"

    @property
    def ldaps(self) -> str:
        return f"ldaps://{self.address}"


def person_dn(cn: str) -> str:
    return f"CN={escape_dn(cn)},{STAFF}"


def person(cn: str, account: str, **more: str | list[str]) -> str:
    attributes: dict[str, str | list[str]] = {
        "objectClass": "user", "sAMAccountName": account, "userAccountControl": NORMAL,
        "userPrincipalName": f"{account}@corp.test",
    }  # fmt: skip
    return record(person_dn(cn), attributes | more)


def group(cn: str, members: list[str]) -> str:
    attributes: dict[str, list[str] | str] = {"objectClass": "group", "sAMAccountName": cn}
    return record(person_dn(cn), attributes | ({"member": members} if members else {}))


@contextlib.contextmanager
def samba_ad(folder: Path, *ldif: str) -> Iterator[SambaAd]:
    """A domain corp.test with `ldif` in it: each text, of entries or of changes, as one transaction in this order."""
    with network.lab_network(1) as lab:
        (host,) = lab.hosts
        address = host.address
        ca, options = _certificates(folder, address)
        _provision(folder, options)
        database = folder / "ad/private/sam.ldb"
        for at, text in enumerate(ldif):
            file = folder / f"data{at}.ldif"
            file.write_text(text)
            program = "ldbmodify" if "\nchangetype:" in text else "ldbadd"
            run(program, "--nosync", "-H", str(database), str(file))
        log = folder / "samba.log"
        command = host.inside("samba", "-s", str(folder / "ad/etc/smb.conf"), "-i", "-Msingle")
        with log.open("wb") as out:
            process = subprocess.Popen([*command, "--debug-stdout"], stdout=out, stderr=out, stdin=subprocess.PIPE)
        try:
            wait_until(lambda: process.poll() is not None or _answers(address), "samba", log, seconds=60)
            if process.poll() is not None:
                raise RuntimeError(f"samba ended at once:\n{log.read_text(errors='replace')[-2000:]}")
            yield SambaAd(address, ca, database, process)
        finally:
            stop(process)
            assert process.stdin is not None
            process.stdin.close()


def _answers(address: str) -> bool:
    try:
        for port in (389, 636):
            with socket.create_connection((address, port), timeout=0.5):
                pass
    except OSError:
        return False
    return True


def _certificates(folder: Path, address: str) -> tuple[Path, list[str]]:
    authority = trustme.CA()
    issued = authority.issue_cert(address, HOST)
    ca, cert, key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
    authority.cert_pem.write_to_path(ca)
    issued.private_key_pem.write_to_path(key)
    key.chmod(0o600)  # Samba uses no key that others can read
    for pem in issued.cert_chain_pems:
        pem.write_to_path(cert, append=True)
    return ca, [f"tls certfile={cert}", f"tls keyfile={key}", f"tls cafile={ca}"]


def _provision(folder: Path, options: list[str]) -> None:
    # `log file` keeps what it writes out of /var/log; only LDAP is served.
    settings = [*options, "server services=ldap", f"log file={folder / 'log.%m'}", f"pid directory={folder}"]
    command = [
        "samba-tool", "domain", "provision", f"--targetdir={folder / 'ad'}", "--realm=CORP.TEST", "--domain=CORP",
        "--host-name=dc1", "--server-role=dc", "--dns-backend=NONE", f"--adminpass={PASSWORD}", "--use-rfc2307",
    ]  # fmt: skip
    run(*command, *(f"--option={option}" for option in settings))
