"""What a server says about itself: its kind (rootDSE) and the attributes it knows (subschema)."""

from __future__ import annotations

from dataclasses import dataclass

from pgvillage.clients.ldap_attributes import names_of_types
from pgvillage.clients.ldap_connection import Session
from pgvillage.clients.ldap_failure import SearchFailed

_AD_CAPABILITIES = {b"1.2.840.113556.1.4.800", b"1.2.840.113556.1.4.1851"}  # Active Directory, and AD LDS
_ASKED = (
    "objectClass", "vendorName", "vendorVersion", "supportedCapabilities", "forestFunctionality", "subschemaSubentry",
    "dsServiceName",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServerFacts:
    product: str
    active_directory: bool = False
    subschema: str = ""


def read_facts(session: Session) -> ServerFacts:
    """A server that hides its rootDSE is taken for one without extensions."""
    try:
        found = session.search("", "(objectClass=*)", "BASE", _ASKED).entries
    except SearchFailed:
        return ServerFacts("a server that does not show its rootDSE")
    raw = {name.lower(): values for name, values in found[0][1].items()} if found else {}

    def first(name: str) -> str:
        return next((value.decode(errors="replace") for value in raw.get(name, ())), "")

    capable = bool(_AD_CAPABILITIES & set(raw.get("supportedcapabilities", ())))
    active_directory = capable or bool(first("forestfunctionality"))
    named = " ".join(filter(None, [first("vendorname"), first("vendorversion")]))
    if active_directory:
        product = f"Active Directory ({named})" if named else "Active Directory"
    elif b"OpenLDAProotDSE" in raw.get("objectclass", ()):
        product = "OpenLDAP"
    else:
        product = named or "an LDAP server that does not name itself"
    return ServerFacts(product, active_directory, first("subschemasubentry"))


def read_attribute_names(session: Session, facts: ServerFacts) -> frozenset[str] | None:
    """Every attribute of the schema, operational ones too; None where the server does not show it."""
    if not facts.subschema:
        return None
    try:
        found = session.search(facts.subschema, "(objectClass=subschema)", "BASE", ["attributeTypes"]).entries
    except SearchFailed:
        return None
    raw = {name.lower(): values for name, values in found[0][1].items()} if found else {}
    return frozenset(names_of_types(raw.get("attributetypes", ()))) or None
