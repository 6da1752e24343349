"""What roles that go own and have in each database: known beforehand, from the shared catalogs alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pgvillage.core.address import quote_part
from pgvillage.core.live import Query, Rows
from pgvillage.core.secret import Secret

# Tombstones by name; leavers by the ledger, where their clock is.
_LEFT = "SELECT address FROM pgvillage.ledger WHERE disabled_since IS NOT NULL"
_NO_LEDGER = "SELECT '' AS address WHERE false"
_SQL = """
WITH gone AS MATERIALIZED ({left}), going AS MATERIALIZED (
  SELECT r.oid, r.rolname FROM pg_catalog.pg_roles r
  WHERE r.rolname = ANY (%s) OR 'role/' || r.rolname IN (SELECT address FROM gone)
     OR 'role/"' || pg_catalog.replace(pg_catalog.replace(r.rolname, '\\', '\\\\'), '"', '\\"') || '"'
        IN (SELECT address FROM gone))
SELECT g.rolname, CASE WHEN s.dbid = 0 THEN '' ELSE coalesce(d.datname, '') END, c.relname, s.deptype::text,
       count(DISTINCT s.objid),
       pg_catalog.array_remove(pg_catalog.array_agg(DISTINCT coalesce(o.datname, t.spcname)::text), NULL)
FROM going g
JOIN pg_catalog.pg_shdepend s
     ON s.refobjid = g.oid AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
JOIN pg_catalog.pg_class c ON c.oid = s.classid
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid
LEFT JOIN pg_catalog.pg_database o ON o.oid = s.objid AND c.relname = 'pg_database' AND s.deptype = 'o'
LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = s.objid AND c.relname = 'pg_tablespace' AND s.deptype = 'o'
GROUP BY 1, 2, 3, 4
UNION ALL
SELECT g.rolname, p.database, 'prepared', '', 1, ARRAY[p.gid::text]
FROM going g JOIN pg_catalog.pg_prepared_xacts p ON p.owner = g.rolname
"""

# Catalogs by what their rows are called; the plural is made by an s.
_WORDS = {
    "pg_class": "relation",
    "pg_proc": "function",
    "pg_type": "type",
    "pg_namespace": "schema",
    "pg_largeobject": "large object",
    "pg_foreign_server": "foreign server",
    "pg_foreign_data_wrapper": "foreign-data wrapper",
    "pg_publication": "publication",
    "pg_subscription": "subscription",
    "pg_event_trigger": "event trigger",
    "pg_language": "language",
    "pg_extension": "extension",
    "pg_operator": "operator",
    "pg_opclass": "operator class",
    "pg_opfamily": "operator family",
    "pg_collation": "collation",
    "pg_conversion": "conversion",
    "pg_statistic_ext": "statistics object",
    "pg_ts_dict": "text search dictionary",
    "pg_ts_config": "text search configuration",
}
_NAMED = {"pg_database": "database", "pg_tablespace": "tablespace"}
# What DROP OWNED clears, although the catalog calls it owned
_CLEARED = frozenset({"pg_default_acl", "pg_user_mapping"})
# Only a superuser may own these; subscriptions since 16 others too.
_OF_SUPERUSERS = ("pg_event_trigger", "pg_foreign_data_wrapper")
_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class RolesSeen:
    """What was learnt of roles beside their states: verifiers, and the holdings of those that may be dropped."""

    verifiers: Mapping[str, Secret] = field(default_factory=dict)
    holdings: Mapping[str, Holdings] = field(default_factory=dict)


@dataclass(slots=True)
class Holdings:
    """Of one role. `databases` are those where it owns or has anything; "" stands for what belongs to the cluster.

    `owned` counts by database and catalog; `prepared` are its prepared transactions, with their database.
    """

    databases: set[str] = field(default_factory=set)
    owned: dict[tuple[str, str], int] = field(default_factory=dict)
    named: dict[str, list[str]] = field(default_factory=dict)
    policies: dict[str, int] = field(default_factory=dict)
    prepared: list[tuple[str, str]] = field(default_factory=list)

    def in_words(self, without: Collection[str] = ()) -> str:
        """`database scratch, 12 relations and 1 type in orders`, but of databases `without`; '' for nothing."""
        parts = [
            f"{_NAMED[catalog]} {quote_part(name)}"
            for catalog, names in sorted(self.named.items())
            for name in _few(sorted(set(names) - set(without)))
        ]
        by_database: dict[str, list[str]] = {}
        for (database, catalog), count in sorted(self.owned.items()):
            if catalog not in _NAMED and database not in without:
                by_database.setdefault(database, []).append(_counted(count, catalog))
        for database, counts in by_database.items():
            parts.append(" and ".join(counts) + (f" in {quote_part(database)}" if database else ""))
        return ", ".join(parts)

    def superusers_things(self, without: Collection[str]) -> str:
        """What it owns that only a superuser can own."""
        found = [
            f"{_counted(count, catalog)} in {quote_part(database)}"
            for (database, catalog), count in sorted(self.owned.items())
            if catalog in _OF_SUPERUSERS and database not in without
        ]
        return ", ".join(found)

    def policies_in_words(self, without: Collection[str] = ()) -> str:
        return ", ".join(
            f"{count} row polic{'y' if count == 1 else 'ies'} in {quote_part(database)}"
            for database, count in sorted(self.policies.items())
            if database not in without
        )


def holdings_query(absent: Collection[str], *, with_ledger: bool) -> Query:
    """One question about the few roles that may be dropped; what they have in other databases is known here too."""
    text = _SQL.format(left=_LEFT if with_ledger else _NO_LEDGER)
    return Query("role_holdings", text, parameters=(sorted(absent),), leads_into=1)


def holdings_of(rows: Rows) -> dict[str, Holdings]:
    found: dict[str, Holdings] = {}
    for role, database, catalog, kind, count, names in rows:
        one = found.setdefault(role, Holdings())
        if catalog == "prepared":
            one.prepared.append((names[0], database))
            continue
        one.databases.add(database)
        if kind == "o" and catalog not in _CLEARED:
            one.owned[database, catalog] = count
            if catalog in _NAMED:
                one.named[catalog] = list(names)
        elif catalog == "pg_policy":
            one.policies[database] = count
    return found


def to_visit(found: Holdings | None, without: Collection[str], maintenance: str) -> set[str]:
    """The databases in which something has to be done before the role can go; any will do for the cluster's own."""
    if found is None:
        return set()
    return (found.databases - {""}).difference(without) or ({maintenance} if "" in found.databases else set())


def _few(names: list[str]) -> Iterator[str]:
    yield from names[:_MOST_NAMES]
    if len(names) > _MOST_NAMES:
        yield f"and {len(names) - _MOST_NAMES} more"


def _counted(count: int, catalog: str) -> str:
    word = _WORDS.get(catalog, f"object of {catalog}")
    return f"{count} {word}{'' if count == 1 or word.endswith('s') else 's'}"


def closed_in_words(databases: Iterable[str], reached: Mapping[str, bool], closed: Mapping[str, str]) -> str:
    """Those of these databases where we can't go, each with why; `reached` has all that allow connections."""
    texts = []
    for name in sorted(databases):
        if name in reached and not reached[name]:
            texts.append(quote_part(name) + (f" ({closed[name]})" if name in closed else ""))
        elif name not in reached:
            texts.append(f"{quote_part(name)} (it allows no connections: datallowconn is false)")
    return ", ".join(texts)
