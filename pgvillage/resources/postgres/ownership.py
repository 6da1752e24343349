"""Kind ownership: all objects of a schema belong to one role, those that come later too."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Change, Impact, Resource, Risk
from pgvillage.core.plan import Finding, Unread
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.row_security import OwnershipSpec
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.rights import belongs_to, cannot_become, lesser, owners_out_of_reach
from pgvillage.resources.postgres.sql import ident, qualified, step

ORDER = 60
_COUNTS = "ownership_counts"

# Left out: what belongs to an extension, what follows its table (indexes, owned sequences, row types, array types).
_OBJECTS = """objects AS (
  SELECT c.relnamespace AS space, c.relname AS name, c.relowner AS owner, NULL::text AS arguments,
         'pg_catalog.pg_class'::pg_catalog.regclass AS catalog, c.oid,
         CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'TABLE' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'v' THEN 'VIEW'
              WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'SEQUENCE' END AS word,
         CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END AS class
  FROM pg_catalog.pg_class c
  WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
    AND NOT (c.relkind = 'S' AND EXISTS (
      SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.objid = c.oid AND d.refclassid = d.classid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')))
  UNION ALL
  SELECT f.pronamespace, f.proname, f.proowner, pg_catalog.pg_get_function_identity_arguments(f.oid),
         'pg_catalog.pg_proc'::pg_catalog.regclass, f.oid,
         CASE f.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END,
         CASE f.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END
  FROM pg_catalog.pg_proc f
  UNION ALL
  SELECT t.typnamespace, t.typname, t.typowner, NULL, 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid,
         CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, 'type'
  FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
  WHERE t.typtype IN ('b', 'd', 'e', 'r', 'c') AND (t.typtype <> 'c' OR c.relkind = 'c')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)
)
"""
_SQL = f"""
WITH rules AS (
  SELECT r.* FROM pg_catalog.json_to_recordset(%s::pg_catalog.json)
    AS r(database text, schema text, owner text, objects pg_catalog.json, kept pg_catalog.json)
  WHERE r.database = pg_catalog.current_database()
), {_OBJECTS}SELECT r.schema, r.owner, o.rolname, x.word, x.class,
       pg_catalog.json_agg(pg_catalog.json_build_array(x.name, x.arguments) ORDER BY x.name, x.arguments)
FROM rules r
LEFT JOIN (pg_catalog.pg_namespace n
           JOIN objects x ON x.space = n.oid
           JOIN pg_catalog.pg_roles o ON o.oid = x.owner)
       ON n.nspname = r.schema AND o.rolname <> r.owner
      AND x.class IN (SELECT pg_catalog.json_array_elements_text(r.objects))
      AND x.name NOT IN (SELECT pg_catalog.json_array_elements_text(r.kept))
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = x.catalog AND d.objid = x.oid AND d.deptype = 'e')
GROUP BY 1, 2, 3, 4, 5
"""
# Of all schemas, for writing manifests of what is there.
_SURVEY = f"""
WITH {_OBJECTS}
SELECT n.nspname, x.class, o.rolname, pg_catalog.count(*),
       CASE WHEN pg_catalog.count(*) <= 10 THEN pg_catalog.array_agg(DISTINCT x.name::text) END
