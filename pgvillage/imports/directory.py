"""Directories in other tools' words: where people are searched, and what of it a manifest can say."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pgvillage.imports.draft import Draft
from pgvillage.imports.reading import Node

DIRECTORY = "main"
# A search with such a filter finds the group's entry itself and leaves none of its members out.
_EVERYTHING = re.compile(r"\(?\s*objectclass\s*=\s*(\*|group\w*|posixgroup)\s*\)?", re.IGNORECASE)


def finds_everything(text: str) -> bool:
    return not text.strip() or _EVERYTHING.fullmatch(text.strip()) is not None


def first_rdn(dn: str) -> tuple[str, str]:
    """Type and value of the first part of a DN, unescaped; empty where it is none."""
    found = re.match(r"\s*([A-Za-z][A-Za-z0-9-]*)\s*=\s*((?:\\.|[^,\\])*)", dn)
    if found is None:
        return "", ""
    value = re.sub(r"((?:\\[0-9A-Fa-f]{2})+)", lambda m: _bytes(m[1]), found[2].strip())
    return found[1].lower(), re.sub(r"\\(.)", r"\1", value)


def _bytes(escaped: str) -> str:
    return bytes.fromhex(escaped.replace("\\", "")).decode(errors="replace")


def base_of(dns: Iterable[str]) -> str:
    """The longest DN that all of these end in, without their own first part."""
    split = [re.split(r"(?<!\\),", dn)[1:] for dn in dns]
    if not split:
        return ""
    common: list[str] = []
    for parts in zip(*(reversed(each) for each in split), strict=False):
        if len({p.strip().lower() for p in parts}) > 1:
            break
        common.insert(0, parts[0].strip())
    return ",".join(_from_dc(common))


def _from_dc(parts: list[str]) -> list[str]:
    """From the domain on, where there is one: people mostly stand beside the groups, not below them."""
    domain = [index for index, part in enumerate(parts) if part.lower().startswith(("dc=", "o="))]
    return parts[domain[0] :] if domain else parts


def add_directory(draft: Draft, node: Node, uris: Iterable[str], dns: Iterable[str]) -> None:
    """The one directory of the settings."""
    found = [uri for uri in uris if uri.lower().startswith(("ldap://", "ldaps://"))]
    if not found:
        found = ["ldaps://ldap.example:636"]
        node.note("the file does not say where the directory is", f"put its URL into `directories.{DIRECTORY}.uris`")
    base = base_of(dns)
    if not base:
        node.note("the directory's base DN is not known", f"put it into `directories.{DIRECTORY}.base`")
    draft.directories[DIRECTORY] = {"uris": found, "base": base or "dc=example"}
    if any(uri.lower().startswith("ldap://") for uri in found):
        node.note(
            "PgVillage uses StartTLS on ldap:// URLs",
            f"set `directories.{DIRECTORY}.ca`, or `startTls: false` where the directory has no TLS at all",
        )
