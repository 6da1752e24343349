"""The formats by name, and which of them a file has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pgvillage.core.errors import UsageError
from pgvillage.imports import ldap2pg, pgbedrock, pgfga, pgroute66, terraform
from pgvillage.imports.draft import Draft
from pgvillage.imports.reading import Reading
from pgvillage.imports.scope import Scope


@dataclass(frozen=True, slots=True)
class Format:
    fits: Callable[[dict[str, object]], bool]
    convert: Callable[[Reading, Scope], Draft]


# In the order in which they are tried: the most telling shapes first.
FORMATS: Mapping[str, Format] = {
    "terraform": Format(terraform.fits, terraform.convert),
    "pgroute66": Format(pgroute66.fits, pgroute66.convert),
    "ldap2pg": Format(ldap2pg.fits, ldap2pg.convert),
    "pgfga": Format(pgfga.fits, pgfga.convert),
    "pgbedrock": Format(pgbedrock.fits, pgbedrock.convert),
}


def format_of(reading: Reading) -> str:
    """The format's name. Raises UsageError when the file is like none of them."""
    content = reading.content
    if isinstance(content, dict):
        for name, known in FORMATS.items():
            if known.fits(content):
                return name
    raise UsageError(f"{reading.file}: like no file of {', '.join(sorted(FORMATS))}; say which with --format")
