"""Adopting that something is gone: an object gets `ensure: absent`, what a role or database merely has is taken out."""

from __future__ import annotations

from typing import Any

from pgvillage.estate.located import Located
from pgvillage.estate.manifest.qualified_name import split_name
from pgvillage.estate.source_text import DocPath
from pgvillage.usecases.adopt_case import Case, Proposal, Refused
from pgvillage.usecases.adopt_edits import key, out

_LISTS = {
    "schema": "schemas", "extension": "extensions", "publication": "publications", "subscription": "subscriptions",
    "event-trigger": "eventTriggers", "foreign-data-wrapper": "foreignDataWrappers", "server": "foreignServers",
    "tablespace": "tablespaces", "slot": "replicationSlots",
}  # fmt: skip
_ABSENT = (
    "it says `ensure: absent` now, so it stays away: what else names it has to go as well; once every cluster is "
    "without it the entry may be removed"
)


def gone(case: Case) -> Proposal:
    """Raises Refused."""
    kind, name = case.address.kind, case.address.name
    if kind == "role":
        return _absent(_only_here(case, case.document(name[0])), ("spec",))
    if kind == "database":
        found = case.database(name[0])
        edits = [key(found.located, (*found.path, "deletionProtection"), False)]
        edits += [key(_only_here(case, found.located), (*found.path, "ensure"), "absent")]
        return Proposal(edits, note=_ABSENT)
    if kind == "membership":
        return _membership(case)
    if kind == "setting":
        return _setting(case)
    if kind in ("policy", "user-mapping") or kind in _LISTS:
        located, path, entry = entry_of(case)
        if isinstance(entry, str):
            return Proposal([key(_only_here(case, located), path, {"name": entry, "ensure": "absent"})], note=_ABSENT)
        return _absent(_only_here(case, located), path)
    source = case.seen.desired[case.address].source
    raise Refused(f"it does not exist: to say so, take it out of the manifest at {source}")


def entry_of(case: Case) -> tuple[Located[Any], DocPath, Any]:
    """The entry of a list that declares this object. Raises Refused."""
    kind, name = case.address.kind, case.address.name
    if kind in ("tablespace", "slot"):
        located: Located[Any] = case.seen.context.view.located
        return _listed(located, ("spec", _LISTS[kind]), name[0])
    found = case.database(name[0])
    if kind == "policy":
        table = table_index(case)
        if table is None:
            raise Refused("no manifest declares its table's row security")
        return _listed(found.located, (*found.path, "rowSecurity", table, "policies"), name[3])
    if kind == "user-mapping":
        _, server, _ = _listed(found.located, (*found.path, "foreignServers"), name[1])
        return _listed(found.located, (*server, "userMappings"), name[2])
    return _listed(found.located, (*found.path, _LISTS[kind]), name[1])


def table_index(case: Case) -> int | None:
    """Which entry of `rowSecurity` is this table's."""
    found = case.database(case.address.name[0])
    tables = [tuple(split_name(spec.table)) for spec in found.spec.row_security]
    wanted = tuple(case.address.name[1:3])
    return tables.index(wanted) if wanted in tables else None


def specs_at(located: Located[Any], path: DocPath) -> Any:
    found: Any = located.document
    for step in path:
        found = found[step] if isinstance(step, int) else getattr(found, _snake(step))
    return found


def _listed(located: Located[Any], path: DocPath, name: str) -> tuple[Located[Any], DocPath, Any]:
    names = [e if isinstance(e, str) else getattr(e, "name", None) or e.role for e in specs_at(located, path)]
    if name not in names:
        raise Refused(f"it is not listed at {located.at(*path)}")
    index = names.index(name)
    return located, (*path, index), specs_at(located, path)[index]


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _absent(located: Located[Any], path: DocPath) -> Proposal:
    return Proposal([key(located, (*path, "ensure"), "absent")], note=_ABSENT)


def _only_here(case: Case, located: Located[Any]) -> Located[Any]:
    """A manifest of several clusters would drop it from the others."""
    clusters = getattr(located.document.spec, "clusters", None)
    others = set(case.manifests.clusters) - {case.address.target}
    if clusters is not None and others and clusters.names != [case.address.target]:
        raise Refused(
            f"it is declared at {located.at('spec', 'clusters')} for other clusters too: `ensure: absent` would "
            "drop it there. Take this cluster out of `clusters`, or give it a manifest of its own"
        )
    return located


def _membership(case: Case) -> Proposal:
    group, member = case.address.name
    located = case.document(member)
    names = [m if isinstance(m, str) else m.role for m in located.document.spec.member_of]
    if group in names:
        return Proposal([out(located, ("spec", "memberOf", names.index(group)))])
    raise Refused(f"it is declared at {case.seen.desired[case.address].source}: take it out there by hand")


def _setting(case: Case) -> Proposal:
    """Every setting of a role or a database was reset."""
    subjects = dict(zip(case.address.name[::2], case.address.name[1::2], strict=True))
    if "role" not in subjects:
        database = case.database(subjects["database"])
        return Proposal([out(database.located, (*database.path, "settings"))])
    place = ("databaseSettings", subjects["database"]) if "database" in subjects else ("settings",)
    return Proposal([out(case.document(subjects["role"]), ("spec", *place))])
