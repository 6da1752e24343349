"""What the person who imports adds to the file: names that the file leaves to a living server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """`databases` and `schemas` are what a file means by all of them; `hosts` where the servers are."""

    cluster: str = "main"
    databases: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
