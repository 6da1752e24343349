"""Questions to a live PostgreSQL and what comes back: the language between kinds and the client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgvillage.core.topology import Topology

Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Query:
    """One question to a live PostgreSQL. `each_database` asks it in every declared database, else once.

    `leads_into` is the column of a shared one's rows that names databases where steps may have to go: whether these
    let us in is found out with it.
    """

    name: str
    sql: str
    each_database: bool = False
    parameters: tuple[Any, ...] = ()
    leads_into: int | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the server is and what the role we connect as may see and do.

    `databases` are those that allow connections, and whether this look could go there; `closed` says why not.
    """

    version: int
    superuser: bool
    createrole: bool
    reads_verifiers: bool
    reads_file_settings: bool
    role: str
    system_identifier: str
    maintenance: str
    databases: Mapping[str, bool] = field(default_factory=dict)
    keeps_ledger: bool = True
    reads_hba: bool = False
    reads_ledger: bool = False
    closed: Mapping[str, str] = field(default_factory=dict)
    createdb: bool = False
    replication: bool = False
    bypassrls: bool = False
    # Of an account that is no superuser: roles whose privileges it has, that it can SET ROLE to, that it has ADMIN on.
    acts_as: frozenset[str] = frozenset()
    becomes: frozenset[str] = frozenset()
    administers: frozenset[str] = frozenset()

    @property
    def major(self) -> int:
        return self.version // 10000

    @property
    def only_looks(self) -> bool:
        """An account that was given nothing to change anything with: it plans for another that applies."""
        may = self.superuser or self.createrole or self.createdb or self.keeps_ledger
        return not may and not any(not role.startswith("pg_") for role in self.acts_as | self.administers)


@dataclass(frozen=True, slots=True)
class Live:
    """What came back: rows by query name, and by database for those asked in each one.

    A database that exists and is not in `by_database` could not be read; `failures` says why.
    """

    target: str
    rows: Mapping[str, Rows]
    by_database: Mapping[str, Mapping[str, Rows]] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    topology: Topology | None = None
