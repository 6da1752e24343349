"""Settings of LDAP directories."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pgvillage.settings.common import ClientCertificate, SecretSource, Section

MemberAttribute = Literal["member", "uniqueMember", "memberUid", "memberOf"]


def _domain(text: str) -> str:
    labels = text.removesuffix(".").split(".")
    if len(text) > 240 or not all(
        re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", each) for each in labels
    ):
        raise ValueError(
            "expected a domain in letters, digits, - and dots, such as corp.example; no _ldap._tcp before it"
        )
    return text


Domain = Annotated[str, AfterValidator(_domain)]


class LdapBind(Section):
    """Who to be: a DN with its password, whom the client certificate names, or whose Kerberos ticket we have."""

    dn: str | None = None
    password: SecretSource | None = None
    external: bool = Field(False, description="SASL EXTERNAL: the client certificate of `tls` says who we are.")
    gssapi: bool = Field(
        False, description="SASL GSSAPI: the Kerberos ticket says who we are; needs pgvillage[kerberos]."
    )

    @model_validator(mode="after")
    def _one_way(self) -> LdapBind:
        simple = self.dn is not None or self.password is not None
        if self.external + self.gssapi + simple > 1:
            raise ValueError("a bind is either external, or gssapi, or by dn and password")
        if not (self.external or self.gssapi) and (self.dn is None or self.password is None):
            raise ValueError("a bind needs dn and password, or external: true, or gssapi: true")
        return self


def address_and_port(text: str) -> tuple[str, int]:
    """Of IP, IP:PORT or [IPv6]:PORT; the port is 53 unless it says another. Raises ValueError for anything else."""
    address, colon, port = text.rpartition(":")
    if not colon or (":" in address and not address.endswith("]")):
        address, port = text, "53"
    number = int(port) if port.isascii() and port.isdecimal() else 0
    if not 0 < number < 65_536:
        raise ValueError(f"expected a port of 1 to 65535, found {port!r}")
    return str(ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))), number


class Directory(Section):
    """An LDAP directory, or an LDIF file in its place."""

    uris: list[str] = Field(default_factory=list, description="ldaps:// or ldap:// URLs, tried in order.")
    srv: Domain | None = Field(
        None,
        description="A domain whose DNS names the servers: _ldaps._tcp, or else _ldap._tcp; only servers in it.",
    )
    resolver: str | None = Field(
        None, description="The DNS server that `srv` asks, as IP or IP:PORT; the system's own when unset."
    )
    ldif: Path | None = Field(None, description="An LDIF file as the directory, for offline use.")
    base: str = Field(description="Base DN; members outside it are not followed.")
    bind: LdapBind | None = Field(None, description="Simple bind or SASL EXTERNAL; anonymous when unset.")
    start_tls: bool = Field(True, alias="startTls", description="StartTLS on ldap:// URLs.")
    ca: Path | None = Field(None, description="CA file that the server's certificate must chain to.")
    tls: ClientCertificate | None = Field(None, description="The certificate that we show to the server.")
    timeout: float = Field(10, gt=0, le=300, description="Seconds for connecting and for each answer.")
    page_size: int = Field(500, alias="pageSize", gt=0, le=10_000)
    member_attributes: tuple[MemberAttribute, ...] = Field(
        ("member", "uniqueMember", "memberUid"), alias="memberAttributes"
    )
    user_attribute: str = Field("uid", alias="userAttribute", description="What `memberUid` values refer to.")

    @model_validator(mode="after")
    def _one_place(self) -> Directory:
        if bool(self.uris) + (self.srv is not None) + (self.ldif is not None) != 1:
            raise ValueError("a directory needs exactly one of: uris, srv, ldif")
        if self.resolver is not None:
            if self.srv is None:
                raise ValueError("resolver is the DNS server for srv, which is not set")
            address_and_port(self.resolver)
        if self.bind and self.bind.external and self.tls is None:
            raise ValueError("bind.external needs a client certificate: tls: {cert, key}")
        return self
