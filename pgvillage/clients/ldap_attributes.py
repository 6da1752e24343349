"""Attributes that a directory does not know: an error with the nearest name, never an empty answer."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from pgvillage.clients.ldap_entry import Entries

_NAMES = re.compile(r"\bNAME\s+(?:'([^']*)'|\(([^)]*)\))")


def unknown_attributes(names: Iterable[str], entries: Entries) -> str:
    """What is wrong with these attributes' names, or ''; where the directory does not tell its schema, nothing is."""
    known = {name.lower(): name for name in entries.attribute_names() or ()}
    if not known:
        return ""
    for name in names:
        # An OID is looked up by nobody who mistypes names.
        if name.lower() in known or name[0].isdigit():
            continue
        near = difflib.get_close_matches(name.lower(), sorted(known), 1)
        hint = f"did you mean {known[near[0]]}?" if near else "correct it in the manifest"
        return f"the directory knows no attribute {name}; {hint}"
    return ""


def names_of_types(attribute_types: Iterable[bytes]) -> Iterator[str]:
    """The names in a subschema's attributeTypes (RFC 4512, 4.1.2)."""
    for raw in attribute_types:
        found = _NAMES.search(raw.decode(errors="replace"))
        if found:
            yield from [found[1]] if found[1] else re.findall(r"'([^']*)'", found[2])