FROM objects x JOIN pg_catalog.pg_namespace n ON n.oid = x.space JOIN pg_catalog.pg_roles o ON o.oid = x.owner
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgvillage')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = x.catalog AND d.objid = x.oid AND d.deptype = 'e')
GROUP BY 1, 2, 3
"""


class Owned(NamedTuple):
    """`arguments` of a function or procedure, as the server writes them; None for everything else."""

    word: str
    name: str
    arguments: str | None

    def __str__(self) -> str:
        arguments = "" if self.arguments is None else f"({self.arguments})"
        return f"{self.word.lower()} {quote_part(self.name)}{arguments}"


class Owners(NamedTuple):
    """Objects of strangers by rule; and in a survey how many of each class each role owns, by database and schema."""

    strangers: Mapping[Address, Mapping[str, list[Owned]]]
    counts: Mapping[tuple[str, str], Mapping[str, Mapping[str, int]]]
    few: Mapping[tuple[str, str, str, str], list[str]] = {}  # names by database, schema, class and owner: ten at most


@dataclass(frozen=True, slots=True)
class OwnershipState(State):
    """Objects that belong to somebody else, by owner."""

    strangers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    wish: tuple[str, ...] = ()

    def as_fields(self) -> Mapping[str, Any]:
        return dict(sorted(self.strangers.items())) if not self.wish else {"wish": self.wish}


class Ownership(Kind):
    name = "ownership"
    holds_objects = False

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for database, index, rule in _rules(view):
            for schema in dict.fromkeys(rule.schemas):
                address = Address(view.name, self.name, (database, schema, rule.owner))
                wish = OwnershipState(wish=(*sorted(rule.objects), "except", *sorted(rule.except_)))
                source = next(d for d in view.databases if d.name == database).source("ownership", index)
                yield Resource(address, OwnershipState(), source, wish=wish)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        rules = [
            {"database": database, "schema": s, "owner": rule.owner, "objects": rule.objects, "kept": rule.except_}
            for database, _, rule in _rules(view)
            for s in dict.fromkeys(rule.schemas)
        ]
        if rules:
            yield Query(self.name, _SQL, each_database=True, parameters=(json.dumps(rules),))
        if view.survey:
            yield Query(_COUNTS, _SURVEY, each_database=True)

    def parse(self, live: Live) -> Parsed:
        found: dict[Address, dict[str, list[Owned]]] = {}
        for database, rows in live.by_database.items():
            for schema, owner, current, word, _, objects in rows.get(self.name, ()):
                strangers = found.setdefault(Address(live.target, self.name, (database, schema, owner)), {})
                if current is not None:
                    strangers.setdefault(current, []).extend(Owned(word, *each) for each in objects)
        states = {address: OwnershipState(_shown(strangers)) for address, strangers in found.items()}
        return Parsed(states, inventory=Owners(found, _counts(live), _few(live)))

    def unread_in(self, database: str, reason: str) -> Iterable[Unread]:
        yield Unread(self.name, (database,), reason)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        """Where the database does not exist yet there is nothing to own."""
        live = context.snapshot.live
        return {a: r if a in live else r.with_state(None) for a, r in desired.items()}, []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        database, schema, owner = address.name
        yield Address(address.target, "database", (database,))
        yield Address(address.target, "schema", (database, schema))
        yield Address(address.target, "role", (owner,))

    def judge(self, change: Change, context: Context) -> Judgement:
        """An owner may do anything with an object, and loses that."""
        impact = Impact(lock="ACCESS EXCLUSIVE on each object, for a moment")
        return Judgement(Risk.ACCESS, impact, refused=_beyond_us(change, context))

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        inventory = context.snapshot.inventory.get(self.name)
        assert isinstance(inventory, Owners)
        for change in changes:
            database, schema, owner = change.address.name
            objects = [each for found in inventory.strangers[change.address].values() for each in found]
            for each in sorted(objects, key=lambda o: (o.word, o.name, o.arguments or "")):
                arguments = "" if each.arguments is None else f"({each.arguments})"
                name = f"{qualified(schema, each.name)}{arguments}"
                yield step(change.address, f"ALTER {each.word} {name} OWNER TO {ident(owner)}", database=database)


KIND = Ownership()


def _beyond_us(change: Change, context: Context) -> str:
    me = lesser(context)
    if me is None or not isinstance(change.before, OwnershipState):
        return ""
    owner = owners_out_of_reach(change.before.strangers, change.address.name[0], context)
    return belongs_to(owner, me) if owner else cannot_become(change.address.name[2], context)


def _rules(view: ClusterView) -> Iterable[tuple[str, int, OwnershipSpec]]:
    for database in view.databases:
        for index, rule in enumerate(database.spec.ownership if database.spec.ensure == "present" else ()):
            yield database.name, index, rule


def _counts(live: Live) -> dict[tuple[str, str], dict[str, dict[str, int]]]:
    found: dict[tuple[str, str], dict[str, dict[str, int]]] = {}
    for database, rows in live.by_database.items():
        for schema, each, owner, count, _ in rows.get(_COUNTS, ()):
            found.setdefault((database, schema), {}).setdefault(each, {})[owner] = count
    return found


def _few(live: Live) -> dict[tuple[str, str, str, str], list[str]]:
    return {
        (database, schema, each, owner): sorted(names)
        for database, rows in live.by_database.items()
        for schema, each, owner, _, names in rows.get(_COUNTS, ())
        if names is not None
    }


def _shown(strangers: Mapping[str, list[Owned]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for owner, objects in strangers.items():
        found[owner].update(map(str, objects))
    return {owner: frozenset(names) for owner, names in found.items()}
