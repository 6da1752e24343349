"""What PUBLIC has, where that is not what PostgreSQL gives by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from pgvillage.core.address import Address
from pgvillage.report.words import counted, show_name
from pgvillage.resources.postgres.acl import DEFAULT_PUBLIC, public_at_creation
from pgvillage.resources.postgres.default_privilege import DefaultPrivilegeState
from pgvillage.resources.postgres.privilege_inventory import Place, PrivilegeState, place_of
from pgvillage.resources.postgres.sql import PUBLIC
from pgvillage.usecases.live_cluster import OURS, Document, LiveCluster

_CLASSES = ("table", "sequence", "function", "type")
_ELSEWHERE = ("column", "foreignDataWrapper", "foreignServer", "largeObject")


def public(live: LiveCluster, database: str) -> Document:
    """The part `public` of a database; what can't be said is left out with a word."""
    if ("public", (database,)) in live.outside.objects:
        return {}
    found: Document = {}
    has = _held(live, ("database", database, ""))
    if frozenset(has) != public_at_creation(("database", database, ""), live.major):
        found["database"] = sorted(has)
    schemas = {
        schema: sorted(has)
        for schema in sorted(live.inventory.schemas.get(database, ()))
        if schema != OURS
        and frozenset(has := _held(live, ("schema", database, schema)))
        != public_at_creation(("schema", database, schema), live.major)
    }
    found |= {"schemas": schemas} if schemas else {}
    found |= _in_schemas(live, database)
    found |= _languages(live, database)
    _elsewhere(live, database)
    return found | _future(live, database)


def _in_schemas(live: LiveCluster, database: str) -> Document:
    found: Document = defaultdict(dict)
    for place, names in sorted(live.inventory.names.items()):
        if place[1] != database or place[2] == OURS or place[0] not in _CLASSES or not names:
            continue
        usual = DEFAULT_PUBLIC.get(place[0], frozenset())
        held = _held(live, place)
        # what an extension's script gave PUBLIC, or took from it, is the extension's
        brought = live.inventory.settled.get(place, frozenset())
        objects = names - brought if usual else names
        odd = {p: has - brought for p, has in held.items() if has - brought}
        if {p: has & objects for p, has in odd.items()} == dict.fromkeys(usual if objects else (), objects):
            continue
        if not brought and all(has == names for has in held.values()):
            found[f"{place[0]}s"][place[2]] = sorted(held)
        else:
            live.left[f"PUBLIC on {place[0]}s of {show_name(database)}.{show_name(place[2])}"] = _some(odd, names)
    return dict(found)


def said_of_public(live: LiveCluster, place: Place) -> tuple[tuple[str, ...], list[str]]:
    """The keys under `public` for one place, and what PUBLIC has there. Raises ValueError where no key says it."""
    object_class, _, schema = place
    held = _held(live, place)
    if object_class in ("database", "schema"):
        return ("database",) if object_class == "database" else ("schemas", schema), sorted(held)
    if object_class not in _CLASSES:
        raise ValueError(f"`public` of a database has no word for a {object_class}")
    names = live.inventory.names.get(place, frozenset()) - live.inventory.settled.get(place, frozenset())
    if any(has & names and not has >= names for has in held.values()):
        raise ValueError(f"PUBLIC there: {_some(held, names)}. GRANT or REVOKE it for the rest of the schema first")
    return (f"{object_class}s", schema), sorted(privilege for privilege, has in held.items() if has & names)


def _some(held: Mapping[str, frozenset[str]], names: Iterable[str]) -> str:
    total = len(set(names))
    words = [f"{privilege} on {len(has)} of {total}" for privilege, has in sorted(held.items())]
    return f"it has {' and '.join(words) or 'nothing on some'}, and manifests say one thing of a whole schema"


def _languages(live: LiveCluster, database: str) -> Document:
    place = ("language", database, "")
    held = _held(live, place).get("USAGE", frozenset())
    shut = sorted(live.inventory.names.get(place, frozenset()) - held)
    return {"languages": {name: [] for name in shut}} if shut else {}


def _elsewhere(live: LiveCluster, database: str) -> None:
    """What PUBLIC has where `public` has no word for it."""
    for name, state in live.of("privilege", PrivilegeState):
        place = place_of(Address("", "privilege", name))
        if name[-1] == PUBLIC and place[1] == database and place[0] in _ELSEWHERE and place[2] != OURS:
            brought = live.inventory.brought.get((place, PUBLIC), {})
            objects = {o for p, has in state.entries.items() for o in has - brought.get(p, frozenset())}
            if objects:
                where = ".".join(show_name(part) for part in place[1:] if part)
                what = f"{counted(len(objects), place[0])} in {where}"
                live.left[f"PUBLIC on {what}"] = "`public` of a database has no word for it"


def _future(live: LiveCluster, database: str) -> Document:
    """What PUBLIC will not get by itself on functions and types; one entry for creators alike."""
    less: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for object_class, place, creator in sorted(live.replaced):
        if place == database and object_class in ("function", "type"):
            name = (object_class, database, "", creator, PUBLIC)
            state = live.by_kind["default-privilege"].get(name)
            held = state.privileges if isinstance(state, DefaultPrivilegeState) else frozenset()
            if held != DEFAULT_PUBLIC.get(object_class, frozenset()):
                less[creator][object_class] = sorted(held)
    for what in _future_elsewhere(live, database):
        live.left[what] = "`public.future` is about less on functions and types, everywhere in a database"
    alike: dict[str, tuple[Document, list[str]]] = {}
    for creator, found in less.items():
        alike.setdefault(repr(found), (dict(found), []))[1].append(creator)
    several = sorted(alike.values(), key=lambda pair: -len(pair[1]))
    for found, creators in several[1:]:
        for creator in creators:
            what = f"PUBLIC on future {' and '.join(f'{c}s' for c in found)} of {show_name(creator)}"
            live.left[f"{what} in {show_name(database)}"] = "`public.future` says one thing of all its creators"
    return {"future": {"creators": several[0][1], **several[0][0]}} if several else {}


def _future_elsewhere(live: LiveCluster, database: str) -> Iterator[str]:
    for (object_class, place, schema, creator, role), _ in live.of("default-privilege", DefaultPrivilegeState):
        if role == PUBLIC and place == database and (schema or object_class not in ("function", "type")):
            where = f"{show_name(database)}.{show_name(schema)}" if schema else show_name(database)
            yield f"PUBLIC on future {object_class}s of {show_name(creator)} in {where}"


def _held(live: LiveCluster, place: Place) -> Mapping[str, frozenset[str]]:
    state = live.by_kind["privilege"].get((*filter(None, place), PUBLIC))
    return state.entries if isinstance(state, PrivilegeState) else {}
